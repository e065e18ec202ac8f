"""Small convolutional networks to measure mode coverage, from unrolled GANs.

Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016, appendix. D has 1/4 or 1/2 of G's
channels, so that G drops modes.
"""

from typing import Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import fields
from gan_jax.networks import layers

BLOCKS = 3  # layers that double or halve the sides
KERNEL = (3, 3)


def sides(image_shape):
    """List the sizes of G's feature maps, smallest first.

    Each is half of the next, rounded up: 28 -> 4, 7, 14, 28.

    Args:
        image_shape: (height, width, channels).

    Returns:
        List of `BLOCKS` + 1 (height, width).

    Raises:
        ValueError: if the data are not images.
    """
    if len(image_shape) != 3:
        raise ValueError(
            f'a convolutional network needs images, not data of shape '
            f'{list(image_shape)}; the mlp network takes any'
        )
    height, width, _ = image_shape
    sizes = [(height, width)]
    for _ in range(BLOCKS):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes[::-1]


def _crop(x, size):
    """Crop doubled feature maps to `size`, at their far ends.

    With kernels of 3, the result is the transpose of a convolution of stride 2
    with padding SAME of images of that size: an odd side is also padded before
    its first pixel.
    """
    height, width = size
    return x[:, x.shape[1] - height:, x.shape[2] - width:]


class Generator(fields.Conditional, fields.Activated, kw_only=True):
    """Generator with a dense layer, three that double the side, and one more.

    As in the paper: 4 x 4 x 64 after the dense layer, transposed convolutions
    to 32, 16 and 8 channels at sides of 7, 14 and 28, a convolution to the
    channels of the image, kernels of 3, BatchNorm and ReLU after each but the
    last, z from N(0, I) of 256. Our choices, which the paper does not specify:
    transposes of SAME convolutions, tanh without BatchNorm at the end, weights
    from N(0, 0.02^2) as in DCGAN. Images of other sizes are halved in the same
    way.

    Attributes (others: see `gan_jax.networks`):
        width: channels before the last layer; the first has 8 times as many.
    """

    image_shape: Tuple[int, int, int]
    width: int = 8
    norm: str = 'batch'
    negative_slope: float = 0.0
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Generate images from z.

        Args: see `gan_jax.networks`.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        conditioning.check(
            self, inputs, labels, conditioning.GENERATOR_CONDITIONS
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        norm = conditioning.norm(self, labels, train=train)
        activate = activations.activation(
            self, self.negative_slope, keys, train=train
        )
        options = {'dtype': self.dtype, 'kernel_init': layers.dcgan_init}
        biased = self.norm == 'none'
        (height, width), *larger = sides(self.image_shape)

        features = self.width * 2**BLOCKS
        x = wrap(nn.Dense(
            height * width * features, use_bias=biased, **options
        ))(conditioning.concat(self, inputs, labels))
        x = x.reshape(-1, height, width, features)
        x = activate(norm(x), 0)
        for block, size in enumerate(larger):
            features //= 2
            x = _crop(wrap(layers.ConvTranspose(
                features, KERNEL, use_bias=biased, **options
            ))(x), size)
            x = activate(norm(x), block + 1)
        x = wrap(nn.Conv(self.image_shape[-1], KERNEL, **options))(x)
        return activations.finish(self, x.astype(jnp.float32))


class Discriminator(fields.Conditional, fields.Activated, kw_only=True):
    """Discriminator with three convolutions of stride 2 and a dense layer.

    As in the paper: width 2 (1/4 of G) or 4 (1/2), channels that double as the
    side halves, kernels of 3, BatchNorm and LeakyReLU(0.3) after every
    convolution. Our choices, which the paper does not specify: padding SAME,
    weights from N(0, 0.02^2) as in DCGAN.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first layer.
    """

    width: int = 2
    norm: str = 'batch'
    negative_slope: float = 0.3

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`.

        Returns:
            `layers.Output`.
        """
        conditioning.check(
            self, inputs, labels, conditioning.DISCRIMINATOR_CONDITIONS
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        activate = activations.activation(
            self, self.negative_slope, keys, train=train
        )
        x = conditioning.concat_map(self, inputs, labels).astype(self.dtype)
        for block in range(BLOCKS):
            x = wrap(nn.Conv(
                self.width * 2**block,
                KERNEL,
                strides=2,
                use_bias=self.norm == 'none',
                dtype=self.dtype,
                kernel_init=layers.dcgan_init,
            ))(x)
            x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
            x = activate(x, block)
        return conditioning.head(
            self, x.reshape(x.shape[0], -1), labels, train=train,
            kernel_init=layers.dcgan_init,
        )
