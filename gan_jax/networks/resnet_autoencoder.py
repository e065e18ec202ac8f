"""Residual encoder and decoder whose codes keep the two axes of an image.

Esser et al., Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841, 2020; also the first stage of Rombach et al.,
High-Resolution Image Synthesis with Latent Diffusion Models,
https://arxiv.org/abs/2112.10752, 2021.
"""

import math
from typing import Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import attention
from gan_jax.networks import convolutions
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import resampling

WIDEST = 4  # most channels, in units of the width
SMALL = 8  # side at which codes are not made smaller by default
MOST_DOWNS = 3  # by default
GROUP = 4  # least channels of a group


def num_downs(image_shape, count=0):
    """Return how often the side is halved.

    Args:
        image_shape: (height, width, channels).
        count: field of the networks; 0 halves even sides above 8, at most three
            times: 32 and 28 become 8 and 7, and 64 and larger are divided by 8.

    Raises:
        ValueError: if the sides cannot be halved so often, or for points.
    """
    if len(image_shape) != 3:
        raise ValueError(
            'resnet_autoencoder needs images, not data of shape '
            f'{list(image_shape)}'
        )
    sides = image_shape[:2]
    if not count:
        while count < MOST_DOWNS and min(sides) >> count > SMALL and not any(
                side % 2 ** (count + 1) for side in sides):
            count += 1
    if any(side % 2**count for side in sides):
        raise ValueError(
            f'sides of images {"x".join(map(str, image_shape))} are not '
            f'multiples of {2**count}, the factor of {count} halvings'
        )
    return count


def code_sides(image_shape, count=0):
    """Return the height and width of the codes of images.

    Args, raises: as `num_downs`.
    """
    factor = 2 ** num_downs(image_shape, count)
    return image_shape[0] // factor, image_shape[1] // factor


def _channels(network, level):
    return network.width * min(2**level, WIDEST)


def num_groups(channels):
    """Return the number of groups: up to 32, of at least `GROUP` channels."""
    return math.gcd(32, channels, max(channels // GROUP, 1))


def _norm(network, x, *, train):
    """Normalize; 'group' has `num_groups` groups."""
    if network.norm == 'group':
        groups = num_groups(x.shape[-1])
        return nn.GroupNorm(num_groups=groups, dtype=network.dtype)(x)
    return layers.Norm(network.norm, dtype=network.dtype)(x, train=train)


def _conv(network, x, features, size=3, *, train, **options):
    return layers.conv(
        network, x, features, size, train=train,
        kernel_init=nn.initializers.lecun_normal(), **options,
    )


def _block(network, x, features, *, train):
    """Apply a residual block: norm, swish and a convolution, twice."""
    y = x
    for _ in range(2):
        y = nn.swish(_norm(network, y, train=train))
        y = _conv(network, y, features, train=train)
    if x.shape[-1] != features:
        x = _conv(network, x, features, 1, train=train)
    return x + y


def _halve(network, x, *, train):
    """Apply a convolution of stride 2."""
    wrap = layers.wrapper(network.spectral_norm, train=train)
    return wrap(nn.Conv(
        x.shape[-1], (3, 3), (2, 2), dtype=network.dtype,
        conv_general_dilated=convolutions.conv_general_dilated,
    ))(x)


def _middle(network, x, *, train):
    """Apply a block, self-attention if it is on, and a block."""
    x = _block(network, x, x.shape[-1], train=train)
    x = attention.attend(network, x, train=train)
    return _block(network, x, x.shape[-1], train=train)


class Encoder(fields.Layers, kw_only=True):
    """Encoder with residual blocks and convolutions that halve the side.

    A convolution; for each of the sizes `num_blocks` residual blocks and, but
    for the last, a convolution of stride 2; two more blocks; norm, swish, and
    a convolution to the code. Channels are 1, 2, 4, 4, ... times the width.

    Differs from the authors' code: LeCun's initial weights; small widths have
    groups of four channels; the self-attention between the last two blocks is
    an option, and that of `attention`; no 1x1 convolution beside the code.

    Attributes (others: see `gan_jax.networks`):
        width: channels at the size of the images.
        num_downs: halvings of the side; 0 as of the function `num_downs`.
        num_blocks: residual blocks of each size; the paper has 2.
        attention: shorter side of the codes, for self-attention; 0 for none.
    """

    code_size: int
    width: int = 32
    num_downs: int = 0
    num_blocks: int = 2
    attention: int = 0
    norm: str = 'group'

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Encode images.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            [B, h, w, code_size] float32.
        """
        del keys
        downs = num_downs(inputs.shape[1:], self.num_downs)
        attention.check(self, [min(code_sides(inputs.shape[1:], downs))])
        x = _conv(self, inputs.astype(self.dtype), self.width, train=train)
        for level in range(downs + 1):
            for _ in range(self.num_blocks):
                x = _block(self, x, _channels(self, level), train=train)
            if level < downs:
                x = _halve(self, x, train=train)
        x = _middle(self, x, train=train)
        x = nn.swish(_norm(self, x, train=train))
        return _conv(self, x, self.code_size, train=train).astype(jnp.float32)


class Decoder(fields.Layers, kw_only=True):
    """Decoder with residual blocks and convolutions that double the side.

    The layers of `Encoder` in the opposite order, with one more block of each
    size. Pixels are repeated before the convolution that follows. Differs from
    the authors' code as `Encoder` does, and by the `tanh` at its end.

    Attributes (others: see `gan_jax.networks`):
        width, num_downs, num_blocks, attention: as of `Encoder`.
    """

    image_shape: Tuple[int, int, int]
    width: int = 32
    num_downs: int = 0
    num_blocks: int = 2
    attention: int = 0
    norm: str = 'group'
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Decode codes.

        Args: see `gan_jax.networks`; `keys` is unused.
            inputs: [B, h, w, code_size].

        Returns:
            [B, H, W, C] float32, by default in [-1, 1].
        """
        del keys
        downs = num_downs(self.image_shape, self.num_downs)
        attention.check(self, [min(code_sides(self.image_shape, downs))])
        x = _conv(
            self, inputs.astype(self.dtype), _channels(self, downs),
            train=train,
        )
        x = _middle(self, x, train=train)
        for level in range(downs, -1, -1):
            for _ in range(self.num_blocks + 1):
                x = _block(self, x, _channels(self, level), train=train)
            if level:
                x = _conv(
                    self, x, x.shape[-1], train=train,
                    convolve=resampling.after_nearest,
                )
        x = nn.swish(_norm(self, x, train=train))
        x = _conv(self, x, self.image_shape[-1], train=train)
        return activations.finish(self, x.astype(jnp.float32))
