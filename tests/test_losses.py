"""Losses against closed forms, in value, sign of gradient and stability."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import losses

LN2 = math.log(2)
# (discriminator loss, generator loss) where every logit is 0.
AT_ZERO = {
    'hinge': (2.0, 0.0),
    'least_squares': (0.5, 0.5),
    'minimax': (2 * LN2, -LN2),
    'non_saturating': (2 * LN2, LN2),
}
REAL = np.array([-2.0, 0.5, 3.0])
FAKE = np.array([1.5, -0.25, -4.0])


def softplus(x):
    return np.log1p(np.exp(x))


def relu(x):
    return np.maximum(x, 0)


# The same at REAL and FAKE, from the definitions.
AT_LOGITS = {
    'hinge': (relu(1 - REAL).mean() + relu(1 + FAKE).mean(), -FAKE.mean()),
    'least_squares': (
        ((REAL - 1) ** 2).mean() / 2 + (FAKE ** 2).mean() / 2,
        ((FAKE - 1) ** 2).mean() / 2,
    ),
    'minimax': (
        -np.log(1 / (1 + np.exp(-REAL))).mean()
        - np.log(1 - 1 / (1 + np.exp(-FAKE))).mean(),
        np.log(1 - 1 / (1 + np.exp(-FAKE))).mean(),
    ),
    'non_saturating': (
        softplus(-REAL).mean() + softplus(FAKE).mean(),
        softplus(-FAKE).mean(),
    ),
}
NAMES = sorted(losses.LOSSES)
SIDES = ('discriminator', 'generator')


def both(name, real, fake):
    loss = losses.LOSSES[name]
    real, fake = jnp.asarray(real), jnp.asarray(fake)
    return loss.discriminator(real, fake), loss.generator(real, fake)


def test_every_loss_has_its_closed_form_here():
    assert set(AT_ZERO) == set(AT_LOGITS) == set(losses.LOSSES)


@pytest.mark.parametrize('name', NAMES)
def test_zero_logits_give_the_equilibrium_values(name):
    values = both(name, np.zeros(5), np.zeros(5))
    np.testing.assert_allclose(values, AT_ZERO[name], rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_value_is_the_formula(name):
    values = both(name, REAL, FAKE)
    np.testing.assert_allclose(values, AT_LOGITS[name], rtol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('real', [-1e4, 1e4])
@pytest.mark.parametrize('fake', [-1e4, 1e4])
def test_value_and_gradient_are_finite_at_large_logits(name, real, fake):
    for side in SIDES:
        value, grads = jax.value_and_grad(
            getattr(losses.LOSSES[name], side), argnums=(0, 1)
        )(jnp.full(3, real), jnp.full(3, fake))
        assert np.isfinite(value)
        assert np.isfinite(grads).all()


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_result_is_a_float32_scalar_and_equal_under_jit(name, dtype):
    real, fake = jnp.asarray(REAL, dtype), jnp.asarray(FAKE, dtype)
    for side in SIDES:
        function = getattr(losses.LOSSES[name], side)
        value = function(real, fake)
        assert value.dtype == jnp.float32 and value.shape == ()
        np.testing.assert_allclose(
            jax.jit(function)(real, fake), value, rtol=1e-6
        )


@pytest.mark.parametrize('name', NAMES)
def test_descent_parts_the_logits_for_d_and_raises_fakes_for_g(name):
    loss = losses.LOSSES[name]
    zeros = jnp.zeros(4)
    d_real, d_fake = jax.grad(loss.discriminator, argnums=(0, 1))(zeros, zeros)
    assert (d_real < 0).all()
    if name != 'least_squares':  # its fakes rest at 0
        assert (d_fake > 0).all()
    assert (jax.grad(loss.generator, argnums=1)(zeros, zeros) < 0).all()


@pytest.mark.parametrize('name', NAMES)
def test_order_within_the_batch_does_not_matter(name):
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        both(name, REAL[order], FAKE[order]), both(name, REAL, FAKE), rtol=1e-6
    )


def test_non_saturating_is_the_discriminators_loss_with_flipped_labels():
    # Fakes passed as real: E softplus(-fake) is the first half of D's loss.
    far = jnp.full(3, -1e4)  # contributes nothing as fake
    flipped = losses.cross_entropy_discriminator(jnp.asarray(FAKE), far)
    _, generator = both('non_saturating', REAL, FAKE)
    np.testing.assert_allclose(generator, flipped, rtol=1e-6)


def test_minimax_gradient_vanishes_where_d_is_sure_and_the_other_does_not():
    sure = jnp.full(3, -20.0)
    saturating = jax.grad(losses.minimax_generator, argnums=1)(sure, sure)
    other = jax.grad(losses.non_saturating_generator, argnums=1)(sure, sure)
    assert np.abs(saturating).max() < 1e-8
    np.testing.assert_allclose(other, -np.ones(3) / 3, rtol=1e-6)
