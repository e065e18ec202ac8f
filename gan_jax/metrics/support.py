"""How many different images a generator makes, by the birthday paradox.

Among s even draws from N images two are the same with probability
1 - exp(-s (s - 1) / (2 N)), nearly: with half of all batches where s is about
1.2 sqrt(N). So the share of batches that hold near-duplicates tells N.
"""

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import features


def support_size(samples, threshold, *, batch_size, confidence=0.95):
    """Estimate how many different samples a generator has.

    N = s (s - 1) / (2 log(1 / (1 - c))), c the share of the batches of s
    samples whose closest pair is nearer than the threshold. The interval is
    that of c by Clopper and Pearson, put through the same formula; it is exact
    but for terms of s / N. It asks for samples that are independent.

    What it means: 1 / N estimates the chance that two samples are the same,
    sum_i p_i^2, so N is the number of images that would collide as often if
    they came evenly. Rare images hardly count: the true support is larger than
    N where some come more often than others, and a generator may make half of
    its samples from few images and still have a large support.

    Choose s so that c is neither 0 nor 1; where it is 0 the estimate is inf
    and `low` is what is known, where it is 1 the estimate is 0 and `high` is.
    N from real images and the same threshold says what to compare with. The
    threshold is a judgement: the authors look at the closest pairs themselves
    (`closest_pairs`). One that needs no eye is a low quantile of what
    `closest_pairs` gives for real images in batches of s.

    Args:
        samples: [n, ...] in random order, at least one batch; float pixels or
            features.
        threshold: Euclidean distance under which two samples are the same.
        batch_size: s >= 2; n // s batches are looked at.
        confidence: of the interval.

    Returns:
        {'collisions': c, 'batches': int, 'support': N, 'low': float,
        'high': float}; inf is possible for the last three.

    Raises:
        errors.DataError: for fewer samples than a batch.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Arora and Zhang, Do GANs actually learn the distribution? An empirical
        study, https://arxiv.org/abs/1706.08224, 2017: s for which c is at
        least a half, and N near s^2.
    """
    from scipy import stats  # takes most of a second

    closest, _ = closest_pairs(samples, batch_size)
    batches, hits = len(closest), int((closest < threshold).sum())
    tail = (1 - confidence) / 2
    # Clopper and Pearson; a share has no bound on a side where hits end.
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
        samples: [n, ...], cut into n // s batches in their order.
        batch_size: s >= 2.

    Returns:
        (float64 [n // s] Euclidean distances, int [n // s, 2] numbers of the
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
    numbers = np.array(pairs)
    apart = samples[numbers[:, 0]].astype(np.float64) - samples[numbers[:, 1]]
    return np.linalg.norm(apart, axis=1), numbers


def _closest_pair(batch, start):
    """Give the numbers of the two nearest rows, the first row being `start`."""
    nearest, pair = np.inf, None
    for first, squared in distances.squared_blocks(batch, batch):
        own = np.arange(len(squared))
        squared[own, first + own] = np.inf
        row, column = divmod(int(squared.argmin()), len(batch))
        if squared[row, column] < nearest:
            nearest = squared[row, column]
            pair = start + first + row, start + column
    return sorted(pair)


def _size(collisions, batch_size):
    """Give the support in which so large a share of batches has a pair."""
    if collisions == 0:
        return float('inf')
    if collisions == 1:
        return 0.0
    pairs = batch_size * (batch_size - 1) / 2
    return float(pairs / -np.log1p(-collisions))
