"""Upsampling and downsampling by 2, alone or with a convolution.

All functions are linear or a maximum, so second-order gradients, as in gradient
penalties, pass through them.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import convolutions
from gan_jax.networks import layers


def _quarters(x):
    """Reshape x: [B, 2H, 2W, C] to [B, H, 2, W, 2, C].

    Raises:
        ValueError: if a side is odd.
    """
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f'cannot halve an image of size {height}x{width}')
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def pixel_shuffle(x, factor=2):
    """Move groups of channels to height and width, by a factor r each.

    y[b, r h + i, r w + j, c] = x[b, h, w, (r i + j) C + c]

    A permutation, with the inverse `pixel_unshuffle`. The order of channels is
    that of TensorFlow's depth_to_space; PyTorch's PixelShuffle reads
    x[b, h, w, (c r + i) r + j].

    Args:
        x: [B, H, W, r * r * C].
        factor: r.

    Returns:
        [B, r * H, r * W, C].

    References:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an
        Efficient Sub-Pixel Convolutional Neural Network,
        https://arxiv.org/abs/1609.05158, 2016, equation 4.
    """
    batch, height, width, channels = x.shape
    if channels % factor**2:
        raise ValueError(
            f'{channels} channels are not divisible by {factor} x {factor}'
        )
    x = x.reshape(batch, height, width, factor, factor, -1)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # [B, H, r, W, r, C]
    return x.reshape(batch, height * factor, width * factor, -1)


def pixel_unshuffle(x, factor=2):
    """Move pixels to channels (space-to-depth), the inverse of `pixel_shuffle`.

    Args:
        x: [B, r * H, r * W, C].
        factor: r.

    Returns:
        [B, H, W, r * r * C].
    """
    batch, height, width, channels = x.shape
    if height % factor or width % factor:
        raise ValueError(
            f'image size {height}x{width} is not divisible by {factor}'
        )
    x = x.reshape(
        batch, height // factor, factor, width // factor, factor, channels
    )
    x = x.transpose(0, 1, 3, 2, 4, 5)  # [B, H, W, r, r, C]
    return x.reshape(batch, height // factor, width // factor, -1)


def nearest(x):
    """Upsample by nearest neighbour: repeat each pixel 2 x 2 times.

    Args:
        x: [B, H, W, C].

    Returns:
        [B, 2H, 2W, C].
    """
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(
        x[:, :, None, :, None], (batch, height, 2, width, 2, channels)
    )
    return x.reshape(batch, 2 * height, 2 * width, channels)


def average_pool(x):
    """Average each square of 2 x 2 pixels.

    Args:
        x: [B, 2H, 2W, C].

    Returns:
        [B, H, W, C].
    """
    return _quarters(x).mean((2, 4))


def max_pool(x):
    """Compute the maximum of each square of 2 x 2 pixels.

    If a side is odd, its last squares have fewer pixels. Equal maxima share the
    gradient.

    Args:
        x: [B, H, W, C].

    Returns:
        [B, ceil(H / 2), ceil(W / 2), C].
    """
    # Repeating a pixel in its square does not change the maximum.
    sides = [(0, side % 2) for side in x.shape[1:3]]
    return _quarters(jnp.pad(x, [(0, 0), *sides, (0, 0)], 'edge')).max((2, 4))


def after_nearest(x, kernel, window_strides, padding, **options):
    """Convolve `nearest(x)`, with fewer products on CPU.

    For the field `conv_general_dilated` of `flax.linen.Conv`, with stride 1 and
    padding 'SAME'.

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C, F].
        window_strides, padding, options: as passed by flax.

    Returns:
        [B, 2H, 2W, F].
    """
    if convolutions.on_cpu() and kernel.shape[0] % 2 and kernel.shape[1] % 2:
        return convolutions.conv_transpose(x, convolutions.fuse_square(kernel))
    return convolutions.conv_general_dilated(
        nearest(x), kernel, window_strides, padding, **options
    )


def before_average_pool(x, kernel, window_strides, padding, **options):
    """Convolve x and apply `average_pool`, with fewer products on CPU.

    For the field `conv_general_dilated` of `flax.linen.Conv`, whose bias may be
    added after pooling as well as before it.

    Args:
        x: [B, 2H, 2W, C].
        kernel, window_strides, padding, options: as in `after_nearest`.

    Returns:
        [B, H, W, F].
    """
    if convolutions.on_cpu():
        _quarters(x)  # raises for odd sides
        return convolutions.strided(x, convolutions.fuse_square(kernel) / 4)
    return average_pool(convolutions.conv_general_dilated(
        x, kernel, window_strides, padding, **options
    ))


def _conv(
    features, kernel_size, kernel_init=layers.dcgan_init,
    convolve=convolutions.conv_general_dilated, **fields,
):
    """Return a `flax.linen.Conv` with a fast convolution."""
    return nn.Conv(
        features, kernel_size, kernel_init=kernel_init,
        conv_general_dilated=convolve, **fields,
    )


def transposed(x, features, kernel_size, *, wrap, **fields):
    """Upsample by a transposed convolution of stride 2.

    Like all `UPSAMPLINGS` and `DOWNSAMPLINGS`, for compact methods: the layer
    becomes part of the calling module.

    Args:
        x: [B, H, W, C].
        features: channels of the output.
        kernel_size: (kh, kw).
        wrap: function returned by `layers.wrapper`.
        **fields: use_bias, dtype and kernel_init of the layer; by default True,
            float32 and `layers.dcgan_init`.

    Returns:
        [B, 2H, 2W, features].

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks,
        https://arxiv.org/abs/1511.06434, 2015.
    """
    return wrap(layers.ConvTranspose(features, kernel_size, **fields))(x)


def pixel_shuffle_conv(x, features, kernel_size, *, wrap, **fields):
    """Upsample by a convolution to 4 * features, then `pixel_shuffle`.

    Args, returns: as `transposed`; with kernels four times as large.

    References:
        Shi et al., Real-Time Single Image and Video Super-Resolution Using an
        Efficient Sub-Pixel Convolutional Neural Network,
        https://arxiv.org/abs/1609.05158, 2016.
    """
    return pixel_shuffle(wrap(_conv(4 * features, kernel_size, **fields))(x))


def nearest_conv(x, features, kernel_size, *, wrap, **fields):
    """Upsample by `nearest`, then a convolution of stride 1.

    Args, returns: as `transposed`.

    References:
        Odena et al., Deconvolution and Checkerboard Artifacts,
        https://distill.pub/2016/deconv-checkerboard, 2016.
    """
    return wrap(_conv(
        features, kernel_size, convolve=after_nearest, **fields
    ))(x)


def strided(x, features, kernel_size, *, wrap, **fields):
    """Downsample by a convolution of stride 2.

    Args:
        x: [B, 2H, 2W, C].
        features: channels of the output.
        kernel_size: (kh, kw).
        wrap: function returned by `layers.wrapper`.
        **fields: as in `transposed`.

    Returns:
        [B, H, W, features].

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks,
        https://arxiv.org/abs/1511.06434, 2015.
    """
    return wrap(_conv(features, kernel_size, strides=2, **fields))(x)


def average_pool_conv(x, features, kernel_size, *, wrap, **fields):
    """Downsample by a convolution of stride 1, then `average_pool`.

    Args, returns: as `strided`.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs,
        https://arxiv.org/abs/1704.00028, 2017, appendix.
    """
    return wrap(_conv(
        features, kernel_size, convolve=before_average_pool, **fields
    ))(x)


UPSAMPLINGS = {
    'nearest': nearest_conv,
    'pixel_shuffle': pixel_shuffle_conv,
    'transposed': transposed,
}
DOWNSAMPLINGS = {
    'average_pool': average_pool_conv,
    'strided': strided,
}
MIRRORS = {  # upsampling of an autoencoder's decoder, by its downsampling
    'average_pool': 'nearest',
    'strided': 'transposed',
}
