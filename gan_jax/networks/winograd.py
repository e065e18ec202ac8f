"""Winograd convolutions: 4 x 4 at stride 2, and 3 x 3 at stride 1.

4 x 4 at stride 2 needs nine matrix products for 16. Over squares of 2 x 2
pixels, such a kernel is one of 2 x 2 at stride 1. Along an axis, two adjacent
outputs y, z follow from three squares a, b, c and the kernel's parts g, h as

  y = a g + b h = (a - b) g + b (g + h)
  z = b g + c h =             b (g + h) - (b - c) h

with three products instead of four; along both axes, nine instead of 16. The
only factors are 1 and -1, so rounding errors are those of a plain sum. A
convolution, its transpose in x and its transpose in the kernel consist of the
same nine products, each of the two arrays that are known among input, kernel
and output.

3 x 3 at stride 1 needs 16 for 36. Along an axis, two adjacent outputs follow
from four pixels a, b, c, d and the kernel's e, f, g as

  y = a e + b f + c g = p + q + r    p = (a - c) e, q = (b + c) (e + f + g) / 2
  z = b e + c f + d g = q - r - s    r = (c - b) (e - f + g) / 2, s = (b - d) g

This module exists for speed on CPU, where XLA has no Winograd convolutions, and
can go when it has. `convolutions` decides when to use it.

References:
    S. Winograd, Arithmetic Complexity of Computations, 1980.
    A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks,
    https://arxiv.org/abs/1509.09308, 2015, F(2x2, 3x3).
"""

from jax import lax
import jax.numpy as jnp


def strided(x, kernel):
    """Convolve x [B, 2H, 2W, C] by [4, 4, C, F] to [B, H, W, F]."""
    products = _map_grids(
        jnp.matmul, _along_both_axes(_transform_input, _input_grid(x)),
        _along_both_axes(_transform_kernel, _kernel_grid(kernel)),
    )
    pairs = _along_both_axes(lambda p, q, r: (p + q, q - r), products)
    return _interleave(pairs)[:, :x.shape[1] // 2, :x.shape[2] // 2]


def transposed(y, kernel):
    """Apply the transpose of `strided` in x: y [B, H, W, F] to [B, 2H, 2W, C].
    """
    products = _map_grids(
        lambda y, kernel: y @ kernel.T,
        _along_both_axes(_transform_output, _output_grid(y)),
        _along_both_axes(_transform_kernel, _kernel_grid(kernel)),
    )
    rows = [_transpose_input(*row, axis=2) for row in products]
    squares = _transpose_input(*rows, axis=1)
    batch, height, width, _ = squares.shape
    x = squares.reshape(batch, height, width, 2, -1).swapaxes(2, 3)
    x = x.reshape(batch, 2 * height, 2 * width, -1)
    return x[:, 1:1 + 2 * y.shape[1], 1:1 + 2 * y.shape[2]]


def kernel_gradient(x, y):
    """Apply the transpose of `strided` in the kernel: x, y to [4, 4, C, F]."""
    products = _map_grids(
        lambda x, y: _flatten(x).T @ _flatten(y),
        _along_both_axes(_transform_input, _input_grid(x)),
        _along_both_axes(_transform_output, _output_grid(y)),
    )
    parts = _along_both_axes(lambda p, q, r: (p + q, q + r), products)
    channels, features = x.shape[3], y.shape[3]
    kernel = jnp.stack([jnp.stack(row) for row in parts])
    kernel = kernel.reshape(2, 2, 2, 2, channels, features)
    return kernel.swapaxes(1, 2).reshape(4, 4, channels, features)


def valid(x, kernel):
    """Convolve x [B, H + 2, W + 2, C] by [3, 3, C, F] to [B, H, W, F].

    There is no padding. H and W are even.
    """
    products = _map_grids(
        jnp.matmul, _along_both_axes(_pixels_input, _pixel_grid(x)),
        _along_both_axes(_pixels_kernel, _small_grid(kernel)),
    )
    pairs = _along_both_axes(
        lambda p, q, r, s: (p + q + r, q - r - s), products
    )
    return _interleave(pairs)


def valid_transposed(y, kernel):
    """Apply the transpose of `valid` in x: [B, H, W, F] to [B, H+2, W+2, C]."""
    products = _map_grids(
        lambda y, kernel: y @ kernel.T,
        _along_both_axes(_pixels_output, _output_grid(y)),
        _along_both_axes(_pixels_kernel, _small_grid(kernel)),
    )
    rows = [_transpose_pixels(*row, axis=2) for row in products]
    return _transpose_pixels(*rows, axis=1)


def valid_kernel_gradient(x, y):
    """Apply the transpose of `valid` in the kernel: x, y to [3, 3, C, F]."""
    products = _map_grids(
        lambda x, y: _flatten(x).T @ _flatten(y),
        _along_both_axes(_pixels_input, _pixel_grid(x)),
        _along_both_axes(_pixels_output, _output_grid(y)),
    )
    parts = _along_both_axes(lambda p, q, r, s: (
        p + (q + r) / 2, (q - r) / 2, (q + r) / 2 + s
    ), products)
    return jnp.stack([jnp.stack(row) for row in parts])


def _pixels_input(a, b, c, d):
    """Return the factors of the four products from the pixels of an axis."""
    return a - c, b + c, c - b, b - d


def _pixels_kernel(e, f, g):
    """Return the factors of the four products from the kernel of an axis."""
    return e, (e + f + g) / 2, (e - f + g) / 2, g


def _pixels_output(y, z):
    """Return the factors of the transposes' products from two outputs."""
    return y, y + z, y - z, -z


def _pixel_grid(x):
    """Return the 4 x 4 pixels that each 2 x 2 outputs of `valid` depend on."""
    height, width = (side - 2 for side in x.shape[1:3])
    return [
        [x[:, i:height + i:2, j:width + j:2] for j in range(4)]
        for i in range(4)
    ]


def _small_grid(kernel):
    """Return a kernel of 3 x 3 as a grid of [C, F]."""
    return [[kernel[i, j] for j in range(3)] for i in range(3)]


def _transpose_pixels(p, q, r, s, axis):
    """Apply the transpose of `_pixels_input` along an axis.

    The last two of four pixels are the first two of the next pair of outputs.
    """
    even = _padded(p, axis, 0, 1) + _padded(q + r - p, axis, 1, 0)
    odd = _padded(q - r + s, axis, 0, 1) - _padded(s, axis, 1, 0)
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis + 1).reshape(shape)


