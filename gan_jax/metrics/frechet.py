"""The Fréchet distance between Gaussians fitted to features (FID).

It is biased upwards where samples are few, by an amount that depends on the
generator: compare values of the same number of samples alone, and print it.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import features

BLOCK = 4096  # rows brought to float64 at once
FEW = 10_000  # samples under which published values are not comparable


class Moments(NamedTuple):
    """What the distance needs to know of a set; kept, it spares the features.

    mean: float64 [D].
    covariance: float64 [D, D], divided by count - 1 as in `numpy.cov`.
    count: rows that it was made of.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def moments(values):
    """Compute mean and covariance of features, in blocks and in float64.

    Args:
        values: [N, D], N >= 2.

    Returns:
        `Moments`.

    Raises:
        errors.DataError: for fewer than two rows.
        errors.NonFiniteError: for a value that is not finite.
    """
    values = features.rows(values, 'features', 2)
    return gather(
        values[first:first + BLOCK] for first in range(0, len(values), BLOCK)
    )


def gather(batches):
    """Compute mean and covariance of features that come batch by batch.

    Each batch has its own mean taken off before it is squared, so large means
    cost no digits. A batch costs O(n D^2), and O(D^2) whatever its size:
    thousands of rows at once are faster than tens.

    Args:
        batches: iterable of [n, D], 2 rows or more in all.

    Returns:
        `Moments`; float64 [D, D] and one batch are all that is held.

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
        centre = batch.mean(0)
        batch -= centre
        size, gap = len(batch), centre - mean
        total = count + size
        scatter += batch.T @ batch
        scatter += np.outer(gap, gap) * (count * size / total)
        mean, count = mean + gap * (size / total), total
    if count < 2:
        raise errors.DataError('a covariance takes at least 2 features')
    return Moments(mean, scatter / (count - 1), count)


def frechet_distance(real, fake):
    """Compute the squared Fréchet distance between two sets of features.

    ||m_1 - m_2||^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), m the means and S the
    covariances (divided by N - 1) of the two sets.

    FID is this over the 2,048 activations of Inception-v3's last pooling, of
    50,000 samples as a rule.

    Neither set larger than D is never multiplied out to [D, D]: cost is then
    O(N^2 D) and exact, though the covariances are singular. Else
    O(N D^2 + D^3).

    Args:
        real: [N, D], N >= 2, of any type; sums are made in float64.
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
    S_1^(1/2) S_2 S_1^(1/2), which is symmetric, so nothing complex arises
    (`scipy.linalg.sqrtm` of S_1 S_2, in common code, gives complex matrices
    where S_1 S_2 is nearly singular). Those square roots are the singular
    values of S_1^(1/2) S_2^(1/2), and are computed as such: rounding is then
    1e-16 of the largest one, where square roots of eigenvalues carry 1e-8.
    No epsilon is added to the diagonals.

    Args:
        real: `Moments` [D].
        fake: `Moments` [D].

    Returns:
        float >= 0.

    Raises:
        errors.DataError: where their sizes differ.
    """
    if real.covariance.shape != fake.covariance.shape:
        raise errors.DataError(
            f'moments of {len(real.mean)} and of {len(fake.mean)} dimensions'
        )
    gap = np.asarray(real.mean, np.float64) - fake.mean
    traces = np.trace(real.covariance) + np.trace(fake.covariance)
    product = _root(real.covariance).T @ _root(fake.covariance)
    return _distance(gap, traces, product)


def complaint(count, dimension):
    """Say why a distance of so few samples is not to be compared.

    Args:
        count: samples of the smaller set.
        dimension: D.

    Returns:
        str, one line; empty where there is nothing to say.
    """
    faults = []
    if count < FEW:
        faults.append(f'fewer than the {FEW:,} of published values')
    if count <= dimension:
        faults.append(
            f'not more than the {dimension:,} dimensions, so the covariance '
            'is singular'
        )
    if not faults:
        return ''
    return (
        f'a Fréchet distance of {count:,} samples, {" and ".join(faults)}: it '
        'is biased upwards; compare it with values of as many samples alone'
    )


def _root_of_rows(values):
    """Give R [N, D] with R^T R the covariance, and the mean [D]."""
    values = values.astype(np.float64)
    mean = values.mean(0)
    return (values - mean) / np.sqrt(len(values) - 1), mean


def _root(covariance):
    """Give R [D, r] with R R^T the covariance, r its numerical rank."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    rounding = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    kept = values > rounding
    return vectors[:, kept] * np.sqrt(values[kept])


def _distance(gap, traces, product):
    cross = np.linalg.svd(product, compute_uv=False).sum()
    return max(float(gap @ gap + traces - 2 * cross), 0.0)
