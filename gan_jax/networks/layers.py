"""Layers that the networks share; the one room for convolution tricks."""

import math
from typing import Any, NamedTuple, Optional, Tuple

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp

# The initialisation of Radford et al., https://arxiv.org/abs/1511.06434, 2015,
# section 4: every weight from N(0, 0.02^2).
dcgan_init = nn.initializers.normal(0.02)

DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
NORMS = ('batch', 'group', 'instance', 'layer', 'none')


class Output(NamedTuple):
    """What every discriminator returns.

    Attributes:
        logits: [B] float32, never probabilities.
        features: [B, F], the last hidden layer.
        class_logits: [B, num_classes] float32, or None.
    """

    logits: jax.Array
    features: jax.Array
    class_logits: Optional[jax.Array] = None


def _strided_conv(images, kernel, strides):
    """The convolution that `conv_transpose` is the transpose of.

    Args:
        images: [B, H * s, W * s, features], the large side.
        kernel: [kh, kw, in_features, features], as of `conv_transpose`.
        strides: (s, s).

    Returns:
        [B, H, W, in_features], the small side.
    """
    # A transposed convolution correlates with the kernel as it lies, so the
    # strided one that it transposes sees it flipped and with its ends swapped.
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # `lax.conv_transpose` pads k - s in total and the larger half first where
    # the two differ; its transpose has the larger half last, which is SAME.
    return lax.conv_general_dilated(
        images, flipped, strides, 'SAME', dimension_numbers=DIMENSIONS
    )


@jax.custom_vjp
def _conv_transpose_2(images, kernel):
    return lax.conv_transpose(
        images, kernel, (2, 2), 'SAME', dimension_numbers=DIMENSIONS
    )


def _forward(images, kernel):
    return _conv_transpose_2(images, kernel), (images, kernel)


def _backward(residuals, cotangent):
    images, kernel = residuals
    # <conv_transpose(x, w), dy> = <conv(dy, w), x>: so dx is conv(dy, w), and
    # dw is the weight gradient of that strided convolution with cotangent x.
    d_images, conv_vjp = jax.vjp(
        lambda kernel: _strided_conv(cotangent, kernel, (2, 2)), kernel
    )
    (d_kernel,) = conv_vjp(images)
    return d_images, d_kernel


_conv_transpose_2.defvjp(_forward, _backward)


def conv_transpose(images, kernel):
    """Double height and width by a transposed convolution of stride 2.

    Equal to `jax.lax.conv_transpose(..., strides=(2, 2), padding='SAME')` in
    value and in every gradient, of any order. The difference is speed: XLA's
    own weight gradient of it, a convolution dilated on both sides, misses the
    fast path on CPU; here it is the weight gradient of a plain strided
    convolution.

    Args:
        images: [B, H, W, in_features].
        kernel: [kh, kw, in_features, features] with kh, kw >= 2, as
            `flax.linen.ConvTranspose` stores it.

    Returns:
        [B, 2H, 2W, features].
    """
    return _conv_transpose_2(images, kernel)


class ConvTranspose(nn.Module):
    """`flax.linen.ConvTranspose` of stride 2: same parameters, faster on CPU.

    Attributes:
        features: channels of the output.
        kernel_size: (kh, kw), each at least 2.
        use_bias: whether a bias is added.
        dtype: dtype of the computation; parameters are float32.
        kernel_init: initialiser of the kernel.
    """

    features: int
    kernel_size: Tuple[int, int]
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Any = dcgan_init

    @nn.compact
    def __call__(self, images):
        """Map [B, H, W, C] to [B, 2H, 2W, features]."""
        shape = (*self.kernel_size, images.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
        images = conv_transpose(
            images.astype(self.dtype), kernel.astype(self.dtype)
        )
        if self.use_bias:
            bias = self.param(
                'bias', nn.initializers.zeros, (self.features,), jnp.float32
            )
            images = images + bias.astype(self.dtype)
        return images


class Norm(nn.Module):
    """Normalise by name, so that a config can choose.

    Batch statistics are those of one device's part of the batch.

    Attributes:
        kind: one of `NORMS`; 'none' returns the input.
        dtype: dtype of the result; statistics are float32.
    """

    kind: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        """Normalise x: [B, ..., C]; `train` selects the batch's statistics."""
        if self.kind == 'none':
            return x
        if self.kind == 'batch':
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                dtype=self.dtype,
            )(x)
        if self.kind == 'layer':  # over height, width and channels
            axes = tuple(range(1, x.ndim))
            return nn.LayerNorm(reduction_axes=axes, dtype=self.dtype)(x)
        channels = x.shape[-1]
        groups = channels if self.kind == 'instance' else math.gcd(32, channels)
        return nn.GroupNorm(num_groups=groups, dtype=self.dtype)(x)
