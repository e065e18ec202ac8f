"""Principal components of data, as a linear baseline for autoencoders.

A linear autoencoder with the L2 error spans the same subspace: Baldi and
Hornik, Neural Networks and Principal Component Analysis, Neural Networks 2,
1989. A Gaussian in the subspace serves as its generator.
"""

from typing import NamedTuple

import numpy as np


class Components(NamedTuple):
    """Orthonormal axes along which data have the largest variance.

    Attributes:
        mean: [D].
        axes: [k, D], orthonormal, largest variance first; the largest entry of
            each axis is positive.
        std: [k], standard deviation of the data along each axis.
    """

    mean: np.ndarray
    axes: np.ndarray
    std: np.ndarray

    def encode(self, rows):
        """Project rows [N, D] to codes [N, k]."""
        return (rows - self.mean) @ self.axes.T

    def decode(self, codes):
        """Map codes [N, k] to rows [N, D] of the subspace."""
        return self.mean + codes @ self.axes

    def sample(self, random, count):
        """Draw rows from a Gaussian fitted to the data in the subspace.

        Args:
            random: `np.random.RandomState`.
            count: N.

        Returns:
            [N, D].
        """
        return self.decode(random.randn(count, len(self.std)) * self.std)


def fit(rows, num_components):
    """Compute the principal components of rows.

    Args:
        rows: [N, D].
        num_components: k <= min(N - 1, D).

    Returns:
        `Components`.

    Raises:
        ValueError: for more components than exist.
    """
    rows = np.asarray(rows, np.float64)
    most = min(len(rows) - 1, rows.shape[1])
    if not 0 < num_components <= most:
        raise ValueError(
            f'num_components={num_components} is not from 1 to {most} for rows '
            f'of shape {list(rows.shape)}'
        )
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    axes = axes[:num_components]
    largest = np.abs(axes).argmax(1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    std = lengths[:num_components] / np.sqrt(len(rows) - 1)
    return Components(mean, axes, std)
