"""Manifolds by nearest neighbours against the prdc package and loops."""

import numpy as np
import prdc
import pytest

from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import manifolds


def features(count, dimension=8, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, (count, dimension))


def by_loops(real, fake, k, inside):
    """Compute the four numbers by their definitions."""
    def radius(row, values):
        return sorted(np.linalg.norm(values - row, axis=1))[k]  # [0] is itself

    def holds(centre, values, row):
        return inside(np.linalg.norm(centre - row), radius(centre, values))

    held = np.array([[holds(r, real, f) for f in fake] for r in real])
    back = np.array([[holds(f, fake, r) for f in fake] for r in real])
    return {
        'precision': held.any(0).mean(), 'recall': back.any(1).mean(),
        'density': held.sum() / (k * len(fake)),
        'coverage': held.any(1).mean(),
    }


@pytest.mark.parametrize('k', [1, 5, 10])
@pytest.mark.parametrize('counts', [(300, 300), (700, 90), (40, 600)])
def test_the_prdc_package_gives_exactly_the_same(counts, k):
    real = features(counts[0])
    fake = features(counts[1], seed=1, scale=0.8) + 0.2
    expected = prdc.compute_prdc(real, fake, k)
    found = manifolds.prdc(real, fake, k=k)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-14)
        assert 0 < value < 2


def test_the_prdc_package_gives_the_same_on_wide_float32_features():
    real = np.abs(features(200, 512)).astype(np.float32)
    fake = np.abs(features(200, 512, seed=1)).astype(np.float32)
    assert manifolds.prdc(real, fake) == pytest.approx(
        prdc.compute_prdc(real, fake, 5), rel=1e-14
    )


def test_loops_give_the_same():
    real, fake = features(40, 3), features(30, 3, seed=1) + 0.5
    assert manifolds.prdc(real, fake, k=4) == pytest.approx(
        by_loops(real, fake, 4, np.less)
    )
    expected = by_loops(real, fake, 3, np.less_equal)
    found = manifolds.precision_recall(real, fake)
    assert found == {n: expected[n] for n in ('precision', 'recall')}


def test_surface_of_a_ball_is_inside_in_one_convention_only():
    real = np.array([[0.0], [1.0]])  # balls of radius 1
    fake = np.array([[2.0], [4.0]])  # balls of radius 2
    found = manifolds.precision_recall(real, fake, k=1)
    assert found == {'precision': 0.5, 'recall': 1.0}
    found = manifolds.prdc(real, fake, k=1)
    assert found == {
        'precision': 0, 'recall': 0.5, 'density': 0, 'coverage': 0
    }


def test_radii_exclude_the_row_itself():
    points = np.array([[0.0], [1.0], [3.0]])
    np.testing.assert_allclose(manifolds.squared_radii(points, 1), [1, 1, 4])


def test_counts_by_hand():
    real = np.array([[0.0], [1.0], [10.0]])  # radii 1, 1 and 9
    fake = np.array([[0.5], [0.6], [9.0], [100.0]])  # 0.1, 0.1, 8.4, 91
    # Balls of 0 and 1 hold the first two, that of 10 holds 9. Among the fakes
    # that of 9 holds 1 and 10, and none holds 0.
    assert manifolds.prdc(real, fake, k=1) == pytest.approx({
        'precision': 3 / 4, 'recall': 2 / 3, 'density': 5 / 4, 'coverage': 1,
    })


@pytest.mark.parametrize('block', [1, 17, 512])
def test_blocks_do_not_matter(block, monkeypatch):
    real, fake = features(100), features(80, seed=1)
    expected = by_loops(real, fake, 5, np.less)
    monkeypatch.setattr(distances, 'BLOCK', block)
    assert manifolds.prdc(real, fake) == pytest.approx(expected)


def test_copies_and_collapse():
    real = features(600)
    found = manifolds.prdc(real, real)
    assert found['precision'] == found['recall'] == found['coverage'] == 1
    assert found['density'] == pytest.approx(1)  # a ball holds itself, 4 more
    collapsed = real[:1] + 1e-3 * features(600, seed=1)
    found = manifolds.prdc(real, collapsed)
    assert found['precision'] > 0.9
    assert found['recall'] < 0.02 and found['coverage'] < 0.05


def test_equal_arrays_have_equal_distances():
    real = features(700, 3)  # the last block is smaller
    assert manifolds.prdc(real, real.copy())['density'] == pytest.approx(1)


def test_bad_sets_are_refused():
    with pytest.raises(errors.DataError, match='5 are too few; .* 6'):
        manifolds.prdc(features(9), features(5))
    with pytest.raises(errors.DataError, match='k=0'):
        manifolds.prdc(features(9), features(9), k=0)
    with pytest.raises(errors.NonFiniteError, match='fake features'):
        manifolds.precision_recall(features(9), features(9) + np.inf)
