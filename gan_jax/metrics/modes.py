"""Modes that samples recover: of a mixture, or the classes of images."""

import numpy as np
from scipy import special

from gan_jax.core import errors


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
    return {
        'modes': int((counts > 0).sum()),
        'smallest_mode': float(counts.min() / len(points)),
        'high_quality': float(good.mean()),
        'reverse_kl': _from_even(counts),
    }


def recovered_classes(classes, num_classes=1000):
    """Count what samples recover of classes that come equally often.

    A class is recovered where at least one sample is of it. The KL divergence
    KL(p || uniform) = sum_k p_k log(K p_k), p the shares among the samples and
    the logarithm natural, is 0 where all classes come equally often and log K
    (6.9 for 1,000) where one alone comes. N samples of all K classes evenly
    have one of about (K - 1) / (2 N): 0.019 for 26,000 and 1,000.

    Stacked MNIST has K = 1,000 triples of digits (`stacked_classes`). The
    published tables have 26,000 samples (25,600 in the setting of unrolled
    GANs), each channel classed by a network of its own making; fewer samples
    find fewer modes. KL from the uniform law is what PacGAN's code computes;
    triples of MNIST's digits are uniform up to 0.004 of KL.

    Args:
        classes: int [N] in 0 to K - 1, predicted, N >= 1.
        num_classes: K.

    Returns:
        {'modes': int, 'smallest_mode': share of the rarest class,
        'reverse_kl': float >= 0}.

    Raises:
        errors.DataError: for no samples, or numbers that are no classes.

    References:
        Srivastava et al., VEEGAN, https://arxiv.org/abs/1705.07761, 2017;
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017.
    """
    counts = class_counts(classes, num_classes)
    return {
        'modes': int((counts > 0).sum()),
        'smallest_mode': float(counts.min() / counts.sum()),
        'reverse_kl': _from_even(counts),
    }


def class_counts(classes, num_classes):
    """Count the samples of each class.

    Args:
        classes: int [N] in 0 to K - 1, N >= 1.
        num_classes: K.

    Returns:
        int [K].

    Raises:
        errors.DataError: for no samples, or numbers that are no classes.
    """
    classes = np.asarray(classes)
    if classes.ndim != 1 or not len(classes):
        raise errors.DataError(
            f'class numbers have shape {list(classes.shape)}, not [N]'
        )
    if classes.dtype.kind not in 'iu':
        raise errors.DataError(f'class numbers are {classes.dtype}')
    if classes.min() < 0 or classes.max() >= num_classes:
        raise errors.DataError(
            f'class numbers from {classes.min()} to {classes.max()}, not from '
            f'0 to {num_classes - 1}'
        )
    return np.bincount(classes, minlength=num_classes)


def stacked_classes(digits):
    """Number the triples of digits of stacked MNIST: 100 r + 10 g + b.

    Args:
        digits: int [N, 3] in 0 to 9, the class of each channel.

    Returns:
        int [N] in 0 to 999, as in the labels of `data/stacked.py`.
    """
    return np.asarray(digits) @ [100, 10, 1]


def _from_even(counts):
    """Give KL(shares || uniform) = log K - entropy; inf for no counts."""
    if not counts.sum():
        return float('inf')
    shares = counts[counts > 0] / counts.sum()
    divergence = np.log(len(counts)) + (shares * np.log(shares)).sum()
    return max(float(divergence), 0.0)
