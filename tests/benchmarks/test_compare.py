"""The table of recipes: what is held equal, what is kept, what is shown."""

import json

from PIL import Image
import pytest

import helpers
from conftest import ROOT
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
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
    monkeypatch.setattr(script.recipe_cells, 'NUM_SAMPLES', 40)
    monkeypatch.setattr(
        script.recipe_cells, 'SETTINGS', classifier.Settings(steps=40, width=4),
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

    # Cannot be called.
    monkeypatch.setattr(script.recipe_cells.train, 'train', None)
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


def test_a_new_column_is_filled_in_for_a_finished_run(
    command, monkeypatch, tmp_path
):
    command('--only=gan')
    before = json.loads((script.folder('gan') / 'cells.json').read_text())
    monkeypatch.setitem(
        script.recipe_cells.MEASURES, 'new',
        lambda run: {'count': len(run.samples)},
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

    monkeypatch.setattr(script.recipe_cells.train, 'train', fail)
    command('--only=gan')
    command('--only=gan')
    assert len(calls) == 1
    assert 'failed: d/loss is nan at step 1 |' in capsys.readouterr().out


def test_unknown_rows_are_named(command):
    with pytest.raises(errors.ConfigError, match="did you mean 'cgan'"):
        command('--only=cgn')


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
