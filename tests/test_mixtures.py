"""2-D sources against their definitions, and what samples recover of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import mixtures
from gan_jax.metrics import modes

NUMBERS = jnp.arange(6000, dtype=jnp.uint32)


def draw(name, numbers=NUMBERS):
    return np.asarray(
        mixtures.sample(mixtures.MIXTURES[name](), jax.random.key(0), numbers)
    )


@pytest.mark.parametrize('name', mixtures.MIXTURES)
def test_points_are_float32_and_belong_to_their_number(name):
    points = draw(name)
    assert points.shape == (6000, 2) and points.dtype == np.float32
    chosen = jnp.array([[70, 3], [5, 5999]], jnp.uint32)
    np.testing.assert_array_equal(
        draw(name, chosen), points[np.asarray(chosen)]
    )
    assert len(np.unique(points, axis=0)) == 6000


@pytest.mark.parametrize('name, count, std', [
    ('ring', 8, 0.01), ('grid', 25, 0.05)
])
def test_modes_are_distinct_even_and_of_the_deviation(name, count, std):
    mixture = mixtures.MIXTURES[name]()
    assert len(np.unique(mixture.means.round(4), axis=0)) == count
    points = draw(name)
    distances = np.linalg.norm(points[:, None] - mixture.means, axis=-1)
    nearest = distances.argmin(1)
    np.testing.assert_allclose(
        np.bincount(nearest) / 6000, 1 / count, atol=0.015
    )
    offsets = points - mixture.means[nearest]
    np.testing.assert_allclose(offsets.std(0), std, rtol=0.04)


def test_ring_lies_on_the_unit_circle_and_grid_has_side_8():
    np.testing.assert_allclose(
        np.linalg.norm(mixtures.ring().means, axis=1), 1, rtol=1e-6
    )
    np.testing.assert_array_equal(np.ptp(mixtures.grid().means, axis=0), 8)


def test_circles_have_their_radii_and_curves_their_noise():
    radius = np.linalg.norm(draw('circles'), axis=1)
    inner = radius < 1.5
    np.testing.assert_allclose(inner.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(radius[inner].mean(), 1, atol=0.01)
    np.testing.assert_allclose(radius[~inner].mean(), 2, atol=0.01)
    np.testing.assert_allclose(radius[~inner].std(), 0.05, rtol=0.1)


@pytest.mark.parametrize('name', ['moons', 'spirals'])
def test_two_branches_are_each_other_turned_around(name):
    points = draw(name)
    np.testing.assert_allclose(points.mean(0), 0, atol=0.05)
    assert np.abs(points).max() < 2.5


def test_real_points_recover_every_mode():
    mixture = mixtures.ring()
    found = modes.recovered(draw('ring')[:2500], mixture.means, mixture.std)
    assert found['modes'] == 8
    # Within 3 deviations in 2 dimensions: 1 - exp(-9 / 2).
    np.testing.assert_allclose(
        found['high_quality'], 1 - np.exp(-4.5), atol=0.006
    )
    assert found['reverse_kl'] < 0.01 and found['smallest_mode'] > 0.09


def test_recovered_counts_by_hand():
    means = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    points = np.array([[0, 0], [2.9, 0], [10, 0], [5, 5], [3.1, 0], [0, 0.1]])
    found = modes.recovered(points, means, 1.0)
    assert found['modes'] == 2
    np.testing.assert_allclose(found['high_quality'], 4 / 6)
    assert found['smallest_mode'] == 0
    expected = np.log(4) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    np.testing.assert_allclose(found['reverse_kl'], expected)


def test_nothing_of_quality_is_no_mode_and_infinite_divergence():
    found = modes.recovered(np.full((5, 2), 99.0), np.zeros((1, 2)), 1.0)
    assert found['modes'] == 0 and found['reverse_kl'] == float('inf')
