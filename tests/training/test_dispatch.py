"""Dispatch: the choice of compiled programs changes nothing but speed."""

import time

import chex
import jax
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.config import unused_keys
from gan_jax.data import sources
from gan_jax.runtime import parallel
from gan_jax.training import dispatch
from gan_jax.training import train

IMAGES = helpers.random_images()


def small(schedule='alternating', **changes):
    """Return a config of dense nets with a schedule and other keys changed."""
    config = helpers.tiny_mlp()
    config.schedule.name = schedule
    if schedule == 'wgan':
        config.schedule.burst_steps = 6
        config.schedule.burst_first = 2
        config.schedule.burst_every = 4
    config.log_every = config.sample_every = config.checkpoint_every = 0
    config.num_steps = 6
    config.update_from_flattened_dict(changes)
    return config


LAZY = {
    'penalties.r1.weight': 0.5, 'penalties.r1.every': 3,
    'penalties.g_orthogonal.weight': 0.5,
    'penalties.g_orthogonal.every': 2,
}
GAMES = {
    'lazy': small(**LAZY),
    'adaptive': small(
        'adaptive', d_steps=3, g_steps=2,
        **{'schedule.d_threshold': 1.35, 'schedule.g_threshold': 0.69},
    ),
    'adaptive-stuck': small(
        'adaptive',
        **{'schedule.d_threshold': 99.0, 'schedule.g_threshold': 99.0},
    ),
    'wgan': small('wgan', d_steps=2, **{'loss.name': 'wasserstein'}),
    'wgan-lazy': small('wgan', d_steps=2, **LAZY),
    'spectral': small('wgan', d_steps=2, **{
        'discriminator.spectral_norm': True, 'generator.spectral_norm': True,
    }),
    'began': small(**{
        'loss.name': 'boundary_equilibrium', 'loss.k_rate': 0.5,
        'discriminator.energy': 'mean_absolute',
    }),
    'unrolled': small('unrolled', **{'schedule.unroll_steps': 2}),
}


def trained(config, folder, **kwargs):
    return train.train(config.copy_and_resolve_references(), folder,
                       images=IMAGES, **kwargs).state


def assert_close(a, b):
    chex.assert_trees_all_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', helpers.cases(
    GAMES, 'began', 'spectral', 'unrolled', 'wgan-lazy'
))
def test_host_and_device_make_the_same_decisions(name, tmp_path, monkeypatch):
    seen = {}

    def record(kind):
        return lambda step, metrics: seen.setdefault(kind, metrics)

    device = trained(GAMES[name], tmp_path / 'a', callback=record('device'))
    monkeypatch.setattr(parallel, 'has_fast_control_flow', lambda conv: False)
    host = trained(GAMES[name], tmp_path / 'b', callback=record('host'))
    assert_close(host, device)
    for metrics in seen.values():  # which time does not change
        for key in [key for key in metrics if key.startswith('perf/')]:
            del metrics[key]
    assert seen['host'].keys() == seen['device'].keys()
    assert_close(seen['host'], seen['device'])


def test_wgan_gives_the_critic_more_updates_in_some_steps(tmp_path):
    config = GAMES['wgan']
    state = trained(config, tmp_path)
    # Steps 0, 1 and 4 have 6 critic updates each, steps 2, 3 and 5 have 2.
    assert int(state.players[D].opt_state.count) == 3 * 6 + 3 * 2
    assert int(state.players[G].opt_state.count) == 6
    assert int(state.position) == 3 * 6 + 3 * 2
    assert int(state.step) == 6


@pytest.mark.parametrize('every', [0, 3])
def test_bursts_work_with_scanned_steps(every, tmp_path):
    config = small('wgan', num_steps=12, log_every=12)
    config.schedule.burst_every, config.schedule.burst_first = every, 1
    state = trained(config, tmp_path)
    bursts = {0, 3, 6, 9} if every else {0}
    updates = 12 + 5 * len(bursts)
    assert int(state.players[D].opt_state.count) == updates


