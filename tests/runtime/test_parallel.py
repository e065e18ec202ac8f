"""Devices and hosts: they change nothing but speed."""

from concurrent import futures
import functools
import socket
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.runtime import parallel

# Games of tests/train_worker.py, and how many programs each compiles.
GAMES = {'mlp': 1, 'dcgan': 1, 'mlp-unrolled': 1, 'mlp-wgan': 2}
WORKER = ROOT / 'tests' / 'train_worker.py'


def start(game, out, devices, *cluster):
    return subprocess.Popen(
        [sys.executable, WORKER, game, out, *map(str, cluster)],
        env=helpers.environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    """Wait for all processes, reading all pipes so that none blocks."""
    with futures.ThreadPoolExecutor(len(processes)) as pool:
        outputs = list(pool.map(
            lambda p: p.communicate(timeout=300), processes
        ))
    for process, (output, _) in zip(processes, outputs):
        assert process.returncode == 0, output[-3000:]


def load(path):
    with np.load(path) as saved:
        return dict(saved)


@pytest.fixture(scope='module')
def one_device(tmp_path_factory):
    """Return a function from a game to its final state on one device."""
    folder = tmp_path_factory.mktemp('one')

    @functools.cache
    def train(game):
        finish(start(game, str(folder / f'{game}.npz'), 1))
        state = load(folder / f'{game}.npz')
        assert state['devices'] == 1
        assert state.pop('compilations') == GAMES[game]
        return state

    return train


def assert_same_training(state, reference):
    """Assert that two states are equal within 1e-5."""
    state.pop('devices')
    assert len(state) > 10
    for name, value in state.items():
        np.testing.assert_allclose(value, reference[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize('game', helpers.cases(
    [*GAMES, 'mlp-streaming'], 'mlp-unrolled', 'mlp-wgan'
))
def test_four_devices_train_as_one(game, one_device, tmp_path):
    out = tmp_path / 'state.npz'
    finish(start(game, str(out), 4))
    state = load(out)
    assert state['devices'] == 4
    like = game.removesuffix('-streaming')
    assert state.pop('compilations') == GAMES[like]
    assert_same_training(state, one_device(like))


@pytest.mark.parametrize('game', helpers.cases(
    ['mlp', 'mlp-streaming'], 'mlp-streaming'
))
def test_two_processes_train_as_one_device_and_save_once(
    game, one_device, tmp_path
):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        coordinator = f'127.0.0.1:{probe.getsockname()[1]}'
    # Both work in one folder, as hosts with a shared file system do.
    outs = [str(tmp_path / 'shared.npz'), str(tmp_path / 'shared.npz')]
    processes = [
        start(game, out, 1, coordinator, index, 2)
        for index, out in enumerate(outs)
    ]
    finish(*processes)
    state = load(outs[0])
    assert state['devices'] == 2
    assert state.pop('compilations') == 1
    assert_same_training(state, one_device('mlp'))
    run = tmp_path / 'shared.npz.run'
    steps = sorted(path.name for path in (run / 'checkpoints').iterdir())
    assert steps == ['1', '2', '3']
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize(
    'cadences, expected',
    [([100, 50, 0, 250], 50), ([2000, 1], 1), ([0, 1000, 500], 50),
     ([128, 0], 64), ([7], 7)],
)
def test_steps_per_call_divide_every_cadence(cadences, expected):
    assert parallel.steps_per_call(cadences, convolutional=False) == expected


@pytest.mark.parametrize('size, expected', [
    (2**20, 50), (2**21, 25), (2**23, 5), (2**30, 1),
])
def test_input_of_a_call_is_at_most_64_mib(size, expected):
    assert parallel.steps_per_call([100], False, size) == expected


def test_memory_is_limited_by_machine_and_container(tmp_path, monkeypatch):
    limit = tmp_path / 'memory.max'
    monkeypatch.setattr(parallel, 'CONTAINER_LIMIT', limit)
    whole = parallel.device_memory()
    assert whole > 2**28
    limit.write_text('max\n')
    assert parallel.device_memory() == whole
    limit.write_text(f'{2**28}\n')
    assert parallel.device_memory() == 2**28


def test_convolutions_are_not_scanned_on_cpu(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
    assert parallel.steps_per_call([100], convolutional=True) == 1


def count_up(state, constants, fed, key, collectives):
    noise = jax.random.normal(jax.random.fold_in(key, state))
    total = (fed * constants.hyperparams).sum() + 0 * noise
    return state + 1, {'total': collectives.mean(total)}


@pytest.mark.parametrize('num_steps', [1, 3])
def test_train_call_makes_num_steps_and_returns_the_last_metrics(num_steps):
    call = parallel.train_call(count_up, num_steps)
    constants = parallel.constants(
        (), np.float32(2), jax.random.key(0), batch_size=4
    )
    fed = np.arange(num_steps * 4, dtype=np.float32).reshape(num_steps, 1, 4)
    state, metrics = call(
        parallel.replicate(jnp.int32(5)), constants, parallel.split(fed)
    )
    assert parallel.unreplicate(state) == 5 + num_steps
    assert parallel.unreplicate(metrics)['total'] == 2 * fed[-1].sum()


def test_split_keeps_the_order_of_the_batch():
    fed = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    np.testing.assert_array_equal(parallel.split(fed), fed[None])


def test_replicate_and_unreplicate_are_inverse():
    tree = {'a': np.arange(3.0), 'b': np.int32(4)}
    back = parallel.unreplicate(parallel.replicate(tree))
    chex.assert_trees_all_equal(back, tree)


@pytest.mark.parametrize('error, parting', [
    (ValueError('UNKNOWN: Gloo AllGather failed'), True),
    (jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED: Barrier'), True),
    (ValueError('UNAVAILABLE: the bucket'), False),
    (ValueError('shapes differ'), False),
])
def test_errors_of_lost_hosts_are_recognized(error, parting, monkeypatch):
    assert not parallel.is_lost_host_error(error)  # there is one host
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    assert parallel.is_lost_host_error(error) == parting
