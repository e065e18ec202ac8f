"""Averages of pytrees of parameters: EMA with its warm-up, and snapshots.

Pure functions from pytrees to pytrees; they know no networks.
"""

import chex
import jax
import jax.numpy as jnp


def ema(average, new, decay):
    """Update an exponential moving average.

    average <- decay * average + (1 - decay) * new, leaf by leaf.

    Args:
        average: pytree of arrays.
        new: pytree of the same structure.
        decay: scalar in [0, 1]; 0 copies `new`.

    Returns:
        pytree of the structure and dtypes of `average`.

    Raises:
        AssertionError: if their structures or shapes differ.

    References:
        Yazıcı et al., The Unusual Effectiveness of Averaging in GAN Training,
        https://arxiv.org/abs/1806.04498, 2018.
    """
    chex.assert_trees_all_equal_shapes(average, new)
    return jax.tree.map(
        lambda a, n: (a + (1 - decay) * (n - a)).astype(a.dtype), average, new
    )


def ema_decay_at(step, decay):
    """Compute the decay of an EMA with warm-up.

    min(decay, (1 + step) / (10 + step)), so that the random initial parameters
    lose their influence early. It is the formula of the argument `num_updates`
    of TensorFlow's ExponentialMovingAverage.

    Args:
        step: int scalar, number of completed training steps; a step may update
            the average several times, once per update of the generator.
        decay: float scalar in [0, 1], the decay after the warm-up.

    Returns:
        float32 scalar in [0.1, decay], or `decay` if that is smaller.
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1 + step) / (10 + step))


def half_life_decay(half_life):
    """Compute the decay of an EMA with a half-life.

    0.5^(1 / half_life): after so many updates, a value of the past has half of
    its weight.

    Args:
        half_life: float scalar >= 0, in updates of the average; at 0 the
            average is a copy.

    Returns:
        float32 scalar in [0, 1).
    """
    return jnp.exp2(-1 / jnp.maximum(half_life, 1e-8))


def keep_last(ring, new, taken, due=True):
    """Write a pytree to a ring buffer of size N, over the oldest entry.

    ring[taken mod N] <- new, leaf by leaf. If it is not due, the entry is
    overwritten with its own value, which copies one pytree instead of N.

    Args:
        ring: pytree of arrays [N, ...].
        new: pytree of the same structure, of arrays [...].
        taken: int32 scalar, number of pytrees written before.
        due: bool scalar; if False, the ring is unchanged.

    Returns:
        pytree of the structure of `ring`.
    """

    def put(entries, value):
        index = taken % len(entries)
        present = jax.lax.dynamic_index_in_dim(entries, index, keepdims=False)
        value = jnp.where(due, value, present)
        return jax.lax.dynamic_update_index_in_dim(entries, value, index, 0)

    return jax.tree.map(put, ring, new)


def average(ring, taken):
    """Average the pytrees in a ring buffer.

    1 / n * sum of the filled entries, n = min(taken, N), leaf by leaf, summed
    in float32: stochastic weight averaging over a window.

    Args:
        ring: pytree of float arrays [N, ...], from `keep_last`.
        taken: int scalar, number of pytrees written; 0 gives NaN.

    Returns:
        pytree of arrays [...] of the dtypes of `ring`.

    References:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better
        Generalization, https://arxiv.org/abs/1803.05407, 2018.
        Yazıcı et al., The Unusual Effectiveness of Averaging in GAN Training,
        https://arxiv.org/abs/1806.04498, 2018, which compare it with the EMA.
    """

    def mean(entries):
        filled = jnp.arange(len(entries)) < taken
        filled = filled.reshape(-1, *(1,) * (entries.ndim - 1))
        average = jnp.mean(entries, 0, dtype=jnp.float32, where=filled)
        return average.astype(entries.dtype)

    return jax.tree.map(mean, ring)


def newest(ring, taken):
    """Return the pytree that was written last to a ring buffer.

    Args, returns: as `average`, with arrays of any dtype; `taken` is at least
    1.
    """
    return jax.tree.map(
        lambda entries: entries[(taken - 1) % len(entries)], ring
    )