@pytest.mark.parametrize('name', helpers.cases(
    GAMES, 'adaptive-stuck', 'began', 'spectral', 'unrolled'
))
def test_resumes_bit_for_bit(name, tmp_path):
    config = GAMES[name].copy_and_resolve_references()
    config.checkpoint_every = 3
    whole = trained(config, tmp_path / 'whole')
    config.num_steps = 3
    trained(config, tmp_path / 'parts')
    config.num_steps = 6
    parts = trained(config, tmp_path / 'parts')
    assert helpers.leaves_equal(whole, parts)


def test_convolutions_on_cpu_use_one_program_per_set_of_penalties(
    tmp_path
):
    config = helpers.tiny(helpers.tiny_mlp())
    for player in (config.generator, config.discriminator):
        player.name = 'dcgan'
    unused_keys.leave_out(config)
    config.update_from_flattened_dict(LAZY)
    config.num_steps = 6
    config.log_every = 1
    values = []
    trained(config, tmp_path, callback=lambda step, metrics: values.append(
        (metrics['d/r1'], metrics['g/g_orthogonal'])
    ))
    r1, orthogonal = (np.array(column) for column in zip(*values))
    # r1 is measured at steps 0 and 3, the other at 0, 2 and 4.
    assert (np.diff(r1) != 0).tolist() == [False, False, True, False, False]
    assert (np.diff(orthogonal) != 0).tolist() == [
        False, True, False, True, False
    ]


@pytest.mark.integration
def test_speed_leaves_out_every_compilation(tmp_path, monkeypatch):
    config = helpers.tiny(helpers.tiny_mlp())
    for player in (config.generator, config.discriminator):
        player.name = 'dcgan'
    unused_keys.leave_out(config)
    config.update_from_flattened_dict(LAZY)  # two programs
    config.num_steps, config.log_every = 3, 1
    compile_call, compiled, speeds = parallel.compile_call, [], []

    def slow(*args):
        compiled.append(time.sleep(1))
        return compile_call(*args)

    monkeypatch.setattr(parallel, 'compile_call', slow)
    trained(config, tmp_path, callback=lambda step, metrics: speeds.append(
        metrics['perf/steps_per_sec']
    ))
    assert len(compiled) > 1 and len(speeds) == 3
    assert min(speeds[1:]) > 1


def test_first_call_for_other_devices_is_that_of_training():
    config = small(num_steps=12)
    data = {builders.REAL: sources.from_arrays(IMAGES)}
    feeds, specs = builders.feeds(config, data), builders.data_specs(data)
    algorithm = builders.algorithm(config, specs)
    constants = parallel.constants(
        {name: feed.resident for name, feed in feeds.items()},
        builders.hyperparams(config), jax.random.key(0), config.batch_size,
    )
    dispatcher = dispatch.Dispatch(config, algorithm, feeds, constants, [12])

    def state():
        return parallel.replicate(
            builders.initial_state(config, algorithm, specs)
        )

    call, fed, size = dispatcher.first_call(0, 0, jax.devices())
    assert size == dispatcher.steps_per_call == 12
    trained, *_ = dispatcher.advance(state(), 0, 0)
    assert helpers.leaves_equal(call(state(), constants, fed)[0], trained)


def test_adaptive_convolutions_on_cpu_call_one_player_at_a_time(tmp_path):
    config = helpers.tiny(helpers.tiny_mlp())
    for player in (config.generator, config.discriminator):
        player.name = 'dcgan'
    unused_keys.leave_out(config)
    config.schedule.name, config.d_steps = 'adaptive', 3
    config.schedule.d_threshold = 99.0
    config.schedule.g_threshold = -99.0
    state = trained(config, tmp_path)
    assert int(state.players[D].opt_state.count) == 0
    assert int(state.players[G].opt_state.count) == int(state.step) == 4
    assert int(state.position) == 12
