"""The table of stacked MNIST: its rows, its clock, what it goes on from."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.data import stacked
from gan_jax.features import classifier

script, parse = helpers.load_script('stacked_mnist')

NUMBERS = {'modes': 78.4, 'reverse_kl': 5.214, 'confident': 0.5}
REAL = {'modes': 1000, 'reverse_kl': 0.0194, 'confident': 0.99}
RUN = {
    'step': 36_500, 'seconds': 1800.0, 'num_samples': 25_600,
    **dict.fromkeys(('raw', 'ema'), {'samples': NUMBERS, 'real': REAL}),
}
DENSE = {  # which compile in a moment
    **{
        f'{player}.{key}': value
        for player in ('generator', 'discriminator')
        for key, value in (('name', 'mlp'), ('norm', 'none'), ('depth', 1))
    },
    'generator.width': 2, 'batch_size': 4, 'latent_size': 3,
    'data.image_size': '8',
}


def mnist(request):
    """Give the digits in MNIST's place: 8x8, a fifth held out."""
    small = pictures.Preparation(image_size=(8, 8))
    return sources.digits(request._replace(
        name='mnist', test_share=0.2, preparation=small, limit=200
    ))


def stacked_mnist(request):
    digits = mnist(request)
    images, labels, classes = stacked.stack(
        digits.images, digits.labels, count=200
    )
    return sources.Dataset('stacked_mnist', images[:], labels, classes)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Give a function that runs main on tiny runs; it returns the JSON."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setitem(sources.DATASETS, 'mnist', mnist)
    monkeypatch.setitem(sources.DATASETS, 'stacked_mnist', stacked_mnist)
    monkeypatch.setattr(classifier, 'STEPS', (20, 20))
    monkeypatch.setattr(script, 'NUM_SAMPLES', 60)
    monkeypatch.setattr(script, 'LOG_EVERY', 2)
    for row in script.ROWS.values():
        for key, value in DENSE.items():
            monkeypatch.setitem(row, key, value)

    def run(*more, only='pacgan2'):
        numbers = tmp_path / 'numbers.json'
        parse(
            f'--out={tmp_path}/runs', '--sizes=half', f'--only={only}',
            f'--json={numbers}', *more,
        )
        script.main([])
        found = json.loads(numbers.read_text())['half']
        return found if len(found) > 1 else found[only][0]

    return run


def test_rows_are_those_that_were_published():
    parse()
    for size in script.SHARES:
        assert list(script.PUBLISHED[size]) == script.rows_of(size)


def test_r3gan_has_its_own_recipe():
    parse('--num_steps=50', '--only=r3gan,gan')
    assert [script.rows_of(size) for size in script.SHARES] == [
        ['gan'], ['gan'], ['r3gan']
    ]
    config = script.configure('r3gan', 'own', 3)
    validation.validate(config)
    assert (config.num_steps, config.seed) == (50, 3)
    assert config.discriminator.name == 'r3gan'
    assert config.data.name == 'stacked_mnist'


@pytest.mark.parametrize('row', script.ROWS)
@pytest.mark.parametrize('size', ['quarter', 'half'])
def test_rows_differ_in_packing_and_unrolling_alone(row, size):
    parse('--num_steps=50', '--data_dir=my/tfds')
    config = script.configure(row, size, 3)
    validation.validate(config)
    assert (config.num_steps, config.seed) == (50, 3)
    assert config.data.data_dir == 'my/tfds'
    assert config.discriminator.width == {'quarter': 2, 'half': 4}[size]
    changed = run_identity.differences(script.configure('gan', size, 3), config)
    kind = row.rstrip('0123456789')
    number = row.removeprefix(kind)
    if row == 'unrolled5':  # the default number
        number = ''
    assert changed == {
        'gan': [], 'pacgan': [f'packing: 1 -> {number}'],
        'unrolled': [
            "schedule.name: 'alternating' -> 'unrolled'",
            *[f'schedule.unroll_steps: 5 -> {n}' for n in [number] if n],
        ],
    }[kind]


