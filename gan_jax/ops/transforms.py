"""Transformations of pytrees of parameters: weight clipping and averages.

The averages are in `averaging`; here they are beside weight clipping for
`gan_jax.transforms`.
"""

import jax
import jax.numpy as jnp

from gan_jax.ops.averaging import average, ema, ema_decay_at, keep_last, newest

__all__ = [
    'average', 'clip_weights', 'ema', 'ema_decay_at', 'keep_last', 'newest',
]


def clip_weights(params, limit):
    """Clip every parameter to [-limit, limit].

    It is applied after each update and once to the initial weights, which is
    equivalent to the authors' clipping before each critic step.

    Args:
        params: pytree of arrays, including scales and biases of normalisation,
            as in the authors' code.
        limit: positive scalar, c in the paper (0.01 there).

    Returns:
        pytree of the same structure.

    References:
        Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875,
        2017, algorithm 1.
    """
    return jax.tree.map(lambda p: jnp.clip(p, -limit, limit), params)
