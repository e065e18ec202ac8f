"""An algorithm of four players and two sources in the training loop."""

import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import helpers
import toy
from conftest import ROOT
from gan_jax.core import errors
from gan_jax import reporting
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.training import train

STEPS = 60


def command(folder):
    return [sys.executable, str(ROOT / 'tests' / 'toy.py'), str(folder),
            str(STEPS)]


def whole(folder, devices):
    subprocess.run(
        command(folder), env=helpers.environment(devices), check=True,
        capture_output=True, timeout=300,
    )
    return sampling.load(folder / 'run')


def killed(folder, devices):
    """Kill a run after its first saves, then resume it to its end."""
    with subprocess.Popen(
        command(folder), env=helpers.environment(devices),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:
        saves = folder / 'run' / 'checkpoints'
        deadline = time.monotonic() + 300
        while not (saves / '8').exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    _, state = sampling.load(folder / 'run')
    assert 0 < int(state.step) < STEPS
    return whole(folder, devices)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Folders of the same run: whole, killed; on 1 device, on 4."""
    results = {}
    for devices in (1, 4):
        for name, run in (('whole', whole), ('killed', killed)):
            folder = tmp_path_factory.mktemp(f'{name}-{devices}')
            results[name, devices] = folder, *run(folder, devices)
    return results


@pytest.mark.integration
@pytest.mark.parametrize('devices', [1, 4])
def test_a_killed_run_resumes_bit_for_bit(devices, folders):
    _, _, expected = folders['whole', devices]
    folder, _, state = folders['killed', devices]
    assert int(state.step) == int(state.position) == STEPS
    # What the optimizers, the averages and the memory hold included.
    same = helpers.leaves_equal(
        state.replace(players={}, averages={}),
        expected.replace(players={}, averages={}),
    )
    assert same and (folder / 'run' / 'report.html').exists()
    for name in toy.Toy.players:
        assert helpers.leaves_equal(
            state.players[name], expected.players[name]
        ), name
    assert helpers.leaves_equal(state.averages, expected.averages)


@pytest.mark.integration
def test_four_devices_train_the_same_as_one(folders):
    one, four = (folders['whole', devices][2] for devices in (1, 4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=2e-3, atol=2e-4
    ), one.players, four.players)


@pytest.mark.integration
def test_run_has_a_log_pictures_and_a_report(folders):
    folder, *_ = folders['whole', 1]
    run = folder / 'run'
    assert (run / 'samples' / 'reals-a.png').exists()
    assert (run / 'samples' / 'reals-b.png').exists()
    assert (run / 'samples' / f'{STEPS:06d}.png').exists()
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    assert len(lines) == STEPS // 5
    assert all('"d_b/loss"' in line for line in lines)
    page = reporting.report(run)
    assert 'has no discriminator to score by' in page
    samples, data = run_files.load_sources(run).values()
    assert data['classes'] == ['0', '1', '2'] and samples['classes'] == []


@pytest.mark.integration
def test_samples_need_only_the_run_folder(folders):
    folder, algorithm, state = folders['whole', 1]
    images = sampling.sample(algorithm, state, range(3))
    assert images.shape == (3, 4, 4, 1) and np.isfinite(images).all()
    single = sampling.sample(algorithm, state, [1])
    np.testing.assert_allclose(single[0], images[1], atol=1e-6)
    with pytest.raises(errors.ConfigError, match='has no latents'):
        sampling.latents_of(algorithm, [0])


@pytest.mark.integration
def test_training_lowers_the_loss_of_both_translations(folders):
    folder, *_ = folders['whole', 1]
    lines = (folder / 'run' / 'metrics.jsonl').read_text().splitlines()
    first, last = (
        float(line.split('"g/loss": ')[1].split(',')[0])
        for line in (lines[0], lines[-1])
    )
    assert last < 0.6 * first


@pytest.mark.integration
def test_pairs_are_drawn_together_once_per_epoch(folders, tmp_path):
    from gan_jax.config import builders

    config = toy.config_of(tmp_path)
    datasets = builders.datasets(config)
    feeds = builders.feeds(config, datasets)
    a, b = (feeds[name].read(0, 6) for name in 'ab')
    np.testing.assert_array_equal(a, b)
    assert sorted(a.ravel()) == list(range(48))


def test_unpaired_sources_are_shuffled_independently(tmp_path, monkeypatch):
    from gan_jax.config import builders

    monkeypatch.setitem(
        builders.ALGORITHMS, 'toy',
        builders.ALGORITHMS['toy']._replace(sources={'a': 'a', 'b': 'b'}),
    )
    config = toy.config_of(tmp_path)
    feeds = builders.feeds(config, builders.datasets(config))
    a, b = (feeds[name].read(0, 6) for name in 'ab')
    assert sorted(a.ravel()) == sorted(b.ravel()) == list(range(48))
    assert (a == b).mean() < 0.2


@pytest.mark.parametrize('change, match', [
    (lambda config: config.data.__delitem__('b'), r"groups \['a'\]"),
    (lambda config: config.data.a.update(image_size='x'),
     r"data\.a\.image_size='x' is not a size"),
    (lambda config: config.data.b.update(limit=8), 'drawn in pairs'),
    (lambda config: config.update(algorithm='toyy'), "did you mean 'toy'"),
])
def test_bad_sources_are_reported_in_one_line(change, match, tmp_path):
    config = toy.config_of(tmp_path)
    config.unlock()
    change(config)
    with pytest.raises(errors.UserError, match=match) as error:
        train.train(config, tmp_path / 'run')
    assert '\n' not in str(error.value)
