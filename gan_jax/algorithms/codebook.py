"""The codebook of VQ-VAE: nearest vectors, moving averages, and restarts.

van den Oord et al., Neural Discrete Representation Learning,
https://arxiv.org/abs/1711.00937, 2017. Pure: means over devices are taken by
the caller.
"""

import jax
import jax.numpy as jnp

UPDATES = ('ema', 'gradient')  # how the vectors move
LEAST = 1e-20  # share below which a vector counts as never used
USED = 0.1  # of the mean share, above which a code counts as used


def nearest(outputs, vectors):
    """Find the nearest vector of each output.

    Args:
        outputs: [..., c].
        vectors: [K, c].

    Returns:
        Index [...] int32 of the vector of least Euclidean distance.
    """
    rows = outputs.reshape(-1, outputs.shape[-1])
    # |x - e|^2 without |x|^2, which is the same for all vectors.
    products = jnp.matmul(rows, vectors.T, precision='highest')
    distances = jnp.square(vectors).sum(1) - 2 * products
    return distances.argmin(1).astype(jnp.int32).reshape(outputs.shape[:-1])


def straight_through(outputs, quantised):
    """Return `quantised`, whose gradient goes to `outputs` unchanged.

    Args:
        outputs: [..., c], of the encoder.
        quantised: [..., c], the nearest vectors.

    References:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic
        Neurons for Conditional Computation, https://arxiv.org/abs/1308.3432,
        2013.
    """
    return outputs + jax.lax.stop_gradient(quantised - outputs)


def init(positions, num_codes, code_size):
    """Return the memory of a codebook.

    Args:
        positions: number of positions of a code.
        num_codes: K.
        code_size: c.

    Returns:
        {'share': [K], moving share of outputs that are nearest to each vector;
        'sums': [K, c], moving sums of these outputs over their number; 'use':
        [positions, K], moving share at each position}.
    """
    return {
        'share': jnp.zeros(num_codes),
        'sums': jnp.zeros((num_codes, code_size)),
        'use': jnp.full((positions, num_codes), 1 / num_codes),
    }


def count(outputs, indices, num_codes):
    """Return the share, the sums and the use in a batch, as of `init`.

    Args:
        outputs: [b, positions, c].
        indices: [b, positions] int32, as of `nearest`.
        num_codes: K.
    """
    one_hot = jax.nn.one_hot(indices, num_codes)  # [b, positions, K]
    rows = one_hot.reshape(-1, num_codes)
    return {
        'share': rows.mean(0),
        'sums': jnp.matmul(
            rows.T, outputs.reshape(len(rows), -1), precision='highest'
        ) / len(rows),
        'use': one_hot.mean(0),
    }


def statistics(share):
    """Compute the perplexity and the usage of a codebook.

    Args:
        share: [K] share of each code, >= 0, of sum 1.

    Returns:
        {'codes/perplexity': exp of the entropy, from 1 to K; 'codes/usage':
        share of codes with at least a tenth of the mean share, in (0, 1]}.
    """
    entropy = -jnp.where(share > 0, share * jnp.log(
        jnp.where(share > 0, share, 1)
    ), 0).sum()
    return {
        'codes/perplexity': jnp.exp(entropy),
        'codes/usage': (share > USED / len(share)).mean(dtype=jnp.float32),
    }


def move(memory, vectors):
    """Return the vectors as the moving means of the outputs nearest to them.

    e_k = sums_k / share_k. A vector that has not been nearest for long stays.

    Args:
        memory: as of `init`, with the counts of this step.
        vectors: [K, c].

    References:
        van den Oord et al., https://arxiv.org/abs/1711.00937, 2017, appendix
        A.1. Differs: the sums are divided by the number of outputs, and there
        is no Laplace smoothing, as no share that is used is 0.
    """
    share = memory['share'][:, None]
    used = share > LEAST
    return jnp.where(
        used, memory['sums'] / jnp.where(used, share, 1), vectors
    )


def restart(memory, vectors, outputs, key, threshold):
    """Replace dead vectors by outputs of the encoder, drawn at random.

    A vector is dead if its moving share is below `threshold` of the mean share
    1 / K. It starts with the mean share. The outputs are those of all devices,
    in the order of the global batch, so that the draw does not depend on the
    number of devices.

    Args:
        memory: as of `init`.
        vectors: [K, c].
        outputs: [N, c], of the global batch.
        key: PRNG key.
        threshold: scalar in [0, 1); 0 restarts none.

    Returns:
        (memory, vectors).

    References:
        Dhariwal et al., Jukebox: A Generative Model for Music,
        https://arxiv.org/abs/2005.00341, 2020, section 3.1.
    """
    size = len(vectors)
    dead = (memory['share'] < threshold / size)[:, None]
    chosen = jax.random.choice(
        key, len(outputs), (size,), replace=len(outputs) < size
    )
    picked = outputs[chosen]
    return {
        **memory,
        'share': jnp.where(dead[:, 0], 1 / size, memory['share']),
        'sums': jnp.where(dead, picked / size, memory['sums']),
    }, jnp.where(dead, picked, vectors)


def sample(use, z):
    """Draw a code at each position from its use there, by quantiles of z.

    The positions are independent: a prior over codes, such as the transformer
    of VQ-GAN, is another model.

    Args:
        use: [positions, K], shares of sum 1.
        z: [B, positions] of N(0, 1).

    Returns:
        [B, positions] int32 in [0, K).
    """
    quantile = jax.scipy.stats.norm.cdf(z)[..., None]
    below = jnp.cumsum(use, 1) / use.sum(1, keepdims=True) <= quantile
    return jnp.minimum(below.sum(-1), use.shape[1] - 1).astype(jnp.int32)
