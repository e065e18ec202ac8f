"""Kernel distance between sets of features (KID).

It takes features; it does not extract them.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.metrics import features


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the estimates over random subsets.

    Attributes:
        mean: float; unbiased, so it may be slightly below 0.
        std: float, standard deviation over subsets (ddof=0). It is not the
            error of the mean, because subsets overlap.
        subset_size: rows of each subset.
    """

    mean: float
    std: float
    subset_size: int


def polynomial_mmd(real, fake):
    """Compute the unbiased squared MMD of two sets with a polynomial kernel.

    sum_{i != j} k(x_i, x_j) / (N (N - 1)) + sum_{i != j} k(y_i, y_j)
    / (M (M - 1)) - 2 sum_{i, j} k(x_i, y_j) / (N M), with
    k(x, y) = (x . y / D + 1)^3.

    Args:
        real: x, [N, D], N >= 2, of any type; products are computed in float64.
        fake: y, [M, D], M >= 2.

    Returns:
        float; its expectation is 0 if the distributions are equal.

    Raises:
        errors.DataError: for fewer than two rows, or columns that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Gretton et al., A kernel two-sample test, JMLR 13, 2012;
        Bińkowski et al., Demystifying MMD GANs,
        https://arxiv.org/abs/1801.01401, 2018.
    """
    return _mmd(*features.pair(real, fake, least=2))


def kernel_distance(
    real, fake, *, num_subsets=100, subset_size=1000, seed=0
):
    """Average `polynomial_mmd` over random subsets of both sets.

    Each subset draws `subset_size` rows of both sets without replacement. The
    size is limited to that of the smaller set, whose subsets are then all equal
    and add nothing to `std`.

    torch-fidelity and NVIDIA's code use 100 subsets of 1,000, as the defaults
    here; the authors' own code uses 50. Published values are often multiplied
    by 1e3; these are not.

    Args:
        real: [N, D], N >= 2, of any type.
        fake: [M, D], M >= 2.
        num_subsets: number of subsets, >= 1.
        subset_size: rows of each, >= 2.
        seed: of the subsets; the same seed gives the same number.

    Returns:
        `KernelDistance`.

    Raises:
        errors.DataError: for fewer than two rows, or columns that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Bińkowski et al., Demystifying MMD GANs,
        https://arxiv.org/abs/1801.01401, 2018.
    """
    real, fake = features.pair(real, fake, least=2)
    size = min(subset_size, len(real), len(fake))
    random = np.random.default_rng(seed)
    estimates = [
        _mmd(
            real[random.choice(len(real), size, replace=False)],
            fake[random.choice(len(fake), size, replace=False)],
        )
        for _ in range(num_subsets)
    ]
    return KernelDistance(
        float(np.mean(estimates)), float(np.std(estimates)), size
    )


def _kernel(values, other):
    return (values @ other.T / values.shape[1] + 1) ** 3


def _mmd(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    return float(
        _mean_of_pairs(_kernel(real, real))
        + _mean_of_pairs(_kernel(fake, fake))
        - 2 * _kernel(real, fake).mean()
    )


def _mean_of_pairs(kernel):
    count = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (count * (count - 1))
