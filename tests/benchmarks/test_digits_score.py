"""The digits score: what real digits get, and what is plainly none."""

import numpy as np
import pytest

import helpers
from gan_jax.data import sources

metrics = helpers.load_script('digits_score')[0].digits_metrics


@pytest.fixture(scope='module')
def digits():
    return sources.load(sources.Request('digits'))


def test_reduce_takes_means_of_blocks_inside_the_border():
    image = np.zeros((1, 32, 32, 1), np.uint8)
    image[0, 4:7, 4:7] = 255  # the first block
    image[0, 4, 7] = 255  # a ninth of the second
    image[0, :4] = image[0, 28:] = 255  # the border is left out
    values = metrics.reduce(image)[0]
    np.testing.assert_allclose(values[:2], [1, 1 / 9])
    assert values[2:].max() == 0


def test_real_digits_score_as_real_ones(digits):
    found = metrics.score(digits.images)
    assert found['confidence'] == pytest.approx(1, abs=0.05)
    counts = np.bincount(digits.labels, minlength=10)
    assert found['rarest_class'] == pytest.approx(
        counts.min() / counts.sum(), abs=0.005
    )
    # 70 % of them are at distance 0 of themselves.
    assert found['nearest'] == pytest.approx(0.3, abs=0.01)
    assert found['spread'] == pytest.approx(1, abs=0.01)
    assert found['nearest_of_all'] == pytest.approx(0, abs=1e-6)


def test_one_digit_over_and_over_has_no_spread_and_no_other_class(digits):
    found = metrics.score(digits.images[:1].repeat(50, 0))
    assert found['spread'] == pytest.approx(0, abs=1e-6)
    assert found['rarest_class'] == 0


def test_noise_is_far_from_digits_though_the_classifier_is_sure():
    found = metrics.score(helpers.random_images(50, (32, 32, 1)))
    assert found['nearest'] > 3 and found['rarest_class'] == 0
    assert found['confidence'] > 0.9  # so this number alone says little


def test_agreement_is_the_share_that_has_the_class_asked_for(digits):
    assert metrics.agreement(digits.images, digits.labels) > 0.98
    others = (digits.labels + 1) % 10
    assert metrics.agreement(digits.images, others) < 0.02
