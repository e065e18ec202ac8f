"""CycleGAN and pix2pix: losses in closed form, order, pools, pairs, a run."""

import json
import os
import signal
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import translation
from gan_jax.algorithms import translation_updates
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.networks import layers
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.runs import sampling

SHAPE = (4, 4, 2)


class Scale(nn.Module):
    """Generator that multiplies images by one parameter, at first 1."""

    @nn.compact
    def __call__(self, images, *, train):
        return images * self.param('scale', nn.initializers.ones, ())


class Half(nn.Module):
    """Discriminator that answers 1/2, plus one parameter times the mean."""

    @nn.compact
    def __call__(self, images, *, train, condition=None):
        slope = self.param('slope', nn.initializers.zeros, ())
        means = images.mean((1, 2, 3))
        if condition is not None:
            means += 10 * condition.mean((1, 2, 3))
        return layers.Output(0.5 + slope * means, images.mean((1, 2)))


def translator(kind='cyclegan', **changes):
    count = len(translation.KINDS[kind])
    return translation.Translation(**{
        'kind': kind, 'generators': count * (Scale(),),
        'discriminators': count * (Half(),), 'g_tx': optax.identity(),
        'd_tx': optax.identity(), 'shapes': (SHAPE, SHAPE),
        'loss': losses.LOSSES['least_squares'], 'identity': True, **changes,
    })


def hyperparams(**changes):
    return translation.Hyperparams(*map(jnp.float32, (0.1, 0.1, 0.5)))._replace(
        **{name: jnp.float32(value) for name, value in changes.items()}
    )


def batch_of(size=6, shape=SHAPE, seed=0):
    random = np.random.RandomState(seed)
    images = random.randint(0, 256, (2, 1, size, *shape)).astype(np.uint8)
    return algorithm.Batch({
        name: algorithm.Source(jnp.asarray(own))
        for name, own in zip('ab', images)
    }, jnp.arange(size, dtype=jnp.int32))


def start(this):
    return this.init(jax.random.key(0), None, None)


def step(this, state, batch, **changes):
    return algorithm.checked_step(
        this, hyperparams(**changes), state, batch, jax.random.key(1), 0
    )


def units(batch):
    return {name: np.asarray(source.images[0], np.float32) / 127.5 - 1
            for name, source in batch.sources.items()}


def scaled(state, **scales):
    """Return a state with the parameters of some players replaced."""
    players = dict(state.players)
    for name, value in scales.items():
        player = players[name]
        players[name] = player.replace(params=jax.tree.map(
            lambda leaf: jnp.full_like(leaf, value), player.params
        ))
    return state.replace(players=players)


def parameter(state, name):
    return float(jax.tree.leaves(state.players[name].params)[0])


def test_identity_generators_have_no_cycle_and_no_identity_error():
    this = translator()
    _, metrics = step(this, start(this), batch_of())
    for name in ('cycle_a', 'cycle_b', 'identity_a', 'identity_b'):
        assert metrics[f'g/{name}'] == 0
    for domain in 'ab':  # 1/2 everywhere
        np.testing.assert_allclose(metrics[f'd/loss_{domain}'], 0.25)
        np.testing.assert_allclose(metrics[f'g/gan_{domain}'], 0.125)
    np.testing.assert_allclose(metrics['g/loss'], 0.25)
    np.testing.assert_allclose(metrics['d/loss'], 0.5)


def test_losses_of_cyclegan_by_hand():
    this, batch = translator(), batch_of()
    state = scaled(
        start(this), generator_a_to_b=0.5, generator_b_to_a=3.0,
        discriminator_a=1.0, discriminator_b=2.0,
    )
    _, metrics = step(this, state, batch, cycle=7, identity=3)
    real = units(batch)
    mean = {name: np.abs(images).mean() for name, images in real.items()}
    # G is x / 2 and F 3 x, so F(G(a)) is 1.5 a; the identity error of G, which
    # maps to b, is on b.
    expected = {
        'g/cycle_a': 0.5 * mean['a'], 'g/cycle_b': 0.5 * mean['b'],
        'g/identity_b': 0.5 * mean['b'], 'g/identity_a': 2 * mean['a'],
        'g/gan_b': 0.5 * np.mean(
            (0.5 + 2 * 0.5 * real['a'].mean((1, 2, 3)) - 1) ** 2),
        'g/gan_a': 0.5 * np.mean(
            (0.5 + 3 * real['b'].mean((1, 2, 3)) - 1) ** 2),
        'd/loss_b': 0.5 * np.mean(
            (0.5 + 2 * real['b'].mean((1, 2, 3)) - 1) ** 2
        ) + 0.5 * np.mean((0.5 + 2 * 0.5 * real['a'].mean((1, 2, 3))) ** 2),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)
    np.testing.assert_allclose(metrics['g/loss'], (
        metrics['g/gan_a'] + metrics['g/gan_b']
        + 7 * (metrics['g/cycle_a'] + metrics['g/cycle_b'])
        + 3 * (metrics['g/identity_a'] + metrics['g/identity_b'])
    ), rtol=1e-5)


