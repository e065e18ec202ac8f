"""Commands as a user runs them, each in its own process."""

import json
import signal
import subprocess
import sys
import time

import chex
from PIL import Image
import pytest

import helpers
from conftest import ROOT
from gan_jax.runs import sampling

MAIN = ('gan_jax.main', f'--config={ROOT}/configs/dcgan.py')
TINY = (
    '--config.generator.width=4', '--config.discriminator.width=4',
    '--config.batch_size=8', '--config.log_every=5',
    '--config.sample_every=20', '--config.checkpoint_every=10',
)


def steps_of(workdir):
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)['step'] for line in lines if line.endswith('}')]


def test_a_run_trains_continues_and_samples(tmp_path):
    first = helpers.run(*MAIN, *TINY, '--config.num_steps=10', cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert 'digits: 1,797 images of 32x32x1' in first.stdout
    workdir = tmp_path / next((tmp_path / 'runs').iterdir())
    assert workdir.name.startswith('dcgan-batch_size=8-')
    second = helpers.run(*MAIN, *TINY, '--config.num_steps=20', cwd=tmp_path)
    assert 'Continuing from step 10' in second.stdout
    assert steps_of(workdir) == [5, 10, 15, 20]
    out = tmp_path / 'grid.png'
    third = helpers.run(
        'gan_jax', 'sample', f'--workdir={workdir}', '--seeds=0-8',
        f'--out={out}'
    )
    assert third.returncode == 0, third.stderr
    assert '9 samples of step 20 (ema)' in third.stdout
    with Image.open(out) as picture:
        assert picture.size == (2 * (3 * 32 + 4),) * 2
    paths = helpers.run(
        'gan_jax', 'sample', f'--workdir={workdir}', '--seeds=0-2',
        '--between=4', '--weights=raw', f'--out={out}',
    )
    assert '8 samples of step 20 (raw)' in paths.stdout, paths.stderr
    with Image.open(out) as picture:
        assert picture.size[0] > picture.size[1]  # two rows of four


@pytest.mark.parametrize(
    'network', ['dcgan', pytest.param('mlp', marks=pytest.mark.slow)]
)
def test_kill_loses_nothing(network, tmp_path):
    command = helpers.last_of_each(
        *MAIN, *TINY, '--config.d_steps=2', '--config.num_steps=100',
        f'--config.generator.name={network}',
        f'--config.discriminator.name={network}',
        '--config.checkpoint_every=20',
    )
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert helpers.run(*command, f'--workdir={whole}').returncode == 0
    process = subprocess.Popen(
        [sys.executable, '-m', *command, f'--workdir={killed}'],
        env=helpers.environment(), stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not [step for step in steps_of(killed) if step >= 45]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert steps_of(killed)[-1] < 100, 'it was killed too late'
    resumed = helpers.run(*command, f'--workdir={killed}')
    assert 'Continuing from step' in resumed.stdout, resumed.stderr
    _, expected = sampling.load(whole)
    _, state = sampling.load(killed)
    assert int(state.step) == 100
    chex.assert_trees_all_equal(state, expected)
    assert steps_of(killed) == steps_of(whole) == list(range(5, 101, 5))


BAD_COMMANDS = [
    (['--config.d_step=5'], 2, 'd_steps'),
    (['--config.d_steps=two'], 2, 'd_steps=two'),
    (['--config.batch_size=0'], 2, 'batch_size=0'),
    (['--config.g_optimizer.learning_rate=-1'], 2, 'learning_rate=-1'),
    (['--config.loss.name=hing'], 2, "did you mean 'hinge'"),
    (['--config.batch_size=63'], 2, '62 or 64'),
    (['--workdr=x'], 2, 'workdr'),
    (['surplus'], 2, "'surplus'"),
    (['--config.data.path=nowhere'], 4, "'nowhere' is not a folder"),
]


@pytest.mark.parametrize('arguments, code, says', BAD_COMMANDS)
def test_bad_command_line_is_one_line_and_a_code(
    arguments, code, says, tmp_path
):
    process = helpers.run(*MAIN, *arguments, devices=2, cwd=tmp_path)
    assert process.returncode == code
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert process.stderr.startswith('error: ') and says in process.stderr
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
    'config, says',
    [('configs/none.py', 'none.py'), ('configs/dcgan.py:minst', "'mnist'")],
)
def test_bad_recipe_is_one_line(config, says):
    process = helpers.run('gan_jax.main', f'--config={config}', cwd=ROOT)
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert says in process.stderr


def test_unprepared_data_fails_fast_with_the_command(tmp_path):
    began = time.monotonic()
    process = helpers.run(
        'gan_jax.main', f'--config={ROOT}/configs/dcgan.py:mnist',
        f'--config.data.data_dir={tmp_path}', cwd=tmp_path,
    )
    assert process.returncode == 4
    assert 'python -m gan_jax prepare mnist' in process.stderr
    assert len(process.stderr.splitlines()) == 1, process.stderr
    assert time.monotonic() - began < 60  # TFDS alone would try for 205 s
