"""Mixtures against their definitions, and the modes that samples cover."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gan_jax.metrics import modes
from gan_jax.ops import mixtures

NUMBERS = jnp.arange(6000, dtype=jnp.uint32)
OPTIONS = {'manifold': {'modes': 7, 'dimension': 3, 'ambient': 5, 'std': 0.05}}


def draw(name, numbers=NUMBERS):
    return points_of(mixtures.MIXTURES[name](**OPTIONS.get(name, {})), numbers)


def points_of(mixture, numbers=NUMBERS):
    return np.asarray(mixtures.sample(mixture, jax.random.key(0), numbers))


@pytest.mark.parametrize('name', mixtures.MIXTURES)
def test_points_are_float32_and_depend_only_on_their_number(name):
    points = draw(name)
    assert points.shape == (6000, {'line': 1, 'manifold': 5}.get(name, 2))
    assert points.dtype == np.float32
    chosen = jnp.array([[70, 3], [5, 5999]], jnp.uint32)
    # A manifold's matrix product may round by how many are drawn at once.
    np.testing.assert_allclose(
        draw(name, chosen), points[np.asarray(chosen)],
        rtol=0, atol=1e-6 if name in OPTIONS else 0,
    )
    # One coordinate of 2^23 values may come twice.
    assert len(np.unique(points, axis=0)) >= 6000 - 9 * (name == 'line')


@pytest.mark.parametrize('name', mixtures.MIXTURES)
def test_a_mixture_takes_its_declared_options(name):
    takes = inspect.signature(mixtures.MIXTURES[name]).parameters
    declared = [option.name for option in mixtures.OPTIONS.get(name, ())]
    assert list(takes) == declared


@pytest.mark.parametrize('name, count, std', [
    ('ring', 8, 0.01), ('grid', 25, 0.05)
])
def test_modes_are_distinct_and_have_equal_shares(name, count, std):
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


def test_line_has_the_distribution_of_two_gaussians():
    mixture = mixtures.line()
    assert (mixture.dimension, mixture.ambient) == (1, 1)
    np.testing.assert_array_equal(mixture.means, [[-1], [1]])
    law = scipy.stats.norm([-1, 1], mixture.std)
    results = scipy.stats.kstest(
        draw('line')[:, 0], lambda x: law.cdf(x[:, None]).mean(1)
    )
    assert results.statistic < 0.025  # 0.021 by chance in 1 of 100
    assert mixture.std == 0.4


def test_circles_have_their_radii_and_curves_their_noise():
    radius = np.linalg.norm(draw('circles'), axis=1)
    inner = radius < 1.5
    np.testing.assert_allclose(inner.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(radius[inner].mean(), 1, atol=0.01)
    np.testing.assert_allclose(radius[~inner].mean(), 2, atol=0.01)
    np.testing.assert_allclose(radius[~inner].std(), 0.05, rtol=0.1)


@pytest.mark.parametrize('name', ['moons', 'spirals'])
def test_the_two_branches_are_point_reflections(name):
    points = draw(name)
    np.testing.assert_allclose(points.mean(0), 0, atol=0.05)
    assert np.abs(points).max() < 2.5


@pytest.mark.parametrize('dimension, ambient', [
    (1, 2), (2, 2), (3, 9), (50, 60)
])
def test_manifold_has_its_means_and_deviation_and_no_other_variance(
    dimension, ambient
):
    mixture = mixtures.manifold(5, dimension, ambient, 0.03)
    assert mixture.means.shape == (5, ambient)
    assert (mixture.dimension, mixture.ambient) == (dimension, ambient)
    points = points_of(mixture)
    nearest = np.linalg.norm(
        points[:, None] - mixture.means, axis=-1
    ).argmin(1)
    np.testing.assert_allclose(np.bincount(nearest) / 6000, 0.2, atol=0.02)
    basis = mixtures.isometry(dimension, ambient)
    for mode, mean in enumerate(mixture.means):
        own = points[nearest == mode]
        np.testing.assert_allclose(own.mean(0), mean, atol=0.005)
        np.testing.assert_allclose(
            ((own - mean) @ basis).std(0), 0.03, rtol=0.1
        )
    off = points - points @ basis @ basis.T
    np.testing.assert_allclose(off, 0, atol=2e-6)


@pytest.mark.parametrize('dimension, ambient', [(1, 2), (4, 4), (7, 12)])
def test_isometry_keeps_lengths_and_is_not_axis_aligned(
    dimension, ambient
):
    basis = mixtures.isometry(dimension, ambient)
    assert basis.shape == (ambient, dimension)
    np.testing.assert_allclose(basis.T @ basis, np.eye(dimension), atol=1e-12)
    assert np.abs(basis).max() < 0.99
    np.testing.assert_array_equal(basis, mixtures.isometry(dimension, ambient))


@pytest.mark.parametrize('modes_, dimension, ambient, apart', [
    (8, 1, 2, 0.2), (25, 2, 2, 0.35), (1000, 2, 10, 0.04),
    (10, 700, 1200, 15),
])
def test_centres_are_far_apart_in_the_cube_and_deterministic(
    modes_, dimension, ambient, apart
):
    means = mixtures.manifold(modes_, dimension, ambient, 1e-3).means
    again = mixtures.manifold(modes_, dimension, ambient, 1e-4).means
    np.testing.assert_array_equal(means, again)
    within = means @ mixtures.isometry(dimension, ambient)
    assert np.abs(within).max() < 1 + 1e-5
    offsets = [np.linalg.norm(within[i + 1:] - w, axis=1).min()
               for i, w in enumerate(within[:-1])]
    assert min(offsets) > apart
    # The distance that the rule of 6 deviations is held against.
    np.testing.assert_allclose(
        min(offsets), mixtures._centres(modes_, dimension)[1], rtol=1e-4
    )


def test_a_manifold_of_one_mode_can_have_any_deviation():
    mixture = mixtures.manifold(1, 1, 2, 5.0)
    within = (points_of(mixture) - mixture.means) @ mixtures.isometry(1, 2)
    np.testing.assert_allclose(within.std(), 5, rtol=0.04)


@pytest.mark.parametrize('options, words', [
    ((0, 1, 2, 0.1), r'modes=0 is not in 1 \.\.\. 10000'),
    ((10**8, 1, 2, 0.1), r'modes=100000000 is not in 1 \.\.\. 10000'),
    ((3, 0, 2, 0.1), r'dimension=0 is not in 1 \.\.\. ambient=2'),
    ((3, 3, 2, 0.1), r'dimension=3 is not in 1 \.\.\. ambient=2'),
    ((3, 1, 1, 0.1), r'ambient=1 is not in 2 \.\.\. 10000'),
    ((3, 1, 2, 0.0), 'std=0.0 is not positive and finite'),
    ((1, 1, 2, float('inf')), 'std=inf is not positive and finite'),
    ((3, 1, 2, float('nan')), 'std=nan is not positive and finite'),
])
def test_numbers_out_of_range_are_rejected(options, words):
    with pytest.raises(ValueError, match=f'^manifold: {words}$'):
        mixtures.manifold(*options)


@pytest.mark.parametrize('count, dimension', [(2, 1), (100, 2), (9, 20)])
def test_close_modes_are_rejected_with_a_valid_deviation(count, dimension):
    with pytest.raises(
        ValueError, match='apart, less than 6 std = 6'
    ) as caught:
        mixtures.manifold(count, dimension, 20, 1.0)
    message = str(caught.value)
    assert '\n' not in message
    smallest = mixtures._centres(count, dimension)[1]
    assert f'are {smallest:.3g} apart' in message
    std = float(message.split('std=')[1].split()[0])
    mixtures.manifold(count, dimension, 20, std)
    with pytest.raises(ValueError, match='apart'):
        mixtures.manifold(count, dimension, 20, 1.02 * std)


@pytest.mark.parametrize('dimension, ambient', [
    (1, 2), (2, 3), (10, 20), (50, 50)
])
def test_real_points_of_any_dimension_are_of_high_quality(dimension, ambient):
    mixture = mixtures.manifold(9, dimension, ambient, 0.02)
    points = points_of(mixture)
    results = modes.recovered(points, mixture.means, 0.02, dimension)
    assert results['modes'] == 9
    np.testing.assert_allclose(results['high_quality'], 0.989, atol=0.01)
    assert results['reverse_kl'] < 0.01


def test_points_off_the_manifold_are_of_no_quality():
    mixture = mixtures.manifold(4, 2, 3, 0.02)
    normal = np.linalg.svd(mixtures.isometry(2, 3))[0][:, 2]
    points = points_of(mixture) + 0.061 * normal  # by more than 3 deviations
    assert modes.recovered(points, mixture.means, 0.02, 2)['modes'] == 0


def test_radius_is_3_in_the_plane_and_covers_the_same_share_elsewhere():
    assert modes.radius(2) == 3
    random = np.random.RandomState(0)
    for dimension in (1, 5, 30):
        lengths = np.linalg.norm(random.randn(40000, dimension), axis=1)
        np.testing.assert_allclose(
            (lengths < modes.radius(dimension)).mean(), 1 - np.exp(-4.5),
            atol=0.002,
        )


def test_real_points_recover_every_mode():
    mixture = mixtures.ring()
    results = modes.recovered(draw('ring')[:2500], mixture.means, mixture.std)
    assert results['modes'] == 8
    # Within 3 deviations in 2 dimensions: 1 - exp(-9 / 2).
    np.testing.assert_allclose(
        results['high_quality'], 1 - np.exp(-4.5), atol=0.006
    )
    assert results['reverse_kl'] < 0.01 and results['smallest_mode'] > 0.09


def test_recovered_counts_by_hand():
    means = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    points = np.array([[0, 0], [2.9, 0], [10, 0], [5, 5], [3.1, 0], [0, 0.1]])
    results = modes.recovered(points, means, 1.0)
    assert results['modes'] == 2
    np.testing.assert_allclose(results['high_quality'], 4 / 6)
    assert results['smallest_mode'] == 0
    expected = np.log(4) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    np.testing.assert_allclose(results['reverse_kl'], expected)


def test_recovered_finds_the_nearest_of_all_means():
    random = np.random.RandomState(0)
    means, points = random.randn(30, 4) + 50, random.randn(400, 4) + 50
    distances = np.linalg.norm(points[:, None] - means, axis=-1)
    good = distances.min(1) < modes.radius(4) * 0.3
    counts = np.bincount(distances.argmin(1)[good], minlength=30)
    results = modes.recovered(points, means, 0.3, 4)
    assert results['modes'] == (counts > 0).sum() and 0 < good.mean() < 1
    np.testing.assert_allclose(results['high_quality'], good.mean())
    np.testing.assert_allclose(results['smallest_mode'], counts.min() / 400)


def test_points_that_are_not_finite_are_of_no_quality():
    points = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, np.inf], [0, 0]])
    results = modes.recovered(points, np.eye(2) / 9, 1.0)
    assert results['high_quality'] == 0.25


def test_nothing_of_quality_is_no_mode_and_infinite_divergence():
    results = modes.recovered(np.full((5, 2), 99.0), np.zeros((1, 2)), 1.0)
    assert results['modes'] == 0 and results['reverse_kl'] == float('inf')