def test_losses_of_pix2pix_by_hand():
    this, batch = translator('pix2pix'), batch_of()
    state = scaled(start(this), generator_a_to_b=0.5, discriminator_b=2.0)
    _, metrics = step(this, state, batch, l1=100)
    real = units(batch)
    condition = 10 * real['a'].mean((1, 2, 3))
    judged = 0.5 + 2 * (0.5 * real['a'].mean((1, 2, 3)) + condition)
    l1 = np.abs(0.5 * real['a'] - real['b']).mean()
    np.testing.assert_allclose(metrics['g/l1'], l1, rtol=1e-5)
    np.testing.assert_allclose(
        metrics['g/loss'], 0.5 * np.mean((judged - 1) ** 2) + 100 * l1,
        rtol=1e-5,
    )
    real_judged = 0.5 + 2 * (real['b'].mean((1, 2, 3)) + condition)
    np.testing.assert_allclose(
        metrics['d/loss'], 0.5 * np.mean((real_judged - 1) ** 2)
        + 0.5 * np.mean(judged**2), rtol=1e-4,
    )
    assert this.players == ('generator_a_to_b', 'discriminator_b')
    assert this.sources == {'a': 'a', 'b': 'a'}


def test_update_is_that_of_generators_first_and_then_discriminators():
    this, batch = translator(), batch_of()
    state = scaled(
        start(this), generator_a_to_b=0.5, discriminator_a=1.0,
        discriminator_b=2.0,
    )
    new, _ = step(this, state, batch, cycle=0, identity=0)
    m = {name: own.mean((1, 2, 3)) for name, own in units(batch).items()}
    # d/ds 1/2 E (1/2 + 2 s m - 1)^2 at s = 1/2, with D from before the step.
    gradient = np.mean((m['a'] - 0.5) * 2 * m['a'])
    np.testing.assert_allclose(
        parameter(new, 'generator_a_to_b'), 0.5 - 0.1 * gradient, rtol=1e-5
    )
    # D's gradient is on the fakes from before G's update.
    gradient = np.mean((2 * m['b'] - 0.5) * m['b']) + np.mean(
        (m['a'] + 0.5) * 0.5 * m['a'])
    np.testing.assert_allclose(
        parameter(new, 'discriminator_b'), 2 - 0.1 * gradient, rtol=1e-5
    )
    average = jax.tree.leaves(new.averages['generator_a_to_b'].params)[0]
    assert parameter(new, 'generator_a_to_b') < average < 1  # it began at 1


def test_each_discriminator_has_a_history_of_its_own():
    this = translator(history=6)
    fixed = {'generator_a_to_b': 0.5, 'generator_b_to_a': 3.0,
             'discriminator_a': 1.0, 'discriminator_b': 1.0}
    state, past = scaled(start(this), **fixed), None
    for number in range(4):
        batch = batch_of(seed=number)
        state, metrics = step(this, state, batch, history_share=1)
        state = scaled(state, **fixed)
        kept = {name: state.memory[name]['images'] for name in state.memory}
        real = units(batch)
        for name, expected in (('discriminator_b', 0.5 * real['a']),
                               ('discriminator_a', 3 * real['b'])):
            # All are stored, and the discriminator got those from before.
            np.testing.assert_allclose(
                np.sort(kept[name], 0), np.sort(expected, 0), atol=1e-6
            )
        past = past or real  # those of the first batch are judged at once
        np.testing.assert_allclose(
            metrics['d/fake_logits_b'], 0.5 + 0.5 * past['a'].mean(), rtol=1e-5
        )
        np.testing.assert_allclose(
            metrics['d/fake_logits_a'], 0.5 + 3 * past['b'].mean(), rtol=1e-5
        )
        past = real
    assert set(state.memory) == {'discriminator_a', 'discriminator_b'}


