"""Features of the last hidden layer of a discriminator.

An algorithm's `Monitors` apply the network; here it becomes an extractor.
"""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.features import extractors
from gan_jax.features import weights


def of_discriminator(algorithm, state):
    """Build the extractor of a run's discriminator.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: its `algorithm.TrainState`.

    Returns:
        `extractors.Extractor`; its features are those of `Monitors.features`,
        its logits the class logits of a D that has them.

    Raises:
        errors.ConfigError: if the algorithm has no discriminator.
    """
    if algorithm.monitors is None:
        raise errors.ConfigError(
            f'algorithm={algorithm.name!r} has no discriminator to extract '
            'features with'
        )
    note = f'discriminator of step {int(state.step)}'
    return _extractor(
        algorithm, state, note, algorithm.monitors.discriminator_weights(state)
    )


def of_random_discriminator(algorithm, state, *, seed=0):
    """Build the extractor of the same discriminator with initial weights.

    Running statistics have their initial values too: mean 0 and variance 1.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: its `algorithm.TrainState`; only shapes matter.
        seed: of the weights.

    Returns:
        `extractors.Extractor`.
    """
    shape = image_shape(algorithm, state)
    variables = jax.jit(
        lambda key: algorithm.monitors.untrained_discriminator(key, shape)
    )(jax.random.key(seed))
    note = f'untrained discriminator of seed {seed}'
    return _extractor(algorithm, state, note, variables)


def image_shape(algorithm, state):
    """Return the shape of one generated image or point."""
    weights = algorithm.weights(state, 'raw')
    inputs = algorithm.inputs(range(1))
    return jax.eval_shape(algorithm.apply, weights, inputs).shape[1:]


def outputs(algorithm, variables, images):
    """Apply D to each image independently; see `Monitors.features`."""
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
                f'the discriminator takes data of shape {list(shape)}, and '
                f'these have {list(images.shape[1:])}'
            )
        return _outputs(algorithm, variables, images)

    return extractors.Extractor(
        'discriminator', _fingerprint(variables), note,
        0 if logits is None else logits.shape[-1], apply,
    )


def _fingerprint(variables):
    """Hash the weights to 12 hex digits."""
    digest = hashlib.sha256()
    flat = weights.flatten({'params': variables.params, **variables.stats})
    for name, value in sorted(flat.items()):
        value = np.asarray(value)
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:12]
