"""How samples compare with real images, in numbers that need no labels."""

import numpy as np

from gan_jax.metrics import distances
from gan_jax.metrics import modes
from gan_jax.runtime import writer

NUM_SAMPLES = 256
NUM_REAL = 2048  # most real images that are compared


def names(mixture):
    """Name the numbers that samples of a run are given.

    Args:
        mixture: as of `against_mixture`, or None for images.
    """
    ratios = ['eval/diversity', 'eval/nearest_real']
    if mixture is None or mixture.means is None:
        return ratios
    return [
        f'eval/{name}'
        for name in ('high_quality', 'modes', 'reverse_kl', 'smallest_mode')
    ]


def against_real(samples, real_images):
    """Compare samples with real images by Euclidean distances of pixels.

    Both ratios have real images below the line, so a generator as good as the
    data has 1: `eval/diversity` falls towards 0 with mode collapse, and
    `eval/nearest_real` falls towards 0 where training images are copied and
    rises where samples are unlike any.

    The real images are divided in an order that is drawn once and for all: a
    data set sorted by class would hold out its first classes alone. n stand for
    the samples, the others are compared with both.

    Args:
        samples: [n, H, W, C] in [-1, 1].
        real_images: [N, H, W, C] uint8, N > n: all of them, of more than
            `NUM_REAL` so many, drawn from all; or both are rows [., D] of a
            table.

    Returns:
        {'eval/diversity': float, 'eval/nearest_real': float}.
    """
    if real_images.ndim > 2:
        samples = writer.to_uint8(samples)
    order = np.random.RandomState(0).permutation(len(real_images))[:NUM_REAL]
    held, reference = (  # in order: images may be read from files
        real_images[np.sort(places)]
        for places in (order[:len(samples)], order[len(samples):])
    )
    return _ratios(samples, held, reference)


def against_mixture(points, mixture, real_points):
    """Measure what points recover of a source of points.

    Args:
        points: [N, D].
        mixture: a `mixtures.Mixture`.
        real_points: [M, D], M > N.

    Returns:
        The numbers of `modes.recovered` as 'eval/modes' and so on where the
        source has modes; else those of distances as of `against_real`.
    """
    if mixture.means is not None:
        found = modes.recovered(
            points, mixture.means, mixture.std, mixture.dimension
        )
        return {f'eval/{name}': value for name, value in found.items()}
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
