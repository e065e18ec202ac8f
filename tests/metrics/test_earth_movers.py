"""The earth mover's distance against closed forms and all permutations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from gan_jax.core import errors
from gan_jax.metrics import earth_movers


def points(count, dimension=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimension))


@pytest.mark.parametrize('dimension', [1, 2, 30])
def test_distance_of_shifted_sets_is_the_shift(dimension):
    values = points(60, dimension)
    shift = np.linspace(-1, 2, dimension)
    found = earth_movers.earth_movers_distance(values, values[::-1] + shift)
    np.testing.assert_allclose(found, np.linalg.norm(shift))


def test_no_permutation_is_shorter():
    values, other = points(6), points(6, seed=1)
    shortest = min(
        np.linalg.norm(values - other[list(order)], axis=1).mean()
        for order in itertools.permutations(range(6))
    )
    np.testing.assert_allclose(
        earth_movers.earth_movers_distance(values, other), shortest
    )


def test_in_one_dimension_sorted_values_are_matched():
    values, other = points(200, 1), 2 * points(200, 1, seed=1) + 1
    np.testing.assert_allclose(
        earth_movers.earth_movers_distance(values, other),
        stats.wasserstein_distance(values[:, 0], other[:, 0]),
    )


def test_images_are_flattened():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), np.uint8)
    other = images[::-1].copy()
    assert earth_movers.earth_movers_distance(images, other) == 0
    other[0] = 255 - other[0]
    gap = 255.0 - 2.0 * images[4]
    found = earth_movers.earth_movers_distance(images, other)
    assert 0 < found <= np.linalg.norm(gap) / 5 + 1e-9


def test_bad_sets_are_refused():
    with pytest.raises(errors.DataError, match='5 rows cannot be matched'):
        earth_movers.earth_movers_distance(points(5), points(4))
    with pytest.raises(errors.NonFiniteError, match='other values'):
        earth_movers.earth_movers_distance(points(5), points(5) * np.inf)
