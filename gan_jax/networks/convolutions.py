"""Convolutions of stride 1 and 2 and their transposes, fast on CPU too.

Those of stride 2 are three bilinear maps. The derivatives of each are the other
two, so that gradients of every order have the fast form:

  strided(x, w)            y[i] = sum_k x[2i + k - p] w[k], halves the sides
  transposed(y, w)         its transpose in x, doubles the sides
  kernel_gradient(x, y)    its transpose in w

p = (size - 2) // 2, the padding SAME of an even side. They equal
`jax.lax.conv_general_dilated` and its gradients up to rounding. This module
exists for speed on CPU, where XLA's weight gradient of a transposed convolution
misses the fast path, and its transposed convolution multiplies by the zeros
between pixels. Wide kernels use `winograd`. It can go when XLA does both well.

`conv_general_dilated` and `reflected` choose among these forms and, at stride
1, `winograd` and `narrow`.
"""

import contextlib
import contextvars
import functools
import math

import jax
from jax import lax
import jax.numpy as jnp

from gan_jax.networks import narrow
from gan_jax.networks import winograd

DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
LARGE = 8  # smallest side for which `_sub_pixel` is faster than XLA
LEAST_ODD = 7  # smallest odd side for Winograd, padded: 64 pixels for 49
WIDE = 64  # fewest channels for which Winograd's fewer products are faster
# Least pixels of the batch times channels for which a kernel of 3 x 3 pays for
# its transforms.
LEAST_3X3 = 2**17
MOST_3X3 = 2**8  # and most pixels of the batch for each channel
NARROW = 4  # most channels for which `narrow` is faster
MOST_SHARES = 2**24  # largest size of its intermediate array: 64 MiB
_PLAIN = contextvars.ContextVar('plain', default=False)


def _xla_strided(x, kernel):
    """Convolve with stride 2 by XLA."""
    return lax.conv_general_dilated(
        x, kernel, (2, 2), 'SAME', dimension_numbers=DIMENSIONS
    )


def on_cpu():
    """Return whether convolutions have the forms that XLA's CPU needs."""
    return jax.default_backend() == 'cpu' and not _PLAIN.get()