@pytest.mark.slow
def test_a_finished_run_is_kept_and_a_longer_one_goes_on_from_it(
    command, monkeypatch, tmp_path, capsys
):
    picture = tmp_path / 'samples.png'
    first = command('--num_steps=4', f'--picture={picture}')
    assert first['step'] == 4 and first['seconds'] > 0
    assert 1 <= first['raw']['samples']['modes'] <= 60
    assert first['raw']['real']['modes'] > first['raw']['samples']['modes']
    with Image.open(picture) as image:
        assert image.mode == 'RGB' and image.width > 500
    said = capsys.readouterr().out
    assert '| 1/2 | pacgan2 | 4 | ' in said and '840.7 ± 16, 1.00 |' in said
    assert '|  | real triples |' in said
    assert all(f'60 of step 4 {w} seeds 0-59' in said for w in ('raw', 'ema'))

    def train(*args, **options):
        raise AssertionError('a finished run trains again')

    with monkeypatch.context() as patch:
        patch.setattr(script.run_clock.train, 'train', train)
        assert command('--num_steps=4') == first
        assert command('--num_steps=2') == first  # its length is told
    capsys.readouterr()
    assert command('--num_steps=6')['step'] == 6
    assert 'Continuing from step 4' in capsys.readouterr().out


def test_the_clock_ends_a_run_and_more_minutes_go_on(command, monkeypatch):
    # A call makes two steps, each of a minute; one more call follows the end.
    look = script.run_clock.Clock.look

    def slow(self, step, metrics):
        look(self, step, {'perf/steps_per_sec': 1 / 60})

    monkeypatch.setattr(script.run_clock.Clock, 'look', slow)
    first = command('--num_steps=40', '--minutes=3')
    assert (first['step'], first['seconds']) == (6, 360)
    assert command('--num_steps=40', '--minutes=3') == first
    more = command('--num_steps=40', '--minutes=7')
    assert (more['step'], more['seconds']) == (10, 600)


def test_a_signal_from_elsewhere_is_no_end_of_time(command, monkeypatch):
    def stop(*args, **options):
        raise errors.StoppedError('SIGTERM came', 15)

    monkeypatch.setattr(script.run_clock.train, 'train', stop)
    with pytest.raises(errors.StoppedError):
        command('--num_steps=4', '--minutes=3')


def test_clock_counts_steps_that_were_made_twice_once(tmp_path):
    lines = [
        {'step': 20, 'perf/steps_per_sec': 10.0},
        {'step': 40, 'perf/steps_per_sec': 20.0},
    ]
    (tmp_path / 'metrics.jsonl').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines)
    )
    clock = script.run_clock.Clock(tmp_path, 0.1)
    assert clock.seconds() == 3 and not clock.is_over()
    clock.look(40, {'perf/steps_per_sec': 5.0})
    assert clock.seconds() == 6 and clock.is_over()
    assert not script.run_clock.Clock(tmp_path).is_over()  # no limit
    assert not script.run_clock.Clock(tmp_path / 'x').seconds()


def test_a_run_that_fails_stays_with_its_reason(command, monkeypatch, capsys):
    calls = []

    def fail(config, workdir, callback):
        calls.append(workdir)
        workdir.mkdir(parents=True)
        raise errors.NonFiniteError('d/loss is nan at step 1')

    monkeypatch.setattr(script.run_clock.train, 'train', fail)
    command('--num_steps=4')
    command('--num_steps=4')
    assert len(calls) == 1
    said = capsys.readouterr().out
    assert '| failed: d/loss is nan at step 1 | 840.7 ± 16, 1.00 |' in said


def test_a_folder_of_another_config_is_refused(command, monkeypatch):
    command('--num_steps=2')
    monkeypatch.setitem(script.ROWS['pacgan2'], 'latent_size', 5)
    with pytest.raises(errors.CheckpointError, match='latent_size: 3 -> 5'):
        command('--num_steps=2')


@pytest.mark.parametrize('flag, message', [
    ('--only=pacgan5', "did you mean 'pacgan"),
    ('--sizes=halve', "did you mean 'half'"),
])
def test_unknown_names_are_told(command, flag, message):
    with pytest.raises(errors.ConfigError, match=message):
        command(flag)


def test_table_shows_one_run_and_the_spread_of_several():
    head, rule, row, real = script.table({'quarter': {'gan': [RUN]}})
    assert row == (
        '| 1/4 | gan | 36,500 | 30.0 | 78.4 | 5.21 | 78.4 | 5.21 |  | '
        '78.5 ± 17.6, 5.21 (Metz 30.6 ± 20.7, 5.99) |'
    )
    assert real == (
        '|  | real triples |  |  | 1000.0 | 0.019 |  |  |  |  |'
    )
    for line in (rule, row, real):
        assert line.count('|') == head.count('|')
    more = {
        **RUN, 'raw': {'samples': {**NUMBERS, 'modes': 80.4}, 'real': REAL}
    }
    _, _, row, _ = script.table(
        {'quarter': {'gan': [RUN, more, {'failed': 'nan'}]}}
    )
    error = np.std([78.4, 80.4], ddof=1) / np.sqrt(2)
    assert f'| 79.4 ± {error:.1f} |' in row and '| 1 of 3 failed |' in row
