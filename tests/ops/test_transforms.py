"""Transformations of pytrees against arithmetic."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.ops import transforms


def test_ema_of_a_constant_converges_geometrically():
    average = {'w': jnp.array([1.0, 2.0])}
    new = {'w': jnp.array([3.0, 0.0])}
    for _ in range(3):
        average = transforms.ema(average, new, 0.9)
    expected = new['w'] + 0.9**3 * (np.array([1.0, 2.0]) - new['w'])
    np.testing.assert_allclose(average['w'], expected, rtol=1e-6)


@pytest.mark.parametrize('decay, expected', [(0.0, 5.0), (1.0, 1.0)])
def test_ema_with_decay_0_copies_and_with_1_keeps(decay, expected):
    average = transforms.ema([jnp.ones(2)], [jnp.full(2, 5.0)], decay)
    np.testing.assert_array_equal(average[0], np.full(2, expected))


def test_ema_does_not_broadcast():
    with pytest.raises(AssertionError):
        transforms.ema({'w': jnp.ones((4, 2))}, {'w': jnp.ones(2)}, 0.9)


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


def test_warm_up_reduces_the_share_of_the_initial_weights():
    average = jnp.float32(100.0)  # the initial noise
    for step in range(200):
        decay = transforms.ema_decay_at(step, 0.999)
        average = transforms.ema(average, jnp.float32(1.0), decay)
    np.testing.assert_allclose(average, 1.0, atol=1e-3)
    assert 0.999**200 * 100 > 80  # what it would hold without


def test_clip_weights_clips_every_leaf_to_the_limit():
    params = {'kernel': jnp.array([-1.0, 0.005, 2.0]), 'bias': jnp.array([-3.])}
    clipped = transforms.clip_weights(params, 0.01)
    np.testing.assert_array_equal(
        clipped['kernel'], np.array([-0.01, 0.005, 0.01], np.float32)
    )
    np.testing.assert_array_equal(clipped['bias'], np.float32([-0.01]))


def values(number):
    """Return the number-th of a sequence of pytrees."""
    return {'w': jnp.array([1.0, -2.0]) * number, 'b': jnp.float32(number**2)}


def ring_of(count, size=3):
    """Write the first `count` of the sequence to a ring of `size`."""
    ring = jax.tree.map(lambda v: jnp.zeros((size, *v.shape)), values(0))
    for taken in range(count):
        ring = transforms.keep_last(ring, values(1 + taken), taken)
    return ring


# The numbers 1 to `count`, of which the last three are kept.
@pytest.mark.parametrize(
    'count, first, square',
    [(1, 1, 1), (2, 1.5, 5 / 2), (3, 2, 14 / 3), (4, 3, 29 / 3),
     (7, 6, 110 / 3)],
)
def test_average_of_a_ring_is_the_mean_of_the_last(count, first, square):
    mean = jax.jit(transforms.average)(ring_of(count), count)
    np.testing.assert_allclose(mean['w'], [first, -2 * first], rtol=1e-6)
    np.testing.assert_allclose(mean['b'], square, rtol=1e-6)
    newest = transforms.newest(ring_of(count), count)
    assert newest['b'] == count**2


def test_average_sums_in_float32_and_keeps_the_dtype():
    ring = jnp.array([256.0, 1.0, 1.0, 1.0], jnp.bfloat16)  # 256 + 1 is lost
    mean = transforms.average(ring, 4)
    assert mean.dtype == jnp.bfloat16
    assert mean == jnp.bfloat16(259 / 4)


def test_empty_entries_of_a_ring_are_ignored():
    ring = {'w': jnp.array([2.0, jnp.nan, jnp.inf])}
    assert transforms.average(ring, 1)['w'] == 2
    assert np.isnan(transforms.average(ring, 0)['w'])


@pytest.mark.parametrize('taken', [1, 3, 5])
def test_ring_is_bitwise_unchanged_if_not_due(taken):
    ring = ring_of(taken)
    kept = jax.jit(transforms.keep_last)(ring, values(99), taken, False)
    chex.assert_trees_all_equal(kept, ring)
    moved = jax.jit(transforms.keep_last)(ring, values(99), taken, True)
    assert np.flatnonzero(moved['w'] != ring['w']).tolist() == [
        2 * (taken % 3), 2 * (taken % 3) + 1
    ]
