"""Checks of images and points before features are extracted."""

import numpy as np

from gan_jax.core import errors


def checked(inputs):
    """Check images or points; convert them to uint8 or float32.

    Args:
        inputs: [N, H, W, C] uint8, or float in [-1, 1]; or [N, D] numbers.

    Returns:
        NumPy array of the same shape: images as uint8 or float32, points as
        float32.

    Raises:
        errors.DataError: for another shape, type or range.
        errors.NonFiniteError: for a value that is not finite.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim not in (2, 4) or 0 in inputs.shape[1:]:
        raise errors.DataError(
            f'each item has shape {list(inputs.shape[1:])}; it must be an '
            'image [H, W, C] or a point [D]'
        )
    points = inputs.ndim == 2
    if inputs.dtype == np.uint8 and not points:
        return inputs
    if inputs.dtype.kind != 'f' and not (points and inputs.dtype.kind in 'iu'):
        raise errors.DataError(
            f'images are {inputs.dtype}; they must be uint8 or floats in '
            '[-1, 1]'
        )
    inputs = inputs.astype(np.float32, copy=False)
    if not np.isfinite(inputs).all():
        raise errors.NonFiniteError('data contain NaN or infinite values')
    if not points and inputs.size and abs(inputs).max() > 1:
        raise errors.DataError(
            f'images have values from {inputs.min():.3g} to '
            f'{inputs.max():.3g}; floats must be in [-1, 1]: clip them, or '
            'convert them to uint8'
        )
    return inputs


def check_channels(name, shape):
    """Check that a shape is that of a batch of grey or RGB images.

    Args:
        name: of the network that takes them, for the message.
        shape: of the batch.

    Raises:
        errors.DataError: if not.
    """
    if len(shape) != 4 or shape[-1] not in (1, 3) or 0 in shape:
        alpha = len(shape) == 4 and shape[-1] in (2, 4)
        raise errors.DataError(
            f'{name} takes images [B, H, W, C] of 1 or 3 channels, not '
            f'{list(shape)}{"; remove the alpha channel" if alpha else ""}'
        )
