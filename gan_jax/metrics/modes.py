"""Modes of a mixture that samples recover."""

import numpy as np


def recovered(points, means, std):
    """Count what samples recover of a mixture of Gaussians.

    A point is of high quality where it lies within 3 standard deviations of
    the nearest mean; a mode is recovered where at least one such point is
    nearest to it. The reverse KL divergence is log K - H of the shares of the
    K modes among high-quality points: 0 where all come equally often.

    Args:
        points: [N, D].
        means: [K, D].
        std: scalar, standard deviation along each axis.

    Returns:
        {'modes': int, 'smallest_mode': share of the rarest mode among all
        points, 'high_quality': share of the points, 'reverse_kl': float, inf
        where no point is of high quality}.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017, with the definitions
        of Srivastava et al., VEEGAN,
        https://arxiv.org/abs/1705.07761, 2017.
    """
    points, means = np.asarray(points, np.float64), np.asarray(means)
    squares = np.square(points[:, None] - means[None]).sum(-1)
    nearest = squares.argmin(1)
    good = squares.min(1) < (3 * std) ** 2
    counts = np.bincount(nearest[good], minlength=len(means))
    reverse_kl = float('inf')
    if counts.sum():
        shares = counts[counts > 0] / counts.sum()
        reverse_kl = float(np.log(len(means)) + (shares * np.log(shares)).sum())
    return {
        'modes': int((counts > 0).sum()),
        'smallest_mode': float(counts.min() / len(points)),
        'high_quality': float(good.mean()),
        'reverse_kl': reverse_kl,
    }