@contextlib.contextmanager
def plain():
    """Trace convolutions as on accelerators, for programs that leave XLA."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def _suits_winograd(sides, kernel):
    """Return whether `winograd` is faster than XLA's convolution.

    Args:
        sides: (H, W) of the smaller images.
        kernel: [kh, kw, C, F] array or `jax.ShapeDtypeStruct`.
    """
    return (
        on_cpu() and kernel.dtype == jnp.float32
        and kernel.shape[:2] == (4, 4) and min(kernel.shape[2:]) >= WIDE
        and all(side % 2 == 0 or side >= LEAST_ODD for side in sides)
    )


@jax.custom_vjp
def strided(x, kernel):
    """Convolve with stride 2.

    Args:
        x: [B, 2H, 2W, C].
        kernel: [kh, kw, C, F] with kh, kw >= 2.

    Returns:
        [B, H, W, F].
    """
    height, width = x.shape[1:3]
    if _suits_winograd((height // 2, width // 2), kernel):
        return winograd.strided(x, kernel)
    return _xla_strided(x, kernel)


def _strided_forward(x, kernel):
    return strided(x, kernel), (x, kernel)


def _strided_backward(residuals, dy):
    x, kernel = residuals
    return transposed(dy, kernel), kernel_gradient(x, dy, kernel.shape[:2])


strided.defvjp(_strided_forward, _strided_backward)


@jax.custom_vjp
def transposed(y, kernel):
    """Apply the transpose of `strided` in x.

    Args:
        y: [B, H, W, F].
        kernel: [kh, kw, C, F], as in `strided`.

    Returns:
        [B, 2H, 2W, C].
    """
    if _suits_winograd(y.shape[1:3], kernel):
        return winograd.transposed(y, kernel)
    if on_cpu() and kernel.shape[:2] == (4, 4) and min(y.shape[1:3]) >= LARGE:
        return _sub_pixel(y, kernel)
    return lax.conv_transpose(
        y, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), (2, 2), 'SAME',
        dimension_numbers=DIMENSIONS,
    )


def _transposed_forward(y, kernel):
    return transposed(y, kernel), (y, kernel)


def _transposed_backward(residuals, dx):
    y, kernel = residuals
    return strided(dx, kernel), kernel_gradient(dx, y, kernel.shape[:2])


transposed.defvjp(_transposed_forward, _transposed_backward)


def _sub_pixel(y, kernel):
    """Apply `transposed` by `_squares`."""
    return _squares(y, kernel)[:, 1:-1, 1:-1]


def _squares(y, kernel):
    """Convolve with stride 1 and shuffle pixels; sides are 2H + 2, 2W + 2.

    A transposed convolution by a kernel of 4 at stride 2, without any crop, is
    one by a kernel of 2 at stride 1 over squares of 2 x 2 pixels.

    References:
        Shi et al., Is the Deconvolution Layer the Same as a Convolutional
        Layer?, https://arxiv.org/abs/1609.07009, 2016.
    """
    batch, height, width, features = y.shape
    channels = kernel.shape[2]
    squares = kernel.reshape(2, 2, 2, 2, channels, features)
    squares = squares.transpose(0, 2, 1, 3, 4, 5)  # window, pixel, channels
    squares = squares.reshape(2, 2, 4 * channels, features)
    x = lax.conv_general_dilated(
        y, jnp.flip(squares, (0, 1)).swapaxes(2, 3), (1, 1),
        ((1, 1), (1, 1)), dimension_numbers=DIMENSIONS,
    )
    x = x.reshape(batch, height + 1, width + 1, 2, 2, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, 2 * height + 2, 2 * width + 2, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def kernel_gradient(x, y, size):
    """Apply the transpose of `strided` in its kernel: sum over the batch.

    Args:
        x: [B, 2H, 2W, C].
        y: [B, H, W, F].
        size: (kh, kw).

    Returns:
        [kh, kw, C, F].
    """
    kernel = jax.ShapeDtypeStruct(
        (*size, x.shape[-1], y.shape[-1]), jnp.result_type(x, y)
    )
    if _suits_winograd(y.shape[1:3], kernel):
        return winograd.kernel_gradient(x, y)
    return jax.linear_transpose(lambda w: _xla_strided(x, w), kernel)(y)[0]


def _kernel_gradient_forward(x, y, size):
    return kernel_gradient(x, y, size), (x, y)


def _kernel_gradient_backward(size, residuals, kernel):
    del size
    x, y = residuals
    return transposed(y, kernel), strided(x, kernel)


kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


@jax.custom_vjp
def inner_strided(x, kernel):
    """Convolve with stride 2, with no padding.

    y[i] = sum_k x[2i + k] w[k]. Its derivatives of every order have a fast form
    too, as those of `strided`.

    Args:
        x: [B, 2H + 1, 2W + 1, C].
        kernel: [3, 3, C, F].

    Returns:
        [B, H, W, F].
    """
    # A row of padding that no result depends on: see `reflected`.
    return lax.conv_general_dilated(
        x, kernel, (2, 2), ((0, 1), (0, 1)), dimension_numbers=DIMENSIONS
    )


def _inner_strided_forward(x, kernel):
    return inner_strided(x, kernel), (x, kernel)


def _inner_strided_backward(residuals, dy):
    x, kernel = residuals
    return inner_transposed(dy, kernel), _inner_kernel_gradient(x, dy)


inner_strided.defvjp(_inner_strided_forward, _inner_strided_backward)


@jax.custom_vjp
def inner_transposed(y, kernel):
    """Apply the transpose of `inner_strided` in x.

    Args:
        y: [B, H, W, F].
        kernel: [3, 3, C, F].

    Returns:
        [B, 2H + 1, 2W + 1, C].
    """
    if on_cpu():
        return _squares(y, _centre(kernel))[:, :-1, :-1]
    return lax.conv_transpose(
        y, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), (2, 2), 'VALID',
        dimension_numbers=DIMENSIONS,
    )


def _inner_transposed_forward(y, kernel):
    return inner_transposed(y, kernel), (y, kernel)


def _inner_transposed_backward(residuals, dx):
    y, kernel = residuals
    return inner_strided(dx, kernel), _inner_kernel_gradient(dx, y)


inner_transposed.defvjp(_inner_transposed_forward, _inner_transposed_backward)


@jax.custom_vjp
def _inner_kernel_gradient(x, y):
    """Apply the transpose of `inner_strided` in its kernel: [3, 3, C, F]."""
    kernel = jax.ShapeDtypeStruct(
        (3, 3, x.shape[-1], y.shape[-1]), jnp.result_type(x, y)
    )
    return jax.linear_transpose(lambda w: inner_strided.fun(x, w), kernel)(y)[0]


def _inner_kernel_gradient_forward(x, y):
    return _inner_kernel_gradient(x, y), (x, y)


def _inner_kernel_gradient_backward(residuals, kernel):
    x, y = residuals
    return inner_transposed(y, kernel), inner_strided(x, kernel)


_inner_kernel_gradient.defvjp(
    _inner_kernel_gradient_forward, _inner_kernel_gradient_backward
)


def fuse_square(kernel):
    """Sum a kernel over its four shifts within a square of 2 x 2.

    A convolution followed by average pooling is one convolution of stride 2 by
    this kernel, divided by 4. Nearest-neighbour upsampling followed by a
    convolution is a transposed convolution by this kernel. With a kernel of 3,
    each pixel then needs 16 products instead of 36.

    Args:
        kernel: [k, k, C, F].

    Returns:
        [k + 1, k + 1, C, F], summed in float32.
    """
    height, width = kernel.shape[:2]
    wide = jnp.pad(
        kernel.astype(jnp.float32), ((1, 1), (1, 1), (0, 0), (0, 0))
    )
    return sum(
        wide[i:i + height + 1, j:j + width + 1]
        for i in range(2) for j in range(2)
    ).astype(kernel.dtype)


def conv_general_dilated(x, kernel, window_strides, padding, **options):
    """Convolve as `jax.lax.conv_general_dilated`, by a faster form if possible.

    That is `strided` for stride 2. On CPU, stride 1 has `winograd` for wide
    kernels of 3 x 3, and `narrow` for those to few channels.

    For the field `conv_general_dilated` of `flax.linen.Conv`.
    """
    batch, *sides = x.shape[:-1]
    strides, size = tuple(window_strides), kernel.shape[:2]
    same = lax.padtype_to_pads(sides, size, strides, 'SAME')
    pads = padding if not isinstance(padding, str) else (
        lax.padtype_to_pads(sides, size, strides, padding)
    )
    dense = options.get('feature_group_count', 1) == 1 and all(
        set(options.get(name) or (1,)) == {1}
        for name in ('lhs_dilation', 'rhs_dilation')
    )
    if (
        dense and strides == (2, 2) and tuple(pads) == tuple(same)
        and min(size) >= 2 and not any(side % 2 for side in sides)
    ):
        return strided(x, kernel)
    if dense and strides == (1, 1):
        padded = [side + sum(pad) for side, pad in zip(sides, pads)]
        form = _form_without_padding((batch, *padded), kernel)
        if form:
            return form(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel)
        if _suits_products(x.shape, padded, kernel):
            return _xla_stride_1(x, kernel, tuple(map(tuple, pads)))
    return lax.conv_general_dilated(
        x, kernel, window_strides, padding, **options
    )


def _centre(kernel):
    """Pad a kernel of 3 with zeros behind, so that padding SAME is 1."""
    return jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))


def centred_transpose(images, kernel):
    """Upsample by 2 with a transposed convolution of size 3 and padding 1.

    x[2i + 1 - k] += y[i] w[k]: the transpose of a convolution of stride 2 whose
    windows are centred on pixels 2i, while those of `conv_transpose` begin
    there. Equal to `jax.lax.conv_transpose` with padding ((1, 2), (1, 2)),
    whose gradient takes 7 to 25 times as long on CPU.

    Args:
        images: [B, H, W, in_features].
        kernel: [3, 3, in_features, features].

    Returns:
        [B, 2H, 2W, features].
    """
    if on_cpu():
        kernel = _centre(jnp.flip(kernel, (0, 1)))
        return transposed(images, kernel.swapaxes(2, 3))
    return lax.conv_transpose(
        images, kernel, (2, 2), ((1, 2), (1, 2)), dimension_numbers=DIMENSIONS
    )


def _is_known(shape):
    """Return whether the batch is a number; in exports it can be a symbol."""
    return isinstance(shape[0], int)


def _suits_valid(shape, kernel):
    """Return whether `winograd.valid` is faster than XLA's convolution.

    Args:
        shape: (B, H, W) of the result.
        kernel: [kh, kw, C, F].
    """
    pixels, fewest = math.prod(shape), min(kernel.shape[2:])
    return (
        on_cpu() and kernel.dtype == jnp.float32
        and kernel.shape[:2] == (3, 3) and fewest >= WIDE
        and pixels * fewest >= LEAST_3X3 and pixels <= MOST_3X3 * fewest
        and not any(side % 2 for side in shape[1:])
    )


def _suits_narrow(shape, kernel):
    """Return whether `narrow.valid` is faster, and not too large.

    Args:
        shape: (B, H, W) of the padded images.
        kernel: [kh, kw, C, F].
    """
    return (
        on_cpu() and kernel.dtype == jnp.float32
        and kernel.shape[3] <= NARROW < kernel.shape[2]
        and narrow.num_shares(shape, kernel) <= MOST_SHARES
    )


def _suits_products(shape, padded, kernel):
    """Return whether `narrow.transposed` is the faster gradient of images.

    Args:
        shape: (B, H, W, C) of the images.
        padded: their sides with the padding.
        kernel: [kh, kw, C, F].
    """
    size = kernel.shape[:2]
    sides = [side - length + 1 for side, length in zip(padded, size)]
    return (
        on_cpu() and _is_known(shape) and kernel.dtype == jnp.float32
        and math.prod(kernel.shape[:3]) * shape[0] * math.prod(sides)
        <= MOST_SHARES and (
            shape[3] <= NARROW < kernel.shape[3]
            or any(side < length for side, length in zip(sides, size))
        )
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _xla_stride_1(x, kernel, pads):
    """Convolve by XLA; the gradient of images is that of `narrow`."""
    return lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=DIMENSIONS
    )


def _xla_stride_1_forward(x, kernel, pads):
    return _xla_stride_1(x, kernel, pads), (x, kernel)


def _xla_stride_1_backward(pads, residuals, dy):
    x, kernel = residuals
    dx = narrow.transposed(dy, kernel)
    dkernel, = jax.linear_transpose(
        lambda kernel: lax.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=DIMENSIONS
        ), kernel
    )(dy)
    (top, _), (left, _) = pads
    height, width = x.shape[1:3]
    return dx[:, top:top + height, left:left + width], dkernel


_xla_stride_1.defvjp(_xla_stride_1_forward, _xla_stride_1_backward)


def _form_without_padding(shape, kernel):
    """Return the function that is faster than XLA's convolution, or None.

    Args:
        shape: (B, H, W) of images that are padded already.
        kernel: [kh, kw, C, F].

    Returns:
        Function of images and kernel with stride 1, or None.
    """
    if not _is_known(shape):
        return None
    batch, height, width = shape
    rows, columns = kernel.shape[:2]
    if _suits_valid((batch, height - rows + 1, width - columns + 1), kernel):
        return _valid
    return narrow.valid if _suits_narrow(shape, kernel) else None


@jax.custom_vjp
def _valid(x, kernel):
    """Apply `winograd.valid`."""
    return winograd.valid(x, kernel)


def _valid_forward(x, kernel):
    return winograd.valid(x, kernel), (x, kernel)


def _valid_backward(residuals, dy):
    x, kernel = residuals
    return (
        winograd.valid_transposed(dy, kernel),
        winograd.valid_kernel_gradient(x, dy),
    )


_valid.defvjp(_valid_forward, _valid_backward)


def reflected(x, kernel, window_strides, padding, **options):
    """Convolve with stride 1 after padding by reflection, to the same size.

    The edge itself is not repeated: a row [0, 1, 2] becomes [1, 0, 1, 2, 1].
    For the field `conv_general_dilated` of `flax.linen.Conv`, with padding
    'VALID'.

    On CPU a row of zeros is added below, and the row of the result that
    depends on it is dropped: XLA's convolution without any padding takes 2 to
    30 times as long as one with padding. The padding itself is cheap. Wide
    kernels of 3 x 3 use `winograd`, those to few channels `narrow`.

    Args:
        x: [B, H, W, C].
        kernel: [k, k, C, F], k odd and k // 2 less than H and W.
        window_strides: (1, 1).
        padding: 'VALID'.
        **options: further arguments of `jax.lax.conv_general_dilated`.

    Returns:
        [B, H, W, F].
    """
    shape, size = x.shape[:3], kernel.shape[0] // 2
    x = jnp.pad(
        x, ((0, 0), (size, size), (size, size), (0, 0)), mode='reflect'
    )
    form = _form_without_padding(x.shape[:3], kernel)
    if form:
        return form(x, kernel)
    if on_cpu():
        padding = ((0, 1), (0, 0))
    return lax.conv_general_dilated(
        x, kernel, window_strides, padding, **options
    )[:, :shape[1]]


def conv_transpose(images, kernel):
    """Upsample by 2 with a transposed convolution.

    Equal to `jax.lax.conv_transpose(..., strides=(2, 2), padding='SAME')` in
    its value and in gradients of every order.

    Args:
        images: [B, H, W, in_features].
        kernel: [kh, kw, in_features, features] with kh, kw >= 2, as
            `flax.linen.ConvTranspose` stores it.

    Returns:
        [B, 2H, 2W, features].
    """
    # `lax.conv_transpose` does not flip the kernel, so the strided convolution
    # that it transposes has a flipped kernel with swapped channels.
    return transposed(images, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
