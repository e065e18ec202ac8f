"""Precision, recall, density and coverage of features by nearest neighbours.

The manifold of a set is the union of balls around its rows. The radius of each
ball is the Euclidean distance to the row's k-th nearest neighbour in its own
set, the row itself excluded.

- precision: share of the fakes inside the manifold of the reals;
- recall: share of the reals inside the manifold of the fakes;
- density: 1 / (k M) times the sum over the M fakes of the number of real balls
  that contain each; it is robust to outliers among the reals and may exceed 1;
- coverage: share of the real balls that contain a fake.

All depend on the numbers of rows of both sets and on k.
"""

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import features


def precision_recall(real, fake, *, k=3):
    """Compute precision and recall; the surface of a ball belongs to it.

    Args:
        real: [N, D], N > k, of any type; distances are computed in float64.
        fake: [M, D], M > k.
        k: index of the neighbour that sets a radius.

    Returns:
        {'precision', 'recall'}: floats in [0, 1].

    Raises:
        errors.DataError: for too few rows, or columns that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Kynkäänniemi et al., Improved precision and recall metric for assessing
        generative models, https://arxiv.org/abs/1904.06991, 2019: features of
        VGG-16 (fc2), 50,000 of each, k = 3. The authors' code rounds them to
        float16.
    """
    values = _measure(real, fake, k, np.less_equal)
    return {name: values[name] for name in ('precision', 'recall')}


def prdc(real, fake, *, k=5):
    """Compute all four numbers; the surface of a ball does not belong to it.

    This is the convention of the `prdc` package. It differs from that of
    `precision_recall` if a fake is on the surface of a ball, as copies of real
    rows are. There the last bit of a distance decides; equal arrays of equal
    type have equal distances here.

    Args:
        real: [N, D], N > k, of any type; distances are computed in float64.
        fake: [M, D], M > k.
        k: index of the neighbour that sets a radius.

    Returns:
        {'precision', 'recall', 'density', 'coverage'}: floats >= 0; all except
        the density are at most 1.

    Raises:
        errors.DataError: for too few rows, or columns that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Naeem et al., Reliable fidelity and diversity metrics for generative
        models, https://arxiv.org/abs/2002.09797, 2020.
    """
    return _measure(real, fake, k, np.less)


def squared_radii(values, k):
    """Compute each row's squared distance to its k-th nearest other row.

    Args:
        values: [N, D], N > k >= 1.

    Returns:
        float64 [N].
    """
    radii = []
    for _, squared in distances.squared_to_others(values):
        squared.partition(k - 1, axis=1)
        radii.append(squared[:, k - 1].copy())
    return np.concatenate(radii)


def _measure(real, fake, k, within):
    """Compute all four in one pass over the distances from reals to fakes."""
    if k < 1:
        raise errors.DataError(f'k={k} is not a positive number')
    real, fake = features.pair(real, fake, least=k + 1)
    real_radii, fake_radii = squared_radii(real, k), squared_radii(fake, k)
    held = np.zeros(len(fake), np.int64)  # real balls that contain each fake
    recalled = covered = 0
    for first, squared in distances.squared_blocks(real, fake):
        inside = within(squared, real_radii[first:first + len(squared), None])
        held += inside.sum(0)
        covered += inside.any(1).sum()
        recalled += within(squared, fake_radii).any(1).sum()
    return {
        'precision': float((held > 0).mean()),
        'recall': float(recalled / len(real)),
        'density': float(held.mean() / k),
        'coverage': float(covered / len(real)),
    }
