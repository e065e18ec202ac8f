"""Moments of the codes of an encoder, and the Gaussian that is fitted to them.

An algorithm keeps the moments of the codes of recent batches in its memory;
samples are decoded from z that has them. Pure.
"""

import jax
import jax.numpy as jnp

from gan_jax.objectives import reconstructions
from gan_jax.ops import averaging

DECAY = 0.99  # of the moving moments, after the warm-up
LARGEST = 1024  # length of a code whose full covariance is kept
LOG_VARIANCES = -30.0, 20.0  # least and largest of Gaussian codes


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


def sample_gaussian(key, outputs, sample_index):
    """Sample codes of N(m, s^2), which an encoder gives as m and log s^2.

    Args:
        key: PRNG key.
        outputs: [B, ..., 2c], m and log s^2; the latter is kept within
            `LOG_VARIANCES`, as in the code of Rombach et al.
        sample_index: [B] int32.

    Returns:
        (codes [B, ..., c], KL [B] from N(0, I), summed over a code).

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes,
        https://arxiv.org/abs/1312.6114, 2013; Rombach et al., High-Resolution
        Image Synthesis with Latent Diffusion Models,
        https://arxiv.org/abs/2112.10752, 2021.
    """
    mean, log_variance = jnp.split(outputs, 2, axis=-1)
    log_variance = jnp.clip(log_variance, *LOG_VARIANCES)
    noise = standard_noise(key, mean.shape[1:], sample_index)
    return mean + jnp.exp(log_variance / 2) * noise, (
        reconstructions.kl_from_standard_normal(*(
            part.reshape(len(part), -1) for part in (mean, log_variance)
        ))
    )


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
