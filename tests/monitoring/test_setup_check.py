"""Checks before a run: green if players can learn, otherwise red by name."""

import types

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.monitoring import setup_check
from gan_jax.objectives import losses


def config_of(**changes):
    config = helpers.tiny_mlp()
    config.generator.width = config.discriminator.width = 32
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.learning_rate = 1e-2
    config.batch_size = 32
    config.diagnosis.size_ratio = 100.0
    config.update_from_flattened_dict(changes)
    return config


def checks_of(steps=60, **changes):
    config = config_of(**changes)
    checks, rows = setup_check.run(config, builders.dataset(config), steps)
    assert [check.name for check in checks] == list(setup_check.CHECKS)
    return {check.name: check for check in checks}, rows


def red(checks):
    return [name for name, check in checks.items() if not check.passed]


def test_working_setup_is_green_and_draws_noise():
    checks, rows = checks_of()
    assert red(checks) == []
    assert [np.shape(row) for row in rows] == [(10, 32, 32, 1)] * 3
    assert not np.array_equal(rows[1], rows[2])
    assert all(check.text for check in checks.values())


@pytest.mark.parametrize('changes, name', [
    ({'d_optimizer.learning_rate': 1e-9}, 'd_alone'),
    ({'d_optimizer.learning_rate': 1e-9}, 'd_one_batch'),
    ({'g_optimizer.learning_rate': 1e-12, 'g_optimizer.name': 'sgd',
      'd_optimizer.learning_rate': 1e-9}, 'g_alone'),
    ({'generator.output': 'sigmoid', 'allow_bad_setup': True}, 'ranges'),
    ({'diagnosis.size_ratio': 1.01}, 'capacity'),
])
def test_each_fault_is_red_by_its_name(changes, name):
    checks, _ = checks_of(20, **changes)
    assert name in red(checks)
    assert checks[name].advice


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('loss', ['non_saturating', 'wasserstein'])
def test_values_that_are_not_finite_are_red(loss, bad, monkeypatch):
    config, images = config_of(), helpers.random_images(64)
    first = {name: np.float32(1.0) for name in (
        'd/loss', 'g/loss', 'd/real_logits', 'd/fake_logits'
    )}
    last = {**first, 'd/loss': bad, 'g/loss': bad, 'd/real_logits': bad}
    bench = types.SimpleNamespace(
        config=config, algorithm=helpers.linear_gan(loss=losses.LOSSES[loss]),
        dataset=sources.from_arrays(images), state=None,
        batch=lambda count: (images, None), discriminator_auc=lambda state: 1.0,
        train=lambda *_: (None, first, last),
    )
    fake = np.linspace(-1, 1, images.size).reshape(images.shape)
    monkeypatch.setattr(setup_check.sampling, 'sample', lambda *_, **__: fake)
    kind = losses.LOSSES[loss].kind
    assert setup_check._ranges(bench, None).passed
    fake[3, 0, 0, 0] = bad
    assert not any(check.passed for check in (
        setup_check._d_alone(bench, kind, None, first, last),
        setup_check._one_batch(bench, kind, 1),
        setup_check._g_alone(first, last),
        setup_check._ranges(bench, None),
    ))


@pytest.mark.parametrize('output, passed', [
    ('auto', False), ('tanh', False), ('linear', True),
])
def test_only_a_linear_last_layer_may_reach_beyond_images(
    output, passed, monkeypatch
):
    images = helpers.random_images(64)
    bench = types.SimpleNamespace(
        config=config_of(**{'generator.output': output}), algorithm=None,
        dataset=sources.from_arrays(images), state=None,
        batch=lambda count: (images, None),
    )
    fake = np.linspace(-9.7, 4.6, images.size).reshape(images.shape)
    monkeypatch.setattr(setup_check.sampling, 'sample', lambda *_, **__: fake)
    assert setup_check._ranges(bench, None).passed == passed
    fake += 10  # of one sign: it does not cover the data
    assert not setup_check._ranges(bench, None).passed


@pytest.mark.parametrize('changes', [
    {'loss.name': 'wasserstein', 'clip_weights': 0.1},
    {'loss.name': 'energy_based'}, {'loss.name': 'hinge'},
    {'packing': 2}, {'penalties.r1.weight': 100.0},
    {'labels.real_low': 0.8, 'labels.real_high': 0.8},
])
def test_other_games_can_be_checked(changes):
    checks, _ = checks_of(**changes)
    assert 'd_one_batch' not in red(checks)


def test_autoencoder_has_no_players_to_check():
    with pytest.raises(errors.ConfigError, match="algorithm='vae' has no game"):
        checks_of(**{'algorithm': 'vae'})


def test_command_prints_writes_and_exits(tmp_path):
    options = [
        'gan_jax', 'check_setup', '--config=configs/mixtures.py', '--steps=3',
        '--config.d_optimizer.learning_rate=1e-9',
        f'--out={tmp_path / "noise.png"}',
    ]
    process = helpers.run(*options)
    assert process.returncode == errors.SetupError.exit_code, process.stderr
    assert 'RED    d_alone' in process.stdout
    assert 'Red: d_alone' in process.stdout
    with Image.open(tmp_path / 'noise.png') as image:
        assert image.size == (640, 640)


@pytest.mark.parametrize('arguments, line', [
    ([], 'name a recipe'), (['--config=configs/none.py'], 'none.py'),
    (['--config=configs/dcgan.py', 'more'], "unexpected argument 'more'"),
    (['--config=configs/dcgan.py', '--steps=1'], 'steps'),
])
def test_mistakes_are_reported_in_one_line(arguments, line):
    process = helpers.run('gan_jax', 'check_setup', *arguments)
    assert process.returncode == 2
    assert line in process.stderr and len(process.stderr.splitlines()) == 1
