"""Resampling by the filter [1, 3, 3, 1], as in StyleGAN2 and R3GAN.

Both functions are linear, with zeros beyond the edges. Each is the transpose of
the other, up to a factor of 4. Away from the edges they keep constants. They
add shifted slices. A depthwise convolution gives the same values, but on CPU
its gradient takes 30 times as long.

References:
    Karras et al., Analyzing and Improving the Image Quality of StyleGAN,
    https://arxiv.org/abs/1912.04958, 2019; Huang et al., The GAN is dead; long
    live the GAN! A Modern GAN Baseline, https://arxiv.org/abs/2501.05441, 2025.
"""

import jax
import jax.numpy as jnp

from gan_jax.networks import convolutions

AXES = (1, 2)  # height and width of [B, H, W, C]


def upsample(x):
    """Upsample by 2: zeros between the pixels, then [1, 3, 3, 1] / 4.

    y[2i] = (x[i-1] + 3 x[i]) / 4, y[2i+1] = (3 x[i] + x[i+1]) / 4, along height
    and width.

    Args:
        x: [B, H, W, C].

    Returns:
        [B, 2H, 2W, C].
    """
    for axis in AXES:
        size = x.shape[axis]
        padded = _pad(x, axis)
        before, after = (
            jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
            for start in (0, 2)
        )
        pairs = jnp.stack(
            [0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1
        )
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1:])
    return x


def downsample(x):
    """Downsample by 2: [1, 3, 3, 1] / 8, then every second value.

    y[i] = (x[2i-1] + 3 x[2i] + 3 x[2i+1] + x[2i+2]) / 8, along height and
    width.

    Args:
        x: [B, 2H, 2W, C].

    Returns:
        [B, H, W, C].

    Raises:
        ValueError: if a side is odd.
    """
    height, width = x.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f'cannot halve an image of size {height}x{width}')
    for axis in AXES:
        size = x.shape[axis]
        padded = _pad(x, axis)
        first, second, third, fourth = (
            jax.lax.slice_in_dim(
                padded, start, start + size - 1, stride=2, axis=axis
            )
            for start in range(4)
        )
        x = 0.125 * (first + fourth) + 0.375 * (second + third)
    return x


def conv_down(x, kernel):
    """Convolve with stride 2 after a filter [1, 3, 3, 1] / 8, as StyleGAN2.

    Both on images with zeros around them.

    Args:
        x: [B, 2H, 2W, C].
        kernel: [3, 3, C, F].

    Returns:
        [B, H, W, F].
    """
    filtered = _blur(x, 2, (0.125, 0.375, 0.375, 0.125))
    return convolutions.inner_strided(filtered, kernel)


def conv_up(x, kernel):
    """Convolve by a transposed convolution of stride 2, then filter.

    z[2i + k] += x[i] w[k], then [1, 3, 3, 1] / 4: `upsample` followed by a
    convolution, computed on the small images.

    Args:
        x: [B, H, W, C].
        kernel: [3, 3, C, F].

    Returns:
        [B, 2H, 2W, F].
    """
    images = convolutions.inner_transposed(x, kernel.swapaxes(2, 3))
    return _blur(images, 1, (0.25, 0.75, 0.75, 0.25))


def _blur(x, size, taps):
    """Pad height and width with `size` zeros and filter them by `taps`."""
    x = jnp.pad(x, ((0, 0), (size, size), (size, size), (0, 0)))
    for axis in AXES:
        length = x.shape[axis] - len(taps) + 1
        x = sum(
            tap * jax.lax.slice_in_dim(x, start, start + length, axis=axis)
            for start, tap in enumerate(taps)
        )
    return x


def _pad(x, axis):
    """Pad both ends of an axis with a zero."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (1, 1)
    return jnp.pad(x, widths)
