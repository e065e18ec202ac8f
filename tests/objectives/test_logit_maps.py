"""Discriminators with a map of logits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import D
from gan_jax.networks import layers
from gan_jax.objectives import losses
from gan_jax.objectives import targets

SMOOTH = targets.Treatment(real_low=0.9, real_high=0.9)


class Patches(nn.Module):
    """One logit for each pixel of 2x2 images."""

    @nn.compact
    def __call__(self, images, *, train):
        logits = nn.Dense(1)(images)[..., 0]
        return layers.Output(logits, images.reshape(len(images), -1))


class Mean(nn.Module):
    """The mean of these logits."""

    @nn.compact
    def __call__(self, images, *, train):
        logits = nn.Dense(1)(images)[..., 0].mean((1, 2))
        return layers.Output(logits, images.reshape(len(images), -1))


def stepped(discriminator, **changes):
    gan = helpers.linear_gan(discriminator=discriminator, **changes)
    state = helpers.start(gan)
    hyperparams = {}
    if changes.get('treat_labels'):
        hyperparams['label_treatment'] = SMOOTH
    return helpers.step(gan, state, helpers.batch(), **hyperparams)


def test_linear_loss_of_a_map_is_that_of_its_mean():
    wasserstein = losses.LOSSES['wasserstein']
    maps, means = (
        stepped(module, loss=wasserstein) for module in (Patches(), Mean())
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-5, atol=1e-6
    ), maps, means)


@pytest.mark.parametrize('changes', [
    {'treat_labels': True},
    {'loss': losses.LOSSES['least_squares'], 'loss_options': True},
])
def test_loss_is_the_mean_over_the_map(changes):
    if changes.pop('loss_options', False):
        loss = losses.LOSSES['least_squares']
        logits = jnp.array([[[0.5, -1.0]], [[2.0, 0.0]]])
        actual = loss.discriminator(logits, logits, a=0.0, b=1.0, c=1.0)
        by_hand = [
            0.5 * (x - 1) ** 2 + 0.5 * x ** 2 for x in (0.5, -1.0, 2.0, 0.0)
        ]
        np.testing.assert_allclose(actual, np.mean(by_hand), rtol=1e-6)
        return
    _, metrics = stepped(Patches(), **changes)
    assert np.isfinite(metrics['d/loss'])
    _, hard = stepped(Patches())
    # Targets of 0.9 add a tenth of the mean logit of real places.
    np.testing.assert_allclose(
        metrics['d/loss'] - hard['d/loss'], 0.1 * hard['d/real_logits'],
        rtol=1e-4, atol=1e-6,
    )


def test_all_places_of_a_sample_have_its_target(monkeypatch):
    real = jnp.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    monkeypatch.setattr(
        targets, 'draw', lambda *_: targets.Targets(real, jnp.zeros(6))
    )
    _, noisy = stepped(Patches(), treat_labels=True)
    _, hard = stepped(Patches())
    images = helpers.images_of(helpers.batch()) / 127.5 - 1
    state = helpers.start(helpers.linear_gan(discriminator=Patches()))
    (layer,) = state.players[D].params.values()
    logits = images[..., 0] * layer['kernel'][0, 0] + layer['bias'][0]
    # A target t adds (1 - t) times the logit.
    expected = ((1 - real) * logits.mean((1, 2))).mean()
    assert abs(expected - (1 - real).mean() * logits.mean()) > 1e-3
    np.testing.assert_allclose(
        noisy['d/loss'] - hard['d/loss'], expected, rtol=1e-3
    )


def test_score_of_a_sample_is_the_mean_of_its_map():
    gan = helpers.linear_gan(discriminator=Patches())
    state = helpers.start(gan)
    samples = np.random.RandomState(0).randn(64, *helpers.SHAPE)
    samples = samples.astype(np.float32)
    params = gan.monitors.discriminator_weights(state).params['Dense_0']
    expected = samples.mean((1, 2, 3)) * params['kernel'][0, 0]
    np.testing.assert_allclose(
        gan.monitors.scores(state, samples), expected + params['bias'][0],
        rtol=1e-4, atol=1e-6,
    )
