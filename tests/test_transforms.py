"""Maps over pytrees against arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import transforms


def test_ema_of_a_constant_pulls_in_geometrically():
    average = {'w': jnp.array([1.0, 2.0])}
    new = {'w': jnp.array([3.0, 0.0])}
    for _ in range(3):
        average = transforms.ema(average, new, 0.9)
    expected = new['w'] + 0.9**3 * (np.array([1.0, 2.0]) - new['w'])
    np.testing.assert_allclose(average['w'], expected, rtol=1e-6)


@pytest.mark.parametrize('decay, expected', [(0.0, 5.0), (1.0, 1.0)])
def test_ema_at_the_ends_copies_or_keeps(decay, expected):
    average = transforms.ema([jnp.ones(2)], [jnp.full(2, 5.0)], decay)
    np.testing.assert_array_equal(average[0], np.full(2, expected))


def test_ema_keeps_the_dtype_of_the_average():
    average = transforms.ema(
        jnp.ones(2, jnp.bfloat16), jnp.ones(2), jnp.float32(0.5)
    )
    assert average.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    'step, expected', [(0, 0.1), (8, 0.5), (10**6, 0.999)]
)
def test_ema_decay_warms_up_to_its_value(step, expected):
    decay = jax.jit(transforms.ema_decay_at)(step, 0.999)
    np.testing.assert_allclose(decay, expected, rtol=1e-6)


def test_warm_up_forgets_the_initial_weights():
    average = jnp.float32(100.0)  # the initial noise
    for step in range(200):
        decay = transforms.ema_decay_at(step, 0.999)
        average = transforms.ema(average, jnp.float32(1.0), decay)
    np.testing.assert_allclose(average, 1.0, atol=1e-3)
    assert 0.999**200 * 100 > 80  # what it would hold without


def test_clip_weights_bounds_every_leaf_and_leaves_the_rest():
    params = {'kernel': jnp.array([-1.0, 0.005, 2.0]), 'bias': jnp.array([-3.])}
    clipped = transforms.clip_weights(params, 0.01)
    np.testing.assert_array_equal(
        clipped['kernel'], np.array([-0.01, 0.005, 0.01], np.float32)
    )
    np.testing.assert_array_equal(clipped['bias'], np.float32([-0.01]))
