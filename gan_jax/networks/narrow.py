"""Convolutions to few channels, such as colors, or of few pixels.

The kernel is one matrix product for all of its places: each input pixel gives
its share of all outputs around it, and the shares are shifted and summed. The
gradients are two products with the shifted gradients of the outputs.

This module exists for speed on CPU, where XLA's products with three columns,
and its weight gradient, take 3 to 6 times as long, and its gradient of images
that are smaller than the kernel 10 to 20 times. `convolutions` decides when to
use it.
"""

import jax
from jax import lax
import jax.numpy as jnp


@jax.custom_vjp
def valid(x, kernel):
    """Convolve without padding.

    Args:
        x: [B, H, W, C].
        kernel: [kh, kw, C, F].

    Returns:
        [B, H - kh + 1, W - kw + 1, F].
    """
    rows, columns, _, features = kernel.shape
    batch, height, width, _ = x.shape
    # Outputs first, so that a shift copies whole rows of pixels.
    shares = lax.dot_general(
        _by_output(kernel), _flatten(x), (((1,), (1,)), ((), ()))
    ).reshape(rows, columns, features, batch, height, width)
    tall, wide = height - rows + 1, width - columns + 1
    return sum(
        shares[i, j, :, :, i:i + tall, j:j + wide]
        for i in range(rows) for j in range(columns)
    ).transpose(1, 2, 3, 0)


def transposed(y, kernel):
    """Apply the transpose of `valid` in x.

    Args:
        y: [B, H, W, F].
        kernel: [kh, kw, C, F].

    Returns:
        [B, H + kh - 1, W + kw - 1, C].
    """
    rows, columns, channels, features = kernel.shape
    shares = lax.dot_general(
        _flatten(y), kernel.reshape(-1, features), (((1,), (1,)), ((), ()))
    ).reshape(*y.shape[:3], rows, columns, channels)
    return sum(
        jnp.pad(shares[:, :, :, i, j], (
            (0, 0), (i, rows - 1 - i), (j, columns - 1 - j), (0, 0)
        )) for i in range(rows) for j in range(columns)
    )


def num_shares(shape, kernel):
    """Return the size of the intermediate array of `valid`.

    Args:
        shape: (B, H, W) of its input.
        kernel: [kh, kw, C, F].
    """
    batch, height, width = shape
    rows, columns, _, features = kernel.shape
    return batch * height * width * rows * columns * features


def _forward(x, kernel):
    return valid(x, kernel), (x, kernel)


def _backward(residuals, dy):
    x, kernel = residuals
    rows, columns, channels, features = kernel.shape
    _, height, width, _ = x.shape
    edges = ((rows - 1, rows - 1), (columns - 1, columns - 1))
    dy = jnp.pad(dy.transpose(3, 0, 1, 2), ((0, 0), (0, 0), *edges))
    shares = jnp.stack([
        dy[:, :, i:i + height, j:j + width]
        for i in reversed(range(rows)) for j in reversed(range(columns))
    ]).reshape(rows * columns * features, -1)
    dkernel = (shares @ _flatten(x)).reshape(rows, columns, features, channels)
    dx = lax.dot_general(shares, _by_output(kernel), (((0,), (0,)), ((), ())))
    return dx.reshape(x.shape), dkernel.swapaxes(2, 3)


valid.defvjp(_forward, _backward)


def _by_output(kernel):
    """Return a kernel [kh, kw, C, F] as [kh kw F, C]."""
    return _flatten(kernel.swapaxes(2, 3))


def _flatten(array):
    """Flatten all axes but the last."""
    return array.reshape(-1, array.shape[-1])
