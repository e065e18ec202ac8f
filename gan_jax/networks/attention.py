"""Self-attention between the pixels of a feature map."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import layers
from gan_jax.networks import resampling


class SelfAttention(nn.Module):
    """Self-attention layer with a residual connection.

    beta[j, i] = softmax_i(f(x_i) . g(x_j))
    y_j = x_j + gamma v(sum_i beta[j, i] h(x_i))

    f, g, h and v are convolutions of size 1 without bias: f and g to C / 8
    channels, h to C / 2, v back to C. f(x) and h(x) are max-pooled over squares
    of 2 x 2 pixels. gamma, the parameter `weight`, is a scalar that starts at
    0, so that the layer is initially the identity.

    As in the authors' code, and unlike the paper, where h has C / 8 channels
    and nothing is pooled. That code supports only even sides, and its layers
    always have spectral norm 1. Here the scores are float32 for every dtype.

    Attributes:
        spectral_norm: whether every kernel has spectral norm 1.
        dtype: dtype of the result; parameters and softmax are float32.

    References:
        Zhang et al., Self-Attention Generative Adversarial Networks,
        https://arxiv.org/abs/1805.08318, 2018, section 3.
    """

    spectral_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        """Apply to x: [B, H, W, C]; `train` is passed to spectral norm."""
        wrap = layers.wrapper(self.spectral_norm, train=train)

        def project(features, x, name):
            return wrap(nn.Dense(  # a convolution of size 1
                max(features, 1),
                use_bias=False,
                dtype=self.dtype,
                kernel_init=nn.initializers.glorot_uniform(),
                name=name,
            ))(x)

        batch, height, width, channels = x.shape
        keys = resampling.max_pool(project(channels // 8, x, 'f'))
        queries = project(channels // 8, x, 'g')
        values = resampling.max_pool(project(channels // 2, x, 'h'))
        keys, queries, values = (
            part.reshape(batch, -1, part.shape[-1])  # [B, pixels, F]
            for part in (keys, queries, values)
        )
        scores = jnp.einsum(
            'bjf,bif->bji', queries, keys, preferred_element_type=jnp.float32
        )
        beta = jax.nn.softmax(scores).astype(self.dtype)
        mean = jnp.einsum('bji,bif->bjf', beta, values)
        mean = project(channels, mean.reshape(batch, height, width, -1), 'v')
        weight = self.param('weight', nn.initializers.zeros, (), jnp.float32)
        return x.astype(self.dtype) + weight.astype(self.dtype) * mean


def check(network, sides):
    """Check that a feature map has the side `network.attention`.

    Args:
        network: module with the field attention.
        sides: shorter sides of the feature maps that can have attention.

    Raises:
        ValueError: if the field is neither 0 nor one of `sides`.
    """
    if network.attention and network.attention not in sides:
        raise ValueError(
            f'attention={network.attention} of the {type(network).__name__} is '
            f'not the shorter side of one of its feature maps; choose 0 for '
            f'none or one of {sorted(sides)}'
        )


def attend(network, x, *, train):
    """Apply self-attention if the shorter side of x is `network.attention`.

    For compact methods: the layer becomes part of the calling module.

    Args:
        network: module with the fields attention, spectral_norm and dtype.
        x: [B, H, W, C].
        train: whether the forward pass is one of training.

    Returns:
        [B, H, W, C]; x itself if its shorter side differs.
    """
    if min(x.shape[1:3]) != network.attention:
        return x
    return SelfAttention(
        spectral_norm=network.spectral_norm, dtype=network.dtype
    )(x, train=train)
