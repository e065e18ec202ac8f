"""Test for memorization: does a generator copy its training images?

Nearest neighbours in any feature space, and an exact statistical test on
them. It takes pixels or features; it does not extract them.
"""

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import features

COPIES = 'copies'
NO_SIGN = 'no sign of copying'
# Without held-out images copies cannot be told from other samples near by.
NEARER = 'too near to training images; held-out images would tell why'
HELD_OUT, OTHERS = 'held-out images', 'other training images'


def neighbours(samples, training, *, count=1):
    """Find the nearest training images of each sample.

    Args:
        samples: [n, ...], of any type; pixels or features.
        training: [T, ...], flattened like the samples, T >= count.
        count: number of neighbours of each sample.

    Returns:
        (int [n, count] indices of training images, float64 [n, count]
        Euclidean distances), nearest first.

    Raises:
        errors.DataError: for too few images, or sizes that differ.
        errors.NonFiniteError: for a value that is not finite.
    """
    samples, training = features.pair(
        samples, training, ('samples', 'training images')
    )
    if not 1 <= count <= len(training):
        raise errors.DataError(
            f'count={count} is not from 1 to {len(training)}, the number of '
            'training images'
        )
    blocks = []
    for _, squared in distances.squared_blocks(samples, training):
        least = np.argpartition(squared, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(squared, least, 1).argsort(1, kind='stable')
        blocks.append(np.take_along_axis(least, order, 1))
    indices = np.concatenate(blocks)
    return indices, _exact_distances(samples, training, indices)


def verdict(samples, held_out, training, *, quantile=0.05, alpha=0.01):
    """Test whether samples are nearer to training images than new images are.

    Two tests; the verdict is 'copies' if both have p < alpha:

    - nearer: the number of samples that are nearer to the training images than
      the smallest `quantile` of held-out images. With r the j-th smallest
      distance of the m held-out images, j = floor(quantile (m + 1)), the number
      of the n samples below r is beta-binomial(n, j, m - j + 1) if samples are
      as far from the training images as held-out ones. This is exact for any
      distribution of distances and any m.
    - in training: of all real images, training and held-out, that are the
      nearest to some sample and nearer than r, each counted once, the number of
      training images. If the samples do not depend on which images were
      trained on, that number is hypergeometric, whatever their quality.

    The first test alone would accuse samples that are nearer to everything,
    such as blurred ones, or those of a collapsed generator. The second alone
    would accuse a preference that is too weak to be copying. Samples that fail
    both are copies, or nearer to training images than new images would be.

    Held-out images must be a random sample of the distribution of the training
    images that was never trained on. The distance decides what counts as a
    copy: pixels detect exact and noisy copies, features detect shifted ones.

    'No sign of copying' is not a proof: copies must be nearer than r, and more
    than the share of samples that is near by chance. For p < 0.01 in the second
    test, at least 21 different training images must be near with four training
    images to one held-out image, and 7 with one to one. A generator that copies
    fewer different images is not detected. A tenth of copies among 1,000
    samples is detected with 500 held-out images.

    Args:
        samples: [n, ...], of any type.
        held_out: [m, ...], m + 1 >= 1 / quantile.
        training: [T, ...].
        quantile: share of held-out images that counts as near. A small one
            requires closer copies and detects fewer of them.
        alpha: probability of a false 'copies', in either test.

    Returns:
        {'verdict': `COPIES` or `NO_SIGN`, 'reference': `HELD_OUT`,
        'distance': mean distance of samples to their nearest training image
        over that of held-out images,
        'radius': r; 0, so that nothing is detected, if j or more held-out
        images are training images too,
        'nearer': share of samples below r, 'nearer_expected': j / (m + 1),
        'nearer_p': probability of as many or more,
        'near_images': number of real images that are nearest and near to a
        sample,
        'in_training': share of those that are training images (nan for none),
        'in_training_expected': T / (T + m),
        'in_training_p': probability of as many or more}.

    Raises:
        errors.DataError: for too few images, or sizes that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        The three sets, and the exact two-sample test of distances: after
        Meehan, Chaudhuri and Dasgupta, A non-parametric test to detect
        data-copying in generative models, https://arxiv.org/abs/2004.05675,
        2020. Differs: they rank all distances (Mann-Whitney) in each cell of a
        partition, which detects a generator that is too near on average; the
        tail used here detects few copies among many samples. The second test
        is Fisher's exact test.
    """
    from scipy import stats  # slow to import

    samples, training = features.pair(
        samples, training, ('samples', 'training images')
    )
    names = 'held-out images', 'training images'
    held_out, _ = features.pair(held_out, training, names)
    features.rows(held_out, names[0], int(np.ceil(1 / quantile)) - 1)
    train_indices, to_training = _nearest(samples, training)
    held_indices, to_held_out = _nearest(samples, held_out)
    first = _nearer(to_training, _nearest(held_out, training)[1], quantile)
    radius = first['radius']
    in_training = to_training <= to_held_out
    copied = len(np.unique(
        train_indices[in_training & (to_training < radius)]
    ))
    others = len(np.unique(
        held_indices[~in_training & (to_held_out < radius)]
    ))
    num_near = copied + others
    images = len(training) + len(held_out)
    in_training_p = stats.hypergeom(
        images, len(training), num_near
    ).sf(copied - 1)
    copies = max(first['nearer_p'], in_training_p) < alpha
    return {
        'verdict': COPIES if copies else NO_SIGN,
        'reference': HELD_OUT,
        **first,
        'near_images': num_near,
        'in_training': copied / num_near if num_near else float('nan'),
        'in_training_expected': len(training) / images,
        'in_training_p': float(in_training_p),
    }


def verdict_alone(samples, training, *, quantile=0.05, alpha=0.01):
    """Test for samples too near to training images, without held-out images.

    The first test of `verdict`, with each training image among the others in
    the place of a held-out image: where both are drawn alike, its distance to
    the T - 1 others is that of a new image to T - 1 training images. It cannot
    tell a copy from a sample that is near to everything, as blurred samples and
    those of a collapsed generator are, so it never finds 'copies'.

    Args:
        samples: [n, ...], of any type.
        training: [T, ...], T + 1 >= 1 / quantile.
        quantile, alpha: as of `verdict`.

    Returns:
        As `verdict`, without the keys of its second test.

    Raises:
        errors.DataError: for too few images, or sizes that differ.
        errors.NonFiniteError: for a value that is not finite.
    """
    samples, training = features.pair(
        samples, training, ('samples', 'training images')
    )
    features.rows(training, 'training images', int(np.ceil(1 / quantile)))
    # The nearest of all is the image itself.
    among = neighbours(training, training, count=2)[1][:, 1]
    first = _nearer(_nearest(samples, training)[1], among, quantile)
    return {
        'verdict': NEARER if first['nearer_p'] < alpha else NO_SIGN,
        'reference': OTHERS,
        **first,
    }


def _nearer(to_training, reference, quantile):
    """Compute the first test of `verdict`: samples nearer than a reference.

    Args:
        to_training: [n] distances of samples to their nearest training image.
        reference: [m] distances of real images to theirs.
        quantile: as of `verdict`.
    """
    from scipy import stats  # slow to import

    rank = int(quantile * (len(reference) + 1) + 1e-9)
    radius = np.sort(reference)[rank - 1]
    nearer = int((to_training < radius).sum())
    law = stats.betabinom(len(to_training), rank, len(reference) - rank + 1)
    return {
        'distance': float(to_training.mean() / reference.mean()),
        'radius': float(radius),
        'nearer': nearer / len(to_training),
        'nearer_expected': rank / (len(reference) + 1),
        'nearer_p': float(law.sf(nearer - 1)),
    }


def _nearest(samples, training):
    indices, lengths = neighbours(samples, training)
    return indices[:, 0], lengths[:, 0]


def _exact_distances(samples, training, indices):
    """Compute the distances [n, count] from differences: exactly 0 to copies.

    The expansion of `distances.squared_blocks` rounds, and copies need 0.
    """
    lengths = np.empty(indices.shape)
    for first in range(0, len(samples), distances.BLOCK):
        rows = slice(first, first + distances.BLOCK)
        block = samples[rows].astype(np.float64)
        for place, column in enumerate(indices[rows].T):
            gaps = block - training[column]
            lengths[rows, place] = np.linalg.norm(gaps, axis=1)
    return lengths
