"""Support size: the number of different images that a generator makes.

By the birthday paradox: among s uniform draws from N images, two are equal with
probability of about 1 - exp(-s (s - 1) / (2 N)), which is a half at
s = 1.2 sqrt(N). The share of batches with near-duplicates therefore estimates
N.
"""

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import features


def support_size(samples, threshold, *, batch_size, confidence=0.95):
    """Estimate the number of different samples that a generator makes.

    N = s (s - 1) / (2 log(1 / (1 - c))), where c is the share of the batches of
    s samples whose closest pair is nearer than the threshold. The interval is
    that of Clopper and Pearson for c, mapped by the same formula; it is exact
    up to terms of s / N. The samples must be independent.

    1 / N estimates the probability that two samples are equal, sum_i p_i^2, so
    N is the number of equally frequent images that would collide as often. Rare
    images hardly count: the true support is larger than N if some images are
    more frequent than others. A generator may draw half of its samples from
    few images and still have a large support.

    Choose s so that c is neither 0 nor 1. If c is 0, the estimate is inf and
    only `low` is informative; if c is 1, the estimate is 0 and only `high` is.
    Compare N with that of real images for the same threshold. The authors
    choose the threshold by looking at the closest pairs (`closest_pairs`); an
    automatic choice is a low quantile of `closest_pairs` of real images in
    batches of s.

    Args:
        samples: [n, ...] in random order, at least one batch; float pixels or
            features.
        threshold: Euclidean distance below which two samples are equal.
        batch_size: s >= 2; n // s batches are used.
        confidence: of the interval.

    Returns:
        {'collisions': c, 'batches': int, 'support': N, 'low': float,
        'high': float}; the last three may be inf.

    Raises:
        errors.DataError: for fewer samples than a batch.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Arora and Zhang, Do GANs actually learn the distribution? An empirical
        study, https://arxiv.org/abs/1706.08224, 2017: s for which c is at
        least a half, and N near s^2.
    """
    from scipy import stats  # slow to import

    closest, _ = closest_pairs(samples, batch_size)
    batches, hits = len(closest), int((closest < threshold).sum())
    tail = (1 - confidence) / 2
    # Clopper and Pearson; without hits, or with hits alone, one side is open.
    low = stats.beta.ppf(tail, hits, batches - hits + 1) if hits else 0.0
    high = 1.0
    if hits < batches:
        high = stats.beta.ppf(1 - tail, hits + 1, batches - hits)
    return {
        'collisions': hits / batches, 'batches': batches,
        'support': _size(hits / batches, batch_size),
        'low': _size(high, batch_size), 'high': _size(low, batch_size),
    }


def closest_pairs(samples, batch_size):
    """Find the two nearest samples of each batch.

    Args:
        samples: [n, ...], split into n // s batches in their order.
        batch_size: s >= 2.

    Returns:
        (float64 [n // s] Euclidean distances, int [n // s, 2] indices of the
        samples).

    Raises:
        errors.DataError: for fewer samples than a batch, or s < 2.
        errors.NonFiniteError: for a value that is not finite.
    """
    if batch_size < 2:
        raise errors.DataError(f'batch_size={batch_size} is not at least 2')
    samples = features.rows(samples, 'samples', batch_size)
    pairs = [
        _closest_pair(samples[start:start + batch_size], start)
        for start in range(0, len(samples) - batch_size + 1, batch_size)
    ]
    indices = np.array(pairs)
    gaps = samples[indices[:, 0]].astype(np.float64) - samples[indices[:, 1]]
    return np.linalg.norm(gaps, axis=1), indices


def _closest_pair(batch, start):
    """Find the indices of the two nearest rows, counted from `start`."""
    nearest, pair = np.inf, None
    for first, squared in distances.squared_to_others(batch):
        row, column = divmod(int(squared.argmin()), len(batch))
        if squared[row, column] < nearest:
            nearest = squared[row, column]
            pair = start + first + row, start + column
    return sorted(pair)


def _size(collisions, batch_size):
    """Compute the support size for a share of batches with duplicates."""
    if collisions == 0:
        return float('inf')
    if collisions == 1:
        return 0.0
    pairs = batch_size * (batch_size - 1) / 2
    return float(pairs / -np.log1p(-collisions))
