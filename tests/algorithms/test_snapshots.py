"""The average of the generator's last snapshots."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms.game import G
from gan_jax.algorithms import latents
from gan_jax.algorithms import snapshots
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import parallel
from gan_jax.training import train


IMAGES = helpers.random_images()
COUNT, EVERY, STEPS = 3, 2, 10  # snapshots at 2, 4, ...; 8 is the first's place


def mean_of(trees):
    return jax.tree.map(lambda *leaves: np.mean(leaves, 0), *trees)


def assert_close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-6)


def assert_average(state, generators):
    """Compare the state's average with the players of steps 1, 2, ..."""
    last = generators[EVERY - 1::EVERY][-COUNT:]
    params, stats = snapshots.average(state.memory['snapshots'])
    assert_close(params, mean_of([player.params for player in last]))
    for name, value in stats.items():
        own = [player.stats[name] for player in last]
        if name == 'batch_stats':
            assert_close(value, mean_of(own))
        else:
            assert helpers.leaves_equal(value, own[-1])


def test_average_is_over_the_last_snapshots():
    gan = helpers.linear_gan(
        generator=helpers.MixedGenerator(),
        snapshots=COUNT, snapshot_every=EVERY,
    )
    step = jax.jit(functools.partial(helpers.step, gan))
    state, generators = helpers.start(gan), []
    for number in range(1, STEPS + 1):
        state, _ = step(state, helpers.batch(seed=number))
        generators.append(state.players[G])
        assert state.memory['snapshots']['taken'] == number // EVERY
        if number >= EVERY:
            assert_average(state, generators)
    assert set(state.players[G].stats) == {'batch_stats', 'spectral'}
    assert not helpers.leaves_equal(generators[-1], generators[-EVERY])


def make_config(count=COUNT, schedule='alternating', **changes):
    config = helpers.tiny_mlp()
    config.num_steps, config.keep_checkpoints = STEPS, STEPS
    config.log_every = config.sample_every = 0
    config.checkpoint_every = 1
    config.snapshots.count = count
    if count:
        config.snapshots.every = EVERY
    config.schedule.name = schedule
    if schedule == 'wgan':
        config.schedule.burst_steps, config.schedule.burst_first = 4, 1
    config.update_from_flattened_dict(changes)
    return config


def run(workdir, config):
    return train.train(config, workdir, images=IMAGES)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run with all its steps saved."""
    return run(tmp_path_factory.mktemp('whole'), make_config())


def generators_of(workdir):
    return [
        sampling.load(workdir, step)[1].players[G]
        for step in range(1, STEPS + 1)
    ]


def without(state):
    """Return a state without its snapshots."""
    memory = {k: v for k, v in state.memory.items() if k != 'snapshots'}
    return state.replace(memory=memory)


def test_snapshots_do_not_change_the_rest_of_a_run(trained, tmp_path):
    plain = run(tmp_path, make_config(count=0)).state
    assert 'snapshots' not in plain.memory
    rest = without(trained.state)
    assert jax.tree.structure(rest) == jax.tree.structure(plain)
    assert helpers.leaves_equal(rest, plain)


@pytest.mark.parametrize('host', [False, True])
@pytest.mark.parametrize('schedule, changes', [
    ('adaptive', {
        'd_steps': 2, 'schedule.d_threshold': 1.35,
        'schedule.g_threshold': 0.69,
    }),
    ('wgan', {'loss.name': 'wasserstein'}),
])
def test_snapshots_are_taken_under_every_schedule(
    schedule, changes, host, tmp_path, monkeypatch
):
    if host:
        monkeypatch.setattr(
            parallel, 'has_fast_control_flow', lambda conv: False
        )
    result = run(tmp_path, make_config(schedule=schedule, **changes))
    assert result.state.memory['snapshots']['taken'] == STEPS // EVERY
    assert_average(result.state, generators_of(tmp_path))


def test_scanned_steps_take_the_same_snapshots(trained, tmp_path):
    config = make_config(checkpoint_every=0)
    assert_close(run(tmp_path, config).state, trained.state)


@pytest.mark.parametrize('stop', [
    pytest.param(3, marks=pytest.mark.slow),
    pytest.param(4, marks=pytest.mark.slow), 8,
])
def test_interrupted_run_has_the_same_snapshots(
    stop, trained, tmp_path
):
    run(tmp_path, make_config(num_steps=stop))
    resumed = run(tmp_path, make_config())
    assert helpers.leaves_equal(resumed.state, trained.state)
    assert_average(resumed.state, generators_of(trained.workdir))


def test_samples_come_from_the_named_weights(trained):
    gan, state = sampling.load(trained.workdir)
    last = generators_of(trained.workdir)[EVERY - 1::EVERY][-COUNT:]
    params = {
        'ema': state.averages[G].params, 'raw': state.players[G].params,
        'snapshots': mean_of([player.params for player in last]),
    }
    assert tuple(params) == gan.weight_names
    z = latents.draw(jax.random.key(0), jnp.arange(5), gan.latent_size)
    seen = []
    for weights, own in params.items():
        images = sampling.sample(gan, state, range(5), weights=weights)
        expected = gan.generator.apply({'params': own}, z, train=False)
        np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
        path = sampling.interpolate(gan, state, range(2), 3, weights=weights)
        np.testing.assert_allclose(path[[0, 2]], images[:2], atol=1e-5)
        assert not any(np.array_equal(images, other) for other in seen)
        seen.append(images)
    np.testing.assert_array_equal(trained.sample(range(5)), seen[0])
    np.testing.assert_array_equal(
        trained.sample(range(5), weights='snapshots'), seen[2]
    )


def test_missing_weights_are_reported(trained):
    def assert_refused(match, gan, state, weights):
        with pytest.raises(errors.ConfigError, match=match) as caught:
            sampling.sample(gan, state, [0], weights=weights)
        assert '\n' not in str(caught.value)

    gan, early = sampling.load(trained.workdir, step=1)
    assert_refused("weights='row'.* mean 'raw'", gan, early, 'row')
    assert_refused(
        'at step 1: .* at step snapshots.every=2', gan, early, 'snapshots'
    )
    none = gan._replace(snapshots=0)
    assert_refused(
        'snapshots.count=0 keeps none', none, without(early), 'snapshots'
    )


def test_command_knows_all_weights():
    code = (ROOT / 'gan_jax' / 'cli' / 'app.py').read_text()
    assert f"'weights', 'ema', {list(latents.WEIGHTS)}" in code
