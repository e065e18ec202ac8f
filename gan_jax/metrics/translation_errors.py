"""Errors of image-to-image translations.

An error is a mean absolute difference of images whose values are scaled to
[0, 1]: 0 for equal images, 1 between black and white. Knows no networks.
"""

import numpy as np

from gan_jax.core import errors

CHUNK = 256  # images converted at a time


def absolute_errors(images, others):
    """Compute the error of each image: |x - y|, mean over pixels and channels.

    Args:
        images: [N, H, W, C] uint8, or float in [-1, 1].
        others: of the same shape, or [1, H, W, C] for one image; uint8 or float
            in [-1, 1].

    Returns:
        float64 [N], in [0, 1].

    Raises:
        errors.DataError: for images of two shapes.
    """
    shapes = np.shape(images), np.shape(others)
    if shapes[0][1:] != shapes[1][1:] or shapes[1][0] not in (1, shapes[0][0]):
        raise errors.DataError(
            f'images of shapes {list(shapes[0])} and {list(shapes[1])} have no '
            'error'
        )
    difference = np.abs(unit_interval(images) - unit_interval(others))
    return difference.mean(tuple(range(1, difference.ndim)))


def unit_interval(images):
    """Scale images, uint8 or float in [-1, 1], to [0, 1] in float64."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images / 255
    return (images.astype(np.float64) + 1) / 2


def mean_image(images):
    """Compute the mean of images.

    Args:
        images: [N, H, W, C] uint8, an array or an object whose slices are
            arrays; N > 0.

    Returns:
        float64 [1, H, W, C] in [-1, 1].
    """
    total = 0
    for start in range(0, len(images), CHUNK):
        total = total + np.asarray(images[start:start + CHUNK]).sum(
            0, dtype=np.float64
        )
    return (total / len(images) / 127.5 - 1)[None]


def true_error(translations, inputs, means):
    """Average the errors to true images, and compare them.

    Args:
        translations: [N] errors of translations.
        inputs: [N] errors of the images that were translated.
        means: [N] errors of the mean image of the target domain.

    Returns:
        {'true_error': mean of the first, 'domain_distance': of the second,
        'true_error_ratio': the first by the second, 'mean_image_error': of the
        third}. The ratio is infinite or NaN if the domains are equal.
    """
    value, distance = float(np.mean(translations)), float(np.mean(inputs))
    with np.errstate(divide='ignore', invalid='ignore'):
        ratio = float(np.float64(value) / distance)
    return {
        'true_error': value, 'domain_distance': distance,
        'true_error_ratio': ratio, 'mean_image_error': float(np.mean(means)),
    }


def kept(logits, labels):
    """Compute the share of images that a classifier gives a label.

    Args:
        logits: [N, K] of the classifier.
        labels: int [N], the class that each image should have.

    Returns:
        float in [0, 1].
    """
    return float((np.argmax(logits, 1) == np.asarray(labels)).mean())