def test_first_fakes_of_a_history_are_judged():
    this, batch = translator(history=8), batch_of()
    plain = translator()
    state = scaled(start(this), discriminator_b=1.0)
    _, first = step(this, state, batch)
    _, without = step(plain, state.replace(memory={}), batch)
    assert first['d/fake_logits_b'] == without['d/fake_logits_b']


@pytest.mark.parametrize('kind', translation.KINDS)
def test_pairs_are_cropped_and_mirrored_alike_and_others_apart(kind):
    this = translator(
        kind, shapes=((2, 2, 2), (2, 2, 2)), flip=('a', 'b')
    )
    batch = batch_of(32)
    same = batch._replace(sources={name: batch.sources['a'] for name in 'ab'})
    # Generators are the identity: the L1 error compares both crops.
    _, metrics = step(this, start(this), same)
    if kind == 'pix2pix':
        assert metrics['g/l1'] == 0
    else:
        state = scaled(start(this), discriminator_a=1, discriminator_b=1)
        _, metrics = step(this, state, same)
        assert metrics['d/real_logits_a'] != metrics['d/real_logits_b']


def test_domains_are_mirrored_if_their_own_key_is_set():
    config = shrunk('cyclegan')
    config.data.b.flip = True
    assert built(config)[0].flip == ('b',)
    batch = batch_of(32)
    same = batch._replace(sources={name: batch.sources['a'] for name in 'ab'})
    for flip, changed in (((), False), (('b',), True)):
        this = translator('pix2pix', flip=flip)
        _, metrics = step(this, start(this), same)
        assert (metrics['g/l1'] > 0) == changed


@pytest.mark.parametrize('kind', translation.KINDS)
def test_microbatches_have_the_gradient_of_the_batch(kind):
    this, batch = translator(kind), batch_of()
    state = scaled(start(this), generator_a_to_b=0.5, discriminator_b=2.0)
    whole, expected = step(this, state, batch)
    parts, metrics = step(this._replace(num_microbatches=3), state, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-5, atol=1e-6
    ), (whole, expected), (parts, metrics))


@pytest.mark.integration
@pytest.mark.parametrize('kind', translation.KINDS)
def test_batches_in_one_pass_have_the_results_of_a_pass_for_each(
        kind, monkeypatch):
    config = shrunk(kind)
    config.generator.dropout = 0.5
    if kind == 'cyclegan':
        config.translation.identity = 2.0
    this, state, batch = built(config, ((16, 16, 3), (16, 16, 3)))
    options = builders.hyperparams(config), state, batch, jax.random.key(0), 0
    _, expected = algorithm.checked_step(this, *options)
    monkeypatch.setattr(translation_updates, 'LARGE', 0)
    _, metrics = algorithm.checked_step(this, *options)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            metrics[name], value, rtol=1e-3, err_msg=name
        )


@pytest.mark.integration
@pytest.mark.parametrize('name', translation.PENALTIES)
def test_every_penalty_trains(name):
    config = shrunk('cyclegan')
    config.penalties[name].weight = 0.1
    this, state, batch = built(config)
    _, metrics = algorithm.checked_step(
        this, builders.hyperparams(config), state, batch, jax.random.key(0), 0
    )
    player = penalties.PENALTIES[name].player[0]
    for domain in 'ab':
        assert np.isfinite(metrics[f'{player}/{name}_{domain}'])


def test_r1_is_of_each_discriminator():
    this, batch = translator(penalties=('r1',)), batch_of()
    state = scaled(start(this), discriminator_a=1.0, discriminator_b=2.0)
    changed = hyperparams()._replace(penalty_weights={'r1': jnp.float32(1)})
    new, metrics = algorithm.checked_step(
        this, changed, state, batch, jax.random.key(1), 0
    )
    # |gradient|^2 = n (s / n)^2 for the mean of n values; half of it here.
    for domain, slope in (('a', 1.0), ('b', 2.0)):
        np.testing.assert_allclose(
            metrics[f'd/r1_{domain}'], 0.5 * slope**2 / np.prod(SHAPE),
            rtol=1e-5,
        )
    plain, _ = step(translator(), state, batch)
    # The penalty's gradient is s / n.
    np.testing.assert_allclose(
        parameter(plain, 'discriminator_b') - parameter(new, 'discriminator_b'),
        0.1 * 2 / np.prod(SHAPE), rtol=1e-3,
    )


