"""Layers with equalised learning rates, as in ProGAN and StyleGAN.

Kernels start from N(0, 1) and are multiplied by a constant when they are used,
so that Adam, whose steps do not depend on the scale of a gradient, moves all of
them equally fast in relation to their size. LeakyReLU is followed by a factor
of sqrt(2), which keeps the mean square of activations near 1.

References:
    Karras et al., Progressive Growing of GANs for Improved Quality, Stability,
    and Variation, https://arxiv.org/abs/1710.10196, 2017, section 4.1; Karras
    et al., Analyzing and Improving the Image Quality of StyleGAN,
    https://arxiv.org/abs/1912.04958, 2019.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import convolutions
from gan_jax.networks import fir

SLOPE = 0.2  # of LeakyReLU
CLAMP = 256.0  # largest absolute value of activations in bfloat16
EPSILON = 1e-8  # inside square roots


def normalise(x):
    """Scale vectors to a root mean square of 1; x: [B, F]."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)


def leaky_relu(x, gain=1.0):
    """Apply LeakyReLU(0.2), times sqrt(2) and a gain; see `clamp`."""
    return clamp(nn.leaky_relu(x, SLOPE) * (math.sqrt(2) * gain), gain)


def clamp(x, gain=1.0):
    """Clip values to ±256 times a gain in bfloat16, as the authors in float16.
    """
    if x.dtype == jnp.float32:
        return x
    return jnp.clip(x, -CLAMP * gain, CLAMP * gain)


class Dense(nn.Module):
    """Dense layer, computed in float32.

    y = x W rate / sqrt(F) + b rate

    Attributes:
        features: length of the output.
        rate: factor of the learning rate; W starts from N(0, 1 / rate^2).
        first_bias: initial value of the bias b, times `rate`.
    """

    features: int
    rate: float = 1.0
    first_bias: float = 0.0

    @nn.compact
    def __call__(self, x):
        """Apply to x: [B, F] float32."""
        inputs = x.shape[-1]
        kernel = self.param(
            'kernel', nn.initializers.normal(1 / self.rate),
            (inputs, self.features), jnp.float32,
        )
        bias = self.param(
            'bias', nn.initializers.constant(self.first_bias / self.rate),
            (self.features,), jnp.float32,
        )
        return x @ (kernel * (self.rate / math.sqrt(inputs))) + bias * self.rate


class Conv(nn.Module):
    """Convolution with stride 1 and padding SAME, or `fir.conv_down`.

    Attributes:
        features: channels of the output.
        size: side of the kernel, 1 or 3.
        down: whether the sides are halved: with a kernel of 1 by
            `fir.downsample` before it.
        use_bias: whether there is a bias, which starts at 0.
        activate: whether `leaky_relu` follows.
        gain: factor of the output.
        dtype: dtype of the computation; parameters are float32.
    """

    features: int
    size: int = 3
    down: bool = False
    use_bias: bool = True
    activate: bool = True
    gain: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Apply to x: [B, H, W, C]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param(
            'kernel', nn.initializers.normal(1.0), shape, jnp.float32
        )
        kernel = kernel / math.sqrt(math.prod(shape[:3]))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if self.down and self.size == 3:
            x = fir.conv_down(x, kernel)
        else:
            x = convolve(fir.downsample(x) if self.down else x, kernel)
        if self.use_bias:
            bias = self.param(
                'bias', nn.initializers.zeros, (self.features,), jnp.float32
            )
            x = x + bias.astype(self.dtype)
        if self.activate:
            return leaky_relu(x, self.gain)
        return clamp(x * self.gain, self.gain)


def convolve(x, kernel):
    """Convolve with stride 1 and padding SAME.

    Args:
        x: [B, H, W, C].
        kernel: [k, k, C, F], k odd.
    """
    if kernel.shape[:2] == (1, 1):
        return x @ kernel[0, 0]
    return convolutions.conv_general_dilated(
        x, kernel, (1, 1), 'SAME',
        dimension_numbers=convolutions.DIMENSIONS,
    )
