"""Euclidean distances within and between sets of images or features."""

import numpy as np

BLOCK = 512  # rows compared at once: memory stays at BLOCK x len(other)


def _blocks(values, other):
    """Yield (first row, float64 distances [rows, len(other)]) in blocks."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    other = np.asarray(other, np.float64).reshape(len(other), -1)
    norms = np.square(other).sum(1)
    for first in range(0, len(values), BLOCK):
        rows = values[first:first + BLOCK]
        squared = np.square(rows).sum(1)[:, None] - 2 * rows @ other.T + norms
        yield first, np.sqrt(np.maximum(squared, 0))


def nearest(values, reference):
    """Find how far each value lies from its nearest reference.

    Args:
        values: [N, ...].
        reference: [M, ...], flattened like the values.

    Returns:
        float64 [N], Euclidean.
    """
    return np.concatenate(
        [distances.min(1) for _, distances in _blocks(values, reference)]
    )


def mean_pairwise(values):
    """Average the distance over all pairs of different rows.

    2 / (N (N - 1)) sum_{i < j} ||x_i - x_j||.

    Args:
        values: [N, ...], N >= 2.

    Returns:
        float, Euclidean.
    """
    total = 0.0
    for first, distances in _blocks(values, values):
        rows = np.arange(len(distances))
        distances[rows, first + rows] = 0  # rounding leaves a little there
        total += distances.sum()
    return total / (len(values) * (len(values) - 1))