def _padded(array, axis, *widths):
    """Pad an array of four axes with zeros, along one axis."""
    pads = [(0, 0)] * 4
    pads[axis] = widths
    return jnp.pad(array, pads)


def _interleave(pairs):
    """Return a grid of 2 x 2 arrays [B, H, W, C] as one [B, 2 H, 2 W, C]."""
    batch, height, width, features = pairs[0][0].shape
    y = jnp.stack([jnp.stack(row, 3) for row in pairs], 2)
    return y.reshape(batch, 2 * height, 2 * width, features)


def _transform_input(a, b, c):
    """Return the factors of the three products from the squares of an axis."""
    return a - b, b, b - c


def _transform_kernel(g, h):
    """Return the factors of the three products from the kernel of an axis."""
    return g, g + h, h


def _transform_output(y, z):
    """Return the factors of the transposes' products from two outputs."""
    return y, y + z, -z


def _input_grid(x):
    """Return the 3 x 3 squares that each 2 x 2 outputs depend on.

    Returns:
        Grid of [B, H, W, 4 C], with the pixels of a square in the channels.
    """
    x = _pad_to(4, x)
    batch, height, width, channels = x.shape
    tall, wide = height // 2 + 1, width // 2 + 1
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(batch, tall, 2, wide, 2 * channels).swapaxes(2, 3)
    x = x.reshape(batch, tall, wide, 4 * channels)
    return [
        [x[:, i:tall - 2 + i:2, j:wide - 2 + j:2] for j in range(3)]
        for i in range(3)
    ]


def _transpose_input(p, q, r, axis):
    """Apply the transpose of `_transform_input` along an axis.

    The third square of each pair of outputs is the first one of the next pair.
    """
    even = _padded(p, axis, 0, 1) - _padded(r, axis, 1, 0)
    odd = _padded(q + r - p, axis, 0, 1)
    shape = list(even.shape)
    shape[axis] *= 2
    squares = jnp.stack([even, odd], axis + 1).reshape(shape)
    return lax.slice_in_dim(squares, 0, -1, axis=axis)


def _kernel_grid(kernel):
    """Return the kernel of 2 x 2 over squares, as a grid of [4 C, F]."""
    channels, features = kernel.shape[2:]
    parts = kernel.reshape(2, 2, 2, 2, channels, features).swapaxes(1, 2)
    parts = parts.reshape(2, 2, 4 * channels, features)
    return [[parts[i, j] for j in range(2)] for i in range(2)]


def _output_grid(y):
    """Return the 2 x 2 outputs of each group, as a grid of [B, H, W, F]."""
    y = _pad_to(2, y)
    return [[y[:, i::2, j::2] for j in range(2)] for i in range(2)]


def _pad_to(multiple, images):
    """Pad images with zeros at their far ends, to a multiple of pixels."""
    pads = [(0, -side % multiple) for side in images.shape[1:3]]
    return jnp.pad(images, ((0, 0), *pads, (0, 0)))


def _along_both_axes(transform, grid):
    """Apply a transform to each row of a grid of arrays, then to each column.
    """
    rows = [transform(*row) for row in grid]
    return list(zip(*[transform(*column) for column in zip(*rows)]))


def _map_grids(function, *grids):
    """Apply a function to the arrays of grids, element by element."""
    return [[function(*both) for both in zip(*rows)] for rows in zip(*grids)]


def _flatten(array):
    """Flatten all axes but the last."""
    return array.reshape(-1, array.shape[-1])
