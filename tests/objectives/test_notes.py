"""Penalties on values inside G, with notes for their memory."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.algorithms.game import G
from gan_jax.objectives import penalties
from gan_jax.objectives import penalty_output

WEIGHT = jnp.float32(0.5)


class Styled(nn.Module):
    """A generator from z to w to images, as in StyleGAN."""

    def setup(self):
        self.to_w, self.to_image = nn.Dense(4), nn.Dense(4)

    def mapping(self, z, *, train):
        return self.to_w(z)

    def synthesis(self, w, *, train):
        return self.to_image(w).reshape(-1, 2, 2, 1)

    def __call__(self, z, *, train):
        return self.synthesis(self.mapping(z, train=train), train=train)


def length(context, memory, key):
    """Penalize the distance of the mean square of w to its running mean."""
    del key
    w = context.generator_method('mapping', context.z)
    images = context.generator_method('synthesis', w)
    np.testing.assert_array_equal(images.shape, context.fake_images.shape)
    size = jnp.mean(jnp.square(w))
    return penalty_output.PenaltyOutput(jnp.square(size - memory), size)


def remember(memory, params, metrics, notes):
    del params, metrics
    return 0.9 * memory + 0.1 * notes


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(
        penalties.PENALTIES, 'length', penalties.Penalty(
            G, length, init=lambda params: jnp.float32(2.0), update=remember,
            notes=True,
        ),
    )


def make_gan(**changes):
    return helpers.linear_gan(
        generator=Styled(), penalties=('length',), **changes
    )


def stepped(gan, steps=1, **options):
    state = game.init(gan, jax.random.key(1), helpers.SHAPE)
    values, sizes = [], []
    for _ in range(steps):
        state, metrics = gan.train_step(
            helpers.hyperparams(penalty_weights={'length': WEIGHT}), state,
            helpers.batch(), jax.random.key(2), **options,
        )
        values.append(float(metrics['g/length']))
        sizes.append(float(state.memory['length']))
        assert all(jnp.ndim(value) == 0 for value in metrics.values())
    return state, values, sizes


def test_notes_are_stored_and_used():
    _, values, kept = stepped(make_gan(), 2)
    before = 2.0
    for value, after in zip(values, kept):
        size = (after - 0.9 * before) / 0.1
        np.testing.assert_allclose(value, (size - before) ** 2, rtol=1e-3)
        before = after


def test_penalty_changes_values_inside_g():
    plain = helpers.linear_gan(generator=Styled())
    without, _ = helpers.step(
        plain, helpers.start(plain), helpers.batch()
    )
    with_it, *_ = stepped(make_gan())
    moved = (
        state.players[G].params['to_w']['bias'] for state in (without, with_it)
    )
    assert not np.allclose(*moved)


@pytest.mark.integration
def test_notes_are_averaged_over_microbatches():
    whole, parts = (
        stepped(make_gan(num_microbatches=count))[2] for count in (1, 3)
    )
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


@pytest.mark.parametrize('on_host', [False, True])
def test_lazy_penalty_updates_its_memory_only_when_applied(on_host):
    gan = make_gan(lazy=(('length', 2),))
    state = game.init(gan, jax.random.key(1), helpers.SHAPE)
    seen = []
    for number in range(4):
        due = frozenset(['length'] if number % 2 == 0 else [])
        variant = algorithm.Variant(due=due if on_host else None)
        state, _ = gan.train_step(
            helpers.hyperparams(penalty_weights={'length': WEIGHT}), state,
            helpers.batch(), jax.random.key(2), variant=variant,
        )
        seen.append(float(state.memory['length']))
    assert seen[0] == seen[1] != seen[2] == seen[3] != 2.0