def test_value_that_is_not_finite_keeps_the_state_and_is_named():
    this, batch = translator(), batch_of()
    state = scaled(start(this), generator_a_to_b=np.nan)
    new, metrics = step(this, state, batch)
    assert metrics[algorithm.ALIVE] == 0 and not new.alive
    assert int(new.step) == 0
    _, notes = this.train_step(
        hyperparams(), state, batch, jax.random.key(1),
        variant=algorithm.Variant(algorithm.TRACE),
    )
    first = min(name for name, value in notes.items() if np.isnan(value))
    assert 'generator_a_to_b/scale' in first


def shrunk(kind, argument='digits'):
    """Return the config of a recipe with small networks."""
    config = recipes.load(ROOT / 'configs' / f'{kind}.py', argument)
    config.generator.width = config.discriminator.width = 2
    config.generator.num_blocks = 2 if kind == 'pix2pix' else 1
    config.discriminator.depth = 1
    config.history.size = 8 if kind == 'cyclegan' else 0
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.schedule_steps, optimizer.hold_steps = 40, 4
    return config


def built(config, shapes=((16, 16, 1), (16, 16, 3)), size=4):
    specs = {
        name: builders.DataSpec(shape) for name, shape in zip('ab', shapes)
    }
    this = builders.algorithm(config, specs)
    state = jax.tree.map(
        jnp.asarray, builders.initial_state(config, this, specs)
    )
    random = np.random.RandomState(0)
    batch = algorithm.Batch({
        name: algorithm.Source(jnp.asarray(random.randint(
            0, 256, (1, size, *shape)).astype(np.uint8)))
        for name, shape in zip('ab', shapes)
    }, jnp.arange(size, dtype=jnp.int32))
    return this, state, batch


@pytest.mark.integration
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('kind', translation.KINDS)
def test_domains_of_other_channels_train(kind, dtype):
    config = shrunk(kind)
    config.dtype = dtype
    this, state, batch = built(config)
    new, metrics = algorithm.checked_step(
        this, builders.hyperparams(config), state, batch, jax.random.key(0), 0
    )
    assert metrics[algorithm.ALIVE] == 1
    for name in this.players:
        assert not helpers.leaves_equal(
            new.players[name].params, state.players[name].params), name
    weights = this.weights(new, 'ema')
    images = jnp.zeros((2, 24, 16, 1))
    if kind == 'cyclegan':  # other sizes than in training
        assert this.translate(weights, images, 'a_to_b').shape == (2, 24, 16, 3)
        back = this.translate(weights, jnp.zeros((1, 16, 16, 3)), 'b_to_a')
        assert back.shape == (1, 16, 16, 1)
    assert (this.side_multiple, this.smallest_side) == (
        (4, 8) if kind == 'cyclegan' else (16, 16))


@pytest.mark.integration
def test_dropout_of_pix2pix_stays_and_its_keys_decide():
    config = shrunk('pix2pix')
    this, state, _ = built(config, ((64, 64, 1), (64, 64, 3)))
    weights = this.weights(state, 'raw')
    images = jnp.asarray(np.random.RandomState(0).randn(2, 64, 64, 1))
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    first = this.translate(weights, images, 'a_to_b', keys)
    np.testing.assert_array_equal(
        first, this.translate(weights, images, 'a_to_b'))
    others = this.translate(weights, images, 'a_to_b', keys[::-1])
    assert not np.allclose(first, others)
    # The noise of an image depends on its own key alone.
    np.testing.assert_allclose(
        first[1:], this.translate(weights, images[1:], 'a_to_b', keys[1:]),
        atol=1e-5,
    )


@pytest.mark.integration
@pytest.mark.parametrize('batch_size, alone', [(1, True), (4, False)])
def test_batch_norm_has_the_statistics_that_it_was_trained_with(
        batch_size, alone):
    config = shrunk('pix2pix')
    config.generator.norm, config.batch_size = 'batch', batch_size
    config.generator.dropout = 0.0
    this, state, _ = built(config)
    images = jnp.asarray(np.random.RandomState(0).randn(3, 16, 16, 1))
    weights = this.weights(state, 'raw')
    outputs = this.translate(weights, images, 'a_to_b')
    single = this.translate(weights, images[:1], 'a_to_b')
    np.testing.assert_allclose(outputs[:1], single, atol=1e-5)
    own, _ = algorithm.forward(
        this.generators[0], weights['a_to_b'], algorithm.Inputs(images[:1])
    )
    assert np.allclose(own, single, atol=1e-5) == alone


