"""The mode benchmark: its settings, its arithmetic; it goes on and draws."""

import json
import math
import sys

import jax
import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.training import multi_seed as population_lib

script, parse = helpers.load_script('mode_recovery')
speed, parse_speed = helpers.load_script('mode_recovery_speed')
mode_settings = script.mode_settings
TINY = {
    'generator.width': 4, 'discriminator.width': 4, 'generator.depth': 1,
    'discriminator.depth': 1, 'batch_size': 8, 'latent_size': 3,
}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Give a function that runs main on tiny networks, 2 steps a look."""
    configure = script.configure

    def shrink(setting):
        return configure(setting._replace(changes={**setting.changes, **TINY}))

    monkeypatch.setattr(script, 'configure', shrink)
    monkeypatch.setattr(script, 'NUM_POINTS', 30)
    monkeypatch.setattr(script, 'EVERY', dict.fromkeys(script.EVERY, 2))

    def run(*more):
        parse(f'--out={tmp_path / "out"}', '--seeds=2', *more)
        script.main([])

    return run


def refuse(*args, **options):
    raise AssertionError('what is finished trains again')


def test_every_setting_of_every_table_builds():
    for table in script.LENGTHS:
        parse(f'--table={table}')
        for setting in script.settings().values():
            config = script.configure(setting)
            assert config.data.name == setting.source
            shape = (builders.mixture(config).ambient,)
            builders.algorithm(config, builders.single_source_specs(shape))
    assert len(mode_settings.WIDE) == 26


def test_rows_of_the_wide_table_share_all_that_is_no_method():
    parse('--table=wide')
    configs = [
        script.configure(setting) for setting in script.settings().values()
    ]
    for name in ('generator.width', 'generator.depth', 'discriminator.width',
                 'discriminator.depth', 'batch_size', 'latent_size',
                 'g_optimizer.learning_rate', 'd_optimizer.learning_rate',
                 'g_steps', 'num_steps'):
        values = {script.defaults.flatten(c)[name] for c in configs}
        assert len(values) == 1, name
    assert values == {25_000}


def test_pacgans_networks_have_its_weights():
    parse('--table=published')
    config = script.configure(script.settings()['ring/pacgan2'])
    state = jax.eval_shape(population_lib.Population(config, (0,)).init)
    sizes = {
        player: sum(leaf.size for leaf in jax.tree.leaves(
            state.players[player].params
        )) for player in (G, D)
    }
    # 2 x 400, 3 x 400 x 400, BatchNorm's 4 x 800 and biases; 400 x 2 + 2.
    assert sizes[G] == 800 + 480_000 + 3200 + 1600 + 802
    assert sizes[D] == 407_201
    config.update_from_flattened_dict({
        'generator.width': 40, 'discriminator.width': 40,
    })
    state = population_lib.Population(config, (0,)).init()
    for player in (state.players[G], state.players[D]):
        for name, layer in player.params.items():
            if name.startswith('Dense'):
                kernel = np.asarray(layer['kernel'])
                spread = 4 / math.sqrt(2 * kernel.size)
                assert abs(kernel.std() / 0.02 - 1) < spread, name


def test_summary_is_mean_and_standard_error_of_the_finite():
    mean, error, infinite = script.summary([1.0, 3.0, None, 5.0])
    assert (mean, infinite) == (3.0, 1)
    np.testing.assert_allclose(error, 2 / math.sqrt(3))
    assert script.show('modes', mean, error, infinite) == '3.0 ± 1.2 (1 inf)'
    assert script.show('high_quality', 0.982, 0.002) == '98.2 ± 0.2'
    mean, error, infinite = script.summary([None, None])
    assert script.show('reverse_kl', mean, error, infinite) == 'inf'


def runs(modes, quality, divergence):
    return {'raw': [
        dict(zip(script.NUMBERS, row))
        for row in zip(modes, quality, divergence)
    ], 'failed': [1], 'steps': [100, 60], 'seconds': 60.0}


def test_verdicts_are_by_the_bound_of_both_errors():
    parse('--table=published', '--only=ring/gan')
    # Published: 6.3 ± 0.5, 98.2 ± 0.2 %, 0.45 ± 0.09; our errors are these.
    table = {'ring/gan': runs(
        (6.3 + 0.3, 6.3 + 1.9), (0.982 + 0.0048, 0.982 + 0.0068),
        (None, None),
    )}
    modes, quality, divergence = script.verdicts(table)
    np.testing.assert_allclose(modes['bound'], 2 * math.hypot(0.8, 0.5))
    np.testing.assert_allclose(modes['difference'], 1.1)
    assert modes['hit']
    np.testing.assert_allclose(quality['bound'], 2 * math.hypot(0.001, 0.002))
    assert not quality['hit']
    assert not divergence['hit']  # not a number is no hit
    said = script.published_table(table)
    assert '| gan | modes | 7.4 ± 0.8 | 6.3 ± 0.5 | 1.1 | 1.9 | hit |' in said
    assert '| 98.8 ± 0.1 | 98.2 ± 0.2 | 0.6 | 0.4 | MISS |' in said
    assert 'seed 1 after 60' in said


def test_the_wide_table_keeps_its_runs_and_draws(
    command, monkeypatch, tmp_path, capsys
):
    numbers, drawn = tmp_path / 'modes.json', tmp_path / 'new' / 'modes.png'
    asked = (
        '--table=wide', '--only=ring/minimax,grid/pacgan2', '--num_steps=4',
        f'--json={numbers}',
    )
    command(*asked, f'--picture={drawn}')
    said = capsys.readouterr().out
    assert 'wide: 4 updates of G, seeds 0 to 1' in said
    assert '23.8 ± 0.7, 91.3 ± 0.8, 0.13 ± 0.04 (PacGAN2, Lin et al.' in said
    table = json.loads(numbers.read_text())
    assert list(table['settings']) == ['ring/minimax', 'grid/pacgan2']
    for measured in table['settings'].values():
        assert measured['steps'] == [4, 4]
        assert measured['failed'] == []
        assert len(measured['raw']) == len(measured['ema']) == 2
        assert set(measured['raw'][0]) == set(script.NUMBERS)
    with Image.open(drawn) as image:
        assert image.size == (440, 290)
    monkeypatch.setattr(script.population_lib, 'Population', refuse)
    command(*asked)
    assert json.loads(numbers.read_text())['settings'] == table['settings']


def folder_of(tmp_path, name):
    return tmp_path / 'out' / 'wide-6-seeds2' / name


def test_an_interrupted_setting_ends_as_one_that_was_not(
    command, monkeypatch, tmp_path
):
    asked = '--table=wide', '--only=ring/wgan_gp', '--num_steps=6'
    command(*asked)
    folder = folder_of(tmp_path, 'ring-wgan_gp')
    whole = json.loads((folder / 'result.json').read_text())
    points = np.load(folder / 'points.npy')
    looks = json.loads((folder / 'looks.json').read_text())
    assert [look['step'] for look in looks] == [2, 4, 6]
    folder.rename(tmp_path / 'whole')

    class Killed(BaseException):
        pass

    class Fragile(population_lib.Population):
        calls = 0

        def advance(self, states, size):
            Fragile.calls += 1
            if Fragile.calls == 3:
                raise Killed
            return super().advance(states, size)

    monkeypatch.setattr(script.population_lib, 'Population', Fragile)
    with pytest.raises(Killed):
        command(*asked)
    assert not (folder / 'result.json').exists()
    # As though the kill had come after a look and before its save.
    path = folder / 'looks.json'
    looks = json.loads(path.read_text())
    path.write_text(json.dumps([*looks, {**looks[-1], 'step': 6}]))
    command(*asked)
    assert Fragile.calls == 4  # two before, one that was lost, one after
    again = json.loads((folder / 'result.json').read_text())
    assert again['raw'] == whole['raw'] and again['ema'] == whole['ema']
    np.testing.assert_array_equal(np.load(folder / 'points.npy'), points)
    looks = json.loads((folder / 'looks.json').read_text())
    assert [look['step'] for look in looks] == [2, 4, 6]


def test_a_seed_that_fails_is_counted_and_named(command, tmp_path, capsys):
    init = population_lib.Population.init

    def broken(self):
        states = jax.tree.map(np.array, init(self))
        states.players[G].params['Dense_0']['kernel'][1] = np.nan
        return states

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population_lib.Population, 'init', broken)
        command('--table=wide', '--only=ring/minimax', '--num_steps=6')
    assert 'seed 1 after 0' in capsys.readouterr().out
    result = folder_of(tmp_path, 'ring-minimax') / 'result.json'
    measured = json.loads(result.read_text())
    assert measured['failed'] == [1] and measured['steps'] == [6, 0]
    assert len(measured['raw']) == 2


def test_a_folder_of_another_config_is_refused(command, monkeypatch):
    asked = '--table=wide', '--only=ring/minimax', '--num_steps=2'
    command(*asked)
    monkeypatch.setitem(TINY, 'batch_size', 4)
    with pytest.raises(errors.ConfigError, match='run with other batch_size'):
        command(*asked)
    with pytest.raises(errors.ConfigError, match='ring/minmax'):
        command('--only=ring/minmax')


@pytest.mark.slow
def test_the_figure_is_drawn_of_the_points_that_are_there(
    command, tmp_path, capsys
):
    drawn = tmp_path / 'figure.png'
    command(
        '--table=figure', '--only=manifold/4-2-128,manifold/64-2-128',
        '--num_steps=2', f'--picture={drawn}',
    )
    said = capsys.readouterr().out
    assert '| 64 | 2 | 128 | 0.00 ± 0.00 | 0.0 ± 0.0 |' in said
    with Image.open(drawn) as image:
        assert image.size == (1000, 400)


def test_shares_are_of_all_modes():
    place = mode_settings.Place(8, 2, 128)
    measured = runs((8, 2), (1, 1), (0, 0))
    assert script.shares(place, measured, 'raw') == [1, 0.25]


def test_speed_takes_turns_and_tells_ratios(monkeypatch, tmp_path, capsys):
    parse_speed()
    config = speed.configure()
    config.update_from_flattened_dict(TINY)
    monkeypatch.setattr(speed, 'configure', lambda: config)
    numbers = tmp_path / 'speed.json'
    parse_speed(
        '--notorch', '--steps=2', '--rounds=2', '--seeds=2',
        f'--json={numbers}',
    )
    speed.main([])
    assert 'a seed of 2 / one' in capsys.readouterr().out
    times = json.loads(numbers.read_text())['milliseconds']
    assert [len(taken) for taken in times.values()] == [2, 2]


def test_speed_tells_the_lack_of_pytorch(monkeypatch):
    parse_speed()
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(errors.ConfigError, match='bench'):
        speed.Torch(speed.configure())


def test_pytorchs_players_have_our_sizes():
    pytest.importorskip(
        'torch', reason="PyTorch is not installed: pip install -e '.[bench]'"
    )
    parse_speed('--batch_size=4')
    config = speed.configure()
    theirs = speed.Torch(config)
    before = [p.clone() for p in theirs.parameters()]
    theirs.advance(1)
    assert all((p != q).any() for p, q in zip(before, theirs.parameters()))
    state = jax.eval_shape(population_lib.Population(config, (0,)).init)
    ours = jax.tree.leaves((state.players[G].params, state.players[D].params))
    assert sum(leaf.size for leaf in ours) == sum(p.numel() for p in before)
