"""Latents, samples and the range of images."""

import jax
import jax.numpy as jnp
import numpy as np

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
