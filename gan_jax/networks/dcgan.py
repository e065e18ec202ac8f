"""DCGAN: the all-convolutional generator and discriminator.

Radford et al., Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, https://arxiv.org/abs/1511.06434, 2015.
"""

from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import attention
from gan_jax.networks import conditioning
from gan_jax.networks import layers
from gan_jax.networks import minibatch
from gan_jax.networks import resampling


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
            f'a convolutional network is for images, not for data of shape '
            f'{list(image_shape)}; the mlp network takes any'
        )
    height, width, _ = image_shape
    side, blocks = min(height, width), 0
    while side >= 8:
        side, blocks = side // 2, blocks + 1
    if not blocks or height % 2**blocks or width % 2**blocks:
        raise ValueError(
            f'image size {height}x{width} does not fit a convolutional '
            f'network: both sides must be at least 8 and divisible by '
            f'{2**max(blocks, 1)}'
        )
    return blocks


def map_sides(image_shape):
    """List the shorter sides of the hidden feature maps, of G and of D alike.

    28 -> [14, 7], 32 -> [16, 8, 4].
    """
    side = min(image_shape[:2])
    return [side // 2**(k + 1) for k in range(num_blocks(image_shape))]


def decode(
    network, z, image_shape, *, kernel_size, train, activate, labels=None,
    upsampling='transposed',
):
    """Apply a dense layer, then convolutions that double the side.

    Norm and activation after every layer but the last, which is linear. For a
    compact method: the layers become part of the module that calls.

    Args:
        network: module with the fields width, norm, dtype, spectral_norm,
            condition and num_classes.
        z: [B, F].
        image_shape: (height, width, channels) of the output.
        kernel_size: side of the square kernels.
        train: whether norms take the batch's statistics.
        activate: function of (x, number), as of `activations.activation`.
        labels: [B] int32, or None where norms need none.
        upsampling: one of `resampling.UPSAMPLINGS`.

    Returns:
        [B, H, W, C] float32.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    norm = conditioning.norm(network, labels, train=train)
    blocks = num_blocks(image_shape)
    height, width, channels = image_shape
    start = (height // 2**blocks, width // 2**blocks)
    features = network.width * 2 ** (blocks - 1)
    normed = network.norm != 'none'

    x = wrap(nn.Dense(
        start[0] * start[1] * features,
        use_bias=not normed,
        dtype=network.dtype,
        kernel_init=layers.dcgan_init,
    ))(z)
    x = x.reshape(-1, *start, features)
    for block in range(blocks):
        x = activate(norm(x), block)
        last = block == blocks - 1
        features //= 2
        x = resampling.UPSAMPLINGS[upsampling](
            x,
            channels if last else features,
            (kernel_size, kernel_size),
            wrap=wrap,
            use_bias=last or not normed,
            dtype=network.dtype,
        )
    return x.astype(jnp.float32)


def encode(network, images, *, train, activate, downsampling='strided'):
    """Apply convolutions that halve the side, with activation.

    Norm after every convolution but the first. For a compact method: the layers
    become part of the module that calls.

    Args:
        network: module with the fields width, kernel_size, norm, dtype and
            spectral_norm.
        images: [B, H, W, C].
        train: whether norms take the batch's statistics.
        activate: function of (x, number), as of `activations.activation`.
        downsampling: one of `resampling.DOWNSAMPLINGS`.

    Returns:
        [B, h, w, F] in the dtype of the computation.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    x = images.astype(network.dtype)
    for block in range(num_blocks(images.shape[1:])):
        normed = block > 0 and network.norm != 'none'
        x = resampling.DOWNSAMPLINGS[downsampling](
            x,
            network.width * 2**block,
            (network.kernel_size, network.kernel_size),
            wrap=wrap,
            use_bias=not normed,
            dtype=network.dtype,
        )
        if normed:
            x = layers.Norm(network.norm, dtype=network.dtype)(x, train=train)
        x = activate(x, block)
    return x


def _activation(network, keys, *, train):
    """Give what bends the hidden layers, with self-attention at its side."""
    bend = activations.activation(
        network, network.negative_slope, keys, train=train
    )

    def activate(x, number):
        return attention.attend(network, bend(x, number), train=train)

    return activate


class Generator(nn.Module):
    """z to images: a dense layer, then convolutions that double the side.

    As in the paper: BatchNorm and ReLU after every layer but the last, tanh at
    the end, weights from N(0, 0.02^2), widths that halve as the side doubles.
    Differs from the paper: kernel 4 by default where it has 5 (4 is a multiple
    of the stride, so every pixel is covered equally often; other upsampling
    has stride 1, where an odd one is centred); BatchNorm scales start at 1
    where the authors' code draws them from N(1, 0.02^2).

    Attributes:
        image_shape: (height, width, channels) of the output.
        width: channels before the last layer; the first has
            width * 2^(blocks - 1). The paper's 64x64 network has width 128.
        kernel_size: side of the square kernels.
        upsampling: one of `resampling.UPSAMPLINGS`; the paper's is
            'transposed'.
        attention: shorter side of the feature map, before a convolution that
            doubles it, that has self-attention; 0 for none.
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
    width: int = 64
    kernel_size: int = 4
    upsampling: str = 'transposed'
    attention: int = 0
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
        attention.check(self, map_sides(self.image_shape))
        return activations.finish(self, decode(
            self,
            conditioning.concat(self, inputs, labels),
            self.image_shape,
            kernel_size=self.kernel_size,
            train=train,
            activate=_activation(self, keys, train=train),
            labels=labels,
            upsampling=self.upsampling,
        ))


class Discriminator(nn.Module):
    """Images to one logit: convolutions that halve, then a dense layer.

    As in the paper: LeakyReLU(0.2), BatchNorm after every convolution but the
    first, weights from N(0, 0.02^2). Differs from the paper: kernel 4 by
    default where the authors' code has 5. With a feature of `minibatch` the
    logits of a batch depend on each other.

    Attributes:
        width: channels of the first layer; they double as the side halves. The
            authors' 64x64 network has 64.
        kernel_size: side of the square kernels.
        downsampling: one of `resampling.DOWNSAMPLINGS`; the authors' is
            'strided'.
        attention: shorter side of the feature map, after a convolution that
            halved it, that has self-attention; 0 for none.
        minibatch_stddev: whether the last feature map gets the map of
            `minibatch.minibatch_stddev`.
        minibatch_features: number of features of minibatch discrimination next
            to those of the last hidden layer; 0 for none.
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

    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    attention: int = 0
    minibatch_stddev: bool = False
    minibatch_features: int = 0
    norm: str = 'batch'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.2
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
        attention.check(self, map_sides(inputs.shape[1:]))
        x = encode(
            self,
            conditioning.concat_map(self, inputs, labels),
            train=train,
            activate=_activation(self, keys, train=train),
            downsampling=self.downsampling,
        )
        if self.minibatch_stddev:
            x = minibatch.minibatch_stddev(x)
        features = minibatch.discriminate(
            self, x.reshape(x.shape[0], -1), train=train
        )
        return conditioning.head(
            self, features, labels, train=train, kernel_init=layers.dcgan_init
        )
