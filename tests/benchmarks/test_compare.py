"""The table of recipes: what is held equal, what is kept, what is shown."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from conftest import ROOT
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import classifier

script, parse = helpers.load_script('compare')

CELLS = {
    'training': {'real_images': 128_000, 'seconds': 61.2},
    'score': {
        'confidence': 0.95, 'rarest_class': 0.08, 'nearest': 1.4, 'spread': 0.9,
    },
    'classes': {'agreement': None},
    'quality': {
        'is': 9.123, 'fid': 12.345, 'kid': 0.0123, 'precision': 0.9,
        'recall': 0.456, 'coverage': 0.789,
    },
    'copying': {'memorisation': 0.052, 'copies': False},
    'edges': {'sharpness': 0.876},
}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Give a function that runs main on two tiny rows."""
    tiny = {
        'generator.width': 2, 'discriminator.width': 2, 'batch_size': 8,
        'latent_size': 4,
    }
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(script, 'NUM_SAMPLES', 40)
    monkeypatch.setattr(
        script, 'SETTINGS', classifier.Settings(steps=40, width=4)
    )
    monkeypatch.setattr(script, 'ROWS', {
        'gan': script.Row('gan', {**tiny, 'seed': 3}, own=True),
        'cgan': script.Row('cgan', tiny, own=True),
    })

    def run(*more):
        parse(f'--out={tmp_path}', '--num_steps=2', *more)
        script.main([])

    return run


def test_there_is_a_row_for_every_recipe_of_images():
    image_recipes = {
        path.stem for path in (ROOT / 'configs').glob('*.py')
        if 'on_images' in path.read_text()
    }
    assert {row.recipe for row in script.ROWS.values()} == image_recipes
    parse()
    folders = {script.folder(name) for name in script.ROWS}
    assert len(folders) == len(script.ROWS)


@pytest.mark.parametrize('name', script.ROWS)
def test_every_row_is_valid_and_has_the_common_generator(name):
    parse('--num_steps=50')
    config = script.configure(script.ROWS[name])
    validation.validate(config)
    assert (config.num_steps, config.seed) == (50, 0)
    common = recipes.on_images('dcgan', 'digits').generator.to_dict()
    own = config.generator.to_dict() | {'condition': common['condition']}
    assert (own == common) == (not script.ROWS[name].own)
    noisy = config.instance_noise.std > 0
    assert noisy == (name == 'dcgan (noise)')
    assert not noisy or config.instance_noise.decay_steps == 50


def test_seconds_are_those_between_the_logged_steps(tmp_path):
    lines = [
        {'step': 20, 'perf/steps_per_sec': 10.0},
        {'step': 40, 'perf/steps_per_sec': 5.0},
        {'step': 41, 'perf/steps_per_sec': 0.5},
    ]
    (tmp_path / 'metrics.jsonl').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines)
    )
    config = defaults.default_config()
    config.packing = 2
    state = helpers.start(helpers.linear_gan()).replace(
        position=np.int32(100)
    )
    run = script.Trained(config, tmp_path, None, state, np.zeros(0))
    assert script.training(run) == {
        'seconds': 2.0 + 4.0 + 2.0, 'real_images': 100 * 64 * 2,
    }


@pytest.mark.slow
def test_finished_runs_are_kept_and_missing_cells_filled(
    command, monkeypatch, tmp_path, capsys
):
    command(f'--json={tmp_path}/table.json', f'--picture={tmp_path}/all.png')
    first = json.loads((tmp_path / 'table.json').read_text())
    assert set(first) == {'gan', 'cgan'}
    assert first['gan']['training']['real_images'] == 2 * 8
    assert first['gan']['classes']['agreement'] is None
    assert 0 <= first['cgan']['classes']['agreement'] <= 1
    with Image.open(tmp_path / 'all.png') as picture:
        assert picture.width > 500
    assert '| gan |' in capsys.readouterr().out

    monkeypatch.setattr(script.train, 'train', None)  # cannot be called
    command(f'--json={tmp_path}/again.json')
    assert json.loads((tmp_path / 'again.json').read_text()) == first
    monkeypatch.undo()


def test_the_linear_row_needs_no_training(command, monkeypatch, tmp_path):
    monkeypatch.setitem(
        script.ROWS, 'pca', script.Row('autoencoder', {'latent_size': 4})
    )
    command('--only=pca', f'--json={tmp_path}/x.json',
            f'--picture={tmp_path}/x.png')
    cells = json.loads((tmp_path / 'x.json').read_text())['pca']
    assert cells['training'] == {'real_images': 1438, 'seconds': None}
    assert 0 < cells['edges']['sharpness'] < 1.2


def test_sharpness_by_hand():
    ramp = np.zeros((2, 6, 7, 1), np.uint8)
    ramp[0] = 3 * np.arange(6)[:, None, None] + 4 * np.arange(7)[:, None]
    found = script.digits_metrics.sharpness(ramp)
    np.testing.assert_allclose(found, 5 / 2)  # of the two, one is flat


