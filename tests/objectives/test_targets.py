"""Targets of the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.objectives import targets as targets_lib

INDEX = jnp.arange(4000)
KEY = jax.random.key(0)


def draw(sample_index=INDEX, **treatment):
    return targets_lib.draw(
        KEY, sample_index, targets_lib.Treatment(**treatment)
    )


def test_default_targets_are_hard_labels():
    assert targets_lib.HARD == (1, 0)
    targets = draw()
    np.testing.assert_array_equal(targets.real, np.ones(4000))
    np.testing.assert_array_equal(targets.fake, np.zeros(4000))


def test_one_sided_smoothing_does_not_change_the_fakes():
    targets = draw(real_low=0.9, real_high=0.9)
    np.testing.assert_array_equal(targets.real, np.full(4000, np.float32(0.9)))
    np.testing.assert_array_equal(targets.fake, np.zeros(4000))


def test_noisy_labels_are_uniform_in_their_range():
    targets = draw(real_low=0.7, real_high=1.2, fake_high=0.3)
    for values, low, high in ((targets.real, 0.7, 1.2), (targets.fake, 0, 0.3)):
        assert values.min() >= low and values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.01)
        quarter = (values < low + (high - low) / 4).mean()
        np.testing.assert_allclose(quarter, 0.25, atol=0.03)


@pytest.mark.parametrize('probability', [0.0, 0.1, 1.0])
def test_labels_are_flipped_with_the_given_probability(probability):
    targets = draw(flip_probability=probability)
    np.testing.assert_allclose(
        (targets.real == 0).mean(), probability, atol=0.02
    )
    np.testing.assert_allclose(
        (targets.fake == 1).mean(), probability, atol=0.02
    )


def test_a_target_depends_only_on_its_index():
    whole = draw(real_low=0.0, flip_probability=0.5)
    part = draw(jnp.array([70, 3]), real_low=0.0, flip_probability=0.5)
    for a, b in zip(whole, part):
        np.testing.assert_array_equal(a[jnp.array([70, 3])], b)


def test_flips_of_real_and_fake_are_independent():
    targets = draw(flip_probability=0.5)
    both = ((targets.real == 0) & (targets.fake == 1)).mean()
    np.testing.assert_allclose(both, 0.25, atol=0.03)


def test_range_of_real_and_fake_are_drawn_independently():
    targets = draw(real_low=0.0, fake_high=1.0)
    correlation = np.corrcoef(targets.real, targets.fake)[0, 1]
    assert abs(correlation) < 0.05


def test_ranges_and_flips_are_drawn_independently():
    targets = draw(real_low=2.0, real_high=2.0, fake_high=1.0,
                   flip_probability=0.5)
    flipped = targets.real != 2
    mean = [targets.fake[(targets.fake != 2) & f].mean()
            for f in (flipped, ~flipped)]
    np.testing.assert_allclose(mean, 0.5, atol=0.04)
