"""Norms and random draws of the samples of a batch.

Shared by the penalties; every function works on each sample separately.
"""

import jax
import jax.numpy as jnp


def squared_norms(values):
    """Sum the squares of each row over all its axes: [B, ...] -> [B]."""
    values = values.astype(jnp.float32)
    return jnp.sum(jnp.square(values), axis=tuple(range(1, values.ndim)))


def safe_sqrt(squared):
    """Compute square roots whose gradient at 0 is 0 instead of infinite."""
    positive = squared != 0  # a NaN stays one
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def draw(draw_fn, key, sample_index):
    """Call draw_fn(key of the sample) for each sample.

    Args:
        draw_fn: PRNG key -> array.
        key: PRNG key.
        sample_index: [B] int32, folded into the key, so that a sample's draw
            does not depend on the rest of the batch.

    Returns:
        [B, ...].
    """
    return jax.vmap(
        lambda index: draw_fn(jax.random.fold_in(key, index))
    )(sample_index)
