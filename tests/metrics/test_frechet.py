"""The Fréchet distance against closed forms, SciPy's root and few samples."""

import numpy as np
import pytest
from scipy import linalg

from gan_jax.core import errors
from gan_jax.metrics import frechet


def features(count, dimension, seed=0):
    random = np.random.default_rng(seed)
    mix = random.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    shift = random.normal(size=dimension)
    return random.normal(size=(count, dimension)) @ mix + shift


def by_sqrtm(real, fake):
    """Compute the distance by its formula."""
    real_cov, fake_cov = np.cov(real.T), np.cov(fake.T)
    root = linalg.sqrtm(real_cov @ fake_cov)
    np.testing.assert_allclose(root.imag, 0, atol=1e-6)
    gap = real.mean(0) - fake.mean(0)
    return gap @ gap + np.trace(real_cov + fake_cov - 2 * root.real)


def test_closed_form_of_pytorch_fid():
    identity = np.eye(512)
    zeros = frechet.Moments(np.zeros(512), identity, 9)
    ones = frechet.Moments(np.ones(512), identity, 9)
    np.testing.assert_allclose(
        frechet.frechet_from_moments(zeros, ones), 512, rtol=1e-12
    )


def test_diagonal_covariances_have_a_closed_form():
    random = np.random.default_rng(0)
    means, variances = random.normal(size=(2, 9)), random.uniform(0, 4, (2, 9))
    variances[0, :3] = 0  # singular
    real, fake = (
        frechet.Moments(m, np.diag(v), 9) for m, v in zip(means, variances)
    )
    expected = (
        np.square(means[0] - means[1])
        + np.square(np.sqrt(variances[0]) - np.sqrt(variances[1]))
    ).sum()
    np.testing.assert_allclose(
        frechet.frechet_from_moments(real, fake), expected, rtol=1e-12
    )


@pytest.mark.parametrize('dimension', [1, 7, 64])
def test_sqrtm_gives_the_same(dimension):
    real, fake = features(900, dimension, 0), features(700, dimension, 1)
    if dimension == 1:
        gap = real.mean() - fake.mean()
        expected = gap ** 2 + (real.std(ddof=1) - fake.std(ddof=1)) ** 2
    else:
        expected = by_sqrtm(real, fake)
    np.testing.assert_allclose(
        frechet.frechet_distance(real, fake), expected, rtol=1e-9
    )


def test_eigenvalues_of_the_symmetric_form_give_the_same():
    real, fake = features(300, 20, 0), features(300, 20, 1)
    a, b = frechet.moments(real), frechet.moments(fake)
    root = linalg.sqrtm(a.covariance)
    values = np.linalg.eigvalsh(root @ b.covariance @ root)
    expected = np.square(a.mean - b.mean).sum() + np.trace(
        a.covariance + b.covariance
    ) - 2 * np.sqrt(values.clip(0)).sum()
    np.testing.assert_allclose(
        frechet.frechet_from_moments(a, b), expected, rtol=1e-9
    )


@pytest.mark.parametrize('counts', [(5, 9), (30, 30), (2, 2)])
def test_fewer_samples_than_dimensions_either_way(counts):
    real, fake = features(counts[0], 30, 0), features(counts[1], 30, 1)
    gram = frechet.frechet_distance(real, fake)
    full = frechet.frechet_from_moments(
        frechet.moments(real), frechet.moments(fake)
    )
    np.testing.assert_allclose(gram, full, rtol=1e-9)


def test_many_real_and_few_fake_samples():
    real, fake = features(400, 30, 0), features(6, 30, 1)
    root = linalg.sqrtm(np.cov(real.T))
    values = np.linalg.eigvalsh(root @ np.cov(fake.T) @ root)
    values[:-5] = 0  # the rank of six samples is five
    gap = real.mean(0) - fake.mean(0)
    expected = gap @ gap + np.trace(
        np.cov(real.T) + np.cov(fake.T)
    ) - 2 * np.sqrt(values).sum()
    np.testing.assert_allclose(
        frechet.frechet_distance(real, fake), expected, rtol=1e-9
    )


@pytest.mark.parametrize('count', [10, 500])
def test_distance_of_a_set_to_itself_is_zero(count):
    values = features(count, 40) + 100
    assert frechet.frechet_distance(values, values[::-1]) < 1e-9


def test_distance_of_constant_sets_is_that_of_their_means():
    distance = frechet.frechet_distance(np.zeros((9, 3)), np.full((9, 3), 2.0))
    np.testing.assert_allclose(distance, 12)


@pytest.mark.parametrize('block', [1, 7, 64, 1000])
def test_moments_in_blocks_equal_those_of_numpy(block, monkeypatch):
    monkeypatch.setattr(frechet, 'BLOCK', block)
    values = features(200, 6)
    found = frechet.moments(values)
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(values.T), rtol=1e-10)
    assert found.count == 200


def test_large_means_lose_no_precision():
    values = features(5000, 4)
    np.testing.assert_allclose(
        frechet.moments(values + 1e8).covariance, np.cov(values.T), rtol=1e-6
    )


def test_moments_of_batches_equal_those_of_all_rows():
    values = features(100, 5)
    found = frechet.moments_of_batches(iter(np.split(values, [1, 2, 50, 97])))
    for part, whole in zip(found, frechet.moments(values)):
        np.testing.assert_allclose(part, whole, rtol=1e-12)


def test_float32_and_uint8_are_summed_in_float64():
    values = np.random.default_rng(0).integers(0, 256, (300, 5), np.uint8)
    found = frechet.moments(values)
    np.testing.assert_allclose(
        found.covariance, np.cov(values.T.astype(np.float64)), rtol=1e-12
    )
    single = features(300, 5).astype(np.float32)
    np.testing.assert_allclose(
        frechet.moments(single).covariance,
        np.cov(single.T.astype(np.float64)), rtol=1e-12,
    )


def test_few_samples_are_biased_upwards():
    few = frechet.frechet_distance(
        *np.random.default_rng(0).normal(size=(2, 50, 20))
    )
    many = frechet.frechet_distance(
        *np.random.default_rng(0).normal(size=(2, 5000, 20))
    )
    assert few > 5 * many > 0


@pytest.mark.parametrize('count, dimension, words', [
    (10_000, 2048, []),
    (9_999, 2048, ['9,999 samples', '10,000']),
    (2048, 2048, ['10,000', '2,048 dimensions', 'singular']),
    (20_000, 30_000, ['30,000 dimensions']),
])
def test_bias_note_names_its_reasons(count, dimension, words):
    text = frechet.bias_note(count, dimension)
    assert bool(text) == bool(words) and '\n' not in text
    assert all(word in text for word in words)
    assert ('singular' in text) == (count <= dimension)


def test_bad_sets_are_refused():
    good = features(9, 3)
    with pytest.raises(errors.DataError, match='fake features: 1 are too few'):
        frechet.frechet_distance(good, good[:1])
    with pytest.raises(errors.DataError, match='have 3 columns and .* 2'):
        frechet.frechet_distance(good, good[:, :2])
    with pytest.raises(errors.NonFiniteError, match='real features'):
        frechet.frechet_distance(np.where(good == good[4], np.inf, good), good)
    with pytest.raises(errors.DataError, match='at least 2'):
        frechet.moments_of_batches([good[:1]])
    with pytest.raises(errors.DataError, match='of 3 and of 2'):
        frechet.frechet_from_moments(
            frechet.moments(good), frechet.moments(good[:, :2])
        )