def test_pictures_show_both_directions_and_gray_as_color():
    config = shrunk('cyclegan')
    this, state, _ = built(config)
    random = np.random.RandomState(0)
    examples = {
        name: random.randint(0, 256, (12, 16, 16, channels)).astype(np.uint8)
        for name, channels in (('a', 1), ('b', 3))
    }
    picture = this.pictures(state, examples, None)['']
    assert picture.images.shape == (60, 16, 16, 3) and picture.columns == 6
    rows = picture.images.reshape(10, 6, 16, 16, 3)
    np.testing.assert_allclose(
        rows[:, 0], np.repeat(examples['a'][:10] / 127.5 - 1, 3, -1), atol=1e-6
    )
    weights = this.weights(state, 'ema')
    there = this.translate(weights, rows[:, 3], 'b_to_a')
    np.testing.assert_allclose(
        rows[:, 4], np.repeat(there, 3, -1), atol=1e-4)
    np.testing.assert_allclose(
        rows[:, 5], this.translate(weights, there, 'a_to_b'), atol=1e-4)


# Parameters of the authors' networks, counted in their code.
PUBLISHED = [
    ('cyclegan', {
        'generator_a_to_b': 11_378_179, 'generator_b_to_a': 11_378_179,
        'discriminator_a': 2_764_737, 'discriminator_b': 2_764_737,
    }),
    ('pix2pix', {'generator_a_to_b': 54_413_955, 'discriminator_b': 2_768_705}),
]


@pytest.mark.parametrize('kind, sizes', PUBLISHED)
def test_recipe_has_the_published_networks(kind, sizes):
    config = recipes.load(ROOT / 'configs' / f'{kind}.py', 'images_256')
    specs = {name: builders.DataSpec((256, 256, 3)) for name in 'ab'}
    this = builders.algorithm(config, specs)
    players = builders.abstract_state(config, this, specs).players
    assert {
        name: algorithm.count_params(player) for name, player in players.items()
    } == sizes
    assert this.own_statistics  # batches of one image


def test_samples_from_seeds_are_refused():
    with pytest.raises(errors.ConfigError, match='gan_jax translate'):
        translator().inputs([0])


@pytest.mark.parametrize('kind, changes, words', [
    ('cyclegan', {'generator.name': 'tiny', 'generator.num_blocks': 2,
                  'generator.norm': 'batch'}, "not for algorithm='cyclegan'"),
    ('cyclegan', {'discriminator.name': 'dcgan', 'discriminator.depth': 2},
     r"use one of \['patchgan'\]"),
    ('cyclegan', {'loss.name': 'boundary_equilibrium'}, 'loss.name'),
    ('cyclegan', {'penalties.lecam.weight': 1.0}, 'penalties.lecam is not for'),
    ('cyclegan', {'penalties.r1.weight': 1.0, 'penalties.r1.every': 4},
     'penalties.r1.every=4'),
    ('cyclegan', {'history.size': 3}, 'less than the 4 fakes'),
    ('cyclegan', {'d_steps': 2}, "is not used by algorithm='cyclegan'"),
    ('cyclegan', {'translation.l1': 3.0}, 'translation.l1=3.0 has no effect'),
    ('cyclegan', {'eval_every': 10}, "is not used by algorithm='cyclegan'"),
    ('pix2pix', {'translation.cycle': 3.0}, "algorithm to be 'cyclegan'"),
    ('pix2pix', {'history.size': 50}, "algorithm='pix2pix' needs 0"),
    ('pix2pix', {'g_optimizer.hold_steps': 50}, 'is not less than'),
    ('pix2pix', {'discriminator.norm': 'batch', 'penalties.r1.weight': 1.0},
     "discriminator.norm='batch' mixes"),
    ('pix2pix', {'generator.condition': 'concat'}, 'is not used by'),
])
def test_bad_settings_are_one_line(kind, changes, words):
    config = shrunk(kind)
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=words) as caught:
        validation.validate(config)
    assert '\n' not in str(caught.value)


