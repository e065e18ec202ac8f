"""Distances against loops."""

import jax
import numpy as np
import pytest

from gan_jax import evaluation
from gan_jax import mixtures
from gan_jax.metrics import distances


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


def test_two_points_and_copies():
    np.testing.assert_allclose(
        distances.mean_pairwise(np.array([[0.0, 0], [3, 4]])), 5
    )
    copies = np.full((9, 4), 1e4)
    assert distances.mean_pairwise(copies) < 1e-3


def test_collapse_and_copying_show_in_the_ratios():
    random = np.random.RandomState(0)
    real = random.randint(0, 256, (300, 4, 4, 1)).astype(np.uint8)
    fresh = random.randint(0, 256, (64, 4, 4, 1)).astype(np.uint8)
    as_good = evaluation.against_real(fresh, real)
    np.testing.assert_allclose(list(as_good.values()), 1, rtol=0.1)
    collapsed = evaluation.against_real(fresh[:1].repeat(64, 0), real)
    assert collapsed['eval/diversity'] < 0.01
    copied = evaluation.against_real(real[100:164], real)
    assert copied['eval/nearest_real'] < 0.01


def test_points_are_measured_by_modes_in_their_dimension_or_by_ratios():
    numbers = np.arange(5000, dtype=np.uint32)
    key = jax.random.key(0)
    mixture = mixtures.manifold(5, 10, 12, 0.05)
    points = np.asarray(mixtures.sample(mixture, key, numbers))
    found = evaluation.against_mixture(points[:2000], mixture, points)
    assert found['eval/modes'] == 5
    np.testing.assert_allclose(found['eval/high_quality'], 0.989, atol=0.01)
    found = evaluation.against_mixture(
        points[:2000], mixtures.Mixture(mixture.draw), points
    )
    np.testing.assert_allclose(found['eval/diversity'], 1, rtol=0.05)
