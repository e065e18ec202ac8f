"""Latent distributions, truncation and interpolation."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gan_jax.algorithms import latents
from gan_jax.core import errors


def test_z_depends_only_on_key_and_index():
    key = jax.random.key(0)
    whole = latents.draw(key, jnp.arange(8), 5)
    part = latents.draw(key, jnp.array([6, 2]), 5)
    np.testing.assert_array_equal(part, whole[jnp.array([6, 2])])
    other = latents.draw(jax.random.key(1), jnp.arange(8), 5)
    assert not np.array_equal(whole, other)
    assert len(np.unique(whole)) == whole.size
    many = latents.draw(key, jnp.arange(4000), 5)
    np.testing.assert_allclose(many.mean(), 0, atol=0.03)
    np.testing.assert_allclose(many.std(), 1, atol=0.02)


def test_latents_have_the_distribution_of_their_name():
    key, sample_index = jax.random.key(0), jnp.arange(2000)
    sphere = np.asarray(latents.draw(key, sample_index, 8, 'sphere'))
    np.testing.assert_allclose(
        np.linalg.norm(sphere, axis=1), np.sqrt(8), rtol=1e-5
    )
    np.testing.assert_allclose(sphere.mean(0), 0, atol=0.1)
    uniform = np.asarray(latents.draw(key, sample_index, 8, 'uniform'))
    assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() < 1
    np.testing.assert_allclose(uniform.var(), 1 / 3, rtol=0.03)


@pytest.mark.parametrize('name', latents.LATENTS)
def test_each_latent_depends_only_on_its_index(name):
    key = jax.random.key(0)
    whole = latents.draw(key, jnp.arange(8), 5, name)
    part = latents.draw(key, jnp.array([6, 2]), 5, name)
    np.testing.assert_array_equal(part, whole[jnp.array([6, 2])])


def test_ends_and_middles_of_paths_between_latents():
    first, last = np.array([2.0, 0, 0]), np.array([0, 2.0, 0])
    ends = [0.0, 0.5, 1.0]
    line = latents.lerp(first, last, jnp.array(ends))
    np.testing.assert_allclose(line, [first, [1, 1, 0], last], atol=1e-6)
    arc = latents.slerp(first, last, jnp.array(ends))
    root = np.sqrt(2)
    np.testing.assert_allclose(arc, [first, [root, root, 0], last], atol=1e-6)
    same = latents.slerp(first, first, jnp.array(ends))
    np.testing.assert_allclose(same, [first] * 3, atol=1e-6)


def test_truncated_gaussian_has_the_truncated_distribution():
    z = jax.random.normal(jax.random.key(0), (20_000, 1))
    for limit in (0.5, 1.0, 2.0):
        cut = np.asarray(latents.truncate_gaussian(z, limit)).ravel()
        assert np.abs(cut).max() < limit
        law = scipy.stats.truncnorm(-limit, limit)
        assert scipy.stats.kstest(cut, law.cdf).pvalue > 0.01
        order = np.argsort(z.ravel())
        assert (np.diff(cut[order]) >= 0).all()


def test_a_large_limit_does_not_change_z():
    z = np.linspace(-6, 6, 49, dtype=np.float32)
    np.testing.assert_allclose(
        latents.truncate_gaussian(z, 9.0), z, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(latents.truncate_uniform(z / 6, 9.0), z / 6)


def test_truncated_uniform_is_narrower():
    z = np.array([-1.0, -0.2, 0.8], np.float32)
    np.testing.assert_allclose(
        latents.truncate_uniform(z, 0.5), [-0.5, -0.1, 0.4]
    )


def test_names_of_weights_have_snapshots_only_if_kept():
    assert latents.weight_names(0) == ('ema', 'raw')
    assert latents.weight_names(2) == ('ema', 'raw', 'snapshots')


@pytest.mark.parametrize('labels', [[0, 3], [-1, 0], [0]])
def test_labels_that_are_no_class_are_refused(labels):
    gan = types.SimpleNamespace(
        num_classes=3, num_styles=0, latent='gaussian', latent_size=2
    )
    with pytest.raises(errors.ConfigError, match='must be a class in .0, 3'):
        latents.inputs(gan, [5, 6], labels)
    assert latents.inputs(gan, [5, 6], [0, 2]).labels.tolist() == [0, 2]
