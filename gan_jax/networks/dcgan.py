"""DCGAN: convolutional generator and discriminator.

Radford et al., Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, https://arxiv.org/abs/1511.06434, 2015.
"""

from typing import Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import attention
from gan_jax.networks import conditioning
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import minibatch
from gan_jax.networks import resampling


def num_blocks(image_shape):
    """Count the halvings that reduce the shorter side to 4 to 7 pixels.

    28 -> 7 in 2, 32 -> 4 in 3, 64 -> 4 in 4, 48 x 80 -> 6 x 10 in 3.

    Args:
        image_shape: (height, width, channels).

    Returns:
        int, at least 1.

    Raises:
        ValueError: if a side is below 8 or cannot be halved that often.
    """
    if len(image_shape) != 3:
        raise ValueError(
            f'a convolutional network needs images, not data of shape '
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
    """List the shorter sides of the hidden feature maps, of G as of D.

    28 -> [14, 7], 32 -> [16, 8, 4].
    """
    side = min(image_shape[:2])
    return [side // 2**(k + 1) for k in range(num_blocks(image_shape))]


def decode(
    network, z, image_shape, *, kernel_size, train, activate, labels=None,
    upsampling='transposed',
):
    """Apply a dense layer, then convolutions that double the side.

    Norm and activation follow every layer but the last, which is linear. For
    compact methods: the layers become part of the calling module.

    Args:
        network: module with the fields width, norm, dtype, spectral_norm,
            condition and num_classes.
        z: [B, F].
        image_shape: (height, width, channels) of the output.
        kernel_size: side of the square kernels.
        train: whether norms use the statistics of the batch.
        activate: function of (x, number) from `activations.activation`.
        labels: [B] int32, or None if the norms need none.
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
    """Apply convolutions that halve the side, with norm and activation.

    The first convolution has no norm. For compact methods: the layers become
    part of the calling module.

    Args:
        network: module with the fields width, kernel_size, norm, dtype and
            spectral_norm.
        images: [B, H, W, C].
        train: whether norms use the statistics of the batch.
        activate: function of (x, number) from `activations.activation`.
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
    """Return the activation of hidden layers, followed by self-attention."""
    activation = activations.activation(
        network, network.negative_slope, keys, train=train
    )

    def activate(x, number):
        return attention.attend(network, activation(x, number), train=train)

    return activate


class Generator(fields.Conditional, fields.Activated, kw_only=True):
    """Generator with a dense layer, then convolutions that double the side.

    As in the paper: BatchNorm and ReLU after every layer but the last, tanh at
    the end, weights from N(0, 0.02^2), widths that halve as the side doubles.
    Differs from the paper: the default kernel size is 4 instead of 5 (4 is a
    multiple of the stride, so every pixel is covered equally often; other
    upsamplings have stride 1, where an odd size is centred); BatchNorm scales
    start at 1, while the authors' code draws them from N(1, 0.02^2).

    Attributes (others: see `gan_jax.networks`):
        width: channels before the last layer; the first has
            width * 2^(blocks - 1). The paper's 64x64 network has width 128.
        upsampling: one of `resampling.UPSAMPLINGS`; the paper's is
            'transposed'.
        attention: shorter side of the feature map with self-attention, before a
            convolution doubles it; 0 for none.
    """

    image_shape: Tuple[int, int, int]
    width: int = 64
    kernel_size: int = 4
    upsampling: str = 'transposed'
    attention: int = 0
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


class Discriminator(fields.Conditional, fields.Activated, kw_only=True):
    """Discriminator with convolutions that halve the side, and a dense layer.

    As in the paper: LeakyReLU(0.2), BatchNorm after every convolution but the
    first, weights from N(0, 0.02^2). Differs from the paper: the default kernel
    size is 4, while the authors' code has 5. With features of `minibatch` the
    logits of a batch depend on each other.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first layer; they double as the side halves. The
            authors' 64x64 network has 64.
        downsampling: one of `resampling.DOWNSAMPLINGS`; the authors' is
            'strided'.
        attention: shorter side of the feature map with self-attention, after a
            convolution halved it; 0 for none.
        minibatch_stddev: whether `minibatch.minibatch_stddev` is appended to
            the last feature map.
    """

    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    attention: int = 0
    minibatch_stddev: bool = False
    minibatch_features: int = 0
    norm: str = 'batch'

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
