"""Statistics of samples beside real images, by pixels and without labels.

NumPy in, floats out: this module knows neither features nor networks.
"""

import numpy as np

from gan_jax.metrics import catalog
from gan_jax.metrics import distances
from gan_jax.metrics import modes
from gan_jax.runtime import writer

NUM_SAMPLES = 256
NUM_REAL = 2048  # most real images that are compared


def names(mixture):
    """List the names of the statistics of a run.

    Args:
        mixture: as in `against_mixture`, or None for images.
    """
    without_modes = mixture is None or mixture.means is None
    return [
        f'eval/{name}' for name in
        (catalog.PIXEL_STATS if without_modes else catalog.MODE_STATS)
    ]


def against_real(samples, real_images):
    """Compare samples with real images by Euclidean distances of pixels.

    Both statistics are ratios to the value of real images, so a perfect
    generator has 1. `eval/diversity` falls towards 0 with mode collapse.
    `eval/nearest_real` falls towards 0 if training images are copied, and rises
    if samples are unlike any real image.

    n of the real images stand for perfect samples; samples and they are both
    compared with the others. The real images are split at random with a fixed
    seed, because a data set may be sorted by class.

    Args:
        samples: [n, H, W, C] in [-1, 1], or [n, D].
        real_images: [N, H, W, C] uint8 or in [-1, 1], or [N, D], N > n. At
            most `NUM_REAL` of them are used, drawn from all.

    Returns:
        {'eval/diversity': float, 'eval/nearest_real': float}.
    """
    if real_images.ndim > 2:
        samples = writer.like(samples, real_images)
    order = np.random.RandomState(0).permutation(len(real_images))[:NUM_REAL]
    held, reference = (  # sorted: images may be read from files
        real_images[np.sort(indices)]
        for indices in (order[:len(samples)], order[len(samples):])
    )
    return _ratios(samples, held, reference)


def against_mixture(points, mixture, real_points):
    """Compare generated points with the distribution of the data.

    Args:
        points: [N, D].
        mixture: a `mixtures.Mixture`.
        real_points: [M, D], M > N.

    Returns:
        {'eval/name': float}: the numbers of `modes.recovered` if the mixture
        has modes, otherwise the ratios of `against_real`.
    """
    if mixture.means is not None:
        numbers = modes.recovered(
            points, mixture.means, mixture.std, mixture.dimension
        )
        return {f'eval/{name}': value for name, value in numbers.items()}
    held, reference = real_points[:len(points)], real_points[len(points):]
    return _ratios(points, held, reference)


def _ratios(samples, held, reference):
    return {
        'eval/diversity': (
            distances.mean_pairwise(samples) / distances.mean_pairwise(held)
        ),
        'eval/nearest_real': (
            distances.nearest(samples, reference).mean()
            / distances.nearest(held, reference).mean()
        ),
    }
