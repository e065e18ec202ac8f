"""Latents, samples and the range of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from helpers import batch, start, step
from gan_jax.steps import adversarial
from gan_jax.steps import game


def test_z_depends_on_key_and_slot_alone():
    key = jax.random.key(0)
    whole = game.latents(key, jnp.arange(8), 5)
    part = game.latents(key, jnp.array([6, 2]), 5)
    np.testing.assert_array_equal(part, whole[jnp.array([6, 2])])
    other = game.latents(jax.random.key(1), jnp.arange(8), 5)
    assert not np.array_equal(whole, other)
    assert len(np.unique(whole)) == whole.size
    many = game.latents(key, jnp.arange(4000), 5)
    np.testing.assert_allclose(many.mean(), 0, atol=0.03)
    np.testing.assert_allclose(many.std(), 1, atol=0.02)


def test_sample_uses_ema_or_raw_weights():
    gan = helpers.linear_gan()
    state, _ = step(gan, start(gan), batch())
    z = jax.random.normal(jax.random.key(0), (4, 3))
    for ema, params in ((True, state.ema_params),
                        (False, state.generator.params)):
        np.testing.assert_allclose(
            adversarial.sample(gan, state, z, ema=ema),
            gan.generator.apply({'params': params}, z, train=False),
        )


def test_unit_range_maps_the_ends_of_uint8():
    images = jnp.array([0, 255], jnp.uint8)
    np.testing.assert_array_equal(game.to_unit_range(images), [-1, 1])


def test_latents_have_the_spread_that_their_names_say():
    key, slots = jax.random.key(0), jnp.arange(2000)
    sphere = np.asarray(game.latents(key, slots, 8, 'sphere'))
    np.testing.assert_allclose(
        np.linalg.norm(sphere, axis=1), np.sqrt(8), rtol=1e-5
    )
    np.testing.assert_allclose(sphere.mean(0), 0, atol=0.1)
    uniform = np.asarray(game.latents(key, slots, 8, 'uniform'))
    assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() < 1
    np.testing.assert_allclose(uniform.var(), 1 / 3, rtol=0.03)


@pytest.mark.parametrize('name', game.LATENTS)
def test_each_latent_belongs_to_its_slot(name):
    key = jax.random.key(0)
    whole = game.latents(key, jnp.arange(8), 5, name)
    part = game.latents(key, jnp.array([6, 2]), 5, name)
    np.testing.assert_array_equal(part, whole[jnp.array([6, 2])])


def test_packing_lays_neighbours_side_by_side():
    images = jnp.arange(4 * 2 * 3 * 2).reshape(4, 2, 3, 2)
    packed = game.pack(images, 2)
    assert packed.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(packed[1, ..., :2], images[2])
    np.testing.assert_array_equal(packed[1, ..., 2:], images[3])
    points = jnp.arange(6).reshape(6, 1)
    np.testing.assert_array_equal(
        game.pack(points, 3), points.reshape(2, 3)
    )
    assert game.pack(images, 1) is images


def test_ends_and_middles_of_paths_between_latents():
    first, last = np.array([2.0, 0, 0]), np.array([0, 2.0, 0])
    ends = [0.0, 0.5, 1.0]
    line = game.lerp(first, last, jnp.array(ends))
    np.testing.assert_allclose(line, [first, [1, 1, 0], last], atol=1e-6)
    arc = game.slerp(first, last, jnp.array(ends))
    root = np.sqrt(2)
    np.testing.assert_allclose(arc, [first, [root, root, 0], last], atol=1e-6)
    same = game.slerp(first, first, jnp.array(ends))
    np.testing.assert_allclose(same, [first] * 3, atol=1e-6)
