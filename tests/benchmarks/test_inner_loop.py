"""The game with G inside: its configs, its numbers, its picture."""

import json
import os

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.ops import mixtures
from gan_jax.runs import sampling

TINY = (
    '--num_steps=4', '--seeds=1', '--updates=2', '--width=4', '--batch_size=8',
    '--num_points=64', '--dpi=50', '--r1=0',
)


script, parse = helpers.load_script('inner_loop')


def test_both_games_have_as_many_updates_of_swapped_players():
    parse()
    d_inner, d_name = script.make_config('D inner', 1)
    g_inner, g_name = script.make_config('G inner', 1)
    assert (d_inner.d_steps, d_inner.g_steps) == (10, 1)
    assert (g_inner.d_steps, g_inner.g_steps) == (1, 10)
    assert run_identity.differences(d_inner, g_inner) == [
        'd_steps: 10 -> 1', 'g_steps: 1 -> 10'
    ]
    assert d_inner.penalties.r1.weight == 0.1
    assert d_name != g_name


@pytest.mark.parametrize('flag', [
    '--batch_size=64', '--learning_rate=1e-4', '--loss=minimax',
    '--num_steps=2400', '--r1=0', '--updates=5', '--width=64',
])
def test_runs_that_differ_have_folders_that_differ(flag):
    parse()
    _, name = script.make_config('G inner', 0)
    parse(flag)
    config, changed = script.make_config('G inner', 0)
    validation.validate(config)
    assert changed != name


def test_a_chase_and_a_collapse_show_in_the_numbers():
    ring = mixtures.ring().means
    random = np.random.RandomState(0)
    still = np.tile(ring, (2, 25, 1)) + 0.005 * random.randn(2, 200, 2)
    records = script.measure(still)
    assert [record['modes'] for record in records] == [8, 8]
    # Mean chord of 8 points, 200 points in pairs of different ones.
    chord = np.linalg.norm(ring - ring[0], axis=1).mean()
    np.testing.assert_allclose(
        records[0]['spread'], chord * 200 / 199, rtol=0.01
    )
    assert script.moved(records) < 0.01

    chase = ring[[0, 4, 0], None] + 0.005 * random.randn(3, 200, 2)
    records = script.measure(chase)
    assert [record['modes'] for record in records] == [1, 1, 1]
    assert records[0]['spread'] < 0.02
    np.testing.assert_allclose(script.moved(records), 2, rtol=0.01)
    assert script.moved(records[:1]) == 0


def test_main_writes_and_keeps_its_runs(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(script, 'INNER', {'G inner': 'g_steps'})
    monkeypatch.setattr(script, 'RECORDS', 2)
    monkeypatch.setattr(script, 'SHOWN', 2)
    out, numbers = tmp_path / 'new' / 'inner.png', tmp_path / 'inner.json'
    runs = tmp_path / 'runs'
    parse(*TINY, f'--out={out}', f'--json={numbers}', f'--runs={runs}')
    script.main([])
    assert 'G inner     0' in capsys.readouterr().out
    table = json.loads(numbers.read_text())
    np.testing.assert_allclose(table['real_spread'], 1.26, atol=0.1)
    run, = table['G inner']
    assert [record['step'] for record in run['records']] == [2, 4]
    with Image.open(out) as image:
        assert image.format == 'PNG'
        assert image.size == (600, 480)

    def refuse(*args):
        raise AssertionError('a finished run trains again')

    monkeypatch.setattr(script.train, 'train', refuse)
    points, seconds = script.play('G inner', 0)
    assert seconds == run['seconds']
    # It is G as it was at that step that is asked, not the average.
    for place, step in enumerate([2, 4]):
        gan, state = sampling.load(runs / os.listdir(runs)[0], step)
        np.testing.assert_array_equal(
            points[place],
            sampling.sample(gan, state, range(64), weights='raw'),
        )
        assert (points[place] != sampling.sample(gan, state, range(64))).any()


@pytest.mark.parametrize('num_steps', [0, 7, 1199])
def test_steps_that_do_not_divide_are_refused(num_steps):
    parse(f'--num_steps={num_steps}')
    with pytest.raises(errors.ConfigError, match='multiple of 12'):
        script.make_config('D inner', 0)
