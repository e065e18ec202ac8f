"""Reconstruction errors and the KL divergence against closed forms."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.objectives import reconstructions


def pair(shape=(3, 4, 5, 2), seed=0):
    random = np.random.RandomState(seed)
    return random.randn(*shape).astype(np.float32), random.randn(*shape).astype(
        np.float32
    )


def test_l1_and_l2_are_means_over_all_axes_of_a_sample():
    x, y = pair()
    flat = (x - y).reshape(3, -1)
    np.testing.assert_allclose(
        reconstructions.l1(x, y), np.abs(flat).mean(1), rtol=1e-6
    )
    np.testing.assert_allclose(
        reconstructions.l2(x, y), np.square(flat).mean(1), rtol=1e-6
    )


@pytest.mark.parametrize('error, value', [
    (0.05, 0.05**2 / 2), (-0.05, 0.05**2 / 2),
    (0.1, 0.005), (0.3, 0.1 * (0.3 - 0.05)), (-2.0, 0.1 * (2 - 0.05)),
])
def test_huber_is_a_parabola_then_a_line(error, value):
    actual = reconstructions.huber(jnp.full((1, 2), error), jnp.zeros((1, 2)))
    np.testing.assert_allclose(actual, [value], rtol=1e-5)


@pytest.mark.parametrize(
    'error, slope', [(0.05, 0.05), (0.1001, 0.1), (9, 0.1)]
)
def test_huber_has_a_bounded_slope(error, slope):
    actual = jax.grad(lambda e: reconstructions.huber(
        jnp.full((1, 1), e), jnp.zeros((1, 1))
    )[0])(float(error))
    np.testing.assert_allclose(actual, slope, rtol=1e-4)


def test_kl_by_hand_and_by_sampling():
    kl = reconstructions.kl_from_standard_normal
    np.testing.assert_allclose(kl(jnp.zeros((2, 3)), jnp.zeros((2, 3))), [0, 0])
    mean, variance = jnp.array([[1.0, -2.0]]), jnp.array([[4.0, 0.5]])
    by_hand = 0.5 * (1 + 4 - 1 - np.log(4) + 4 + 0.5 - 1 - np.log(0.5))
    actual = kl(mean, jnp.log(variance))
    np.testing.assert_allclose(actual, [by_hand], rtol=1e-6)
    noise = np.random.RandomState(0).randn(200_000, 2)
    z = np.asarray(mean + jnp.sqrt(variance) * noise)
    logs = -np.square(noise) / 2 - np.log(np.asarray(variance)) / 2
    sampled = (logs + np.square(z) / 2).sum(1).mean()
    np.testing.assert_allclose(sampled, by_hand, rtol=0.02)


def test_default_of_an_option_is_that_of_its_function():
    for name, options in reconstructions.OPTIONS.items():
        parameters = inspect.signature(
            reconstructions.RECONSTRUCTIONS[name]
        ).parameters
        for option in options:
            assert parameters[option.name].default == option.default
    assert reconstructions.OPTIONS['huber'][0].default == 0.1


@pytest.mark.parametrize('name', reconstructions.RECONSTRUCTIONS)
def test_images_of_another_shape_are_not_broadcast(name):
    with pytest.raises(AssertionError):
        reconstructions.RECONSTRUCTIONS[name](
            jnp.ones((2, 4, 4, 1)), jnp.ones((2, 4, 1, 1))
        )
