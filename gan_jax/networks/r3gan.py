"""R3GAN: residual networks without normalisation, for relativistic losses.

Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
https://arxiv.org/abs/2501.05441, 2025, section 4 and appendix. D mirrors G.
"""

from typing import Any, Tuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import convolutions
from gan_jax.networks import dcgan
from gan_jax.networks import fields
from gan_jax.networks import fir
from gan_jax.networks import layers

SLOPE = 0.2  # of LeakyReLU
GAIN = (2 / (1 + SLOPE**2)) ** 0.5  # keeps the variance through LeakyReLU
EMBEDDING = 64  # length of the embedding of a class beside z
LOW_PRECISION = 4  # largest number of stages in bfloat16


def stage_widths(image_shape, width, full_side):
    """List the channels of G's stages, from the smallest maps to the largest.

    32 x 32: always the width; 64 x 64: the last stage has half of it; 256 x
    256: the last three have a half, a quarter and an eighth.

    Args:
        image_shape: (height, width, channels).
        width: channels of the maps up to `full_side`.
        full_side: largest shorter side of the maps with the full width.

    Returns:
        List of int, one for each stage. D has them in reverse order.
    """
    side = min(image_shape[:2])
    sides = [
        side // 2**k for k in range(dcgan.num_blocks(image_shape), -1, -1)
    ]
    return [width * full_side // max(side, full_side) for side in sides]


def _initializer(gain=1.0):
    """Return the initialiser N(0, gain^2 / fan_in)."""
    return nn.initializers.variance_scaling(gain**2, 'fan_in', 'normal')


def _linear(features, dtype, kernel_init=_initializer()):
    """Return a dense layer, or convolution of size 1, without a bias."""
    return nn.Dense(
        features, use_bias=False, dtype=dtype, kernel_init=kernel_init
    )


class GroupedConv(nn.Module):
    """Convolution of size 3 within groups of channels, without a bias.

    Each group of the output depends on the same group of the input only. On CPU
    each group is a convolution of its own, because the gradient of XLA's
    grouped convolution takes 100 times as long.

    Attributes:
        groups: number of groups, which divides the number of channels.
        dtype: dtype of the computation; the kernel is float32.
        kernel_init: initialiser of the kernel.
    """

    groups: int
    dtype: Any = jnp.float32
    kernel_init: Any = _initializer()

    @nn.compact
    def __call__(self, x):
        """Apply to x: [B, H, W, C]; the shape is unchanged."""
        channels = x.shape[-1]
        shape = (3, 3, channels // self.groups, channels)
        kernel = self.param('kernel', self.kernel_init, shape, jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if not convolutions.on_cpu():
            return _convolve(x, kernel, feature_group_count=self.groups)
        parts = zip(
            jnp.split(x, self.groups, -1), jnp.split(kernel, self.groups, -1)
        )
        return jnp.concatenate([_convolve(*part) for part in parts], -1)


def _convolve(x, kernel, **options):
    """Convolve with stride 1 and padding SAME."""
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), 'SAME',
        dimension_numbers=convolutions.DIMENSIONS, **options,
    )


class Basis(nn.Module):
    """Learned feature maps, multiplied by a factor for each channel.

    Attributes:
        sides: (H, W) of the maps.
    """

    sides: Tuple[int, int]

    @nn.compact
    def __call__(self, factors):
        """Return [B, H, W, C] of factors: [B, C], in float32."""
        maps = self.param(
            'kernel', nn.initializers.normal(1.0),
            (*self.sides, factors.shape[-1]), jnp.float32,
        )
        return maps * factors[:, None, None]


class WeightedSum(nn.Module):
    """Sum over pixels with a learned weight for each pixel and channel.

    A depthwise convolution with a kernel of the size of the feature map.
    """

    @nn.compact
    def __call__(self, x):
        """Return [B, C] of x: [B, H, W, C], in float32."""
        _, height, width, channels = x.shape
        weights = self.param(
            'kernel', nn.initializers.normal((height * width) ** -0.5),
            (height, width, channels), jnp.float32,
        )
        return jnp.sum(x.astype(jnp.float32) * weights, (1, 2))


class BiasedLeakyReLU(nn.Module):
    """LeakyReLU of the sum of x and a bias for each channel."""

    @nn.compact
    def __call__(self, x):
        """Apply to x: [..., C], in its dtype; the bias is float32."""
        bias = self.param(
            'bias', nn.initializers.zeros, x.shape[-1:], jnp.float32
        )
        return nn.leaky_relu(x + bias.astype(x.dtype), SLOPE)


def _check_groups(network, widths):
    """Check that every stage divides into groups of channels.

    Raises:
        ValueError: if a stage does not.
    """
    size = network.group_size
    for width in widths:
        if width < 1 or 2 * width > size and 2 * width % size:
            raise ValueError(
                f'width={network.width} of the {type(network).__name__} gives '
                f'a stage of {width} channels; twice as many must be divisible '
                f'by group_size={size} or less than it'
            )


def _block(network, x, gain, *, dtype, norm, wrap):
    """Apply a residual block: [B, H, W, C] to the same shape."""
    channels = x.shape[-1]
    groups = max(2 * channels // network.group_size, 1)
    init = _initializer(gain)
    y = wrap(_linear(2 * channels, dtype, init))(x)
    y = BiasedLeakyReLU()(norm(y))
    y = wrap(GroupedConv(groups, dtype, init))(y)
    y = BiasedLeakyReLU()(norm(y))
    return x + wrap(_linear(channels, dtype, nn.initializers.zeros))(y)


def _stages(network, x, widths, resample, *, norm, wrap, narrow_first):
    """Apply all stages, with a change of channels and of size between them.

    Args:
        network: module with the fields num_blocks, group_size and dtype.
        x: [B, H, W, C], C being the channels of the first stage.
        widths: channels of each stage.
        resample: function that doubles or halves the sides.
        norm: function returned by `conditioning.norm`.
        wrap: function returned by `layers.wrapper`.
        narrow_first: whether the channels change before the size, as in G.

    Returns:
        [B, h, w, F], F being the channels of the last stage.
    """
    # Fixup: Zhang et al., https://arxiv.org/abs/1901.09321, 2019.
    gain = GAIN * (network.num_blocks * len(widths)) ** -0.25
    for number, features in enumerate(widths):
        rank = number if narrow_first else len(widths) - 1 - number
        # The smallest maps are float32, whatever the dtype of the others.
        low = rank >= max(1, len(widths) - LOW_PRECISION)
        dtype = network.dtype if low else jnp.float32
        if number:
            convert = features != x.shape[-1]
            if convert and narrow_first:
                x = wrap(_linear(features, dtype))(x)
            x = resample(x)
            if convert and not narrow_first:
                x = wrap(_linear(features, dtype))(x)
        x = x.astype(dtype)
        for _ in range(network.num_blocks):
            x = _block(network, x, gain, dtype=dtype, norm=norm, wrap=wrap)
    return x


class Generator(fields.Conditional, kw_only=True):
    """Generator of residual blocks on learned feature maps.

    block(x) = x + L3(a(L2(a(L1(x)))))

    L1 and L3 are convolutions of size 1, to twice the channels and back. L2 is
    a grouped convolution of size 3. a is LeakyReLU(0.2) of the sum with a bias.
    Nothing is normalised, and nothing is applied to the sum. L3 starts at 0, so
    that a block is the identity at first; L1 and L2 have He's initialisation
    divided by the fourth root of the number of blocks.

    The first feature maps are learned, and each is multiplied by a linear
    function of z. Each stage but the first changes the channels, if they
    differ, doubles the side by `fir.upsample`, and applies its blocks. The last
    layer is a convolution of size 1 without a bias. In the authors' networks it
    is linear: `output` 'linear'.

    With the condition 'concat', a linear embedding of the class, of length 64,
    is appended to z. In bfloat16, only up to four stages with the largest maps
    are computed in it, and the first stage never is, as in the authors' code.

    Differs from the authors' code: 'auto' is tanh, as in the other networks;
    norm and spectral norm are possible, where a norm precedes each bias; sides
    need not be powers of 2, and the first maps have 4 to 7 pixels on the
    shorter side.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the feature maps up to `full_side`, divided by 2 for
            each doubling of the side beyond it.
        full_side: largest shorter side with the full width; the authors' is
            32, and 64 for ImageNet at 64 x 64.
        num_blocks: blocks of a stage.
        group_size: channels of a group of L2; the authors' is 16, and 32 for
            ImageNet.
    """

    image_shape: Tuple[int, int, int]
    width: int = 64
    full_side: int = 32
    num_blocks: int = 2
    group_size: int = 16
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
        widths = stage_widths(self.image_shape, self.width, self.full_side)
        _check_groups(self, widths)
        height, width, channels = self.image_shape
        doublings = 2 ** (len(widths) - 1)

        wrap = layers.wrapper(self.spectral_norm, train=train)
        norm = conditioning.norm(self, labels, train=train)
        if self.condition == 'concat':
            embedded = nn.Embed(
                self.num_classes, EMBEDDING,
                embedding_init=nn.initializers.normal(self.num_classes**-0.5),
            )(labels)
            inputs = jnp.concatenate([inputs, embedded], -1)
        factors = wrap(_linear(widths[0], jnp.float32))(inputs)
        x = wrap(Basis((height // doublings, width // doublings)))(factors)
        x = _stages(
            self, x, widths, fir.upsample,
            norm=norm, wrap=wrap, narrow_first=True,
        )
        x = wrap(_linear(channels, self.dtype))(x)
        return activations.finish(self, x.astype(jnp.float32))


class Discriminator(fields.Conditional, kw_only=True):
    """Discriminator of residual blocks, which mirrors the `Generator`.

    A convolution of size 1 without a bias, stages of blocks with
    `fir.downsample` between them, a sum over pixels with a learned weight for
    each pixel and channel, and a dense layer without a bias. With the condition
    'projection', the logit is <f(h), embedding(label)>: h is that sum, f a
    dense layer without a bias to as many channels, and there is no other term.

    Attributes (others: see `Generator` and `gan_jax.networks`):
        width: channels of the feature maps up to `full_side`.
    """

    width: int = 64
    full_side: int = 32
    num_blocks: int = 2
    group_size: int = 16

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`; `keys` is unused.

        Returns:
            `layers.Output`, whose features are the weighted sums over pixels.
        """
        del keys
        conditioning.check(self, inputs, labels, ('none', 'projection'))
        widths = stage_widths(inputs.shape[1:], self.width, self.full_side)
        widths = widths[::-1]
        _check_groups(self, widths)

        wrap = layers.wrapper(self.spectral_norm, train=train)
        norm = conditioning.norm(self, labels, train=train)
        x = wrap(_linear(widths[0], self.dtype))(inputs)
        x = _stages(
            self, x, widths, fir.downsample,
            norm=norm, wrap=wrap, narrow_first=False,
        )
        features = wrap(WeightedSum())(x)
        logits = self._logits(features, labels, wrap)
        return layers.Output(logits, features.astype(self.dtype))

    def _logits(self, features, labels, wrap):
        """Compute the logits [B] of features: [B, F], in float32."""
        size = features.shape[-1]
        if self.condition == 'none':
            return wrap(_linear(1, jnp.float32))(features)[:, 0]
        init = nn.initializers.normal((size * self.num_classes) ** -0.5)
        embedded = wrap(nn.Embed(
            self.num_classes, size, embedding_init=init
        ))(labels)
        features = wrap(_linear(size, jnp.float32))(features)
        return jnp.sum(features * embedded, -1)
