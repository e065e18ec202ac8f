"""Runs that survive signals, damaged checkpoints and full disks."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import helpers
import survival_tools as tools
from conftest import ROOT
from gan_jax.config import run_identity
from gan_jax.core import errors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import lock
from gan_jax.runtime import signals
from gan_jax.training import train

MAIN = ('gan_jax.main', f'--config={ROOT}/configs/dcgan.py')
TINY = (
    '--config.generator.width=4', '--config.discriminator.width=4',
    '--config.batch_size=8', '--config.log_every=5', '--config.num_steps=400',
    '--config.sample_every=0', '--config.checkpoint_every=1000',
    '--config.generator.name=mlp', '--config.discriminator.name=mlp',
    '--config.penalties.r1.weight=0.1', '--config.penalties.r1.every=4',
    '--config.discriminator.norm=none', '--config.d_steps=2',
)


def start(workdir, *flags):
    return subprocess.Popen(
        [sys.executable, '-m', *helpers.last_of_each(
            *MAIN, *TINY, f'--workdir={workdir}', *flags
        )],
        env=helpers.environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )


def wait_for_step(process, workdir, step):
    deadline = time.monotonic() + 120
    while not any(
        line['step'] >= step for line in tools.lines_of(workdir)
    ):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return the folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp('whole')
    process = start(folder)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return folder


@pytest.mark.parametrize('number', [
    pytest.param(
        number, marks=[] if number == signal.SIGTERM else [pytest.mark.slow]
    ) for number in signals.SIGNALS
])
def test_signal_saves_and_the_same_command_continues(number, whole, tmp_path):
    process = start(tmp_path)
    wait_for_step(process, tmp_path, 50)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number, out + err
    assert 'Traceback' not in err
    assert f'{signal.Signals(number).name} received: step ' in err
    assert not (tmp_path / lock.NAME).exists()
    (step,) = [int(p.name) for p in (tmp_path / 'checkpoints').iterdir()]
    again = start(tmp_path)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert f'Continuing from step {step}' in out
    assert tools.difference(tmp_path, whole) == ''


def test_second_run_in_a_folder_exits_with_75(tmp_path):
    endless = '--config.num_steps=100000000'
    with start(tmp_path, endless) as first:
        wait_for_step(first, tmp_path, 5)
        second = start(tmp_path, endless)
        out, err = second.communicate(timeout=60)
        first.kill()
    assert second.returncode == 75, out + err
    assert f'in use by process {first.pid}' in err
    assert (tmp_path / lock.NAME).exists()  # kill -9 leaves it
    third = start(tmp_path, '--config.num_steps=10')
    out, err = third.communicate(timeout=120)
    assert third.returncode == 0, err


def config_of(num_steps):
    config = helpers.tiny_mlp()
    config.num_steps = num_steps
    return config


def test_damaged_newest_step_is_trained_again_to_the_same_bits(
    tmp_path, capsys
):
    images = helpers.random_images()
    whole = train.train(config_of(8), tmp_path / 'whole', images=images)
    train.train(config_of(6), tmp_path / 'cut', images=images)
    files = [
        path for path in (tmp_path / 'cut' / 'checkpoints' / '6').rglob('*')
        if path.is_file()
    ]
    max(files, key=lambda path: path.stat().st_size).write_bytes(b'damage')
    cut = train.train(config_of(8), tmp_path / 'cut', images=images)
    output = capsys.readouterr()
    assert output.err.count('warning: ') == 1
    assert 'Continuing from step 4' in output.out
    assert helpers.leaves_equal(cut.state, whole.state)


def test_restart_moves_the_old_files_aside(tmp_path):
    images = helpers.random_images()
    first = train.train(config_of(4), tmp_path, images=images)
    before = (tmp_path / 'metrics.jsonl').read_text()
    again = train.train(config_of(4), tmp_path, images=images, restart=True)
    assert helpers.leaves_equal(first.state, again.state)
    aside = tmp_path / 'before-1'
    assert (aside / 'metrics.jsonl').read_text() == before
    assert int(sampling.load(aside)[1].step) == 4
    train.train(config_of(2), tmp_path, images=images, restart=True)
    assert (tmp_path / 'before-2' / 'checkpoints' / '4').is_dir()
    assert int(sampling.load(tmp_path)[1].step) == 2


def test_override_config_continues_with_another_config(tmp_path):
    images = helpers.random_images()
    train.train(config_of(2), tmp_path, images=images)
    config = config_of(4)
    config.g_optimizer.learning_rate = 1e-3
    with pytest.raises(errors.CheckpointError, match='--override_config'):
        train.train(config, tmp_path, images=images)
    run = train.train(config, tmp_path, images=images, override_config=True)
    assert int(run.state.step) == 4
    stored = run_files.load_config(tmp_path)
    assert run_identity.differences(stored, config) == []


def test_network_of_another_size_is_refused_naming_parameters(tmp_path):
    images = helpers.random_images()
    train.train(config_of(2), tmp_path, images=images)
    config = config_of(4)
    config.generator.width = 5
    with pytest.raises(errors.CheckpointError) as caught:
        train.train(config, tmp_path, images=images, override_config=True)
    assert ('generator/params/Dense_0/kernel: float32[3, 4] saved, '
            'float32[3, 5] expected') in str(caught.value)


def test_folder_of_any_name_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    images = helpers.random_images()
    (tmp_path / 'real').mkdir()
    os.symlink(tmp_path / 'real', tmp_path / 'link')
    for name in ('a b', 'übung ∂', '~/home', 'link/run', './deep/er'):
        run = train.train(config_of(2), name, images=images)
        assert np.isfinite(run.sample([0])).all()
        assert int(sampling.load(name)[1].step) == 2
    assert (tmp_path / 'home' / 'config.json').exists()


LIMITED = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
import helpers
from gan_jax.core import errors
from gan_jax.training import train
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
config = helpers.tiny_mlp()
config.num_steps, config.log_every, config.sample_every = 20, 0, 0
config.generator.width = config.discriminator.width = 128

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

images = helpers.random_images()
config.num_steps = 2
train.train(config, {folder!r}, images=images)
config.num_steps = 20
limit({size})
try:
    train.train(config, {folder!r}, images=images)
except errors.DiskError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize('size, says', [
    (60_000, 'It failed 3 times'),  # takes all but the checkpoints
    (10, 'cannot be written: File too large'),
])
def test_full_disk_keeps_the_last_save(size, says, tmp_path):
    script = LIMITED.format(
        tests=str(ROOT / 'tests'), folder=str(tmp_path / 'run'), size=size
    )
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True,
        timeout=120, env=helpers.environment(),
    )
    assert done.returncode == 74, done.stdout + done.stderr
    assert says in done.stdout
    assert not list((tmp_path / 'run' / 'checkpoints').glob('*tmp*'))
    gan, state = sampling.load(tmp_path / 'run')
    assert int(state.step) == 2
    train.train(config_of_width(128), tmp_path / 'run',
                images=helpers.random_images())


def config_of_width(width):
    config = config_of(20)
    config.log_every = config.sample_every = 0
    config.generator.width = config.discriminator.width = width
    return config
