"""The Inception Score against its closed forms and plain NumPy."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import inception_score


def random_logits(count=200, classes=7):
    return np.random.default_rng(0).normal(0, 2, (count, classes))


def plain(probabilities):
    marginal = probabilities.mean(0)
    divergence = (probabilities * np.log(probabilities / marginal)).sum(1)
    return np.exp(divergence.mean())


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize('splits', [1, 10])
def test_equal_predictions_score_one(splits):
    row = np.random.default_rng(0).normal(size=(1, 10))
    for logits in (np.zeros((100, 10)), row.repeat(100, 0)):
        found = inception_score.inception_score(logits, splits=splits)
        np.testing.assert_allclose(found, (1, 0), atol=1e-12)


@pytest.mark.parametrize('classes', [2, 10, 1000])
def test_certain_and_balanced_samples_score_the_number_of_classes(classes):
    sure = np.tile(np.eye(classes), (10, 1))
    for found in (
        inception_score.from_probabilities(sure),
        inception_score.inception_score(1e4 * sure),
        inception_score.inception_score(1e300 * sure - 1e299),
    ):
        np.testing.assert_allclose(found, (classes, 0), atol=1e-9)


def test_certain_samples_of_some_classes_score_their_number():
    sure = np.tile(np.eye(10)[:3], (10, 1))
    found = inception_score.from_probabilities(sure, splits=1)
    np.testing.assert_allclose(found.mean, 3)


@pytest.mark.parametrize('splits', [1, 4])
def test_random_logits_by_plain_numpy(splits):
    logits = random_logits()
    parts = [plain(softmax(part)) for part in np.split(logits, splits)]
    for found in (
        inception_score.inception_score(logits, splits=splits),
        inception_score.from_probabilities(softmax(logits), splits=splits),
    ):
        np.testing.assert_allclose(found.mean, np.mean(parts), rtol=1e-12)
        np.testing.assert_allclose(found.std, np.std(parts), atol=1e-12)


def test_all_samples_are_used_where_splits_do_not_divide_them():
    logits = random_logits(23)
    changed = logits.copy()
    changed[-1] += np.arange(7)
    before, after = (
        inception_score.inception_score(values, splits=5)
        for values in (logits, changed)
    )
    assert before != after


def test_float32_logits_are_scored_in_float64():
    logits = random_logits().astype(np.float32)
    found = inception_score.inception_score(logits)
    assert found == inception_score.inception_score(logits.astype(np.float64))


def test_probabilities_may_be_off_by_one_percent():
    table = np.full((20, 4), 0.25)
    inception_score.from_probabilities(table * 1.009)
    for factor in (1.011, 0.989):
        with pytest.raises(errors.DataError, match='are they logits'):
            inception_score.from_probabilities(table * factor)


def test_bad_arrays_are_refused():
    with pytest.raises(errors.DataError, match='logits: 9 are too few'):
        inception_score.inception_score(random_logits(9))
    with pytest.raises(errors.DataError, match='are they logits'):
        inception_score.from_probabilities(random_logits())
    with pytest.raises(errors.NonFiniteError):
        inception_score.inception_score(np.full((20, 3), np.nan))
