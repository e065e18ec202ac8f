"""Minibatch features of a discriminator, against mode collapse.

They compare the samples of a batch, on each device separately. Penalties of
per-sample gradients, such as WGAN-GP's, are not defined for a discriminator
with such features.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers

EPSILON = 1e-8  # inside the square root, whose slope at 0 is infinite


class MinibatchDiscrimination(nn.Module):
    """Layer that appends the closeness of each sample to the rest of the batch.

    M_i = T x_i, a matrix of B rows and C columns
    f_ib = bias_b + sum_{j != i} exp(-||M_ib - M_jb||_1)

    Each device compares its own samples only. Time and memory grow with
    N^2 B C.

    Differs from the paper: there is a bias, which starts at 0, and the sample
    itself, which contributes 1 in the paper, is excluded. The authors' code has
    both too, with a bias of -1 at first; unlike there, T is not
    weight-normalised.

    Attributes:
        features: B, the number of features; 100 in the authors' code.
        dimensions: C, the length of the compared vectors; 5 in that code.
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
        """Concatenate the features: x [N, A] to [N, A + features]."""
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
    """Apply minibatch discrimination to D's features, if it is enabled.

    T has spectral norm 1 if the network's kernels have it. For compact methods:
    the layer becomes part of the calling module.

    Args:
        network: module with the fields minibatch_features, spectral_norm and
            dtype.
        features: [N, F].
        train: whether the forward pass is one of training.

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
    """Return the largest divisor of num that is at most `largest`."""
    return max(size for size in range(1, largest + 1) if num % size == 0)


def minibatch_stddev(x, group=4):
    """Concatenate a channel with the mean standard deviation of a group.

    s_m = mean_{h,w,c} sqrt(var_{g in group m} x[g, h, w, c] + 1e-8)

    Group m contains the samples m, m + N / G, m + 2 N / G, ... Each device
    groups its own samples.

    Differs from the authors' code, where G is min(4, N) and must divide N: here
    G is the largest divisor of N up to `group`.

    Args:
        x: [N, ..., C].
        group: largest G, the number of samples of a group.

    Returns:
        [N, ..., C + 1] in the dtype of x; the channel is equal for all samples
        of a group.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality,
        Stability, and Variation, https://arxiv.org/abs/1710.10196, 2017,
        section 3; the groups are from the authors' code.
    """
    size = _group_size(x.shape[0], group)
    groups = x.astype(jnp.float32).reshape(size, -1, *x.shape[1:])
    stddev = jnp.sqrt(groups.var(0) + EPSILON)
    stddev = stddev.mean(tuple(range(1, x.ndim)))  # [N / G]
    stddev = jnp.tile(stddev, size).reshape(-1, *[1] * (x.ndim - 1))
    stddev = jnp.broadcast_to(stddev, (*x.shape[:-1], 1)).astype(x.dtype)
    return jnp.concatenate([x, stddev], axis=-1)
