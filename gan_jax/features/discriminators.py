"""The features that a discriminator has learned: of its last hidden layer."""

import functools
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.features import extractors
from gan_jax.features import weights
from gan_jax.steps import game

CLASSES = 10  # at most, over which features that know the label are averaged


class Variables(NamedTuple):
    """Of a discriminator: its params and its other collections."""

    params: Any
    stats: Any


def of_discriminator(gan, state):
    """Make the extractor of a run's discriminator.

    Args:
        gan: `game.GAN`.
        state: `game.GANState` of it.

    Returns:
        `extractors.Extractor`; its features are as of `outputs`, its logits
        those of the classes, of a D that tells them.

    Raises:
        errors.ConfigError: where the run is a baseline's, without D.
    """
    if gan.baseline:
        raise errors.ConfigError(
            f'baseline.name={gan.baseline!r} has no discriminator to take '
            'features of'
        )
    player = state.discriminator
    note = f'discriminator of step {int(state.step)}'
    return _extractor(gan, state, note, Variables(player.params, player.stats))


def of_random_discriminator(gan, state, *, seed=0):
    """Make the extractor of the same discriminator before any training.

    Running statistics are those at the start too: mean 0 and variance 1.

    Args:
        gan: `game.GAN`.
        state: `game.GANState` of it; only shapes matter.
        seed: of the weights.

    Returns:
        `extractors.Extractor`.
    """
    shape = image_shape(gan, state)
    player = jax.jit(
        lambda key: game.init(gan, key, shape).discriminator
    )(jax.random.key(seed))
    note = f'untrained discriminator of seed {seed}'
    return _extractor(gan, state, note, Variables(player.params, player.stats))


def image_shape(gan, state):
    """Give the shape of one image, or point, that the GAN makes."""
    z = jax.ShapeDtypeStruct((1, gan.latent_size), jnp.float32)
    labels = None
    if gan.num_classes:
        labels = jax.ShapeDtypeStruct((1,), jnp.int32)
    made = jax.eval_shape(
        functools.partial(game.generate, gan), *game.raw(state), z, labels
    )
    return made.shape[1:]


def outputs(gan, variables, images):
    """Apply D with running statistics to each image by itself.

    What compares the samples of a batch (minibatch discrimination, standard
    deviations) therefore compares an image with nothing, and is constant. A
    packed D judges copies of the image. Where the label enters before the
    features ('concat'), they are averaged over the classes, over ten evenly
    spaced ones of more, so that they know no label.

    Args:
        gan: `game.GAN`.
        variables: `Variables` of its discriminator.
        images: [B, H, W, C] uint8, or float in [-1, 1]; or points [B, D].

    Returns:
        (features [B, F], class logits [B, K] or None), float32.
    """
    images = game.to_unit_range(images)
    repeats = (1,) * (images.ndim - 1) + (gan.packing,)
    tuples = jnp.tile(images, repeats)

    def one(image, label):
        given = {} if label is None else {'labels': label[None]}
        found = gan.discriminator.apply(
            {'params': variables.params, **variables.stats}, image[None],
            train=False, **given,
        )
        return jax.tree.map(
            lambda x: x[0].astype(jnp.float32),
            (found.features, found.class_logits),
        )

    found = [
        jax.vmap(one, (0, None))(tuples, label) for label in _labels(gan)
    ]
    return jax.tree.map(lambda *x: sum(x) / len(x), *found)


def _labels(gan):
    """List the labels that D is given with each image."""
    if not gan.num_classes:
        return [None]
    if getattr(gan.discriminator, 'condition', 'none') != 'concat':
        return [jnp.int32(0)]  # it does not reach the features
    count = min(gan.num_classes, CLASSES)
    return [jnp.int32(k * gan.num_classes // count) for k in range(count)]


_outputs = jax.jit(outputs, static_argnums=0)


def _extractor(gan, state, note, variables):
    shape = image_shape(gan, state)
    variables = jax.device_put(variables)
    _, logits = jax.eval_shape(
        functools.partial(outputs, gan), variables,
        jax.ShapeDtypeStruct((1, *shape), jnp.float32),
    )

    def apply(images):
        if images.shape[1:] != shape:
            raise errors.DataError(
                f'the discriminator judges data of shape {list(shape)}, and '
                f'these have {list(images.shape[1:])}'
            )
        return _outputs(gan, variables, images)

    return extractors.Extractor(
        'discriminator', _fingerprint(variables), note,
        0 if logits is None else logits.shape[-1], apply,
    )


def _fingerprint(variables):
    """Give 12 hex digits of the weights."""
    digest = hashlib.sha256()
    flat = weights.flatten({'params': variables.params, **variables.stats})
    for name, value in sorted(flat.items()):
        value = np.asarray(value)
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:12]
