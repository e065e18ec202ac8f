"""Instance noise and its decay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import augment

IMAGES = jnp.zeros((40, 16, 16, 1))
SLOTS = jnp.arange(40)


def test_noise_has_mean_0_and_the_asked_deviation():
    noise = augment.instance_noise(IMAGES, jax.random.key(0), SLOTS, 0.3)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.01)
    np.testing.assert_allclose(noise.std(), 0.3, rtol=0.02)
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_noise_belongs_to_the_slot_and_not_to_the_batch():
    key = jax.random.key(1)
    whole = augment.instance_noise(IMAGES, key, SLOTS, 1.0)
    chosen = jnp.array([30, 4])
    part = augment.instance_noise(IMAGES[:2], key, chosen, 1.0)
    np.testing.assert_array_equal(part, whole[chosen])


def test_gradients_pass_through_unchanged():
    grads = jax.grad(
        lambda x: augment.instance_noise(x, jax.random.key(0), SLOTS, 0.5).sum()
    )(IMAGES)
    np.testing.assert_array_equal(grads, np.ones(IMAGES.shape))


@pytest.mark.parametrize(
    'step, num_steps, expected',
    [(0, 10, 0.4), (5, 10, 0.2), (10, 10, 0.0), (99, 10, 0.0), (99, 0, 0.4)],
)
def test_linear_decay_falls_to_0_and_stays(step, num_steps, expected):
    value = jax.jit(augment.linear_decay)(step, 0.4, num_steps)
    np.testing.assert_allclose(value, expected, atol=1e-7)


def test_shift_and_flip_keeps_a_flat_image_and_moves_a_dot():
    flat = jnp.full((20, 16, 16, 2), 0.3)
    slots = jnp.arange(20)
    key = jax.random.key(0)
    np.testing.assert_array_equal(
        augment.shift_and_flip(flat, key, slots), flat
    )
    dot = jnp.zeros((20, 16, 16, 1)).at[:, 7, 4].set(1)
    moved = np.asarray(augment.shift_and_flip(dot, key, slots))[..., 0]
    places = [np.argwhere(image == 1)[0] for image in moved]
    assert all(moved.sum((1, 2)) == 1)
    rows, columns = np.array(places).T
    assert set(rows) == {5, 6, 7, 8, 9}
    left, right = {2, 3, 4, 5, 6}, {15 - x for x in (2, 3, 4, 5, 6)}
    assert set(columns) <= left | right
    assert set(columns) & left and set(columns) & right
