"""Inception Score: confidence of a classifier, and spread over its classes.

It takes logits or probabilities; it does not run the classifier.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from gan_jax.core import errors
from gan_jax.metrics import features


class Score(NamedTuple):
    """Mean and standard deviation (ddof=0) of the scores of the splits."""

    mean: float
    std: float


def inception_score(logits, *, splits=10):
    """Compute the Inception Score from a classifier's logits.

    exp E_x KL(p(y|x) || p(y)) with p(y) = E_x p(y|x), in each split; natural
    logarithm. It is 1 if the classifier predicts the same for all samples, and
    K if it is certain of each and all classes are equally frequent.

    Samples are split in their order, as in the authors' code: shuffle samples
    that are sorted by class. A split of N / splits samples is biased downwards,
    so values of other counts or splits are not comparable. Published values
    have 50,000 samples, mostly in 10 splits, and the Inception network of 2015
    with 1,008 outputs and no bias in its last layer; the scores of other
    classifiers are not comparable with them.

    Args:
        logits: [N, K], N >= splits, any finite values.
        splits: number of parts that are scored separately.

    Returns:
        `Score`.

    Raises:
        errors.DataError: for fewer samples than splits.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Salimans et al., Improved techniques for training GANs,
        https://arxiv.org/abs/1606.03498, 2016;
        Barratt and Sharma, A note on the Inception Score,
        https://arxiv.org/abs/1801.01973, 2018.
    """
    logits = features.rows(logits, 'logits', splits).astype(np.float64)
    return _score(special.softmax(logits, 1), splits)


def from_probabilities(probabilities, *, splits=10):
    """Compute the Inception Score from a classifier's probabilities.

    Args:
        probabilities: [N, K] >= 0, rows that sum to 1, N >= splits; zeros are
            allowed.
        splits: as in `inception_score`.

    Returns:
        `Score`.

    Raises:
        errors.DataError: for fewer samples than splits, or rows that are not
            probabilities.
        errors.NonFiniteError: for a value that is not finite.
    """
    table = features.rows(probabilities, 'probabilities', splits)
    table = table.astype(np.float64)
    if table.min() < 0 or abs(table.sum(1) - 1).max() > 1e-2:
        raise errors.DataError(
            'probabilities are negative or do not sum to 1: are they logits?'
        )
    return _score(table, splits)


def _score(probabilities, splits):
    scores = [
        # rel_entr(p, q) = p log(p / q), and 0 where p = 0.
        np.exp(special.rel_entr(part, part.mean(0)).sum(1).mean())
        for part in np.array_split(probabilities, splits)
    ]
    return Score(float(np.mean(scores)), float(np.std(scores)))
