"""Modes of a mixture that samples recover."""

import numpy as np
from scipy import special


def radius(dimension):
    """Give the r_d with P(chi_d < r_d) = P(chi_2 < 3) = 1 - exp(-9 / 2).

    r_2 = 3, r_1 = 2.54, r_10 = 4.79, r_700 = 28.1.

    Args:
        dimension: d >= 1.

    Returns:
        float, in standard deviations.
    """
    return float(np.sqrt(special.chdtri(dimension, np.exp(-4.5))))


def recovered(points, means, std, dimension=2):
    """Count what samples recover of a mixture of Gaussians.

    A point is of high quality where it lies within r_d standard deviations of
    the nearest mean; a mode is recovered where at least one such point is
    nearest to it. The reverse KL divergence is log K - H of the shares of the
    K modes among high-quality points: 0 where all come equally often.

    In 2-D, r_2 = 3 as in the papers. The `radius` r_d for modes that extend
    along d axes is our own generalisation: 98.9 % of exact samples lie within
    it whatever d is. Distances are measured in all D dimensions, so what a
    point strays off the manifold of the modes counts against it. Beyond 2-D
    r_d > 3: balls around means less than 2 r_d deviations apart overlap, and
    points between such modes are of high quality too.

    Args:
        points: [N, D].
        means: [K, D].
        std: scalar, standard deviation along each axis of a mode.
        dimension: d, axes along which a mode extends, <= D.

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
    points = np.asarray(points, np.float64)
    means = np.asarray(means, np.float64)
    # ||p - m||^2 less ||p||^2, which is the same for all means: [N, K].
    with np.errstate(invalid='ignore'):  # points of a GAN that went to inf
        nearest = (np.square(means).sum(1) - 2 * points @ means.T).argmin(1)
    squares = np.square(points - means[nearest]).sum(1)
    good = squares < (radius(dimension) * std) ** 2
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
