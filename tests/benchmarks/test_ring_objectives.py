"""The table of objectives: what holding means, its curves, its picture."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors

GOOD = {
    'modes': 8, 'smallest_mode': 0.04, 'high_quality': 0.6, 'reverse_kl': 0.1
}
TINY = {
    'generator.width': 4, 'discriminator.width': 4, 'generator.depth': 1,
    'discriminator.depth': 1, 'batch_size': 8, 'latent_size': 3,
}


script, parse = helpers.load_script('ring_objectives')


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Give a function that runs main on one tiny objective of two looks."""
    monkeypatch.setattr(script, 'LOOKS', 2)
    monkeypatch.setattr(
        script, 'OBJECTIVES', {'a + b': {**TINY, 'loss.name': 'hinge'}}
    )

    def run(*more):
        parse(f'--out={tmp_path}', *more)
        script.main([])

    return run


def run_of(**changes):
    return {**GOOD, **changes, 'seconds': 1.0, 'curve': []}


@pytest.mark.parametrize('changes, expected', [
    ({}, True),
    ({'modes': 7}, False),
    ({'smallest_mode': 0.0399}, False),
    ({'high_quality': 0.5999}, False),
])
def test_holds_at_the_bounds_and_not_below(changes, expected):
    assert script.holds({**GOOD, **changes}) == expected


def test_first_held_counts_what_is_lost_again():
    curve = [
        {**GOOD, 'modes': 5, 'seconds': 2.0},
        {**GOOD, 'seconds': 4.5},
        {**GOOD, 'modes': 7, 'seconds': 6.0},
    ]
    assert script.first_held(curve) == 4.5
    assert script.first_held(curve[::2]) is None


def test_the_median_seed_is_the_middle_one():
    shares = [0.09, 0.0, 0.05, 0.11, 0.06]
    runs = [run_of(smallest_mode=share) for share in shares]
    assert script.median_seed(runs) == 4
    # More modes, but not held: behind all that hold.
    runs[4] = run_of(high_quality=0.5)
    assert script.median_seed(runs) == 2


def test_the_plain_objective_is_shown_first_and_then_the_best():
    held, lost = run_of(), run_of(modes=6)
    table = {
        'worst': [lost, lost], 'best': [held, held], 'non_saturating': [lost],
        'second': [lost, run_of(smallest_mode=0.1)],
        'third': [lost, held],
    }
    assert script.shown(table) == ['non_saturating', 'best', 'second', 'third']


def test_main_keeps_the_curve_and_draws(
    command, monkeypatch, tmp_path, capsys
):
    numbers = tmp_path / 'table.json'
    drawn = tmp_path / 'new' / 'ring.png'
    result = tmp_path / 'a+b' / '4-seed0' / 'result.json'
    asked = '--num_steps=4', '--seeds=1', f'--json={numbers}'
    # A result of before there were curves.
    result.parent.mkdir(parents=True)
    result.write_text(json.dumps(GOOD))
    command(*asked, f'--picture={drawn}')
    said = capsys.readouterr().out
    assert 'all 8 at the end: 0 of 1, first after s: -' in said

    table = json.loads(numbers.read_text())
    run, = table['a + b']
    assert [look['step'] for look in run['curve']] == [2, 4]
    seconds = [look['seconds'] for look in run['curve']]
    assert 0 < seconds[0] < seconds[1] <= run['seconds']
    for name in script.COLUMNS:
        assert run[name] == run['curve'][-1][name]
    with Image.open(drawn) as image:
        assert image.format == 'PNG'
        assert image.size == (300, 360)

    def refuse(*args, **options):
        raise AssertionError('a finished run trains again')

    monkeypatch.setattr(script.train, 'train', refuse)
    command(*asked)
    assert json.loads(numbers.read_text()) == table

    result.write_text(json.dumps(GOOD))  # its saved end leaves no curve
    with pytest.raises(errors.ConfigError, match='4-seed0 has a finished'):
        command(*asked)


def test_draw_shows_the_points():
    centre = np.zeros((100, 2))
    assert (
        script.draw([('a', centre)]) != script.draw([('a', centre + 0.5)])
    ).any()


@pytest.mark.parametrize('flag, message', [
    ('--num_steps=5', 'multiple of 2'), ('--picture_seed=5', 'seeds 0 to 4'),
])
def test_main_refuses_what_it_could_not_finish(command, flag, message):
    with pytest.raises(errors.ConfigError, match=message):
        command(flag)
