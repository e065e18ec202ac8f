"""The table of every recipe: nothing changed, seeds, what is shown."""

import json

import pytest

import helpers
from conftest import ROOT
from gan_jax.cli import recipe_files
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors

script, parse = helpers.load_script('every_recipe')


def cells(nearest, seconds=60.0):
    """Return cells of a run on the digits."""
    return {
        'training': {'real_images': 128_000, 'seconds': seconds},
        'score': {
            'confidence': 0.95, 'rarest_class': 0.08, 'nearest': nearest,
            'spread': 0.9,
        },
        'classes': {'agreement': None},
        'copying': {'memorisation': 0.052, 'copies': False},
    }


@pytest.mark.parametrize('name', recipe_files.summaries())
def test_nothing_of_a_recipe_is_changed(name):
    parse()
    config = script.configure(name, 7)
    validation.validate(config)
    own = recipes.load(ROOT / 'configs' / f'{name}.py')
    own.seed = 7
    if script.kind(config) == 'digits':
        assert config.data.test_share == 0.2
        own.data.test_share = 0.2
    assert config == own


def test_every_kind_of_recipe_has_a_table():
    parse()
    kinds = {
        script.kind(script.configure(name, 0))
        for name in recipe_files.summaries() if name != 'few_images'
    }
    assert kinds == set(script.HEADS) == set(script.MEASURES)


@pytest.mark.parametrize('seconds, seeds', [(60.0, [3, 1, 2]), (180.1, [3])])
def test_quick_recipes_have_every_seed(seconds, seeds, monkeypatch):
    parse('--seeds=3,1,2')
    monkeypatch.setattr(
        script, 'measure', lambda name, seed: cells(1 + seed / 10, seconds)
    )
    assert list(script.runs_of('dcgan')) == seeds


def test_cells_are_medians_and_half_of_the_range():
    *_, row = script.table({'dcgan': {
        seed: cells(nearest) for seed, nearest in enumerate([1.2, 1.5, 1.26])
    }})
    assert row == (
        '| `dcgan` | 3 | 0.950 | 8.0% | 1.260 ±0.150 | 0.900 |  | 5.2% '
        '| 128,000 | 60 |  |'
    )


def test_a_seed_that_went_wrong_is_named():
    *_, row = script.table({'dcgan': {0: cells(1.2), 1: cells(1.6)}})
    assert row.endswith('| far from digits |')
    *_, row = script.table({
        'dcgan': {0: cells(1.2), 1: {'failed': 'd/loss is nan'}}
    })
    assert row.endswith('| failed: d/loss is nan |')


def test_page_keeps_its_head_and_replaces_its_tables():
    parse()
    found = {
        'mixtures': {0: {'samples': {'modes': 8}, 'training': {'seconds': 9.0}}}
    }
    head = 'Words.\n' + script.MARK
    page = script.page(head + 'old table', found)
    assert page.startswith(head + '\n## Points') and 'old' not in page
    assert '| `mixtures` | 1 | 8 | 9 |  |' in page


def test_unknown_recipes_are_named():
    parse('--only=dcgam')
    with pytest.raises(errors.ConfigError, match="did you mean 'dcgan'"):
        script.main([])


@pytest.mark.slow
def test_one_of_each_kind_is_trained_once(monkeypatch, tmp_path, capsys):
    names = ['dcgan', 'mixtures', 'pix2pix']
    command = (
        f'--out={tmp_path}', '--num_steps=4', f'--only={",".join(names)}',
        '--seeds=0,1', f'--json={tmp_path}/x.json', f'--page={tmp_path}/x.md',
        f'--picture={tmp_path}/x.png',
    )
    parse(*command)
    monkeypatch.setattr(script.recipe_cells, 'NUM_SAMPLES', 40)
    script.main([])
    found = json.loads((tmp_path / 'x.json').read_text())
    assert {name: list(runs) for name, runs in found.items()} == {
        name: ['0', '1'] for name in names
    }
    assert 0 <= found['mixtures']['1']['samples']['modes'] <= 8
    assert found['pix2pix']['0']['translations']['a_to_b true_error_ratio'] > 0
    monkeypatch.setattr(script.recipe_cells.train, 'train', None)  # unused
    script.main([])
    assert json.loads((tmp_path / 'x.json').read_text()) == found
    text = (tmp_path / 'x.md').read_text()
    for title in ('Samples', 'Points', 'Images to images'):
        assert f'## {title}\n' in text