def test_networks_of_a_translation_are_for_no_other_algorithm():
    config = defaults.default_config()
    config.discriminator.name = 'patchgan'
    config.discriminator.norm = 'instance'
    with pytest.raises(errors.ConfigError, match="'patchgan' is not for"):
        validation.validate(config)


@pytest.mark.parametrize('shapes, changes, words', [
    (((16, 16, 1), (16, 12, 1)), {}, '16x16 pixels and those of data.b 16x12'),
    (((16, 16, 1), (16, 16, 3)), {'translation.identity': 1.0},
     'images of 1 and 3 channels; use 0'),
    (((18, 18, 1), (18, 18, 1)), {}, 'multiples of 4'),
    (((8, 8, 1), (8, 8, 1)), {'discriminator.depth': 3}, 'at least 24'),
])
def test_images_that_do_not_fit_are_one_line(shapes, changes, words):
    config = shrunk('cyclegan')
    config.update_from_flattened_dict(changes)
    with pytest.raises(errors.ConfigError, match=words) as caught:
        built(config, shapes)
    assert '\n' not in str(caught.value)


STEPS = 60
FLAGS = [
    f'--config.num_steps={STEPS}', '--config.generator.width=2',
    '--config.discriminator.width=2', '--config.discriminator.depth=1',
    '--config.checkpoint_every=4', '--config.sample_every=30',
    '--config.log_every=5', '--config.data.limit=40', '--config.keep_every=8',
]


def command(kind, folder):
    own = ['--config.generator.num_blocks=1', '--config.history.size=20']
    return [
        sys.executable, '-m', 'gan_jax.main',
        f'--config={ROOT}/configs/{kind}.py', f'--workdir={folder}', *FLAGS,
        *(own if kind == 'cyclegan' else []),
    ]


def whole(kind, folder, devices):
    done = subprocess.run(
        command(kind, folder), env=helpers.environment(devices),
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return sampling.load(folder)[1]


@pytest.fixture(scope='module', params=translation.KINDS)
def runs(request, tmp_path_factory):
    """Yield (kind, folder of a whole run, its state)."""
    folder = tmp_path_factory.mktemp(request.param) / 'run'
    return request.param, folder, whole(request.param, folder, 1)


@pytest.mark.integration
def test_killed_translation_resumes_bit_for_bit(runs, tmp_path):
    kind, _, expected = runs
    folder = tmp_path / 'run'
    with subprocess.Popen(
        command(kind, folder), env=helpers.environment(1),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 300
        while not (folder / 'checkpoints' / '20').exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    state = sampling.load(folder)[1]
    assert 0 < int(state.step) < STEPS
    if kind == 'cyclegan':  # the histories are full, and part of the state
        assert all(own['filled'].all() for own in state.memory.values())
    assert helpers.leaves_equal(whole(kind, folder, 1), expected)


@pytest.mark.integration
def test_four_devices_translate_as_one(runs, tmp_path):
    kind, folder, _ = runs
    whole(kind, tmp_path / 'run', 4)
    four, expected = (
        sampling.load(path, 8)[1] for path in (tmp_path / 'run', folder)
    )
    # Adam turns the rounding errors of a bias before a norm, whose gradient is
    # 0, into steps of the learning rate; kernels move by 0.001 in 8 steps.
    kernels = 0
    for name in four.players:
        for (path, leaf), other in zip(
                jax.tree_util.tree_leaves_with_path(four.players[name].params),
                jax.tree.leaves(expected.players[name].params)):
            if path[-1].key == 'kernel':
                np.testing.assert_allclose(leaf, other, atol=2e-4)
                kernels += 1
    assert kernels >= 10
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, atol=0.02
    ), four.memory, expected.memory)


@pytest.mark.integration
def test_run_of_a_translation_leaves_its_files(runs):
    kind, folder, _ = runs
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    names = set(json.loads(lines[0]))
    own = {'cyclegan': {'g/cycle_a', 'g/gan_a', 'd/loss_a'},
           'pix2pix': {'g/l1'}}[kind]
    assert own | {'g/loss', 'd/loss', 'g/gan_b', 'd/loss_b'} <= names
    for picture in ('reals-a', 'reals-b', f'{STEPS:06d}'):
        assert os.path.exists(folder / 'samples' / f'{picture}.png')
