"""Multi-scale structural similarity of image pairs, and diversity by it."""

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

    Product over scales j of cs_j^w_j, and of ssim at the coarsest instead of
    cs. ssim = l cs; l = (2 m_x m_y + C1) / (m_x^2 + m_y^2 + C1) and
    cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2) compare means and covariances
    under a Gaussian window, 11x11 with sigma 1.5, wherever it lies whole in
    the image; their means over the image are used, 0 where negative. C1 =
    (0.01 peak)^2, C2 = (0.03 peak)^2. Each scale halves the image by means of
    2x2 pixels. Channels are compared by themselves and averaged at the end.

    Images smaller than 161 pixels do not bear 5 scales of that window. They
    get as many as they bear (`num_scales`; 2 at 32x32), with the weights of
    the finest scales over their sum; under 11 pixels the window shrinks. So
    values of different image sizes are not comparable. `tf.image` refuses such
    images; compare_gan keeps 5 scales and shrinks the window instead.

    Args:
        images: [N, H, W, C], uint8 or floats in [-1, 1].
        others: [N, H, W, C], likewise.
        peak: largest difference of two pixels; None for 255 of uint8 and 2 of
            floats.

    Returns:
        float64 [N] in [0, 1]; 1 for equal images.

    Raises:
        errors.DataError: for no pair, or where shapes or types differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Wang, Simoncelli and Bovik, Multi-scale structural similarity for image
        quality assessment, Asilomar, 2003.
    """
    images, others = np.asarray(images), np.asarray(others)
    if images.shape != others.shape or images.dtype != others.dtype:
        raise errors.DataError(
            f'images {images.dtype}{list(images.shape)} cannot be paired with '
            f'{others.dtype}{list(others.shape)}'
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
    """Average the MS-SSIM over random pairs of different images of a class.

    Near that of real images of the same class where samples are as varied; it
    rises towards 1 as a generator collapses. It sees nothing between classes,
    and unlike images of any kind have a low one: noise looks diverse.

    The first image of a pair is drawn evenly from all whose class has another,
    the second evenly from the rest of its class, with replacement of pairs.

    Args:
        images: [N, H, W, C] fakes, as of `ms_ssim`.
        labels: int [N]; None takes all images as of one class.
        num_pairs: pairs to draw.
        seed: of the draws; the same seed gives the same number.
        peak: as of `ms_ssim`.

    Returns:
        float in [0, 1].

    Raises:
        errors.DataError: where no class has two images.
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
    """Give how many scales images bear: all 5 where the shorter side is 161.

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
    """Draw numbers of images: two different ones of a class for each pair."""
    order = np.argsort(labels, kind='stable')
    _, starts, classes, counts = np.unique(
        labels[order], return_index=True, return_inverse=True,
        return_counts=True,
    )
    paired = np.flatnonzero(counts[classes] > 1)
    if not len(paired):
        raise errors.DataError('no class has two images to compare')
    first = random.choice(paired, num_pairs)
    of = classes[first]
    ahead = random.integers(1, counts[of])  # places on, around the class
    second = starts[of] + (first - starts[of] + ahead) % counts[of]
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
    """Give l and cs, [N, H - 10, W - 10, C] each."""
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
    """Average under a Gaussian window wherever it lies whole in the image."""
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
    """Average 2x2 pixels; an odd last row or column is taken twice."""
    odd = [(0, 0), *((0, size % 2) for size in x.shape[1:3]), (0, 0)]
    x = np.pad(x, odd, mode='edge')
    return (
        x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    ) / 4
