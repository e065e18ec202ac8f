"""Euclidean distances within and between sets of images or features."""

import numpy as np

BLOCK = 512  # rows compared at once: memory stays at BLOCK x len(other)


def squared_blocks(values, other):
    """Yield squared distances of some values to all others, block by block.

    ||x||^2 - 2 x . y + ||y||^2: a matrix product in float64, whose rounding is
    about 1e-16 of ||x||^2 + ||y||^2. Equal rows may so come out a little apart.

    Args:
        values: [N, ...].
        other: [M, ...], flattened like the values; its float64 copy is held.

    Yields:
        (number of the first row, float64 [`BLOCK` rows or fewer, M] >= 0).
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


def _blocks(values, other):
    """Yield (first row, float64 distances [rows, len(other)]) in blocks."""
    for first, squared in squared_blocks(values, other):
        yield first, np.sqrt(squared, out=squared)


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
