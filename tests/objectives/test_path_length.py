"""Path length: closed forms of a linear generator, its running mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.objectives import path_length
from gan_jax.objectives import penalties

KEY = jax.random.key(5)
SIDES, CHANNELS, SIZE, LAYERS, BATCH = (4, 6), 3, 5, 4, 4000


def context(matrix, used=None, count=BATCH):
    """Return a context of G(w) = A w, w the mean of the `used` styles."""

    def call(name, *arrays):
        if name == 'map':
            z, labels, keys = arrays
            assert labels is None and keys.shape == (len(z),)
            return jnp.broadcast_to(z[:, None], (len(z), LAYERS, SIZE))
        styles, _ = arrays
        w = styles[:, :used].sum(1) / (used or LAYERS)
        return (w @ matrix.T).reshape(-1, *SIDES, CHANNELS)

    return penalties.Context(
        generator_method=call, z=jnp.ones((count, SIZE)),
        sample_index=jnp.arange(count),
    )


def draw_matrix(key=jax.random.key(0)):
    return jax.random.normal(key, (SIDES[0] * SIDES[1] * CHANNELS, SIZE))


@pytest.mark.parametrize('used', [1, LAYERS])
def test_mean_square_length_of_a_linear_generator(used):
    # Var + mean^2 = E length^2 = ||A||^2 / (H W L): the gradient in each of the
    # `used` styles is 1 / used of the whole, and the mean is over all layers.
    matrix = draw_matrix()
    expected = jnp.square(matrix).sum() / (
        SIDES[0] * SIDES[1] * LAYERS * used
    )
    output = path_length.path_length(context(matrix, used), 0.0, KEY)
    mean = output.notes
    around_zero = output.value - (0.01 * mean)**2 + 2 * 0.01 * mean * mean
    np.testing.assert_allclose(around_zero, expected, rtol=0.02)


def test_running_mean_starts_at_0_and_moves_by_a_hundredth():
    output = path_length.path_length(context(draw_matrix()), 0.0, KEY)
    first = path_length.path_length_update(
        path_length.path_length_init(None), None, None, output.notes
    )
    np.testing.assert_allclose(first, 0.01 * output.notes, rtol=1e-6)
    np.testing.assert_allclose(
        path_length.path_length_update(3.0, None, None, 5.0), 3.02, rtol=1e-6
    )


def test_gradient_passes_through_the_new_mean():
    # All lengths are c ||y'||: with a = 0.99 m + 0.01 E l, the derivative of
    # E (l - a)^2 in c is 2 E (l - a)(l - 0.01 E l) / c.
    matrix, memory = draw_matrix(), jnp.float32(2.0)

    def value(scale):
        return path_length.path_length(
            context(scale * matrix, count=8), memory, KEY
        ).value

    lengths = np.sqrt(measured(matrix))
    mean = 0.99 * memory + 0.01 * lengths.mean()
    expected = 2 * np.mean(
        (lengths - mean) * (lengths - 0.01 * lengths.mean())
    )
    np.testing.assert_allclose(jax.grad(value)(1.0), expected, rtol=1e-4)


def measured(matrix):
    """Return the squared lengths of each second of 8 samples, one by one."""
    squares = []
    for index in range(0, 8, 2):
        one = context(matrix, count=1)._replace(
            sample_index=jnp.array([index])
        )
        squares.append(path_length.path_length(one, 0.0, KEY).notes ** 2)
    return np.array(squares)


def test_lengths_depend_on_the_sample_and_not_on_the_batch():
    matrix = draw_matrix()
    output = path_length.path_length(context(matrix, count=8), 0.0, KEY)
    squares = measured(matrix)
    assert len(np.unique(squares)) == 4
    np.testing.assert_allclose(
        output.notes, np.sqrt(squares).mean(), rtol=1e-5
    )


def test_a_generator_that_ignores_w_has_length_0_and_a_finite_gradient():
    value, grad = jax.value_and_grad(
        lambda scale: path_length.path_length(
            context(scale * draw_matrix(), count=4), 0.0, KEY
        ).value
    )(0.0)
    assert value == 0 and jnp.isfinite(grad)
