"""Loggers: wandb, by a stand-in, gets the series of TensorBoard."""

import sys
import types

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

import helpers
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.runtime import loggers
from gan_jax.runtime import writer


class FakeWandb(types.ModuleType):
    """Module that records what a run is told, as wandb does offline."""

    def __init__(self):
        super().__init__('wandb')
        self.inits, self.logs, self.finished = [], [], 0
        self.Settings, self.Image = dict, np.asarray

    def init(self, **options):
        self.inits.append(options)
        return self

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ('*', 'step')

    def log(self, values):
        self.logs.append(values)

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, 'wandb', module)
    return module


def events(folder):
    """Yield (tag, step, value or None) of all records of TensorBoard."""
    for path in sorted((folder / 'tensorboard').iterdir()):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], 'little')
            event = event_pb2.Event.FromString(data[12:12 + size])
            data = data[16 + size:]
            for value in event.summary.value:
                yield value.tag, event.step, (
                    value.simple_value
                    if value.HasField('simple_value') else None
                )


def record(folder, names, start=0):
    """Write numbers, a picture and a finding by a `Writer`."""
    out = writer.Writer(
        folder, enabled=True, start=start, total=9, names=names,
        config={'seed': 3},
    )
    for step in (start + 1, start + 2):
        out.scalars(step, {
            'd/loss': 0.1 * step, 'g/loss': float('nan'), 'eval/fid': 3.0
        }, '')
    out.picture('000002', np.zeros((4, 4, 1), np.uint8), step=start + 2)
    out.finding(start + 2, {
        'rule': 'mode_collapse', 'level': 'alarm', 'text': 'x', 'advice': 'y'
    })
    return out


def test_wandb_and_tensorboard_have_the_same_series(tmp_path, wandb):
    record(tmp_path, ('tensorboard', 'wandb')).close()
    series = sorted(
        (tag.removesuffix('/text_summary'), step, value)
        for tag, step, value in events(tmp_path)
    )
    logged = sorted(
        (name, values['step'], np.float32(value)
         if isinstance(value, float) else None)
        for values in wandb.logs for name, value in values.items()
        if name != 'step'
    )
    assert series == logged and len(series) == 6
    assert wandb.finished == 1
    assert wandb.inits[0]['config'] == {'seed': 3}


def test_continued_run_has_the_same_identifier(tmp_path, wandb):
    record(tmp_path, ('wandb',)).close()
    out = record(tmp_path, ('wandb',), start=2)
    out.rewind(1)
    out.close()
    one, *others = (options['id'] for options in wandb.inits)
    assert others == [one, one] and one.isalnum()
    (tmp_path / 'wandb.json').write_text('{"id": "../../x"}')  # a hostile one
    record(tmp_path, ('wandb',)).close()
    assert wandb.inits[-1]['id'].isalnum()


def test_mistakes_of_loggers_are_one_line(tmp_path, wandb, monkeypatch):
    config = defaults.default_config()
    config.loggers = 'tensorboard,wandbb'
    with pytest.raises(errors.ConfigError, match="did you mean 'wandb'"):
        validation.validate(config)

    def refuse(**options):
        raise RuntimeError('api_key not configured\n(no-tty)')

    monkeypatch.setattr(wandb, 'init', refuse)
    with pytest.raises(errors.ConfigError, match='WANDB_MODE=offline') as info:
        record(tmp_path, ('wandb',))
    assert '\n' not in str(info.value)
    with pytest.raises(errors.ConfigError, match='needs a local --workdir'):
        loggers.check(('wandb',), 'gs://bucket/run')


def test_missing_wandb_leaves_the_run_as_it_is(tmp_path, monkeypatch):
    from gan_jax.training import train

    config = helpers.tiny_mlp()
    train.train(config, tmp_path / 'run')
    before = sorted((tmp_path / 'run').rglob('*'))
    config.loggers, config.num_steps = 'wandb', 9
    monkeypatch.setitem(sys.modules, 'wandb', None)
    for restart, folder in ((True, 'run'), (False, 'run'), (False, 'new')):
        with pytest.raises(errors.ConfigError, match=r"'\.\[wandb\]'"):
            train.train(config, tmp_path / folder, restart=restart)
    assert sorted((tmp_path / 'run').rglob('*')) == before
    assert not (tmp_path / 'new').exists()


def test_run_logs_to_both_or_none(tmp_path, wandb):
    from gan_jax.training import train

    config = helpers.tiny_mlp()
    config.loggers = 'wandb'
    train.train(config, tmp_path / 'run')
    names = {name for values in wandb.logs for name in values}
    assert {'d/loss', 'g/loss', 'samples', 'step'} <= names
    assert not (tmp_path / 'run' / 'tensorboard').exists()
    assert wandb.inits[0]['config']['loss.name'] == 'non_saturating'
