"""The features that a discriminator has learned: of its last hidden layer."""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.features import extractors
from gan_jax.features import weights


def of_discriminator(algorithm, state):
    """Make the extractor of a run's discriminator.

    Args:
        algorithm: the value that trained.
        state: `algorithm.TrainState` of it.

    Returns:
        `extractors.Extractor`; its features are as of `Monitors.features`, its
        logits those of the classes, of a D that tells them.

    Raises:
        errors.ConfigError: where the run has no discriminator.
    """
    if algorithm.monitors is None:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no discriminator to take '
            'features of'
        )
    note = f'discriminator of step {int(state.step)}'
    return _extractor(
        algorithm, state, note, algorithm.monitors.judge_weights(state)
    )


def of_random_discriminator(algorithm, state, *, seed=0):
    """Make the extractor of the same discriminator before any training.

    Running statistics are those at the start too: mean 0 and variance 1.

    Args:
        algorithm: the value that trained.
        state: `algorithm.TrainState` of it; only shapes matter.
        seed: of the weights.

    Returns:
        `extractors.Extractor`.
    """
    shape = image_shape(algorithm, state)
    fresh = jax.jit(lambda key: algorithm.monitors.fresh_judge(key, shape))(
        jax.random.key(seed)
    )
    note = f'untrained discriminator of seed {seed}'
    return _extractor(algorithm, state, note, fresh)


def image_shape(algorithm, state):
    """Return the shape of one image, or point, that an algorithm makes."""
    weights = algorithm.weights(state, 'raw')
    inputs = algorithm.inputs(range(1))
    return jax.eval_shape(algorithm.apply, weights, inputs).shape[1:]


def outputs(algorithm, variables, images):
    """Apply D to each image by itself; see `Monitors.features`."""
    return algorithm.monitors.features(variables, images)


_outputs = jax.jit(outputs, static_argnums=0)


def _extractor(algorithm, state, note, variables):
    shape = image_shape(algorithm, state)
    variables = jax.device_put(variables)
    _, logits = jax.eval_shape(
        functools.partial(outputs, algorithm), variables,
        jax.ShapeDtypeStruct((1, *shape), jnp.float32),
    )

    def apply(images):
        if images.shape[1:] != shape:
            raise errors.DataError(
                f'the discriminator judges data of shape {list(shape)}, and '
                f'these have {list(images.shape[1:])}'
            )
        return _outputs(algorithm, variables, images)

    return extractors.Extractor(
        'discriminator', _fingerprint(variables), note,
        0 if logits is None else logits.shape[-1], apply,
    )


def _fingerprint(variables):
    """Return 12 hex digits of the weights."""
    digest = hashlib.sha256()
    flat = weights.flatten({'params': variables.params, **variables.stats})
    for name, value in sorted(flat.items()):
        value = np.asarray(value)
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:12]