def test_a_new_column_is_filled_in_for_a_finished_run(
    command, monkeypatch, tmp_path
):
    command('--only=gan')
    before = json.loads((script.folder('gan') / 'cells.json').read_text())
    monkeypatch.setitem(
        script.MEASURES, 'new', lambda run: {'count': len(run.samples)}
    )
    command('--only=gan')
    after = json.loads((script.folder('gan') / 'cells.json').read_text())
    assert after == {**before, 'new': {'count': 40}}


def test_a_folder_of_another_config_is_refused(command):
    command('--only=gan')
    changed = script.ROWS['gan'].changes | {'latent_size': 5}
    script.ROWS['gan'] = script.ROWS['gan']._replace(changes=changed)
    with pytest.raises(errors.CheckpointError, match='latent_size: 4 -> 5'):
        command('--only=gan')


def test_a_run_that_fails_stays_with_its_reason(command, monkeypatch, capsys):
    calls = []

    def fail(config, workdir):
        calls.append(workdir)
        workdir.mkdir(parents=True)
        raise errors.NonFiniteError('d/loss is nan at step 1')

    monkeypatch.setattr(script.train, 'train', fail)
    command('--only=gan')
    command('--only=gan')
    assert len(calls) == 1
    assert 'failed: d/loss is nan at step 1 |' in capsys.readouterr().out


def test_unknown_rows_are_named(command):
    with pytest.raises(errors.ConfigError, match="did you mean 'cgan'"):
        command('--only=cgn')


@pytest.mark.parametrize('column, value, words', [
    (None, None, ''),
    ('rarest_class', 0.009, 'classes are missing'),
    ('confidence', 0.84, 'unsure'),
    ('nearest', 1.51, 'far from digits'),
    ('spread', 0.59, 'alike'),
])
def test_verdict_says_what_is_plainly_wrong(column, value, words):
    score = dict(CELLS['score'])
    if column:
        score[column] = value
    found = script.verdict({**CELLS, 'score': score})
    assert words in found and bool(found) == bool(words)


def test_table_leaves_empty_what_a_row_does_not_have():
    head, rule, row = script.table({'x': CELLS})
    assert row == (
        '| x | 0.950 | 8.0% | 1.400 | 0.900 |  | 9.12 | 12.3 | 0.0123 | 0.90 '
        '| 0.46 | 0.79 | 5.2% | 0.88 | 128,000 | 61 |  |'
    )
    assert head.count('|') == row.count('|') == rule.count('|')
    nothing_held_out = {'memorisation': None, 'copies': None}
    *_, row = script.table({'x': {**CELLS, 'copying': nothing_held_out}})
    assert '| 0.79 | – | 0.88 | 128,000 |' in row


def of_samples(samples, test_share):
    config = defaults.default_config()
    config.data.test_share = test_share
    return script.Trained(config, None, None, None, samples)


def test_copies_are_told_where_digits_were_held_out():
    request = sources.Request('digits', test_share=0.2)
    copies = sources.load(request).images[:200]
    others = sources.load(request._replace(split='test')).images[:200]
    found = script.copying(of_samples(copies, 0.2))
    assert found == {'memorisation': 1.0, 'copies': True}
    assert 'copies training images' in script.verdict(
        {**CELLS, 'copying': found}
    )
    assert not script.copying(of_samples(others, 0.2))['copies']
    assert script.copying(of_samples(copies, 0.0))['copies'] is None


def test_quality_knows_digits_from_noise_and_all_from_one(command):
    digits = sources.load(sources.Request('digits')).images
    sets = {
        'digits': digits[::6], 'one': np.tile(digits[:1], (300, 1, 1, 1)),
        'noise': helpers.random_images(300, (32, 32, 1)),
    }
    found = {
        name: script.quality(of_samples(images, 0.0))
        for name, images in sets.items()
    }
    for name in ('one', 'noise'):
        assert found[name]['fid'] > 10 * found['digits']['fid']
        assert found[name]['kid'] > 10 * abs(found['digits']['kid'])
        assert found[name]['coverage'] < found['digits']['coverage'] / 2
    assert found['one']['is'] == pytest.approx(1)
    assert found['digits']['is'] > 1.3
    assert found['one']['precision'] > found['noise']['precision']
    assert found['digits']['recall'] > 0.5 > found['one']['recall']


@pytest.mark.slow
def test_a_run_of_the_time_when_nothing_was_held_out_is_kept(
    command, monkeypatch, capsys
):
    monkeypatch.setattr(script, 'TEST_SHARE', 0.0)
    command('--only=gan')
    path = script.folder('gan') / 'cells.json'
    cells = json.loads(path.read_text())
    for group in ('quality', 'copying'):
        del cells[group]
    path.write_text(json.dumps(cells))
    monkeypatch.setattr(script, 'TEST_SHARE', 0.2)
    capsys.readouterr()
    command('--only=gan')
    after = json.loads(path.read_text())
    assert after['training'] == cells['training']
    assert after['quality']['fid'] > 0
    assert after['copying'] == {'memorisation': None, 'copies': None}
    assert '| – |' in capsys.readouterr().out
    command('--only=cgan')
    (line,) = [
        line for line in capsys.readouterr().out.splitlines()
        if line.startswith('| cgan |')
    ]
    assert '–' not in line
