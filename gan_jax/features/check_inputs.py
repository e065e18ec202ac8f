"""What may be an image, or a row of points."""

import numpy as np

from gan_jax.core import errors


def checked(inputs):
    """Give images as uint8 or float32, points as float32; refuse all else.

    Args:
        inputs: [N, H, W, C] uint8, or float in [-1, 1]; or [N, D] numbers.

    Returns:
        NumPy array of the same shape.

    Raises:
        errors.DataError: for another shape, type or range.
        errors.NonFiniteError: for a value that is not finite.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim not in (2, 4) or 0 in inputs.shape[1:]:
        raise errors.DataError(
            f'each of the data has shape {list(inputs.shape[1:])}; images '
            '[N, H, W, C] or points [N, D] are asked'
        )
    points = inputs.ndim == 2
    if inputs.dtype == np.uint8 and not points:
        return inputs
    if inputs.dtype.kind != 'f' and not (points and inputs.dtype.kind in 'iu'):
        raise errors.DataError(
            f'images are {inputs.dtype}; uint8, or floats in [-1, 1], are asked'
        )
    inputs = inputs.astype(np.float32, copy=False)
    if not np.isfinite(inputs).all():
        raise errors.NonFiniteError('data hold a value that is not finite')
    if not points and inputs.size and abs(inputs).max() > 1:
        raise errors.DataError(
            f'images reach from {inputs.min():.3g} to {inputs.max():.3g}; '
            'floats in [-1, 1] are asked: clip them, or make them uint8'
        )
    return inputs
