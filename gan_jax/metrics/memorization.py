"""Does a generator copy its training images? Neighbours, and a verdict."""

import numpy as np

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import features

COPIES = 'copies'
NO_SIGN = 'no sign of copying'


def neighbours(samples, training, *, count=1):
    """Find the nearest training images of each sample.

    Args:
        samples: [n, ...], of any type; pixels or features.
        training: [T, ...], flattened like the samples, T >= count.
        count: neighbours of each.

    Returns:
        (int [n, count] numbers of training images, float64 [n, count]
        Euclidean distances), the nearest first.

    Raises:
        errors.DataError: for too few images, or sizes that differ.
        errors.NonFiniteError: for a value that is not finite.
    """
    samples, training = features.pair(
        samples, training, ('samples', 'training images')
    )
    if not 1 <= count <= len(training):
        raise errors.DataError(
            f'count={count} neighbours of {len(training)} training images'
        )
    numbers = []
    for _, squared in distances.squared_blocks(samples, training):
        some = np.argpartition(squared, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(squared, some, 1).argsort(1, kind='stable')
        numbers.append(np.take_along_axis(some, order, 1))
    numbers = np.concatenate(numbers)
    return numbers, _apart(samples, training, numbers)


def verdict(samples, held_out, training, *, quantile=0.05, alpha=0.01):
    """Say whether samples lie nearer to training images than is natural.

    Two tests, and 'copies' where both give p < alpha:

    - nearer: how many samples lie nearer to the training images than the
      smallest `quantile` of held-out images does. With r the j-th smallest of
      m held-out images' distances, j = floor(quantile (m + 1)), the number of
      n samples under r is beta-binomial(n, j, m - j + 1) for samples that are
      as far from the training images as held-out ones are: exact for any
      distribution of distances, and with r taken from few images.
    - in training: of all real images, training and held-out, that are the
      nearest to some sample and nearer than r, each counted once, how many are
      training images. Where samples know nothing of which images were trained
      on, that number is hypergeometric, whatever else is wrong with them.

    The first alone blames samples that are nearer to everything, as blurred
    ones are, or those of a collapsed generator; the second alone blames a
    preference that is too weak to be copying. Those who are blamed by both
    either copy or lie nearer to what was trained on than new images would.

    Held-out images have to come from the distribution of the training images,
    drawn by chance, and never be trained on; what is near is what the distance
    says: pixels see exact and noisy copies, features see shifted ones.

    'No sign' is not a proof: copies must be nearer than r, and stand out from
    the share of samples that is near by nature. With four training images to
    one held-out image 21 near ones or more, all of them training images, are
    needed for p < 0.01 in the second test, with one to one 7: a generator that
    copies fewer different images is not found. A tenth of copies among 1,000
    samples is, with 500 held-out images.

    Args:
        samples: [n, ...], of any type.
        held_out: [m, ...], m + 1 >= 1 / quantile.
        training: [T, ...].
        quantile: of held-out images that are called near. Small ones ask for
            closer copies, and see fewer of them.
        alpha: chance of a false 'copies', in either test.

    Returns:
        {'verdict': 'copies' or 'no sign of copying',
        'distance': mean distance of samples to their nearest training image
        over that of held-out images,
        'radius': r; 0 where so many held-out images are training images too,
        and nothing is then found,
        'nearer': share of samples under r, 'nearer_expected': j / (m + 1),
        'nearer_p': chance of as many or more,
        'near_images': real images that are near to a sample and its nearest,
        'in_training': share of those that are training images (nan for none),
        'in_training_expected': T / (T + m),
        'in_training_p': chance of as many or more}.

    Raises:
        errors.DataError: for too few images, or sizes that differ.
        errors.NonFiniteError: for a value that is not finite.

    References:
        The three sets, and the exact two-sample test of distances: after
        Meehan, Chaudhuri and Dasgupta, A non-parametric test to detect
        data-copying in generative models, https://arxiv.org/abs/2004.05675,
        2020. Differs: they rank all distances (Mann-Whitney) in each cell of a
        partition, which finds a generator that is too near on the whole; the
        tail here finds the few copies among many samples. The second test is
        Fisher's exact one, of which image is nearest.
    """
    from scipy import stats  # takes most of a second

    samples, training = features.pair(
        samples, training, ('samples', 'training images')
    )
    names = 'held-out images', 'training images'
    held_out, _ = features.pair(held_out, training, names)
    features.rows(held_out, names[0], int(np.ceil(1 / quantile)) - 1)
    numbers, to_training = _nearest(samples, training)
    held_numbers, to_held_out = _nearest(samples, held_out)
    natural = np.sort(_nearest(held_out, training)[1])
    rank = int(quantile * (len(held_out) + 1) + 1e-9)
    radius = natural[rank - 1]
    nearer = int((to_training < radius).sum())
    ours = to_training <= to_held_out
    copied = len(np.unique(numbers[ours & (to_training < radius)]))
    others = len(np.unique(held_numbers[~ours & (to_held_out < radius)]))
    near = copied + others
    images = len(training) + len(held_out)
    nearer_p = stats.betabinom(
        len(samples), rank, len(held_out) - rank + 1
    ).sf(nearer - 1)
    in_training_p = stats.hypergeom(
        images, len(training), near
    ).sf(copied - 1)
    found = max(nearer_p, in_training_p) < alpha
    return {
        'verdict': COPIES if found else NO_SIGN,
        'distance': float(to_training.mean() / natural.mean()),
        'radius': float(radius),
        'nearer': nearer / len(samples),
        'nearer_expected': rank / (len(held_out) + 1),
        'nearer_p': float(nearer_p),
        'near_images': near,
        'in_training': copied / near if near else float('nan'),
        'in_training_expected': len(training) / images,
        'in_training_p': float(in_training_p),
    }


def _nearest(samples, training):
    numbers, apart = neighbours(samples, training)
    return numbers[:, 0], apart[:, 0]


def _apart(samples, training, numbers):
    """Give the distances to the numbered images: exactly 0 to copies."""
    apart = np.empty(numbers.shape)
    for first in range(0, len(samples), distances.BLOCK):
        rows = slice(first, first + distances.BLOCK)
        some = samples[rows].astype(np.float64)
        for place, column in enumerate(numbers[rows].T):
            gaps = some - training[column]
            apart[rows, place] = np.linalg.norm(gaps, axis=1)
    return apart
