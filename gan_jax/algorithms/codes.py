"""Moments of the codes of an encoder, and the Gaussian that is fitted to them.

An algorithm keeps the moments of the codes of recent batches in its memory;
samples are decoded from z that has them. Pure.
"""

import jax
import jax.numpy as jnp

from gan_jax.ops import averaging

DECAY = 0.99  # of the moving moments, after the warm-up
LARGEST = 1024  # length of a code whose full covariance is kept


def init(size, channels=None):
    """Return the initial moments, those of N(0, I).

    Args:
        size: length of a code.
        channels: length of the vector at each position of a code that is a map;
            a code longer than `LARGEST` has the covariance of these vectors,
            the same at all positions, and no covariance between positions.

    Returns:
        {'mean': [size], 'second': [block, block]}.
    """
    block = size if channels is None or size <= LARGEST else channels
    return {'mean': jnp.zeros(size), 'second': jnp.eye(block)}


def moments(codes, block=None):
    """Return the mean [D] and the second moment [block, block] of codes [B, D].
    """
    rows = codes.reshape(-1, block or codes.shape[1])
    # `fit` takes the difference of two of these.
    second = jnp.matmul(rows.T, rows, precision='highest') / len(rows)
    return {'mean': codes.mean(0), 'second': second}


def update(memory, new, step):
    """Return the moving moments after those of a batch.

    Args:
        memory: as of `init`.
        new: as of `moments`, means over devices.
        step: int32, number of completed steps.
    """
    return averaging.ema(memory, new, averaging.ema_decay_at(step, DECAY))


def fit(memory):
    """Return the map that gives N(0, I) the mean and covariance of codes.

    Args:
        memory: as of `init`.

    Returns:
        (mean [D], matrix [block, block]), for `transform`.

    References:
        Ghosh et al., From Variational to Deterministic Autoencoders,
        https://arxiv.org/abs/1903.12436, 2019.
    """
    mean, second = memory['mean'], memory['second']
    rows = mean.reshape(-1, len(second))
    product = jnp.matmul(rows.T, rows, precision='highest')
    covariance = second - product / len(rows)
    # Some may be 0, or negative by rounding.
    values, vectors = jnp.linalg.eigh(covariance)
    scales = jnp.sqrt(jnp.maximum(values, 0))
    return mean, scales[:, None] * vectors.T


def transform(fitted, z):
    """Return the codes [B, D] of z [B, D]; z itself without a fit.

    Args:
        fitted: as of `fit`, or None.
        z: [B, D].
    """
    if fitted is None:
        return z
    mean, matrix = fitted
    blocks = z.reshape(z.shape[0], -1, len(matrix))
    moved = jnp.matmul(blocks, matrix, precision='highest')
    return mean + moved.reshape(z.shape)


def standard_noise(key, shape, sample_index):
    """Sample N(0, I) of a shape for each sample, keyed by its index.

    Args:
        key: PRNG key.
        shape: of one sample.
        sample_index: [B] int32.

    Returns:
        [B, *shape].
    """
    return jax.vmap(lambda index: jax.random.normal(
        jax.random.fold_in(key, index), shape
    ))(sample_index)
