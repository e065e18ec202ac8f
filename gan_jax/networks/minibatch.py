"""Features of a sample among its batch, against collapse of the generator.

They couple the batch, per device: where the batch is sharded, each device
compares its own samples alone. A penalty of each sample's gradient, such as
WGAN-GP's, is not defined for a discriminator that has them.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers

EPSILON = 1e-8  # under the root, whose slope at 0 has no bound


class MinibatchDiscrimination(nn.Module):
    """Append how near the other samples of the batch lie to each.

    M_i = T x_i, a matrix of B rows and C columns
    f_ib = bias_b + sum_{j != i} exp(-||M_ib - M_jb||_1)

    It couples the batch, per device: of a batch in shards, each device compares
    its own samples alone. Time and memory grow with N^2 B C.

    Differs from the paper: the bias, which starts at 0; the sample itself,
    which adds 1 in the paper, is left out. Differs from the authors' code,
    which has the bias (it starts at -1) and leaves out the sample too: T is
    not weight-normalised.

    Attributes:
        features: B, the number of features; 100 in the authors' code.
        dimensions: C, the length of the vectors compared; 5 in that code.
        dtype: dtype of the result; parameters and distances are float32.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.2.
    """

    features: int = 100
    dimensions: int = 5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Map x [N, A] to [N, A + features]."""
        num, size = x.shape
        kernel = self.param(
            'kernel',
            nn.initializers.normal(0.05),
            (size, self.features * self.dimensions),
            jnp.float32,
        )
        bias = self.param(
            'bias', nn.initializers.zeros, (self.features,), jnp.float32
        )
        matrices = jnp.matmul(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            preferred_element_type=jnp.float32,
        ).reshape(num, self.features, self.dimensions)
        distances = jnp.abs(matrices[:, None] - matrices).sum(-1)  # [N, N, B]
        others = ~jnp.eye(num, dtype=bool)[..., None]
        nearness = jnp.sum(jnp.exp(-distances), axis=1, where=others) + bias
        return jnp.concatenate(
            [x.astype(self.dtype), nearness.astype(self.dtype)], axis=1
        )


def discriminate(network, features, *, train):
    """Append minibatch discrimination to D's features, where it is asked for.

    T has spectral norm 1 where the network's kernels have. For a compact
    method: the layer becomes part of the network.

    Args:
        network: module with the fields minibatch_features, spectral_norm and
            dtype.
        features: [N, F].
        train: whether a forward is one of training.

    Returns:
        [N, F + minibatch_features].
    """
    if not network.minibatch_features:
        return features
    wrap = layers.wrapper(network.spectral_norm, train=train)
    return wrap(MinibatchDiscrimination(
        network.minibatch_features, dtype=network.dtype
    ))(features)


def _group_size(num, largest):
    """Find the largest divisor of num that is not above `largest`."""
    return max(size for size in range(1, largest + 1) if num % size == 0)


def minibatch_stddev(x, group=4):
    """Append one map: how much the samples of a group differ, on average.

    s_m = mean_{h,w,c} sqrt(var_{g in group m} x[g, h, w, c] + 1e-8)

    Samples m, m + N / G, m + 2 N / G, ... are group m. It couples the batch,
    per device: of a batch in shards, each device groups its own samples.

    Differs from the authors' code, which takes min(4, N) and fails where that
    does not divide N: here G is the largest divisor of N up to `group`.

    Args:
        x: [N, ..., C].
        group: G, the number of samples of a group.

    Returns:
        [N, ..., C + 1] in the dtype of x; the map is the same in all samples of
        a group.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality,
        Stability, and Variation, https://arxiv.org/abs/1710.10196, 2017,
        section 3; groups are of the authors' code.
    """
    size = _group_size(x.shape[0], group)
    groups = x.astype(jnp.float32).reshape(size, -1, *x.shape[1:])
    stddev = jnp.sqrt(groups.var(0) + EPSILON)
    stddev = stddev.mean(tuple(range(1, x.ndim)))  # [N / G]
    stddev = jnp.tile(stddev, size).reshape(-1, *[1] * (x.ndim - 1))
    stddev = jnp.broadcast_to(stddev, (*x.shape[:-1], 1)).astype(x.dtype)
    return jnp.concatenate([x, stddev], axis=-1)
