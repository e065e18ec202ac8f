"""Principal components: the linear autoencoder, and a Gaussian to sample it by.

An autoencoder of linear layers and the L2 error spans the same subspace:
Baldi and Hornik, Neural Networks and Principal Component Analysis, Neural
Networks 2, 1989.
"""

from typing import NamedTuple

import numpy as np


class Components(NamedTuple):
    """The axes along which data extend most.

    Attributes:
        mean: [D].
        axes: [k, D], orthonormal, the longest first; the largest entry of each
            is positive.
        std: [k], standard deviation of the data along each.
    """

    mean: np.ndarray
    axes: np.ndarray
    std: np.ndarray

    def encode(self, rows):
        """Map rows [N, D] to codes [N, k]."""
        return (rows - self.mean) @ self.axes.T

    def decode(self, codes):
        """Map codes [N, k] to the nearest rows [N, D] that have them."""
        return self.mean + codes @ self.axes

    def sample(self, random, count):
        """Draw rows from the Gaussian of the data in the subspace.

        Args:
            random: `np.random.RandomState`.
            count: N.

        Returns:
            [N, D].
        """
        return self.decode(random.randn(count, len(self.std)) * self.std)


def fit(rows, num_components):
    """Find the principal components of rows.

    Args:
        rows: [N, D].
        num_components: k <= min(N - 1, D).

    Returns:
        `Components`.

    Raises:
        ValueError: for more components than there are.
    """
    rows = np.asarray(rows, np.float64)
    most = min(len(rows) - 1, rows.shape[1])
    if not 0 < num_components <= most:
        raise ValueError(
            f'{num_components} components of {len(rows)} rows of '
            f'{rows.shape[1]} numbers; 1 to {most} exist'
        )
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    axes = axes[:num_components]
    largest = np.abs(axes).argmax(1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    std = lengths[:num_components] / np.sqrt(len(rows) - 1)
    return Components(mean, axes, std)
