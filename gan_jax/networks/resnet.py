"""Residual generator and discriminator, as in SNGAN.

Miyato et al., Spectral Normalization for Generative Adversarial Networks,
https://arxiv.org/abs/1802.05957, 2018, appendix B.4, after Gulrajani et al.,
Improved Training of Wasserstein GANs, https://arxiv.org/abs/1704.00028, 2017.
"""

from typing import Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import attention
from gan_jax.networks import conditioning
from gan_jax.networks import dcgan
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import resampling

SMALL = 32  # largest shorter side of the paper's CIFAR-10 networks
MOST = 16  # largest number of channels, in units of the width


def _is_small(image_shape):
    return min(image_shape[:2]) <= SMALL


def generator_channels(image_shape, width):
    """List the channels before the first block and after each block.

    32 x 32: always the width; 64 x 64: 16, 8, 4, 2, 1 times the width;
    128 x 128: 16, 16, 8, 4, 2, 1 times the width.

    Args:
        image_shape: (height, width, channels).
        width: channels at full size.

    Returns:
        List of int; each block doubles the side.
    """
    blocks = dcgan.num_blocks(image_shape)
    if _is_small(image_shape):
        return [width] * (blocks + 1)
    return [width * min(2**k, MOST) for k in range(blocks, -1, -1)]


def discriminator_channels(image_shape, width):
    """List the channels after each block, and whether it halves the side.

    32 x 32: always the width, and the first two of four blocks halve the side;
    larger: 1, 2, 4, ... up to 16 times the width, and all blocks but the last
    halve the side.

    Args:
        image_shape: (height, width, channels).
        width: channels of the first block.

    Returns:
        List of (int, bool).
    """
    blocks = dcgan.num_blocks(image_shape)
    if _is_small(image_shape):
        return [(width, True)] * min(blocks, 2) + [(width, False)] * 2
    return [(width * min(2**k, MOST), k < blocks) for k in range(blocks + 1)]


def _initializer(gain):
    """Return the initialiser U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)).

    The gains are those of the authors of SNGAN.

    References:
        Glorot and Bengio, Understanding the Difficulty of Training Deep
        Feedforward Neural Networks,
        http://proceedings.mlr.press/v9/glorot10a.html, 2010.
    """
    return nn.initializers.variance_scaling(gain**2, 'fan_avg', 'uniform')


def _conv(network, x, features, size=3, *, gain=1.0, **options):
    """Apply `layers.conv` with this initialiser."""
    return layers.conv(
        network, x, features, size, kernel_init=_initializer(gain), **options
    )


def _up_block(network, x, features, *, norm, train):
    """Apply a block that doubles the side: [B, H, W, C] to [B, 2H, 2W, F]."""
    y = _conv(
        network, nn.relu(norm(x)), features, gain=2**0.5, train=train,
        convolve=resampling.after_nearest,
    )
    y = nn.relu(norm(y))
    y = _conv(network, y, features, gain=2**0.5, train=train)
    # A convolution of size 1 after `nearest` is equal, at 4 times the cost.
    x = resampling.nearest(_conv(network, x, features, 1, train=train))
    return x + y


def _down_block(network, x, features, *, halves, first, norm, train):
    """Apply a block that halves the side, or keeps it: C to F channels.

    The first block applies neither norm nor ReLU to the image, and its first
    convolution has F channels, while that of others has C.
    """
    channels = x.shape[-1]
    y = x if first else nn.relu(norm(x))
    y = _conv(
        network, y, features if first else channels, gain=2**0.5, train=train
    )
    # As in WGAN-GP, the first block has no norm.
    y = nn.relu(y if first else norm(y))
    options = {'convolve': resampling.before_average_pool} if halves else {}
    y = _conv(network, y, features, gain=2**0.5, train=train, **options)
    if halves:
        # Pooling commutes with a convolution of size 1, and is cheaper first.
        x = resampling.average_pool(x)
    if halves or channels != features:
        x = _conv(network, x, features, 1, train=train)
    return x + y


