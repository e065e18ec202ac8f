"""Multi-host runs of two processes: signals, lost hosts, failures.

They run `gan_jax.main --multihost` as SLURM would start it, on CPU over gloo.
"""

from concurrent import futures
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import helpers
from gan_jax.runtime import lock
from gan_jax.runtime import manifest
from gan_jax.runtime import parallel
import survival_tools
from test_survival import MAIN
from test_survival import TINY
from test_survival import wait_for_step

STEPS = 160


def start(workdir, *flags, of_second=()):
    """Start both processes, the second with additional flags."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        coordinator = f'127.0.0.1:{probe.getsockname()[1]}'
    cluster = {
        'JAX_COORDINATOR_ADDRESS': coordinator, 'SLURM_JOB_ID': '1',
        'SLURM_STEP_NODELIST': 'localhost', 'SLURM_NTASKS': '2',
        'SLURM_LOCALID': '0',
    }
    return [
        subprocess.Popen(
            [sys.executable, '-m', *helpers.last_of_each(
                *MAIN, *TINY, '--multihost', f'--config.num_steps={STEPS}',
                f'--workdir={workdir}', *flags, *(of_second if i else ()),
            )],
            env={**helpers.environment(), **cluster, 'SLURM_PROCID': str(i)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) for i in range(2)
    ]


def finish(processes, timeout=300):
    """Wait for the processes; returns [(exit code, stdout, stderr)]."""
    try:
        with futures.ThreadPoolExecutor(len(processes)) as pool:
            outputs = list(pool.map(
                lambda process: process.communicate(timeout=timeout), processes
            ))
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *text) for p, text in zip(processes, outputs)]


def assert_continues(workdir, step, whole):
    """Assert that both continue from a step to the state of a whole run."""
    (code, out, err), (other, *_) = finish(start(workdir))
    assert (code, other) == (0, 0), out + err
    assert f'Continuing from step {step}' in out
    assert survival_tools.difference(workdir, whole) == ''


def saved(workdir):
    return sorted(
        int(path.name) for path in (workdir / 'checkpoints').iterdir()
        if path.name.isdigit()
    )


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return the folder of an uninterrupted run of two processes."""
    folder = tmp_path_factory.mktemp('whole')
    for code, out, err in finish(start(folder)):
        assert code == 0, out + err
    assert saved(folder) == [STEPS]
    return folder


@pytest.mark.parametrize('number, receiver', [
    (signal.SIGTERM, 1),
    pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
])
def test_signal_to_one_host_saves_the_same_step_on_both(
    number, receiver, whole, tmp_path
):
    processes = start(tmp_path)
    wait_for_step(processes[0], tmp_path, 50)
    began = time.monotonic()
    processes[receiver].send_signal(number)
    ended = finish(processes)
    assert time.monotonic() - began < 10
    (step,) = saved(tmp_path)
    assert step < STEPS, 'the signal came too late'
    name = signal.Signals(number).name
    for code, out, err in ended:
        assert code == 128 + number, out + err
        assert err.splitlines()[-1].startswith(
            f'error: {name} received: step {step} of {STEPS} is saved'
        )
    assert not (tmp_path / lock.NAME).exists()
    assert_continues(tmp_path, step, whole)


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
def test_killed_host_is_named_and_ends_the_other(lost, whole, tmp_path):
    flags = ('--config.checkpoint_every=20', '--config.keep_checkpoints=9')
    processes = start(tmp_path, *flags)
    wait_for_step(processes[0], tmp_path, 100)
    began = time.monotonic()
    processes[lost].kill()
    code, out, err = finish(processes)[1 - lost]
    bound = 10 if lost == 0 else parallel.HEARTBEAT + 20
    assert time.monotonic() - began < bound
    assert code not in (0, None), out
    names = 'leader task' if lost == 0 else 'Task 1 heartbeat timeout'
    assert any(names in line for line in err.splitlines()[-60:]), err
    if lost:  # the first hears of it by the data that do not come
        assert 'error: another process of this run ended' in err
    *others, damaged, newest = saved(tmp_path)
    (tmp_path / 'checkpoints' / str(newest) / manifest.NAME).unlink()
    file = tmp_path / 'checkpoints' / str(damaged) / '_CHECKPOINT_METADATA'
    file.write_text('damage')
    assert_continues(tmp_path, others[-1], whole)


@pytest.mark.slow
@pytest.mark.parametrize('fails', [0, 1])
def test_host_that_fails_alone_ends_both(fails, tmp_path):
    with lock.held(tmp_path) if fails == 0 else contextlib.nullcontext():
        bad = ('--config.data.path=nowhere',) if fails else ()
        ended = finish(start(tmp_path, of_second=bad))
    assert 0 not in [code for code, _, _ in ended]
    message = 'is in use by' if fails == 0 else "'nowhere' is not a folder"
    assert message in ended[fails][2]


@pytest.mark.slow
@pytest.mark.parametrize('exists', [False, True])
def test_hosts_with_different_folders_are_refused(exists, whole, tmp_path):
    folder = tmp_path / 'first'
    shutil.copytree(whole, folder)
    second = tmp_path / 'second'
    if exists:
        (second / 'checkpoints').mkdir(parents=True)
    other = (f'--workdir={second}',)
    for code, out, err in finish(start(folder, of_second=other)):
        assert code == 5, out + err
        assert 'it must be on a shared file system' in err
