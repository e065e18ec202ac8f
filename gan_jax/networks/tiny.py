"""The tiny networks of unrolled GANs, on which mode recovery is measured.

Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016, appendix: their D has 1/4 or 1/2 of the
channels that G has, so that G loses modes.
"""

from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import layers

BLOCKS = 3  # that double or halve the sides
KERNEL = (3, 3)


def sides(image_shape):
    """List the sizes of G's feature maps, the smallest first.

    Each is half of the next, rounded up: 28 -> 4, 7, 14, 28.

    Args:
        image_shape: (height, width, channels).

    Returns:
        list of (height, width), `BLOCKS` + 1 of them.

    Raises:
        ValueError: for data that are no images.
    """
    if len(image_shape) != 3:
        raise ValueError(
            f'a convolutional network is for images, not for data of shape '
            f'{list(image_shape)}; the mlp network takes any'
        )
    height, width, _ = image_shape
    found = [(height, width)]
    for _ in range(BLOCKS):
        height, width = -(-height // 2), -(-width // 2)
        found.append((height, width))
    return found[::-1]


def _cut(x, size):
    """Cut twice the sides down to `size`, for kernels of 3.

    What stays is the transpose of a convolution of stride 2 and padding SAME
    of images of that size: where a side is odd, that one is padded before its
    first pixel too.
    """
    height, width = size
    return x[:, x.shape[1] - height:, x.shape[2] - width:]


class Generator(nn.Module):
    """z to images: a dense layer, three that double the side, one more.

    As in the paper: 4 x 4 x 64 after the dense layer, transposed convolutions
    to 32, 16 and 8 channels at sides of 7, 14 and 28, a convolution to the
    image's, kernels of 3, BatchNorm and ReLU after each but the last, z from
    N(0, I) of 256. Chosen where the paper is silent: the transposes are those
    of SAME convolutions, tanh at the end without BatchNorm, weights from
    N(0, 0.02^2) as in DCGAN. Other sizes of images halve likewise.

    Attributes:
        image_shape: (height, width, channels) of the output.
        width: channels before the last layer; the first has 8 times as many.
        norm: one of `layers.NORMS`.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.GENERATOR_CONDITIONS`: how the label
            enters.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        dropout: probability of a hidden unit to be dropped in training.
        output: one of `activations.OUTPUTS`: what the last layer ends in.
        dtype: dtype of the computation; parameters and output are float32.
    """

    image_shape: Tuple[int, int, int]
    width: int = 8
    norm: str = 'batch'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.0
    prelu: bool = False
    dropout: float = 0.0
    output: str = 'auto'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Map z to images.

        Args:
            inputs: z, [B, latent_size].
            labels: [B] int32, or None where the condition needs none.
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

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
        fields = {'dtype': self.dtype, 'kernel_init': layers.dcgan_init}
        biased = self.norm == 'none'
        (height, width), *larger = sides(self.image_shape)

        features = self.width * 2**BLOCKS
        x = wrap(nn.Dense(
            height * width * features, use_bias=biased, **fields
        ))(conditioning.concat(self, inputs, labels))
        x = x.reshape(-1, height, width, features)
        x = activate(norm(x), 0)
        for block, size in enumerate(larger):
            features //= 2
            x = _cut(wrap(layers.ConvTranspose(
                features, KERNEL, use_bias=biased, **fields
            ))(x), size)
            x = activate(norm(x), block + 1)
        x = wrap(nn.Conv(self.image_shape[-1], KERNEL, **fields))(x)
        return activations.finish(self, x.astype(jnp.float32))


class Discriminator(nn.Module):
    """Images to one logit: three convolutions that halve, then a dense layer.

    As in the paper: width 2 (D of 1/4 of G) or 4 (1/2), channels that double
    as the side halves, kernels of 3, BatchNorm and LeakyReLU(0.3) after every
    convolution. Chosen where the paper is silent: padding SAME, weights from
    N(0, 0.02^2) as in DCGAN.

    Attributes:
        width: channels of the first layer.
        norm: one of `layers.NORMS`.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.DISCRIMINATOR_CONDITIONS`: how the
            label enters.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and logits are float32.
    """

    width: int = 2
    norm: str = 'batch'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.3
    prelu: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Map images to an `Output`.

        Args:
            inputs: [B, H, W, C] in [-1, 1].
            labels: [B] int32, or None where the condition needs none.
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

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
