"""Multi-scale structural similarity (MS-SSIM) of images, and diversity by it.

NumPy and SciPy alone; it needs no features.
"""

import numpy as np
from scipy import ndimage

from gan_jax.core import errors
from gan_jax.metrics import features

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
BLOCK = 64  # pairs compared at once


def ms_ssim(images, others, *, peak=None):
    """Compute the MS-SSIM of each pair of images.

    The product over scales j of cs_j^w_j, with ssim instead of cs at the
    coarsest scale. ssim = l cs, where
    l = (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1) and
    cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2) compare means and covariances
    under a Gaussian window, 11x11 with sigma 1.5, at all places where the
    window is inside the image. Their means over the image are used, clipped at
    0. C1 = (0.01 peak)^2, C2 = (0.03 peak)^2. Each scale halves the image by
    averaging 2x2 pixels. Channels are compared separately and averaged last.

    Images smaller than 161 pixels are too small for 5 scales of that window.
    They get as many as fit (`num_scales`; 2 at 32x32), with the normalised
    weights of the finest scales; below 11 pixels the window shrinks. Values of
    different image sizes are therefore not comparable. `tf.image` rejects such
    images; compare_gan keeps 5 scales and shrinks the window instead.

    Args:
        images: [N, H, W, C], uint8 or floats in [-1, 1].
        others: [N, H, W, C], of the same type.
        peak: largest difference of two pixels; None is 255 for uint8 and 2 for
            floats.

    Returns:
        float64 [N] in [0, 1]; 1 for equal images.

    Raises:
        errors.DataError: for no pair, or if shapes or types differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Wang, Simoncelli and Bovik, Multi-scale structural similarity for image
        quality assessment, Asilomar, 2003.
    """
    images, others = np.asarray(images), np.asarray(others)
    if images.shape != others.shape or images.dtype != others.dtype:
        raise errors.DataError(
            f'images {images.dtype}{list(images.shape)} cannot be compared '
            f'with {others.dtype}{list(others.shape)}'
        )
    features.pair(images, others, ('images', 'their partners'))
    peak = peak or (255 if images.dtype == np.uint8 else 2)
    return np.concatenate([
        _ms_ssim(
            images[first:first + BLOCK].astype(np.float64),
            others[first:first + BLOCK].astype(np.float64), peak,
        ) for first in range(0, len(images), BLOCK)
    ])


def diversity(images, labels=None, *, num_pairs=1000, seed=0, peak=None):
    """Compute the mean MS-SSIM of random pairs of images of the same class.

    It is near that of real images if samples are as varied, and rises towards 1
    as a generator collapses. It does not compare classes, and it is low for any
    dissimilar images: noise counts as diverse.

    The first image of a pair is drawn uniformly from all whose class has
    another, the second uniformly from the rest of its class. Pairs are drawn
    with replacement.

    Args:
        images: [N, H, W, C] fakes, as in `ms_ssim`.
        labels: int [N]; None treats all images as one class.
        num_pairs: number of pairs.
        seed: of the pairs; the same seed gives the same number.
        peak: as in `ms_ssim`.

    Returns:
        float in [0, 1].

    Raises:
        errors.DataError: if no class has two images.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Odena, Olah and Shlens, Conditional image synthesis with auxiliary
        classifier GANs, https://arxiv.org/abs/1610.09585, 2016: 100 pairs of
        each class, per class.
    """
    images = np.asarray(images)
    first, second = _pairs(
        np.zeros(len(images), int) if labels is None else np.asarray(labels),
        num_pairs, np.random.default_rng(seed),
    )
    return float(ms_ssim(images[first], images[second], peak=peak).mean())


def num_scales(height, width):
    """Return the number of scales: all 5 from a shorter side of 161 pixels.

    Args:
        height: H.
        width: W.

    Returns:
        int, 1 to 5.
    """
    scales, size = 1, min(height, width)
    while scales < len(WEIGHTS) and (size + 1) // 2 >= WINDOW:
        scales, size = scales + 1, (size + 1) // 2
    return scales


def _pairs(labels, num_pairs, random):
    """Draw the indices of pairs of different images of the same class."""
    order = np.argsort(labels, kind='stable')
    _, starts, classes, counts = np.unique(
        labels[order], return_index=True, return_inverse=True,
        return_counts=True,
    )
    paired = np.flatnonzero(counts[classes] > 1)
    if not len(paired):
        raise errors.DataError('no class has two images to compare')
    first = random.choice(paired, num_pairs)
    own = classes[first]
    offset = random.integers(1, counts[own])  # cyclic, within the class
    second = starts[own] + (first - starts[own] + offset) % counts[own]
    return order[first], order[second]


def _ms_ssim(x, y, peak):
    scales = num_scales(*x.shape[1:3])
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, structure = _compare(x, y, peak)
        if scale == scales - 1:
            structure = luminance * structure
        product *= structure.mean((1, 2)).clip(0) ** weight  # [N, C]
    return product.mean(1)


def _compare(x, y, peak):
    """Compute l and cs, [N, H - 10, W - 10, C] each."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    means = 2 * mean_x * mean_y
    squares = mean_x ** 2 + mean_y ** 2
    luminance = (means + c1) / (squares + c1)
    structure = (2 * _blur(x * y) - means + c2) / (
        _blur(x ** 2 + y ** 2) - squares + c2
    )
    return luminance, structure


def _blur(x):
    """Average under a Gaussian window, where the window is inside the image."""
    for axis in (1, 2):
        size = min(WINDOW, x.shape[axis])
        places = np.arange(size) - (size - 1) / 2
        window = np.exp(-np.square(places / SIGMA) / 2)
        whole = np.arange(x.shape[axis] - size + 1) + size // 2
        x = ndimage.correlate1d(
            x, window / window.sum(), axis, mode='constant'
        ).take(whole, axis)
    return x


def _halve(x):
    """Average 2x2 pixels; an odd last row or column is repeated."""
    odd = [(0, 0), *((0, size % 2) for size in x.shape[1:3]), (0, 0)]
    x = np.pad(x, odd, mode='edge')
    return (
        x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    ) / 4
