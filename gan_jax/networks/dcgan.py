"""DCGAN: the all-convolutional generator and discriminator.

Radford et al., Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, https://arxiv.org/abs/1511.06434, 2015.
"""

from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers


def num_blocks(image_shape):
    """Count the halvings that bring the shorter side down to 4 to 7 pixels.

    28 -> 7 in 2, 32 -> 4 in 3, 64 -> 4 in 4, 48 x 80 -> 6 x 10 in 3.

    Args:
        image_shape: (height, width, channels).

    Returns:
        int, at least 1.

    Raises:
        ValueError: where a side is under 8 or cannot be halved that often.
    """
    if len(image_shape) != 3:
        raise ValueError(
            f'the dcgan network is for images, not for data of shape '
            f'{list(image_shape)}; the mlp network takes any'
        )
    height, width, _ = image_shape
    side, blocks = min(height, width), 0
    while side >= 8:
        side, blocks = side // 2, blocks + 1
    if not blocks or height % 2**blocks or width % 2**blocks:
        raise ValueError(
            f'image size {height}x{width} does not fit the dcgan network: both '
            f'sides must be at least 8 and divisible by {2**max(blocks, 1)}'
        )
    return blocks


class Generator(nn.Module):
    """z to images: a dense layer, then transposed convolutions of stride 2.

    As in the paper: BatchNorm and ReLU after every layer but the last, tanh at
    the end, weights from N(0, 0.02^2), widths that halve as the side doubles.
    Differs from the paper: kernel 4 by default where it has 5 (4 is a multiple
    of the stride, so every pixel is covered equally often); BatchNorm scales
    start at 1 where the authors' code draws them from N(1, 0.02^2).

    Attributes:
        image_shape: (height, width, channels) of the output.
        width: channels before the last layer; the first has
            width * 2^(blocks - 1). The paper's 64x64 network has width 128.
        kernel_size: side of the square kernels.
        norm: one of `layers.NORMS`.
        dtype: dtype of the computation; parameters and output are float32.
    """

    image_shape: Tuple[int, int, int]
    width: int = 64
    kernel_size: int = 4
    norm: str = 'batch'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z, *, train):
        """Map z [B, latent_size] to images [B, H, W, C] in [-1, 1]."""
        blocks = num_blocks(self.image_shape)
        height, width, channels = self.image_shape
        start = (height // 2**blocks, width // 2**blocks)
        features = self.width * 2 ** (blocks - 1)
        kernel_size = (self.kernel_size, self.kernel_size)
        normed = self.norm != 'none'

        x = nn.Dense(
            start[0] * start[1] * features,
            use_bias=not normed,
            dtype=self.dtype,
            kernel_init=layers.dcgan_init,
        )(z)
        x = x.reshape(-1, *start, features)
        for block in range(blocks):
            x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
            x = nn.relu(x)
            last = block == blocks - 1
            features //= 2
            x = layers.ConvTranspose(
                channels if last else features,
                kernel_size,
                use_bias=last or not normed,
                dtype=self.dtype,
            )(x)
        return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
    """Images to one logit: convolutions of stride 2, then a dense layer.

    As in the paper: LeakyReLU(0.2), BatchNorm after every convolution but the
    first, weights from N(0, 0.02^2). Differs from the paper: kernel 4 by
    default where the authors' code has 5.

    Attributes:
        width: channels of the first layer; they double as the side halves. The
            authors' 64x64 network has 64.
        kernel_size: side of the square kernels.
        norm: one of `layers.NORMS`.
        dtype: dtype of the computation; parameters and logits are float32.
    """

    width: int = 64
    kernel_size: int = 4
    norm: str = 'batch'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        """Map images [B, H, W, C] in [-1, 1] to an `Output`."""
        x = images.astype(self.dtype)
        for block in range(num_blocks(images.shape[1:])):
            normed = block > 0 and self.norm != 'none'
            x = nn.Conv(
                self.width * 2**block,
                (self.kernel_size, self.kernel_size),
                strides=2,
                use_bias=not normed,
                dtype=self.dtype,
                kernel_init=layers.dcgan_init,
            )(x)
            if normed:
                x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
            x = nn.leaky_relu(x, 0.2)
        features = x.reshape(x.shape[0], -1)
        logits = nn.Dense(
            1, dtype=self.dtype, kernel_init=layers.dcgan_init
        )(features)
        return layers.Output(
            logits=logits[:, 0].astype(jnp.float32), features=features
        )
