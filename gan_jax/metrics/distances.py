"""Euclidean distances within and between sets of images or features.

All go through `squared_blocks`, which bounds the memory.
"""

import numpy as np

BLOCK = 512  # rows compared at once: memory stays at BLOCK x len(other)


def squared_blocks(values, other):
    """Yield the squared distances of values to all others, block by block.

    ||x||^2 - 2 x . y + ||y||^2: a matrix product in float64, whose rounding
    error is about 1e-16 of ||x||^2 + ||y||^2. The distance of equal rows may
    therefore be slightly above 0.

    Args:
        values: [N, ...].
        other: [M, ...], flattened like the values; copied to float64.

    Yields:
        (index of the first row, float64 [`BLOCK` rows or fewer, M] >= 0).
    """
    values = np.asarray(values).reshape(len(values), -1)
    other = np.asarray(other, np.float64).reshape(len(other), -1)
    norms = np.einsum('ij,ij->i', other, other)
    for first in range(0, len(values), BLOCK):
        rows = values[first:first + BLOCK].astype(np.float64)
        squared = (-2 * rows) @ other.T
        squared += np.einsum('ij,ij->i', rows, rows)[:, None]
        squared += norms
        yield first, np.maximum(squared, 0, out=squared)


def squared_to_others(values):
    """Yield the squared distances of values to each other, block by block.

    Args:
        values: [N, ...].

    Yields:
        (index of the first row, float64 [`BLOCK` rows or fewer, N] >= 0), inf
        from a row to itself.
    """
    for first, squared in squared_blocks(values, values):
        rows = np.arange(len(squared))
        squared[rows, first + rows] = np.inf
        yield first, squared


def _blocks(values, other):
    """Yield (first row, float64 distances [rows, len(other)]) in blocks."""
    for first, squared in squared_blocks(values, other):
        yield first, np.sqrt(squared, out=squared)


def nearest(values, reference):
    """Compute the distance of each value to its nearest reference.

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
    """Compute the mean distance over all pairs of different rows.

    2 / (N (N - 1)) sum_{i < j} ||x_i - x_j||.

    Args:
        values: [N, ...], N >= 2.

    Returns:
        float, Euclidean.
    """
    total = 0.0
    for first, distances in _blocks(values, values):
        rows = np.arange(len(distances))
        distances[rows, first + rows] = 0  # not exactly 0, by rounding
        total += distances.sum()
    return total / (len(values) * (len(values) - 1))
