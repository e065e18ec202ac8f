"""A number that is not finite: named, and the state before it kept."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms import updates
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.runs import sampling
from gan_jax.training import loop
from gan_jax.training import nan_guard
from gan_jax.training import train

BAD_STEP = 3  # state.step in the step that goes wrong, which is the fourth


def config_of(num_steps, **changes):
    config = helpers.tiny_mlp()
    config.num_steps = num_steps
    config.checkpoint_every = config.sample_every = config.log_every = 0
    config.penalties.r1.weight = 0.1
    config.update_from_flattened_dict(changes)
    return config


def run(folder, config, **options):
    return train.train(
        config, folder, images=helpers.random_images(), **options
    )


@pytest.fixture
def broken(monkeypatch):
    """Return a function that lets a part give `value` at step `BAD_STEP`."""
    seen = {'on': True}
    arguments = updates._loss_arguments

    def spy(ctx):
        seen['step'] = ctx.state.step
        return arguments(ctx)

    def wrong(function, value):
        def broken(*args, **kwargs):
            right = function(*args, **kwargs)
            if not seen['on']:
                return right
            return right * jnp.where(seen['step'] == BAD_STEP, value, 1.0)

        return broken

    def break_it(part, value=jnp.nan):
        monkeypatch.setattr(updates, '_loss_arguments', spy)
        if part == 'r1':
            penalty = penalties.PENALTIES['r1']
            monkeypatch.setitem(
                penalties.PENALTIES, 'r1', penalty._replace(
                    fn=wrong(penalty.fn, value)
                )
            )
        else:
            loss = losses.LOSSES['non_saturating']
            monkeypatch.setitem(
                losses.LOSSES, 'non_saturating', loss._replace(
                    **{part: wrong(getattr(loss, part), value)}
                )
            )
        return seen

    return break_it


@pytest.mark.parametrize('log_every', helpers.cases(range(4), 1, 2))
@pytest.mark.parametrize('part, name, spoilt', [
    ('discriminator', 'd/loss in update 1 is nan',
     'parameter discriminator/Dense_0/bias'),
    ('generator', 'g/loss in update 1 is nan',
     'parameter generator/Dense_0/bias'),
    ('r1', 'd/r1 in update 1 is nan', 'parameter discriminator/Dense_0/'),
])
def test_first_bad_value_is_named_and_the_state_before_it_saved(
    part, name, spoilt, log_every, broken, tmp_path
):
    before = run(tmp_path / 'whole', config_of(BAD_STEP)).state
    broken(part)
    config = config_of(8, log_every=log_every)
    with pytest.raises(errors.NonFiniteError) as caught:
        run(tmp_path / 'run', config)
    line = str(caught.value)
    assert line.startswith(name) and f'at step {BAD_STEP + 1}' in line
    assert spoilt in line and f'step {BAD_STEP} is saved' in line
    _, state = sampling.load(tmp_path / 'run')
    assert helpers.leaves_equal(state, before)
    # The same command meets it again; another value goes on from there.
    with pytest.raises(errors.NonFiniteError, match=name[:6]):
        run(tmp_path / 'run', config)


def test_infinite_loss_is_named_as_infinite(broken, tmp_path):
    broken('generator', jnp.inf)
    with pytest.raises(errors.NonFiniteError, match='g/loss .* is inf'):
        run(tmp_path, config_of(8))


@pytest.mark.parametrize('schedule', helpers.cases(
    ['adaptive', 'simultaneous', 'wgan'], 'simultaneous'
))
@pytest.mark.parametrize('host_decides', [False, True])
def test_every_schedule_stops(
    schedule, host_decides, broken, tmp_path, monkeypatch
):
    if host_decides:
        monkeypatch.setattr(
            train.parallel, 'has_fast_control_flow', lambda convolutional: False
        )
    broken('discriminator')
    bursts = {
        'schedule.burst_first': 1, 'schedule.burst_every': 2,
        'schedule.burst_steps': 4,
    } if schedule == 'wgan' else {}
    config = config_of(8, d_steps=2, **{'schedule.name': schedule, **bursts})
    with pytest.raises(errors.NonFiniteError, match='d/loss in update 1'):
        run(tmp_path, config)
    _, state = sampling.load(tmp_path)
    assert int(state.step) == BAD_STEP
    assert not nan_guard.first_bad(state)


def test_data_are_named(tmp_path, monkeypatch):
    points = np.random.RandomState(0).normal(size=(5000, 2))
    points = points.astype(np.float32)
    dataset = sources.from_arrays(points, None)
    # What reading them would have refused; every second one is drawn.
    dataset.images[1::2] = np.nan
    monkeypatch.setattr(sources, 'from_arrays', lambda *_, **__: dataset)
    config = config_of(8)
    config.generator.output = 'linear'
    with pytest.raises(errors.NonFiniteError, match='^the data is nan at step'):
        train.train(config, tmp_path, images=points)


def test_non_finite_parameters_are_not_saved(tmp_path):
    config = config_of(1)
    config.g_optimizer.name, config.g_optimizer.learning_rate = 'sgd', 3.4e38
    config.loss.name, config.loss.c = 'least_squares', 1e6
    with pytest.raises(errors.NonFiniteError) as caught:
        run(tmp_path, config)
    assert str(caught.value).startswith('players/generator/params/Dense_0/')
    assert 'is not finite at step 1; no step is saved' in str(caught.value)
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_rollback_continues_with_other_noise(broken, tmp_path, monkeypatch):
    whole = run(tmp_path / 'whole', config_of(8, checkpoint_every=2)).state
    seen = broken('generator')
    key = loop._key

    def first_alone(config, rollbacks):
        seen['on'] = not rollbacks
        return key(config, rollbacks)

    monkeypatch.setattr(loop, '_key', first_alone)
    config = config_of(8, checkpoint_every=2, log_every=1, on_nan='rollback')
    rolled = run(tmp_path / 'run', config).state
    (past,) = json.loads((tmp_path / 'run' / 'rollbacks.json').read_text())
    assert past['to_step'] == 2 and 'g/loss' in past['reason']
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == list(range(1, 9))
    assert not helpers.leaves_equal(rolled, whole)
    # Stopped after the rollback and continued, it is the same run.
    config.num_steps = 6
    run(tmp_path / 'cut', config)
    config.num_steps = 8
    assert helpers.leaves_equal(run(tmp_path / 'cut', config).state, rolled)


def test_rollback_is_bounded(broken, tmp_path, capsys):
    broken('discriminator')
    config = config_of(8, on_nan='rollback')
    with pytest.raises(errors.NonFiniteError, match='was rolled back 3 times'):
        run(tmp_path, config)
    output = capsys.readouterr().out
    assert output.count('Rolled back to step 0') == 3
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_damaged_list_of_rollbacks_is_an_error(tmp_path):
    run(tmp_path, config_of(2))
    (tmp_path / 'rollbacks.json').write_text('[{')
    with pytest.raises(errors.CheckpointError, match='rollbacks.json cannot'):
        run(tmp_path, config_of(4))


def test_command_ends_with_3_on_several_devices(tmp_path):
    done = helpers.run(
        'gan_jax.main', f'--config={ROOT}/configs/mixtures.py',
        f'--workdir={tmp_path}', '--config.num_steps=64',
        '--config.d_optimizer.learning_rate=1e38', '--config.batch_size=8',
        '--config.sample_every=0', devices=2,
    )
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: ') and ' at step ' in line
    assert 'with it parameter generator/' in line
