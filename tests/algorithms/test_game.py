"""Samples, packing and the range of images of a GAN."""

import jax
import jax.numpy as jnp
import numpy as np

import helpers
from helpers import batch, start, step
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms.game import G


def test_sample_uses_the_weights_that_are_named():
    gan = helpers.linear_gan()
    state, _ = step(gan, start(gan), batch())
    z = jax.random.normal(jax.random.key(0), (4, 3))
    for weights, params in (('ema', state.averages[G].params),
                            ('raw', state.players[G].params)):
        np.testing.assert_allclose(
            gan.apply(gan.weights(state, weights), algorithm.Inputs(z)),
            gan.generator.apply({'params': params}, z, train=False),
        )


def test_unit_range_maps_the_ends_of_uint8():
    images = jnp.array([0, 255], jnp.uint8)
    np.testing.assert_array_equal(algorithm.to_unit_range(images), [-1, 1])


def test_packing_concatenates_neighbours():
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
