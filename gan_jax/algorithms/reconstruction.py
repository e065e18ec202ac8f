"""Autoencoder, variational autoencoder, GLO and pose decoder as algorithms.

These are not GANs: there is no discriminator. A decoder and the source of its
codes (an encoder, a table of codes, or the class and pose of an image) minimise
one loss together.
"""

import functools
import math
from typing import Any, Callable, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import codes as codes_lib
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import freezing
from gan_jax.algorithms import latents
from gan_jax.algorithms import nan_trace
from gan_jax.algorithms import snapshots
from gan_jax.algorithms import updates
from gan_jax.core import options as options_lib
from gan_jax.networks import encoders
from gan_jax.objectives import reconstructions
from gan_jax.ops import augment
from gan_jax.ops import averaging

DECODER, ENCODER = 'decoder', 'encoder'  # the players
REAL = 'real'  # the source
POSE_VALUES = 2  # the angle and the scale, at the end of a pose decoder's code
ENCODED = ('autoencoder', 'vae')  # kinds whose encoder maps images to codes


class Hyperparams(NamedTuple):
    """Hyper-parameters that can change without recompilation: float32 scalars.

    Attributes:
        g_learning_rate, d_learning_rate: of the decoder and of the encoder.
        ema_decay: decay of the decoder's average after the warm-up.
        huber_delta: see `reconstructions.huber`.
        beta: weight of a VAE's KL divergence.
        decoder_std: standard deviation of a VAE's Gaussian decoder.
        max_angle, max_scale_change: of a pose decoder: largest angle in
            radians, largest difference of the scale from 1.
    """

    g_learning_rate: Any
    d_learning_rate: Any
    ema_decay: Any
    huber_delta: Any = 0.1
    beta: Any = 1.0
    decoder_std: Any = 1.0
    max_angle: Any = 0.0
    max_scale_change: Any = 0.0


