"""Penalties on the parameters of either player.

Functions of a `penalties.Context`, of weight 1; `penalties` registers them.
"""

import jax
import jax.numpy as jnp


def orthogonal(context, memory, key):
    """Penalize filters of a player that are not orthogonal.

    sum over kernels of ||W^T W * (1 - I)||_F^2, W the kernel as a matrix
    [inputs, filters]: the relaxed form, which does not constrain norms. The
    paper's weight is 1e-4. Biases, scales and embeddings are excluded. The
    authors' PyTorch code adds half of this gradient: 1e-4 there is 5e-5 here.

    Args:
        context: a `penalties.Context`.
        memory, key: unused.

    Returns:
        float32 scalar, >= 0; 0 if all filters are orthogonal.

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, equation 3.
    """
    del memory, key
    total = jnp.float32(0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(context.params):
        if path[-1] == jax.tree_util.DictKey('kernel'):
            matrix = leaf.reshape(-1, leaf.shape[-1])
            gram = matrix.T @ matrix
            total += jnp.sum(jnp.square(gram * (1 - jnp.eye(len(gram)))))
    return total


def historical_averaging(context, memory, key):
    """Penalize the distance of parameters to the mean of their past values.

    ||theta - 1/t sum_{i <= t} theta_i||^2.

    Args:
        context: a `penalties.Context`.
        memory: {'mean': pytree like the parameters, 'count': their number}.
        key: unused.

    Returns:
        float32 scalar, >= 0; 0 at the first update.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.3.
    """
    del key
    squares = jax.tree.map(
        lambda p, m: jnp.sum(jnp.square(p - m)), context.params, memory['mean']
    )
    return sum(jax.tree.leaves(squares))


def historical_averaging_init(params):
    """Return the initial memory of `historical_averaging`."""
    return {
        'mean': jax.tree.map(jnp.copy, params), 'count': jnp.float32(1),
    }


def historical_averaging_update(memory, params, metrics):
    """Update the mean of `historical_averaging`."""
    del metrics
    count = memory['count'] + 1
    mean = jax.tree.map(
        lambda m, p: m + (p - m) / count, memory['mean'], params
    )
    return {'mean': mean, 'count': count}
