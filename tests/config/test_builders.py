"""Builders: optimizers, penalties, feeds and passes of D from a config."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D
from gan_jax.config import algorithm_builders
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import feed
from gan_jax.data import order
from gan_jax.data import sources
from gan_jax import networks
from gan_jax.ops import optimizers

GRADS = [np.array([3.0, -4.0]), np.array([0.5, 2.0])]


def directions(**options):
    config = defaults.default_config().g_optimizer
    config.update(options)
    tx = algorithm_builders.optimizer(config)
    state, results = tx.init(jnp.zeros(2)), []
    for grads in GRADS:
        direction, state = tx.update(jnp.asarray(grads), state, jnp.zeros(2))
        results.append(direction)
    return results


def assert_close(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_sgd_returns_the_gradient_and_momentum_accumulates():
    assert_close(directions(name='sgd'), GRADS)
    assert_close(
        directions(name='sgd', momentum=0.9),
        [GRADS[0], GRADS[1] + 0.9 * GRADS[0]],
    )


def test_adam_matches_the_paper_with_bias_correction():
    m = v = 0
    expected = []
    for t, g in enumerate(GRADS, 1):
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
        expected.append(
            m / (1 - 0.5**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        )
    assert_close(directions(name='adam'), expected)


def test_rmsprop_has_the_constants_of_wgans_authors():
    v, expected = 0, []
    for g in GRADS:
        v = 0.99 * v + 0.01 * g**2
        expected.append(g / (np.sqrt(v) + 1e-8))
    assert_close(directions(name='rmsprop'), expected)


def test_every_optimizer_is_built():
    for name in optimizers.OPTIMIZERS:
        assert np.isfinite(directions(name=name)).all()


def test_clip_norm_scales_only_long_gradients():
    updates = directions(name='sgd', clip_norm=2.5)
    assert_close(updates, [GRADS[0] / 2, GRADS[1]])


def test_options_of_the_loss_reach_the_hyperparameters():
    config = helpers.tiny_mlp()
    config.loss.name, config.loss.a = 'least_squares', -1.0
    values = builders.hyperparams(config)
    assert set(values.loss_options) == {'a', 'b', 'c'}
    assert values.loss_options['a'] == -1


def test_only_penalties_with_a_weight_are_built():
    config = helpers.tiny_mlp()
    config.penalties.r1.weight = 10.0
    gan = builders.algorithm(config, builders.single_source_specs((8, 8, 1)))
    assert gan.penalties == ('r1',)
    assert builders.hyperparams(config).penalty_weights == {'r1': 10}


@pytest.mark.parametrize('name', ['dcgan', 'mlp'])
@pytest.mark.parametrize('loss', ['boundary_equilibrium', 'energy_based'])
def test_energy_losses_make_d_an_autoencoder(name, loss):
    config = helpers.tiny_mlp()
    config.discriminator.name, config.loss.name = name, loss
    unused_keys.leave_out(config)
    validation.validate(config)
    module = builders.algorithm(
        config, builders.single_source_specs((8, 8, 1))
    ).discriminator
    assert isinstance(
        module, networks.NETWORKS[f'{name}_autoencoder'].discriminator
    )
    config.loss.name = 'hinge'
    module = builders.algorithm(
        config, builders.single_source_specs((8, 8, 1))
    ).discriminator
    assert isinstance(module, networks.NETWORKS[name].discriminator)


def test_lazy_penalties_are_those_with_a_weight_and_a_period():
    config = helpers.tiny_mlp()
    config.penalties.r1.weight = 1.0
    config.penalties.r2.weight = 1.0
    config.penalties.r1.every = config.penalties.drift.every = 16
    algorithm = builders.algorithm(
        config, builders.single_source_specs((8, 8, 1))
    )
    assert algorithm.lazy == (('r1', 16),)


@pytest.mark.parametrize('name', [*optimizers.OPTIMIZERS])
def test_differentiable_optimizers_give_the_same_direction(name):
    options = defaults.default_config().d_optimizer
    options.name = name
    updates = []
    for differentiable in (False, True):
        tx = algorithm_builders.optimizer(options, differentiable)
        grads = jnp.asarray(GRADS[0])
        updates.append(tx.update(grads, tx.init(grads), grads)[0])
    np.testing.assert_allclose(*updates, rtol=1e-6)


def test_manifold_has_the_configured_modes():
    config = helpers.tiny_mlp()
    config.data.name, config.data.modes = 'manifold', 7
    config.data.dimension, config.data.ambient = 3, 5
    assert builders.mixture(config).means.shape == (7, 5)
    config.data.dimension = 6
    with pytest.raises(errors.ConfigError, match='^data.name=.manifold.: '):
        builders.mixture(config)


@pytest.mark.parametrize('name', ['ring', 'digits'])
def test_feed_fits_the_data(name):
    config = helpers.tiny_mlp()
    config.data.name = name
    dataset = builders.dataset(config)
    source_feed = builders.feed(config, dataset)
    assert isinstance(source_feed, feed.ResidentFeed) == (name == 'digits')
    fed = source_feed.read(position=5, count=3)
    images, _ = jax.jit(source_feed.select)(source_feed.resident, fed)
    assert images.shape == (3, 8, *dataset.images.shape[1:])
    again, _ = source_feed.select(
        source_feed.resident, source_feed.read(position=6, count=1)
    )
    np.testing.assert_allclose(again[0], images[1], rtol=1e-6)


@pytest.mark.parametrize('kind, share, expected', [
    ('auto', 0.25, feed.ResidentFeed),
    ('auto', 1e-12, feed.StreamingFeed),
    ('resident', 1e-12, feed.ResidentFeed),
    ('streaming', 1.0, feed.StreamingFeed),
])
def test_images_are_resident_where_they_fit(kind, share, expected):
    config = helpers.tiny_mlp()
    config.data.feed, config.data.resident_share = kind, share
    dataset = sources.from_arrays(
        helpers.random_images(), request=builders.request(config)
    )
    source_feed = builders.feed(config, dataset)
    assert type(source_feed) is expected
    images, _ = source_feed.select(source_feed.resident, source_feed.read(0, 1))
    chosen = order.indices(config.seed, 0, 1, 8, 32)
    np.testing.assert_array_equal(images, dataset.images[chosen])
    source_feed.close()


def test_request_has_the_values_of_the_keys(tmp_path):
    config = helpers.tiny_mlp()
    config.data.path, config.data.image_size = str(tmp_path), '48x80'
    config.data.channels, config.data.background = 4, '#102030'
    config.data.crop, config.data.classes = 'pad', 'cat, dog'
    config.data.limit, config.data.test_share = 7, 0.25
    request = builders.request(config)
    assert request.name == f'folder:{tmp_path}'
    assert request.preparation[:4] == ((48, 80), 4, 'pad', (16, 32, 48))
    assert request.classes == ('cat', 'dog')
    assert (request.limit, request.test_share) == (7, 0.25)
    assert request.memory == builders.resident_bytes(config) > 2**20


def dense_config(**options):
    config = defaults.default_config()
    config.data.name, config.batch_size = 'ring', 16
    for player in (config.generator, config.discriminator):
        player.name, player.width, player.norm = 'mlp', 8, 'none'
    for name, value in options.items():
        group, key = name.split('__')
        config[group][key] = value
    return config


@pytest.mark.parametrize('options', [
    {'discriminator__norm': 'batch'},
    {'discriminator__minibatch_features': 4},
    {'discriminator__spectral_norm': True},
    {'discriminator__name': 'dcgan'},
])
def test_coupled_or_convolutional_d_uses_two_passes(options):
    specs = builders.single_source_specs((2,))
    assert builders.algorithm(dense_config(), specs).joint_batch
    shape = (32, 32, 1) if 'discriminator__name' in options else (2,)
    gan = builders.algorithm(
        dense_config(**options), builders.single_source_specs(shape)
    )
    assert not gan.joint_batch


@pytest.mark.integration
@pytest.mark.parametrize('norm', ['none', 'layer', 'group'])
def test_one_pass_of_a_dense_d_equals_two(norm):
    config = dense_config(discriminator__norm=norm)
    config.penalties.r1.weight = 1.0
    gan = builders.algorithm(config, builders.single_source_specs((2,)))
    key = jax.random.key(0)
    points = jax.random.normal(jax.random.key(1), (1, 16, 2))
    batch = helpers.real_batch(points)

    def step(gan):
        state = game.init(gan, key, (2,))
        state, metrics = jax.jit(lambda state: adversarial.train_step(
            gan, builders.hyperparams(config), state, batch, key
        ))(state)
        # What G learns comes after Adam, which turns rounding into steps.
        mine = {name: metrics[name] for name in metrics if name[0] == 'd'}
        return state.players[D].opt_state, mine

    actual, expected = step(gan), step(gan._replace(joint_batch=False))
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)