class Reconstruction(NamedTuple):
    """A decoder from codes to samples, and the source of its codes; static.

    Attributes:
        kind: one of `KINDS`.
        generator: the decoder, module (codes [B, latent_size], train) ->
            samples.
        encoder: module (images, image numbers or codes; train) -> outputs
            [B, F].
        g_tx, d_tx: optax transforms of decoder and encoder, without a learning
            rate.
        latent_size: length of a code.
        latent: distribution of z when sampling, one of `latents.LATENTS`.
        reconstruction: one of `reconstructions.RECONSTRUCTIONS`.
        num_microbatches, g_schedule, d_schedule, flip, dequantize, snapshots,
            snapshot_every, frozen: as in `adversarial.Adversarial`; g_ is the
            decoder, d_ the encoder.
        g_name, d_name: names of the networks, for display.
    """

    kind: str
    generator: nn.Module
    encoder: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    latent_size: int
    latent: str = 'gaussian'
    reconstruction: str = 'l2'
    num_microbatches: int = 1
    g_schedule: Optional[Callable] = None
    d_schedule: Optional[Callable] = None
    flip: bool = False
    dequantize: bool = False
    snapshots: int = 0
    snapshot_every: int = 100
    frozen: Tuple = ()
    g_name: str = ''
    d_name: str = ''

    players = (DECODER, ENCODER)
    sources = {REAL: REAL}
    draws = 1
    num_classes = num_styles = 0  # that can be sampled
    num_codes = 0  # of a codebook
    code_weights = 'raw'  # of `encode` and `decode`
    monitors = None

    @property
    def name(self):
        """Return the kind."""
        return self.kind

    @property
    def code_size(self):
        """Return the number of values of a code."""
        return self.latent_size

    @property
    def code_shape(self):
        """Return the shape of a code."""
        return (self.latent_size,)

    @property
    def encodes(self):
        """Return whether images can be encoded."""
        return self.kind in ENCODED

    @property
    def searchable(self):
        """Return whether z can be optimised; that of a pose cannot."""
        return self.kind != 'pose_decoder'

    @property
    def weight_names(self):
        """Return the names of the decoder's weights that `weights` accepts."""
        return latents.weight_names(self.snapshots)

    @property
    def summary(self):
        """Return labels, players and names of both networks."""
        label = 'Encoder' if self.encodes else 'Codes'
        return ('G', DECODER, self.g_name), (label, ENCODER, self.d_name)

    @property
    def moves(self):
        """Describe the updates in one step."""
        return f'of both ({self.kind})'

    def init(self, key, shapes, hyperparams):
        """Return the state at step 0."""
        del hyperparams
        g_key, d_key = jax.random.split(key)
        shape = shapes[REAL]
        encoded = {
            'glo': jnp.zeros(2, jnp.int32),  # numbers of images
            'pose_decoder': jnp.zeros((2, self.latent_size)),
        }.get(self.kind, jnp.zeros((2, *shape)))
        players = {
            DECODER: algorithm.init_player(
                self.generator, self.g_tx, g_key,
                algorithm.Inputs(jnp.zeros((2, self.latent_size))),
            ),
            ENCODER: algorithm.init_player(
                self.encoder, self.d_tx, d_key, algorithm.Inputs(encoded)
            ),
        }
        memory = {'codes': codes_lib.init(self.latent_size)}
        if self.snapshots:
            memory['snapshots'] = snapshots.init(
                self.snapshots, players[DECODER]
            )
        return algorithm.initial_state(
            players, {DECODER: algorithm.copy_weights(players[DECODER])}, memory
        )

    def train_step(
        self, hyperparams, state, batch, key, number=0, *,
        variant=algorithm.Variant(), collectives=algorithm.SINGLE_DEVICE,
        loop=None,
    ):
        """Update both players once."""
        del number
        update_key = jax.random.fold_in(
            jax.random.fold_in(key, state.step), 0
        )
        ctx = discriminator_inputs.UpdateContext(
            self, hyperparams, state, update_key, collectives,
            loop or discriminator_inputs.unrolled_scan,
        )
        images, labels, numbers = jax.tree.map(
            lambda array: array[0], batch.sources[REAL]
        )
        new, metrics = update(
            ctx, images, batch.sample_index,
            labels if self.kind == 'pose_decoder' else None,
            numbers if self.kind == 'glo' else None,
        )
        if variant.part == algorithm.TRACE:

            def play(note):
                note(DECODER, 0, new, metrics)
                return new

            return nan_trace.trace(state, batch, collectives, play)
        new = snapshots.finish(self, state.alive, new, DECODER)
        return algorithm.keep_if_finite(state, new, metrics)

    def plan(self, step, fast_control_flow, read):
        """Yield the single call of a step."""
        del step, fast_control_flow, read
        yield algorithm.Call(algorithm.Variant(), self.draws)

    def is_single_call(self, step, fast_control_flow):
        """Return True: every step is a single call."""
        del step, fast_control_flow
        return True

    def cadences(self):
        """Return no periods: the plan is the same at every step."""
        return ()

    def inputs(self, seeds, labels=None, **options):
        """Return the z of each seed."""
        return latents.inputs(self, seeds, labels, **options)

    def weights(self, state, name):
        """Return the decoder's `algorithm.Weights` and the map of z to codes.

        The map is that of `codes.fit`; None if z is itself a code.
        """
        fitted = None
        if self.latent == 'fitted' and self.kind != 'pose_decoder':
            fitted = codes_lib.fit(state.memory['codes'])
        return latents.weights(state, DECODER, name), fitted

    def codes(self, weights, z):
        """Return the codes [B, D] of z [B, D].

        For a pose decoder, the largest of the first D - 2 values selects the
        class, and the normal CDF maps the last two to a uniform angle and
        scale.
        """
        if self.kind == 'pose_decoder':
            uniform = 2 * jax.scipy.stats.norm.cdf(z[:, -2:]) - 1
            return pose_codes(self, z[:, :-2].argmax(1), *uniform.T)
        return codes_lib.transform(weights[1], z)

    def apply(self, weights, inputs):
        """Return the samples of z, decoded with the running statistics."""
        codes = self.codes(weights, inputs.main)
        return algorithm.evaluate(
            self.generator, weights[0], inputs._replace(main=codes)
        )

    def standing_statistics(self, weights, inputs, number):
        """Return weights with the decoder's mean statistics over batches."""
        codes = self.codes(weights, inputs.main)
        decoder = algorithm.standing_statistics(
            self.generator, weights[0], inputs._replace(main=codes), number
        )
        return decoder and (decoder, *weights[1:])

    def collections(self, weights):
        """Return the parameters and statistics of the decoder."""
        return algorithm.collections(weights[0])

    def encode(self, state, images):
        """Return the codes [B, latent_size] of images or points.

        The code of a VAE is the mean. The encoder's current weights are used,
        not an average.
        """
        outputs = algorithm.evaluate(
            self.encoder, algorithm.weights_of(state.players[ENCODER]),
            algorithm.Inputs(algorithm.to_unit_range(images)),
        )
        return outputs[:, :self.latent_size]

    def decode(self, state, codes):
        """Return the samples of codes, with the decoder's current weights."""
        return algorithm.evaluate(
            self.generator, algorithm.weights_of(state.players[DECODER]),
            algorithm.Inputs(codes),
        )

    def pictures(self, state, examples, apply):
        """Return a grid of samples and, for images, one of reconstructions."""
        inputs = self.inputs(range(len(examples[REAL])))
        weights = self.weights(state, 'ema')
        grids = {'': algorithm.Picture(apply(self, weights, inputs))}
        images = examples.get('held_out', examples[REAL])
        if self.encodes and images.ndim > 2:
            grids['reconstructed'] = reconstruction_grid(self, state, images)
        return grids


