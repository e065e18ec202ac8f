"""Measurements of the two players of a GAN beside training.

Probes, diagnosis, checks before a run, features of D, reports and the lab use D
and G through these functions only.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G, pack
from gan_jax.algorithms import latents
from gan_jax.algorithms import updates

CHUNK = 64  # samples per call
CLASSES = 10  # most classes over which label-dependent features are averaged


class Monitors(NamedTuple):
    """Measurements of the players of an `adversarial.Adversarial`.

    Attributes:
        gan: the `adversarial.Adversarial`.
    """

    gan: Any

    def sizes(self, state):
        """Return the number of parameters of G and of D."""
        return tuple(
            algorithm.count_params(state.players[name]) for name in (G, D)
        )

    def discriminator_weights(self, state):
        """Return the `algorithm.Weights` of D."""
        return algorithm.weights_of(state.players[D])

    def untrained_discriminator(self, key, shape):
        """Return the `algorithm.Weights` of an untrained D."""
        return self.discriminator_weights(game.init(self.gan, key, shape))

    @property
    def sign(self):
        """Return 1 if D's outputs are high for real images, -1 for energies."""
        return -1 if self.gan.loss.energies else 1

    def logits(self, weights, images, labels=None):
        """Return D's outputs [B], computed with the running statistics."""
        return _of_samples(algorithm.evaluate(
            self.gan.discriminator, weights, algorithm.Inputs(images, labels)
        ).logits)

    def scores(self, state, samples):
        """Return D's logit of each sample separately; energies are negated.

        Running statistics replace those of a batch, a packed D receives copies
        of the sample, and a conditional D the class that was sampled.

        Args:
            state: `algorithm.TrainState`.
            samples: float [N, ...], G's samples of seeds 0 to N - 1; N is a
                multiple of `CHUNK`.

        Returns:
            float64 [N], high for real.
        """
        weights = jax.device_put(self.discriminator_weights(state))
        labels = np.arange(len(samples)) % max(self.gan.num_classes, 1)
        logits = np.concatenate([
            np.asarray(_score_samples(
                self.gan, weights, samples[n:n + CHUNK], labels[n:n + CHUNK]
            )) for n in range(0, len(samples), CHUNK)
        ]).astype(np.float64)
        return self.sign * logits

    def features(self, weights, images):
        """Apply D with running statistics to each image separately.

        Layers that compare the samples of a batch (minibatch discrimination,
        standard deviations) are therefore constant. A packed D receives copies
        of the image. If the features depend on the label (condition 'concat'),
        they are averaged over the classes, or over `CLASSES` evenly spaced ones
        if there are more.

        Args:
            weights: `algorithm.Weights` of D.
            images: [B, H, W, C] uint8, or float in [-1, 1]; or points [B, D].

        Returns:
            (features [B, F], class logits [B, K] or None), float32; pure.
        """
        tuples = _copies(self.gan, algorithm.to_unit_range(images))

        def one(image, label):
            label = None if label is None else label[None]
            output = algorithm.evaluate(
                self.gan.discriminator, weights,
                algorithm.Inputs(image[None], label),
            )
            return jax.tree.map(
                lambda x: x[0].astype(jnp.float32),
                (output.features, output.class_logits),
            )

        outputs = [
            jax.vmap(one, (0, None))(tuples, label)
            for label in self._labels()
        ]
        return jax.tree.map(lambda *x: sum(x) / len(x), *outputs)

    def _labels(self):
        """Return the labels over which features are averaged."""
        gan = self.gan
        if not gan.num_classes:
            return [None]
        if getattr(gan.discriminator, 'condition', 'none') != 'concat':
            return [jnp.int32(0)]  # the features do not depend on it
        count = min(gan.num_classes, CLASSES)
        return [jnp.int32(k * gan.num_classes // count) for k in range(count)]

    def look(self, state, labels, real, unseen, slope):
        """Compute logits of fake, real and unseen images, and gradients.

        The gradients are of D's mean output (logits and class logits) on fakes
        by G's parameters, and of its difference between real and fake by D's
        parameters. The slope of a saturated loss therefore does not hide the
        gradients that the layers propagate.

        Args:
            state: `algorithm.TrainState` of NumPy arrays.
            labels: of the fakes, or None.
            real, unseen: (images [packing * B, ...], labels [B]); (None, None)
                for `unseen` if there are none.
            slope: whether to compute D's slope between real and fake.

        Returns:
            {'g_grads', 'd_grads': pytrees; 'real', 'fake': logits; 'unseen':
            logits, if there are such images; 'slope': float, if enabled} of
            NumPy arrays.
        """
        return jax.device_get(_measure(
            self.gan, slope, *(
                algorithm.weights_of(state.players[name]) for name in (G, D)
            ), labels, real, unseen,
        ))

    def clipped_share(self, state, limit, share=0.999):
        """Return the share of D's weights that are at the clip limit."""
        leaves = [
            np.abs(leaf) for leaf in jax.tree.leaves(state.players[D].params)
        ]
        clipped = sum((leaf >= share * limit).sum() for leaf in leaves)
        return clipped / sum(leaf.size for leaf in leaves)

    def bare(self):
        """Return the GAN without what regularizes D, to test D's capacity."""
        return self.gan._replace(
            penalties=(), lazy=(), treat_labels=False, augmentations=(),
            adaptive_augmentation=False, instance_noise=False, history=0,
            snapshots=0, num_microbatches=1,
        )

    def move(self, player, hyperparams, state, images, labels, key):
        """Update one player, 'd' or 'g', once; return (state, metrics)."""
        return _update(
            self.gan, player, hyperparams, state, images, labels, key
        )


def _of_samples(logits):
    """Average the map of logits of each sample: [B, ...] -> [B]."""
    return logits.mean(range(1, logits.ndim)) if logits.ndim > 1 else logits


def _copies(gan, images):
    """Repeat each image along the channels, as input of a packed D."""
    return jnp.tile(images, (1,) * (images.ndim - 1) + (gan.packing,))


@functools.partial(jax.jit, static_argnums=0)
def _score_samples(gan, weights, samples, labels):

    def one(image, label):
        label = label[None] if gan.num_classes else None
        return Monitors(gan).logits(
            weights, image[None], label
        )[0].astype(jnp.float32)

    return jax.vmap(one)(_copies(gan, samples), labels)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measure(gan, slope, generator, discriminator, labels, real, unseen):
    """Compute the arrays of `Monitors.look`."""
    params, stats = discriminator
    z = latents.draw(
        jax.random.key(0), jnp.arange(len(real[0])), gan.latent_size,
        gan.latent,
    )

    def judge(params, images, labels):
        images = pack(images, gan.packing)
        keys = None
        if algorithm.takes_keys(gan.discriminator):
            keys = jax.random.split(jax.random.key(0), len(images))
        return algorithm.forward(
            gan.discriminator, (params, stats),
            algorithm.Inputs(images, labels, keys=keys),
        )[0]

    def mean(output):
        """Average the logits, and add the class logits' average if any."""
        if output.class_logits is None:
            return output.logits.mean()
        return output.logits.mean() + output.class_logits.mean()

    def of_generator(g_params):
        fakes = algorithm.evaluate(
            gan.generator, (g_params, generator.stats),
            algorithm.Inputs(z, labels),
        )
        return mean(judge(params, fakes, labels)), fakes

    def of_discriminator(params):
        outputs = judge(params, *real), judge(params, fakes, labels)
        return mean(outputs[0]) - mean(outputs[1]), outputs

    g_grads, fakes = jax.grad(of_generator, has_aux=True)(generator.params)
    d_grads, outputs = jax.grad(of_discriminator, has_aux=True)(params)
    measured = {
        'g_grads': g_grads, 'd_grads': d_grads,
        'real': _of_samples(outputs[0].logits),
        'fake': _of_samples(outputs[1].logits),
    }
    if unseen[0] is not None:
        measured['unseen'] = _of_samples(judge(params, *unseen).logits)
    if slope:
        shape = (-1,) + (1,) * (fakes.ndim - 1)
        shares = jnp.linspace(0, 1, len(fakes)).reshape(shape)
        points = shares * real[0] + (1 - shares) * fakes
        slopes = jax.grad(
            lambda x: judge(params, x, labels).logits.sum()
        )(points)
        measured['slope'] = jnp.sqrt(
            jnp.square(slopes).sum(tuple(range(1, slopes.ndim)))
        ).mean()
    return measured


@functools.partial(jax.jit, static_argnums=(0, 1))
def _update(gan, player, hyperparams, state, images, labels, key):
    """Run the update of `Monitors.move`."""
    ctx = discriminator_inputs.UpdateContext(gan, hyperparams, state, key)
    update = {
        'd': updates.discriminator_update, 'g': updates.generator_update
    }[player]
    state, metrics = update(ctx, images, jnp.arange(len(images)), labels)
    return state.replace(step=state.step + 1), metrics
