"""The birthday paradox on generators of known support."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import support


def draws(images, count, seed=0, noise=1e-3, shares=None):
    """Draw from some images, each with a little noise."""
    random = np.random.default_rng(seed)
    chosen = images[random.choice(len(images), count, p=shares)]
    return chosen + random.normal(0, noise, chosen.shape)


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 6, 6, 1))


@pytest.mark.parametrize('size, batch_size', [(50, 9), (500, 26), (3000, 60)])
def test_known_support_is_found(size, batch_size):
    samples = draws(images(size), 400 * batch_size)
    found = support.support_size(samples, 0.1, batch_size=batch_size)
    assert found['batches'] == 400 and 0.3 < found['collisions'] < 0.7
    assert found['low'] < size < found['high']
    np.testing.assert_allclose(found['support'], size, rtol=0.25)


def test_estimate_and_interval_by_hand():
    """Of four batches of three, two have a pair; s (s - 1) / 2 = 3."""
    batches = [[0, 1, 2], [0, 5, 5], [7, 7, 9], [9, 1, 5]]
    found = support.support_size(
        np.array(batches, float).reshape(12, 1), 0.5, batch_size=3
    )
    assert found['collisions'] == 0.5 and found['batches'] == 4
    np.testing.assert_allclose(found['support'], 3 / np.log(2))
    # The bounds of Clopper and Pearson for 2 of 4, from tables.
    np.testing.assert_allclose(
        [found['low'], found['high']],
        3 / -np.log1p(-np.array([0.93241, 0.06759])), rtol=1e-4,
    )


def test_interval_has_its_nominal_coverage():
    held = 0
    for seed in range(200):
        samples = draws(images(100), 40 * 12, seed=seed)
        found = support.support_size(samples, 0.1, batch_size=12)
        held += found['low'] < 100 < found['high']
    assert held >= 184  # of 200; 190 are asked, less three deviations


def test_uneven_generator_has_the_support_of_its_collisions():
    shares = np.r_[np.full(10, 0.05), np.full(1000, 0.0005)]
    samples = draws(images(1010), 1000 * 8, shares=shares)
    found = support.support_size(samples, 0.1, batch_size=8)
    np.testing.assert_allclose(
        found['support'], 1 / np.square(shares).sum(), rtol=0.15
    )


def test_no_collisions_and_only_collisions():
    samples = images(600)
    found = support.support_size(samples, 0.1, batch_size=20)
    assert found['collisions'] == 0
    assert found['support'] == found['high'] == np.inf
    share = 1 - 0.025 ** (1 / 30)
    np.testing.assert_allclose(found['low'], 190 / -np.log1p(-share))
    found = support.support_size(samples * 0, 0.1, batch_size=20)
    assert found['collisions'] == 1
    assert found['support'] == found['low'] == 0
    np.testing.assert_allclose(found['high'], 190 / -np.log(share), rtol=1e-9)


@pytest.mark.parametrize('block', [3, 512])
def test_closest_pairs_are_the_closest(block, monkeypatch):
    monkeypatch.setattr(distances, 'BLOCK', block)
    samples = images(47)
    found, numbers = support.closest_pairs(samples, 20)
    assert len(found) == 2
    for batch in range(2):
        pairs = {
            (i, j): np.linalg.norm(samples[i] - samples[j])
            for j in range(20 * batch, 20 * batch + 20)
            for i in range(20 * batch, j)
        }
        assert tuple(numbers[batch]) == min(pairs, key=pairs.get)
        np.testing.assert_allclose(found[batch], min(pairs.values()))


def test_equal_samples_have_distance_0_at_any_magnitude():
    samples = 255 * np.abs(images(10))
    samples[7] = samples[2]
    found, numbers = support.closest_pairs(samples, 10)
    assert found[0] == 0 and list(numbers[0]) == [2, 7]


def test_bad_sets_are_refused():
    with pytest.raises(errors.DataError, match='5 are too few; .* 6'):
        support.support_size(images(5), 0.1, batch_size=6)
    with pytest.raises(errors.DataError, match='batch_size=1'):
        support.support_size(images(5), 0.1, batch_size=1)
    with pytest.raises(errors.NonFiniteError):
        support.closest_pairs(np.full((5, 2), np.nan), 5)
