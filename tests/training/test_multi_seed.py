"""Training of several seeds at once: each equals a single run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import algorithm
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.runs import sampling
from gan_jax.training import multi_seed
from gan_jax.training import train

RECIPE = ROOT / 'configs' / 'mixtures.py'
GAMES = {
    'adam': {},
    'wgan with bursts': {
        'loss.name': 'wasserstein', 'schedule.name': 'wgan', 'd_steps': 2,
        'schedule.burst_steps': 6, 'schedule.burst_first': 0,
        'schedule.burst_every': 2, 'clip_weights': 0.01,
        'g_optimizer.name': 'rmsprop', 'd_optimizer.name': 'rmsprop',
    },
    'unrolled, packed': {
        'loss.name': 'minimax', 'schedule.name': 'unrolled', 'packing': 2,
        'schedule.unroll_steps': 2,
    },
    # SGD: BatchNorm leaves biases before it gradients of rounding alone,
    # which Adam would make steps of.
    'hinge, spectral norm, BatchNorm, lazy penalties': {
        'g_optimizer.name': 'sgd', 'd_optimizer.name': 'sgd',
        'loss.name': 'hinge', 'discriminator.spectral_norm': True,
        'generator.norm': 'batch', 'schedule.name': 'simultaneous',
        'penalties.r1.weight': 0.1, 'penalties.r1.every': 2,
        'penalties.r2.weight': 0.1,
    },
}


SLOW = ('adam', 'unrolled, packed')


def configure(changes, source='ring'):
    config = helpers.tiny(recipes.load(RECIPE, source))
    config.log_every = config.sample_every = config.eval_every = 0
    config.checkpoint_every = 0
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-2
    config.update_from_flattened_dict(changes)
    return config


def close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-5
    ), actual, expected)


def row(states, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), states)


def learnt(state):
    """Return the arrays that training changes, without Adam's moments."""
    return (
        state.step, state.position, state.players[G].params,
        state.players[G].stats, state.players[D].params,
        state.averages[G].params, state.memory,
    )


@pytest.mark.parametrize('changes', [
    pytest.param(changes, id=name, marks=[pytest.mark.slow] * (name in SLOW))
    for name, changes in GAMES.items()
])
def test_each_seed_equals_a_run_of_train(changes, tmp_path):
    config = configure(changes)
    joint_batch = multi_seed.Population(config, (3, 5))
    states, _ = joint_batch.advance(joint_batch.init(), config.num_steps)
    config.seed = 5
    alone = train.train(config, tmp_path)
    assert int(alone.state.step) == config.num_steps
    close(learnt(row(states, 1)), learnt(alone.state))
    assert not helpers.leaves_equal(
        row(states, 0).players[G].params, row(states, 1).players[G].params
    )


@pytest.mark.parametrize('name', ['adam', 'wgan with bursts'])
def test_training_in_parts_equals_training_at_once(name):
    config = configure(GAMES[name])
    joint_batch = multi_seed.Population(config, (0, 1))
    states = joint_batch.init()
    first = jax.tree.map(np.array, states)
    whole, metrics = joint_batch.advance(states, 4)
    states = first
    for _ in range(2):
        states, last = joint_batch.advance(states, 2)
        states = jax.tree.map(np.array, states)  # as a save brings it back
    assert helpers.leaves_equal(whole, states)
    assert helpers.leaves_equal(metrics, last)
    assert metrics['d/loss'].shape == (2,)


def test_only_a_failed_seed_stops():
    config = configure({})
    joint_batch = multi_seed.Population(config, (0, 1))
    states, _ = joint_batch.advance(joint_batch.init(), 2)
    states = jax.tree.map(np.array, states)
    states.players[G].params['Dense_0']['kernel'][1] = np.nan
    before = row(states, 1)
    states, metrics = joint_batch.advance(states, 2)
    assert np.asarray(states.alive).tolist() == [True, False]
    assert np.asarray(states.step).tolist() == [4, 2]
    assert np.asarray(metrics[algorithm.ALIVE]).tolist() == [1, 0]
    for name in ('params', 'opt_state'):
        np.testing.assert_equal(
            jax.tree.leaves(getattr(row(states, 1).players[G], name)),
            jax.tree.leaves(getattr(before.players[G], name)),
        )


@pytest.mark.parametrize('weights', ['raw', 'ema'])
def test_samples_equal_those_of_sampling(weights):
    joint_batch = multi_seed.Population(configure({}), (0, 7))
    states, _ = joint_batch.advance(joint_batch.init(), 2)
    points = joint_batch.sample(states, range(5), weights)
    assert points.shape == (2, 5, 2)
    for index in range(2):
        np.testing.assert_allclose(points[index], sampling.sample(
            joint_batch.algorithm, row(states, index), range(5),
            weights=weights,
        ), rtol=1e-5, atol=1e-6)


def test_a_manifold_has_its_own_dimensions():
    config = configure({'data.ambient': 5}, 'manifold')
    joint_batch = multi_seed.Population(config, (0,))
    states, _ = joint_batch.advance(joint_batch.init(), 1)
    assert joint_batch.sample(states, range(3)).shape == (1, 3, 5)


def images_config():
    config = configure({'data.name': 'digits'})
    config.generator.norm, config.d_steps = 'batch', 2
    return config


def test_images_come_to_each_seed_as_to_a_run_of_its_own(tmp_path):
    config, images = images_config(), helpers.random_images()
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.name = 'sgd'
    joint_batch = multi_seed.Population(
        config, (3, 5), dataset=sources.from_arrays(images)
    )
    states = joint_batch.init()
    for _ in range(2):
        states, _ = joint_batch.advance(states, config.num_steps // 2)
    config.seed = 5
    alone = train.train(config, tmp_path, images=images)
    close(learnt(row(states, 1)), learnt(alone.state))
    points = joint_batch.sample(states, range(3))
    assert points.shape == (2, 3, *alone.sample(range(3)).shape[1:])


def test_hyperparameters_of_each_are_its_own():
    config = configure({'penalties.r1.weight': 0.1})
    other = config.copy_and_resolve_references()
    other.g_optimizer.learning_rate, other.penalties.r1.weight = 1e-3, 1.0
    rows = [builders.hyperparams(each) for each in (config, other)]
    joint_batch = multi_seed.Population(
        config, (4, 4), hyperparams=jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *rows
        )
    )
    states, _ = joint_batch.advance(joint_batch.init(), 3)
    for index, each in enumerate((config, other)):
        apart = multi_seed.Population(each, (4,))
        alone, _ = apart.advance(apart.init(), 3)
        close(learnt(row(states, index)), learnt(row(alone, 0)))


@pytest.mark.parametrize('changes', [
    {'data.name': 'digits'},
    {'generator.name': 'dcgan'},
])
def test_images_that_are_not_there_and_convolutions_are_refused(changes):
    with pytest.raises(errors.ConfigError, match='on CPU dense networks'):
        multi_seed.Population(configure(changes), (0,))
