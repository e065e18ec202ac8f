"""Modes that samples recover: of a mixture of Gaussians, or image classes.

It takes points and class numbers; it runs no classifier.
"""

import numpy as np
from scipy import special

from gan_jax.core import errors


def radius(dimension):
    """Compute r_d with P(chi_d < r_d) = P(chi_2 < 3) = 1 - exp(-9 / 2).

    r_2 = 3, r_1 = 2.54, r_10 = 4.79, r_700 = 28.1.

    Args:
        dimension: d >= 1.

    Returns:
        float, in standard deviations.
    """
    return float(np.sqrt(special.chdtri(dimension, np.exp(-4.5))))


def recovered(points, means, std, dimension=2):
    """Count the modes of a mixture of Gaussians that samples recover.

    A point is of high quality if it is within r_d standard deviations of the
    nearest mean. A mode is recovered if at least one high-quality point is
    nearest to it. The reverse KL divergence is log K - H of the shares of the
    K modes among high-quality points: 0 if all are equally frequent.

    In 2-D, r_2 = 3 as in the papers. The `radius` r_d for modes that extend
    along d axes is our own generalisation: it contains 98.9 % of exact samples
    for any d. Distances are measured in all D dimensions, so points off the
    manifold of the modes count as farther. Beyond 2-D, r_d > 3: balls around
    means less than 2 r_d deviations apart overlap, and points between such
    modes are of high quality too.

    Args:
        points: [N, D].
        means: [K, D].
        std: scalar, standard deviation along each axis of a mode.
        dimension: d, axes along which a mode extends, <= D.

    Returns:
        {'modes': int, 'smallest_mode': share of the rarest mode among all
        points, 'high_quality': share of the points, 'reverse_kl': float, inf
        if no point is of high quality}.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017, with the definitions
        of Srivastava et al., VEEGAN,
        https://arxiv.org/abs/1705.07761, 2017.
    """
    points = np.asarray(points, np.float64)
    means = np.asarray(means, np.float64)
    # ||p - m||^2 - ||p||^2, whose last term is equal for all means: [N, K].
    with np.errstate(invalid='ignore'):  # a diverged GAN gives infinite points
        nearest = (np.square(means).sum(1) - 2 * points @ means.T).argmin(1)
    squares = np.square(points - means[nearest]).sum(1)
    good = squares < (radius(dimension) * std) ** 2
    counts = np.bincount(nearest[good], minlength=len(means))
    return {
        'modes': int((counts > 0).sum()),
        'smallest_mode': float(counts.min() / len(points)),
        'high_quality': float(good.mean()),
        'reverse_kl': _kl_from_uniform(counts),
    }


def recovered_classes(classes, num_classes=1000):
    """Count the classes that samples recover, of equally frequent ones.

    A class is recovered if at least one sample belongs to it. The KL divergence
    KL(p || uniform) = sum_k p_k log(K p_k), with p the shares among the samples
    and the natural logarithm, is 0 if all classes are equally frequent and
    log K (6.9 for 1,000) for a single class. N uniform samples of K classes
    have about (K - 1) / (2 N): 0.019 for 26,000 and 1,000.

    Stacked MNIST has K = 1,000 triples of digits (`stacked_classes`). The
    published tables have 26,000 samples (25,600 in the setting of unrolled
    GANs), and the authors' own classifier of each channel; fewer samples
    recover fewer modes. PacGAN's code computes the KL from the uniform
    distribution; triples of MNIST's digits are uniform up to a KL of 0.004.

    Args:
        classes: int [N] in 0 to K - 1, predicted, N >= 1.
        num_classes: K.

    Returns:
        {'modes': int, 'smallest_mode': share of the rarest class,
        'reverse_kl': float >= 0}.

    Raises:
        errors.DataError: for no samples, or numbers that are not classes.

    References:
        Srivastava et al., VEEGAN, https://arxiv.org/abs/1705.07761, 2017;
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017.
    """
    counts = class_counts(classes, num_classes)
    return {
        'modes': int((counts > 0).sum()),
        'smallest_mode': float(counts.min() / counts.sum()),
        'reverse_kl': _kl_from_uniform(counts),
    }


def class_counts(classes, num_classes):
    """Count the samples of each class.

    Args:
        classes: int [N] in 0 to K - 1, N >= 1.
        num_classes: K.

    Returns:
        int [K].

    Raises:
        errors.DataError: for no samples, or numbers that are not classes.
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
    """Compute the class numbers of stacked MNIST: 100 r + 10 g + b.

    Args:
        digits: int [N, 3] in 0 to 9, the digit of each channel.

    Returns:
        int [N] in 0 to 999, as the labels of `data/stacked.py`.
    """
    return np.asarray(digits) @ [100, 10, 1]


def _kl_from_uniform(counts):
    """Compute KL(shares || uniform) = log K - entropy; inf for no counts."""
    if not counts.sum():
        return float('inf')
    shares = counts[counts > 0] / counts.sum()
    divergence = np.log(len(counts)) + (shares * np.log(shares)).sum()
    return max(float(divergence), 0.0)
