"""Distances against loops over all pairs."""

import jax
import numpy as np
import pytest

from gan_jax.evaluation import pixel_stats
from gan_jax.metrics import distances
from gan_jax.ops import mixtures


@pytest.fixture
def sets():
    random = np.random.RandomState(0)
    return random.randn(700, 3, 2), random.randn(40, 3, 2)


def test_nearest_is_the_smallest_of_all_distances(sets):
    values, reference = sets
    expected = [
        min(np.linalg.norm(v - r) for r in reference) for v in values
    ]
    np.testing.assert_allclose(distances.nearest(values, reference), expected)


def test_mean_pairwise_is_the_mean_over_different_pairs(sets):
    values = sets[0][:, :1]
    loop = [
        np.linalg.norm(a - b)
        for i, a in enumerate(values) for b in values[:i]
    ]
    np.testing.assert_allclose(
        distances.mean_pairwise(values), np.mean(loop), rtol=1e-6
    )


@pytest.mark.parametrize('block', [1, 17, 512])
def test_distances_to_others_exclude_the_row_itself(sets, block, monkeypatch):
    values = sets[1]
    monkeypatch.setattr(distances, 'BLOCK', block)
    blocks = [squared for _, squared in distances.squared_to_others(values)]
    rows = values.reshape(len(values), -1)
    expected = np.square(rows[:, None] - rows).sum(2)
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(np.concatenate(blocks), expected)


def test_two_points_and_copies():
    np.testing.assert_allclose(
        distances.mean_pairwise(np.array([[0.0, 0], [3, 4]])), 5
    )
    copies = np.full((9, 4), 1e4)
    assert distances.mean_pairwise(copies) < 1e-3


def test_collapse_and_copying_lower_the_ratios():
    random = np.random.RandomState(0)
    real = random.randint(0, 256, (300, 4, 4, 1)).astype(np.uint8)
    fresh = random.randint(0, 256, (64, 4, 4, 1)).astype(np.uint8)
    as_good = pixel_stats.against_real(fresh, real)
    np.testing.assert_allclose(list(as_good.values()), 1, rtol=0.1)
    collapsed = pixel_stats.against_real(fresh[:1].repeat(64, 0), real)
    assert collapsed['eval/diversity'] < 0.01
    # A few of the copied ones are held out, and so not there to be found.
    many = random.randint(0, 256, (2000, 4, 4, 1)).astype(np.uint8)
    copied = pixel_stats.against_real(many[100:164] / 127.5 - 1, many)
    assert copied['eval/nearest_real'] < 0.15


@pytest.mark.parametrize('num_real', [600, 3000, 5000])
def test_perfect_generator_has_ratio_1_for_data_sorted_by_class(num_real):
    random = np.random.RandomState(0)
    # A class is a level of grey; the last ones are fainter in their detail.
    levels, depths = np.arange(20, 220, 20), np.linspace(30, 6, 10)

    def draw(classes):
        detail = random.uniform(-1, 1, (len(classes), 6, 6, 1))
        at = (-1, 1, 1, 1)
        images = levels[classes].reshape(at) + (
            depths[classes].reshape(at) * detail
        )
        return images.round().astype(np.uint8)

    real = draw(np.arange(num_real) * 10 // num_real)
    samples = draw(np.arange(256) % 10) / 127.5 - 1
    found = pixel_stats.against_real(samples, real)
    np.testing.assert_allclose(list(found.values()), 1, rtol=0.15)


def test_comparison_with_real_images_leaves_the_global_seed_alone():
    random = np.random.RandomState(0)
    real = random.randint(0, 256, (3000, 2, 2, 1)).astype(np.uint8)
    samples = random.uniform(-1, 1, (8, 2, 2, 1))
    before = np.random.get_state()[1].copy()
    first = pixel_stats.against_real(samples, real)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert pixel_stats.against_real(samples, real) == first


@pytest.mark.parametrize('num_real, used', [(9, 9), (2500, 2048)])
def test_real_images_are_used_once_each_and_from_everywhere(
    monkeypatch, num_real, used
):
    parts = []
    monkeypatch.setattr(
        pixel_stats, '_ratios', lambda samples, *both: parts.extend(both)
    )
    numbers = np.arange(num_real)[:, None] * np.ones(3)  # rows of a table
    pixel_stats.against_real(np.zeros((4, 3)), numbers)
    held, reference = (part[:, 0] for part in parts)
    assert len(held) == 4
    both = np.concatenate([held, reference])
    assert len(set(both)) == len(both) == used
    # As many from the last third as from any other, within 3 deviations.
    last = (both >= num_real * 2 / 3).sum()
    assert abs(last - used / 3) <= 3 * (used * 2 / 9) ** 0.5


def test_points_are_compared_by_modes_or_without_modes_by_ratios():
    numbers = np.arange(5000, dtype=np.uint32)
    key = jax.random.key(0)
    mixture = mixtures.manifold(5, 10, 12, 0.05)
    points = np.asarray(mixtures.sample(mixture, key, numbers))
    found = pixel_stats.against_mixture(points[:2000], mixture, points)
    assert found['eval/modes'] == 5
    np.testing.assert_allclose(found['eval/high_quality'], 0.989, atol=0.01)
    found = pixel_stats.against_mixture(
        points[:2000], mixtures.Mixture(mixture.draw), points
    )
    np.testing.assert_allclose(found['eval/diversity'], 1, rtol=0.05)