class Generator(fields.Conditional, kw_only=True):
    """Generator with a dense layer, then residual blocks that double the side.

    block(x) = up(conv1(x)) + conv3(relu(norm(conv3(up(relu(norm(x)))))))

    up repeats pixels. Norm, ReLU, a convolution and tanh follow the blocks. For
    images with a shorter side up to 32 it is the paper's network for CIFAR-10,
    which has width 256 in all blocks. For larger images it is the network for
    STL-10 and ImageNet, with channels that halve as the side doubles, starting
    from at most 16 times the width of 64. The first feature map has a shorter
    side of 4 to 7 pixels, 7 for images of 28.

    As in the authors' code: Glorot's uniform initialisation, with gain sqrt(2)
    in the main path of blocks; every layer has a bias.

    Attributes (others: see `gan_jax.networks`):
        width: channels before the last layer.
        spectral_norm: whether every kernel has spectral norm 1; in the paper
            only in the discriminator.
        attention: shorter side of the feature map with self-attention, after a
            block; 0 for none.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, tables 3 to 5.
    """

    image_shape: Tuple[int, int, int]
    width: int = 64
    norm: str = 'batch'
    attention: int = 0
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Generate images from z.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        del keys
        conditioning.check(
            self, inputs, labels, conditioning.GENERATOR_CONDITIONS
        )
        first, *rest = generator_channels(self.image_shape, self.width)
        height, width, channels = self.image_shape
        start = (height // 2 ** len(rest), width // 2 ** len(rest))
        side = min(height, width)
        attention.check(self, [side // 2**k for k in range(len(rest))])

        wrap = layers.wrapper(self.spectral_norm, train=train)
        norm = conditioning.norm(self, labels, train=train)
        x = wrap(nn.Dense(
            start[0] * start[1] * first,
            dtype=self.dtype,
            kernel_init=_initializer(1.0),
        ))(conditioning.concat(self, inputs, labels))
        x = x.reshape(-1, *start, first)
        for features in rest:
            x = _up_block(self, x, features, norm=norm, train=train)
            x = attention.attend(self, x, train=train)
        x = _conv(self, nn.relu(norm(x)), channels, train=train)
        return activations.finish(self, x.astype(jnp.float32))


class Discriminator(fields.Conditional, kw_only=True):
    """Discriminator with residual blocks, a sum over pixels, and a dense layer.

    block(x) = down(conv1(x)) + down(conv3(relu(conv3(relu(x)))))

    down averages 2 x 2 pixels. If a block changes neither the side nor the
    channels, its shortcut is x itself. The first block has no ReLU before its
    first convolution. For images with a shorter side up to 32 it is the paper's
    network for CIFAR-10, which has width 128 in all blocks: two halve the side,
    two do not. For larger images it is the network for ImageNet: channels
    double as the side halves, up to 16 times the width of 64, and the last
    block does not halve the side.

    Differs from the paper: its network for STL-10, 48 x 48, has a fifth block
    and halves the side to 3 x 3. A norm, if any, precedes each ReLU within
    blocks except the first, as in WGAN-GP, which uses 'layer'. Differs from the
    authors' code: at 64 x 64 its last block halves the side too; at 32 x 32 its
    dense layer has no bias. The initialisation is theirs, as in `Generator`.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first block.
        spectral_norm: whether every kernel has spectral norm 1, as in the
            paper.
        attention: shorter side of the feature map with self-attention, after a
            block that halves it; 0 for none.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, tables 3 to 5.
    """

    width: int = 64
    attention: int = 0

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            `layers.Output`, whose features are the sums over pixels.
        """
        del keys
        conditioning.check(
            self, inputs, labels, conditioning.DISCRIMINATOR_CONDITIONS
        )
        blocks = discriminator_channels(inputs.shape[1:], self.width)
        halvings = sum(halves for _, halves in blocks)
        side = min(inputs.shape[1:3])
        attention.check(self, [side // 2 ** (k + 1) for k in range(halvings)])

        norm = conditioning.norm(self, labels, train=train)
        x = conditioning.concat_map(self, inputs, labels).astype(self.dtype)
        for block, (features, halves) in enumerate(blocks):
            x = _down_block(
                self, x, features,
                halves=halves, first=not block, norm=norm, train=train,
            )
            if halves:
                x = attention.attend(self, x, train=train)
        return conditioning.head(
            self, nn.relu(x).sum((1, 2)), labels, train=train,
            kernel_init=_initializer(1.0),
        )
