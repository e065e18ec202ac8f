"""Exact earth mover's distance between small sets of equal size.

By SciPy's linear assignment; it needs no network and no features of images.
"""

import numpy as np
from scipy import optimize
from scipy.spatial import distance

from gan_jax.core import errors
from gan_jax.metrics import features


def earth_movers_distance(values, other):
    """Compute the earth mover's distance W1 of two equally large sets.

    min over permutations p of 1/N sum_i ||x_i - y_p(i)||_2. Exact; O(N^3) time
    and 8 N^2 bytes, so for a few thousand rows. As an estimate for the
    distributions behind the sets it is biased upwards, and in high dimension
    the bias falls slowly with N: compare it with the distance between two real
    sets of size N.

    Args:
        values: x, [N, D], of any type; distances are computed in float64.
        other: y, [N, D].

    Returns:
        float >= 0.

    Raises:
        errors.DataError: for empty sets, or sets whose sizes differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Kuhn, The Hungarian method for the assignment problem, Naval Research
        Logistics Quarterly 2, 1955, in the form of SciPy's
        `linear_sum_assignment`.
    """
    values, other = features.pair(values, other, ('values', 'other values'))
    if len(values) != len(other):
        raise errors.DataError(
            f'{len(values)} rows cannot be matched with {len(other)}'
        )
    costs = distance.cdist(
        values.astype(np.float64), other.astype(np.float64)
    )
    return float(costs[optimize.linear_sum_assignment(costs)].mean())
