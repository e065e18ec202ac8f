"""Fréchet distance between Gaussians fitted to features (FID).

It is biased upwards for few samples, by an amount that depends on the
generator: only compare values of the same number of samples, and report that
number. This module takes features; it does not extract them.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import features

BLOCK = 4096  # rows converted to float64 at once
FEW = 10_000  # samples below which published values are not comparable


class Moments(NamedTuple):
    """Mean and covariance of features, all that the distance depends on.

    Attributes:
        mean: float64 [D].
        covariance: float64 [D, D], divided by count - 1 as in `numpy.cov`.
        count: number of rows.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def moments(values):
    """Compute the mean and covariance of features in float64.

    Args:
        values: [N, D], N >= 2.

    Returns:
        `Moments`.

    Raises:
        errors.DataError: for fewer than two rows.
        errors.NonFiniteError: for a value that is not finite.
    """
    values = features.rows(values, 'features', 2)
    return moments_of_batches(
        values[first:first + BLOCK] for first in range(0, len(values), BLOCK)
    )


def moments_of_batches(batches):
    """Compute the mean and covariance of features batch by batch.

    The mean of each batch is subtracted before the products, so large means
    lose no precision. A batch costs O(n D^2) and at least O(D^2): batches of
    thousands of rows are faster than batches of tens.

    Args:
        batches: iterable of [n, D], 2 rows or more in total.

    Returns:
        `Moments`. Memory: float64 [D, D] and one batch.

    Raises:
        errors.DataError: for fewer than two rows.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for
        computing sample variances, Stanford CS-79-773, 1979.
    """
    count, mean, scatter = 0, 0.0, 0.0
    for batch in batches:
        batch = features.rows(batch, 'features').astype(np.float64)
        center = batch.mean(0)
        batch -= center
        size, gap = len(batch), center - mean
        total = count + size
        scatter += batch.T @ batch
        scatter += np.outer(gap, gap) * (count * size / total)
        mean, count = mean + gap * (size / total), total
    if count < 2:
        raise errors.DataError('a covariance needs at least 2 rows of features')
    return Moments(mean, scatter / (count - 1), count)


def frechet_distance(real, fake):
    """Compute the squared Fréchet distance between two sets of features.

    ||m_1 - m_2||^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), m the means and S the
    covariances (divided by N - 1) of the two sets.

    FID is this distance for the 2,048 activations of Inception-v3's last
    pooling layer, usually of 50,000 samples.

    If neither set has more than D rows, no [D, D] matrix is formed: the cost is
    O(N^2 D), and the result is exact although the covariances are singular.
    Otherwise the cost is O(N D^2 + D^3).

    Args:
        real: [N, D], N >= 2, of any type; sums are computed in float64.
        fake: [M, D], M >= 2.

    Returns:
        float >= 0.

    Raises:
        errors.DataError: for fewer than two rows, or columns that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Heusel et al., GANs trained by a two time-scale update rule converge to
        a local Nash equilibrium, https://arxiv.org/abs/1706.08500, 2017.
        The bias: Chong and Forsyth, Effectively unbiased FID and Inception
        Score and where to find them, https://arxiv.org/abs/1911.07023, 2019.
    """
    real, fake = features.pair(real, fake, least=2)
    if max(len(real), len(fake)) > real.shape[1]:
        return frechet_from_moments(moments(real), moments(fake))
    real, real_mean = _root_of_rows(real)
    fake, fake_mean = _root_of_rows(fake)
    traces = np.square(real).sum() + np.square(fake).sum()
    return _distance(real_mean - fake_mean, traces, real @ fake.T)


def frechet_from_moments(real, fake):
    """Compute the squared Fréchet distance between two Gaussians.

    Tr (S_1 S_2)^(1/2) is the sum of the square roots of the eigenvalues of
    S_1^(1/2) S_2 S_1^(1/2), which is symmetric, so they are real. (The common
    `scipy.linalg.sqrtm` of S_1 S_2 returns complex matrices if S_1 S_2 is
    nearly singular.) Those square roots are computed as the singular values of
    S_1^(1/2) S_2^(1/2), with a rounding error of 1e-16 of the largest one;
    square roots of eigenvalues have an error of 1e-8. No epsilon is added to
    the diagonals.

    Args:
        real: `Moments` [D].
        fake: `Moments` [D].

    Returns:
        float >= 0.

    Raises:
        errors.DataError: if their sizes differ.
    """
    if real.covariance.shape != fake.covariance.shape:
        raise errors.DataError(
            f'moments of {len(real.mean)} and of {len(fake.mean)} dimensions'
        )
    gap = np.asarray(real.mean, np.float64) - fake.mean
    traces = np.trace(real.covariance) + np.trace(fake.covariance)
    product = _root(real.covariance).T @ _root(fake.covariance)
    return _distance(gap, traces, product)


def bias_note(count, dimension):
    """Describe the bias of a distance of few samples.

    Args:
        count: samples of the smaller set.
        dimension: D.

    Returns:
        str, one line; empty if the samples are many.
    """
    reasons = []
    if count < FEW:
        reasons.append(f'fewer than the {FEW:,} of published values')
    if count <= dimension:
        reasons.append(
            f'not more than the {dimension:,} dimensions, so the covariance '
            'is singular'
        )
    if not reasons:
        return ''
    return (
        f'a Fréchet distance of {count:,} samples, {" and ".join(reasons)}: it '
        'is biased upwards; only compare it with values of as many samples'
    )


def _root_of_rows(values):
    """Compute R [N, D] with R^T R the covariance, and the mean [D]."""
    values = values.astype(np.float64)
    mean = values.mean(0)
    return (values - mean) / np.sqrt(len(values) - 1), mean


def _root(covariance):
    """Compute R [D, r] with R R^T the covariance, r its numerical rank."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    rounding = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    kept = values > rounding
    return vectors[:, kept] * np.sqrt(values[kept])


def _distance(gap, traces, product):
    cross = np.linalg.svd(product, compute_uv=False).sum()
    return max(float(gap @ gap + traces - 2 * cross), 0.0)
