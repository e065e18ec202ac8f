"""Principal components against scikit-learn and by hand."""

import numpy as np
import pytest

from gan_jax.metrics import principal


def test_components_equal_those_of_scikit_learn():
    decomposition = pytest.importorskip('sklearn.decomposition')
    rows = np.random.RandomState(0).randn(50, 7) @ np.diag(range(1, 8))
    found = principal.fit(rows, 3)
    known = decomposition.PCA(3).fit(rows)
    np.testing.assert_allclose(
        np.abs(found.axes @ known.components_.T), np.eye(3), atol=1e-8
    )
    np.testing.assert_allclose(found.std**2, known.explained_variance_)
    np.testing.assert_allclose(
        found.decode(found.encode(rows)),
        known.inverse_transform(known.transform(rows)),
    )


def test_sample_has_the_mean_and_covariance_of_the_subspace():
    rows = np.random.RandomState(1).randn(40, 4) * [3, 2, 0.1, 0.1] + 5
    found = principal.fit(rows, 2)
    drawn = found.sample(np.random.RandomState(0), 100_000)
    np.testing.assert_allclose(drawn.mean(0), found.mean, atol=0.05)
    np.testing.assert_allclose(
        np.cov(drawn.T), found.axes.T @ np.diag(found.std**2) @ found.axes,
        atol=0.15,
    )


@pytest.mark.parametrize('count', [0, 4, 5])
def test_more_components_than_exist_are_refused(count):
    with pytest.raises(ValueError, match=f'num_components={count} is not'):
        principal.fit(np.eye(4), count)


def test_as_many_components_are_found_as_there_are():
    rows = np.random.RandomState(0).randn(4, 9)
    assert principal.fit(rows, 3).axes.shape == (3, 9)
    with pytest.raises(ValueError, match='is not from 1 to 3'):
        principal.fit(rows, 4)