def reconstruction_grid(this, state, images):
    """Return rows of images, each above the row of their reconstructions.

    Args:
        this, state, images: as of `reconstruct`.

    Returns:
        `algorithm.Picture`.
    """
    columns = int(len(images) ** 0.5)
    images = images[:len(images) // columns * columns]
    outputs = np.asarray(_reconstruct(this, state, images))
    originals = np.asarray(algorithm.to_unit_range(jnp.asarray(images)))
    rows = np.stack([
        array.reshape(-1, columns, *images.shape[1:])
        for array in (originals, outputs)
    ], axis=1)
    return algorithm.Picture(rows.reshape(-1, *images.shape[1:]), columns)


def reconstruct(algorithm, state, images):
    """Encode and decode images, with the running statistics.

    Args:
        algorithm: one that encodes; it chooses the weights.
        state: an `algorithm.TrainState`.
        images: [B, H, W, C] uint8, or points [B, D].

    Returns:
        [B, H, W, C] float32 in [-1, 1], or [B, D].
    """
    return algorithm.decode(state, algorithm.encode(state, images))


_reconstruct = jax.jit(reconstruct, static_argnums=0)


def as_codes(ctx, outputs, sample_index):
    """Use the encoder's outputs as codes.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        outputs: [b, F], of the encoder.
        sample_index: [b] int32.

    Returns:
        (codes [b, latent_size], KL [b] from the prior or None).
    """
    del ctx, sample_index
    return outputs, None


def vae(ctx, outputs, sample_index):
    """Sample codes from N(m, s^2); the encoder's outputs are m and log s^2.

    Args, returns: as `as_codes`.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes,
        https://arxiv.org/abs/1312.6114, 2013.
    """
    key = jax.random.fold_in(ctx.key, discriminator_inputs.CODE_KEY)
    return codes_lib.sample_gaussian(key, outputs, sample_index)


# The encoders of 'pose_decoder' and 'glo' return codes already.
KINDS = {
    'autoencoder': as_codes, 'pose_decoder': as_codes, 'glo': as_codes,
    'vae': vae,
}
_Option = options_lib.Option
_ERROR = (
    _Option('error', 'l2', 'one of reconstructions.RECONSTRUCTIONS',
            reconstructions.RECONSTRUCTIONS),
    *reconstructions.OPTIONS['huber'],
)
# Config options of each kind, beside its name.
OPTIONS = {
    'autoencoder': _ERROR,
    'pose_decoder': (
        *_ERROR,
        _Option(
            'angle', 0.5, 'largest rotation of images, in radians',
            options_lib.Bounds(lambda v: 0 <= v <= math.pi, 'in [0, pi]'),
        ),
        _Option('scale', 0.25, 'largest change of their scale',
                options_lib.BELOW_1),
    ),
    'glo': _ERROR,
    'vae': (  # its reconstruction is 'l2', of a Gaussian
        _Option('beta', 1.0, 'weight of the KL divergence',
                options_lib.NOT_NEGATIVE),
        _Option('std', 0.5, "standard deviation of the decoder's Gaussian",
                options_lib.POSITIVE),
    ),
}
# Config keys that no kind uses: there is no discriminator, and one update per
# step.
UNUSED_KEYS = (
    'anneal.', 'augment.', 'clip_weights', 'd_steps', 'discriminator.condition',
    'ema_ramp', 'fresh_reals', 'g_steps', 'generator.condition', 'history.size',
    'instance_noise.std', 'joint_batch', 'labels.', 'loss.', 'packing',
    'penalties.', 'reuse_fakes', 'schedule.name',
)
# Config keys that single kinds do not use either: their codes do not come from
# a network.
WITHOUT = {
    'pose_decoder': ('d_optimizer.', 'discriminator.', 'latent_size'),
    'glo': ('discriminator.',),
}
LATENTS = {  # allowed distributions of z of each kind
    'autoencoder': ('gaussian', 'fitted'), 'pose_decoder': ('gaussian',),
    'glo': ('gaussian', 'fitted'), 'vae': ('gaussian', 'fitted'),
}


def pose_codes(algorithm, labels, turned, scaled):
    """Return the codes of rotated and scaled images of given classes.

    Args:
        algorithm: a `Reconstruction` of the kind 'pose_decoder'.
        labels: [B] int32.
        turned, scaled: [B] in [-1, 1], relative to `Hyperparams.max_angle`
            and `max_scale_change`.

    Returns:
        [B, latent_size]: one-hot class, then `turned` and `scaled`.
    """
    classes = jax.nn.one_hot(labels, algorithm.latent_size - POSE_VALUES)
    return jnp.concatenate([classes, jnp.stack([turned, scaled], 1)], 1)


def pose(ctx, images, sample_index, labels):
    """Rotate and scale images at random; return them with their codes.

    The paper's codes are the kind of chair, the view and such transformations
    of the image.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] float32 in [-1, 1].
        sample_index: [b] int32.
        labels: [b] int32.

    Returns:
        (images [b, H, W, C], codes [b, latent_size], see `pose_codes`).

    References:
        Dosovitskiy et al., Learning to Generate Chairs with Convolutional
        Neural Networks, https://arxiv.org/abs/1411.5928, 2014.
    """
    key = jax.random.fold_in(ctx.key, discriminator_inputs.POSE_KEY)
    turned, scaled = jax.vmap(lambda index: jax.random.uniform(
        jax.random.fold_in(key, index), (2,), minval=-1
    ))(sample_index).T
    codes = pose_codes(ctx.gan, labels, turned, scaled)
    return augment.pose(
        images, turned * ctx.hyperparams.max_angle,
        1 + scaled * ctx.hyperparams.max_scale_change,
    ), codes


def update(ctx, images, sample_index, labels=None, numbers=None):
    """Update decoder and encoder once.

    The loss is the mean reconstruction error. For a VAE it is D / (2 std^2)
    times the mean square error plus beta times the KL divergence, D the number
    of values of a sample. With beta = 1 this is minus the evidence lower bound
    of a Gaussian decoder, up to a constant.

    Args:
        ctx: a `discriminator_inputs.UpdateContext`.
        images: [b, H, W, C] uint8, or points [b, D].
        sample_index: [b] int32.
        labels: [b] int32, for the kind 'pose_decoder'.
        numbers: [b] int32, indices of the images in their data set, for the
            kind 'glo'.

    Returns:
        (`algorithm.TrainState` with both players and the average updated,
        metrics).

    References:
        Higgins et al., beta-VAE: Learning Basic Visual Concepts with a
        Constrained Variational Framework, ICLR 2017 (another beta).
    """
    this, state, hyperparams = ctx.gan, ctx.state, ctx.hyperparams
    decoder, encoder = state.players[DECODER], state.players[ENCODER]

    def gradients(stats, images, sample_index, labels, numbers):
        targets = discriminator_inputs.real_images(ctx, images, sample_index)
        inputs = targets if numbers is None else numbers
        if this.kind == 'pose_decoder':
            targets, inputs = pose(ctx, targets, sample_index, labels)
        objective = functools.partial(
            _objective, ctx, stats, targets, inputs, sample_index
        )
        return jax.grad(objective, has_aux=True)(
            (decoder.params, encoder.params)
        )

    grads, (stats, metrics) = ctx.collectives.mean(updates.over_microbatches(
        ctx, gradients, (decoder.stats, encoder.stats),
        (images, sample_index, labels, numbers),
    ))
    moments = metrics.pop('moments')
    old = decoder, encoder
    grads = [
        freezing.without(this.frozen, player, own)
        for player, own in zip((DECODER, ENCODER), grads)
    ]
    metrics['g/grad_norm'] = updates.global_norm(grads[0])
    metrics['d/grad_norm'] = updates.global_norm(grads[1])
    decoder = updates.apply_updates(
        decoder, this.g_tx, grads[0],
        updates.scheduled_learning_rate(
            hyperparams.g_learning_rate, this.g_schedule, state
        ),
        stats[0],
    )
    encoder = updates.apply_updates(
        encoder, this.d_tx, grads[1],
        updates.scheduled_learning_rate(
            hyperparams.d_learning_rate, this.d_schedule, state
        ),
        stats[1],
    )
    if this.kind == 'glo':
        encoder = encoder.replace(
            params=jax.tree.map(encoders.into_unit_ball, encoder.params)
        )
    decoder = freezing.hold(this.frozen, DECODER, old[0], decoder)
    encoder = freezing.hold(this.frozen, ENCODER, old[1], encoder)
    codes = codes_lib.update(state.memory['codes'], moments, state.step)
    state = state.replace(
        players={DECODER: decoder, ENCODER: encoder},
        memory={**state.memory, 'codes': codes},
    )
    decay = averaging.ema_decay_at(state.step, hyperparams.ema_decay)
    return algorithm.update_averages(
        state, (DECODER,), decay, this.frozen
    ), metrics


def _objective(ctx, stats, targets, inputs, sample_index, params):
    """Return (loss, (new stats, metrics with the moments of the codes))."""
    this, hyperparams = ctx.gan, ctx.hyperparams
    keys = None
    if algorithm.takes_keys(this.encoder):
        keys = discriminator_inputs.sample_keys(ctx, 1, sample_index)
    outputs, encoder_stats = algorithm.forward(
        this.encoder, (params[1], stats[1]),
        algorithm.Inputs(inputs, keys=keys),
    )
    codes, kl = KINDS[this.kind](ctx, outputs, sample_index)
    samples, decoder_stats = discriminator_inputs.generate(
        ctx, params[0], stats[0], codes, sample_index, None
    )
    options = {'delta': hyperparams.huber_delta} if (
        this.reconstruction == 'huber') else {}
    error = reconstructions.RECONSTRUCTIONS[this.reconstruction](
        targets, samples, **options
    ).mean()
    metrics = {'g/loss': error, 'g/reconstruction': error}
    if kl is not None:
        kl = kl.mean()
        size = targets[0].size / (2 * jnp.square(hyperparams.decoder_std))
        metrics['g/loss'] = size * error + hyperparams.beta * kl
        metrics['d/kl'] = kl
    return metrics['g/loss'], ((decoder_stats, encoder_stats), {
        **metrics, 'moments': codes_lib.moments(jax.lax.stop_gradient(codes)),
    })
