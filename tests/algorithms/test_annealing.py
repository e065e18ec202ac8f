"""Moving hyper-parameters, against values and updates computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import helpers
from helpers import leaves_equal
from gan_jax.algorithms import annealing
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import updates
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.objectives import losses
from gan_jax.ops import optimizers
from gan_jax.training import train

STEPS = 8  # in which the values move
# (step, share of the way: (1 - cos(pi step / 8)) / 2)
SHARES = [
    (0, 0.0), (2, (1 - math.sqrt(0.5)) / 2), (4, 0.5), (8, 1.0), (100, 1.0),
]
MOVED = {  # {field of `game.Hyperparams`: (name, first, last)}
    'g_learning_rate': ('learning_rate', 0.2, 0.05),
    'd_learning_rate': ('learning_rate', 0.4, 0.1),
    'g_b2': ('b2', 0.9, 0.99),
    'd_b2': ('b2', 0.8, 0.99),
    'ema_half_life': ('ema_half_life', 0.0, 5.0),
    'augment_probability': ('augment', 0.0, 0.5),
}
PENALTIES = {'r1': (2.0, 0.2), 'r2': (1.0, 0.1)}  # first and last weight
LAST = annealing.Last(*map(jnp.float32, (0.25, 0.1, 0.99, 5.0, 0.5)))


def moving(**changes):
    """Return the hyper-parameters with the first values of all."""
    return helpers.hyperparams(
        **{field: jnp.float32(first) for field, (_, first, _) in MOVED.items()},
        penalty_weights={
            name: jnp.float32(first) for name, (first, _) in PENALTIES.items()
        },
        anneal_steps=jnp.float32(STEPS), anneal_to=LAST,
    )._replace(**changes)


@pytest.mark.parametrize('step, share', SHARES)
def test_every_value_moves_along_a_cosine_to_its_last(step, share):
    gan = helpers.linear_gan(annealed=annealing.MOVING)
    now = jax.jit(lambda step: annealing.at(gan, moving(), step))(step)
    for field, (_, first, last) in MOVED.items():
        np.testing.assert_allclose(
            getattr(now, field), first + share * (last - first), rtol=1e-5,
            atol=1e-7, err_msg=field,
        )
    for name, (first, last) in PENALTIES.items():
        np.testing.assert_allclose(
            now.penalty_weights[name], first + share * (last - first), rtol=1e-5
        )


@pytest.mark.parametrize('name', annealing.MOVING)
def test_only_the_named_values_move(name):
    gan, first = helpers.linear_gan(annealed=(name,)), moving()
    now = annealing.at(gan, first, jnp.int32(STEPS))
    fields = {field for field, (owner, *_) in MOVED.items() if owner == name}
    if name == 'penalties':
        fields = {'penalty_weights'}
    assert {
        field for field in first._fields
        if not leaves_equal(getattr(first, field), getattr(now, field))
    } == fields


def test_adam_takes_the_b2_of_each_step():
    # Kingma and Ba, algorithm 1, b1 0, each line with the b2 of its step.
    gradients, betas = [3.0, -1.0, 2.0], [0.5, 0.75, 0.9]
    tx = optimizers.adam(False, b1=0.0, b2=0.123)
    state, second = tx.init(jnp.float32(0)), 0.0
    for step, (gradient, b2) in enumerate(zip(gradients, betas), 1):
        direction, state = jax.jit(tx.update)(
            jnp.float32(gradient), state, b2=jnp.float32(b2)
        )
        second = b2 * second + (1 - b2) * gradient**2
        expected = gradient / (math.sqrt(second / (1 - b2**step)) + 1e-8)
        np.testing.assert_allclose(direction, expected, rtol=1e-5)


def test_adam_without_another_b2_has_its_own():
    gradients = jnp.float32([0.3, -2.0])
    tx, plain = optimizers.adam(False, b1=0.5, b2=0.9), optax.scale_by_adam(
        0.5, 0.9
    )
    assert leaves_equal(
        tx.update(gradients, tx.init(gradients)),
        plain.update(gradients, plain.init(gradients)),
    )


@pytest.mark.parametrize('step', [0, 3, 4, 20])
def test_a_step_is_one_with_constants_of_that_step(step):
    share = (1 - math.cos(math.pi * min(step / STEPS, 1))) / 2

    def between(first, last):
        return first + share * (last - first)

    def gan_of(g_b2, d_b2, **changes):
        return helpers.mlp_gan(
            g_tx=optimizers.adam(False, b1=0.0, b2=g_b2),
            d_tx=optimizers.adam(False, b1=0.0, b2=d_b2),
            penalties=('r1', 'r2'), augmentations=('cutout',), **changes,
        )

    constants = {
        field: between(*ends) for field, (_, *ends) in MOVED.items()
    }
    anneals = gan_of(0.9, 0.8, annealed=annealing.MOVING)
    plain = gan_of(constants['g_b2'], constants['d_b2'])
    state = helpers.start(plain).replace(step=jnp.int32(step))
    data, key = helpers.batch(), jax.random.key(4)
    after, _ = anneals.train_step(moving(), state, data, key)
    expected, _ = plain.train_step(
        moving(
            **{field: jnp.float32(value) for field, value in constants.items()},
            penalty_weights={
                name: jnp.float32(between(*ends))
                for name, ends in PENALTIES.items()
            },
        ), state, data, key,
    )
    for player in (D, G):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-3, atol=1e-5
        ), after.players[player].params, expected.players[player].params)
    decay = 0.5 ** (1 / max(constants['ema_half_life'], 1e-8))
    jax.tree.map(lambda a, old, new: np.testing.assert_allclose(
        a, decay * old + (1 - decay) * new, rtol=1e-4, atol=1e-6
    ), after.averages[G].params, state.averages[G].params,
        after.players[G].params)


def test_half_life_halves_the_share_of_old_weights():
    gan = helpers.linear_gan(ema_ramp=True)
    hyperparams = helpers.hyperparams(
        ema_half_life=jnp.float32(50), ema_ramp=jnp.float32(1.0)
    )
    old = 1.0
    for step in range(100, 150):
        old *= annealing.ema_decay(gan, hyperparams, jnp.int32(step))
    np.testing.assert_allclose(old, 0.5, rtol=1e-5)


@pytest.mark.parametrize('step, half_life', [
    (0, 0), (100, 5), (1000, 50), (1200, 60), (5000, 60),
])
def test_ramp_limits_the_half_life_to_a_share_of_the_steps(step, half_life):
    gan = helpers.linear_gan(ema_ramp=True)
    decay = annealing.ema_decay(gan, helpers.hyperparams(
        ema_half_life=jnp.float32(60), ema_ramp=jnp.float32(0.05)
    ), jnp.int32(step))
    np.testing.assert_allclose(
        decay, 0.5 ** (1 / half_life) if half_life else 0.0, rtol=1e-6
    )


def configure():
    """Return a config in which all values move in 16 steps of 8 images."""
    config = helpers.tiny_mlp()
    config.num_steps, config.sample_every = 24, 0
    config.loss.name, config.fresh_reals = 'relativistic', True
    config.penalties.r1.weight = config.penalties.r2.weight = 1.0
    config.augment.color, config.augment.probability = True, 0.0
    config.anneal.images = 16 * config.batch_size
    config.anneal.learning_rate, config.anneal.penalties = 0.25, 0.1
    config.anneal.b2, config.anneal.augment = 0.9, 0.5
    config.anneal.ema_half_life = 40
    return config


def test_images_of_the_config_become_steps():
    config = configure()
    config.packing, config.ema_half_life, config.ema_ramp = 2, 80, 0.05
    hyperparams = builders.hyperparams(config)
    assert hyperparams.anneal_steps == 8
    assert hyperparams.ema_half_life == 5
    assert hyperparams.anneal_to.ema_half_life == 2.5
    specs = builders.single_source_specs((8, 8, 1))
    gan = builders.algorithm(config, specs)
    assert set(gan.annealed) == set(annealing.MOVING) and gan.ema_ramp
    config.anneal.images = 0  # never
    first = builders.hyperparams(config)
    assert leaves_equal(annealing.at(gan, first, 10**6)._replace(
        penalty_weights=None), first._replace(penalty_weights=None))


def test_g_gets_real_images_that_d_has_not_seen():
    gan = helpers.linear_gan(
        loss=losses.LOSSES['relativistic'], fresh_reals=True
    )
    assert gan.draws == 2
    state, data, key = helpers.start(gan), helpers.batch(2), jax.random.key(2)
    after, _ = gan.train_step(helpers.hyperparams(), state, data, key)
    for number, update in enumerate(
            (updates.discriminator_update, updates.generator_update)):
        ctx = discriminator_inputs.UpdateContext(
            gan, helpers.hyperparams(), state,
            jax.random.fold_in(jax.random.fold_in(key, 0), number),
        )
        state, _ = update(
            ctx, data.sources['real'].images[number], data.sample_index
        )
    assert leaves_equal(after.players, state.players)
    assert after.position == 2


@pytest.mark.integration
def test_a_run_resumes_bit_for_bit_while_values_move(tmp_path):
    images, config = helpers.random_images(), configure()
    config.checkpoint_every = 12
    whole = train.train(config, tmp_path / 'whole', images=images).state
    config.num_steps = 12
    train.train(config, tmp_path / 'parts', images=images)
    config.num_steps = 24
    parts = train.train(config, tmp_path / 'parts', images=images).state
    assert leaves_equal(whole, parts)
