"""Short forms of the sections of the survival table, and their failures."""

import random
import shutil
import types

import jax
import numpy as np
import pytest

import devices_worker as worker
import helpers
import order_worker
import survival
import survival_damage
import survival_devices
import survival_kills
import survival_recipes
import survival_tools as tools
from conftest import ROOT
from gan_jax.algorithms.game import D, G
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.runs import sampling
from gan_jax.training import train

DCGAN = ROOT / 'configs' / 'dcgan.py'
SEED = 4  # draws one kill, after a step
KILLED = survival_kills.Game('memory', 'mlp', 'streaming')


def failures(cases):
    results = list(cases)
    assert results
    return [case for case in results if case.failure or case.skipped]


@pytest.mark.slow
def test_killed_run_continues_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(survival_kills, 'STEPS', 120)
    monkeypatch.setitem(survival_kills.COMMON, 'num_steps', 120)
    options = tools.Options(runs=1, seed=SEED)
    (case,) = survival_kills.cases(options, tmp_path, games=[KILLED])
    assert not case.failure, case
    assert set(case.marks) - {'too late'}


@pytest.mark.slow
def test_recipe_resumes_from_any_step(tmp_path):
    path = ROOT / 'configs' / 'gan.py'
    assert not failures(survival_recipes.check(path, tmp_path, steps=[4]))


def test_recipes_have_an_event_at_nearly_each_step():
    due = survival_recipes.events(
        survival_recipes.prepared(ROOT / 'configs' / 'wgan.py'),
        {step: 2 * step + 2 for step in range(1, 12)},  # the first is a burst
    )
    assert list(due) == list(range(1, 12))
    assert 'first step' in due[1] and 'mid-epoch' in due[1]
    assert 'end of an epoch' in due[4]
    assert 'at a burst' in due[6] and 'after a burst' in due[7]


@pytest.mark.parametrize('network', ['r3gan', 'stylegan2'])
def test_one_device_continues_what_four_began(network, tmp_path):
    cases = survival_devices.check((network, 'resident'), tmp_path, devices=[1])
    assert not failures(cases)


def test_stylegan2_with_ada_continues_to_the_same_bits(tmp_path):
    config = worker.config_of('stylegan2', 'resident')
    config.discriminator.stddev_group = 4
    config.augment.adaptive, config.augment.target = True, -1.0  # p rises
    config.augment.adaptive_images = 1000
    unused_keys.leave_out(config)
    images = order_worker.numbered(8)
    whole = train.train(config, tmp_path / 'whole', images=images)
    part = survival_devices.shortened(tmp_path / 'whole', tmp_path / 'part')
    first = sampling.load(part)[1]
    again = train.train(config, part, images=images)
    for before, after in (
        (first.memory['augment'], whole.state.memory['augment']),
        (first.memory['path_length'], whole.state.memory['path_length']),
        (first.averages[G].stats['styles']['mean']['mean'],
         whole.state.averages[G].stats['styles']['mean']['mean']),
    ):
        assert np.all(np.isfinite(after)) and np.any(before)
        assert np.any(np.asarray(before) != np.asarray(after))
    jax.tree.map(np.testing.assert_array_equal, again.state, whole.state)


@pytest.mark.slow
def test_eight_devices_continue_a_run_of_four(tmp_path):
    cases = survival_devices.check(('mlp', 'resident'), tmp_path, devices=[8])
    assert not failures(cases)


@pytest.mark.parametrize('game', survival_kills.GAMES, ids='-'.join)
def test_killed_games_have_the_state_they_claim(game):
    config = recipes.load(DCGAN)
    config.update_from_flattened_dict(survival_kills.changes_of(game))
    validation.validate(config)
    shape = (survival_kills.SIDE, survival_kills.SIDE, 1)
    state = helpers.abstract_state(config, shape)
    expected = {
        'memory': {'history', 'augment', 'snapshots'},
        'began': {'loss', 'history', 'snapshots'},
    }.get(game.features, set())
    assert expected <= set(state.memory)
    if game.features == 'norms':
        assert set(state.players[G].stats) == {'batch_stats', 'spectral'}
        assert 'spectral' in state.players[D].stats


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Return the folder of a run of 4 steps, saved every second step."""
    folder = tmp_path_factory.mktemp('finished')
    train.train(
        helpers.tiny_mlp(), folder, images=helpers.random_images()
    )
    return folder


def test_lost_doubled_and_changed_lines_are_detected(finished):
    lines = tools.lines_of(finished)
    assert [line['step'] for line in lines] == [2, 4]
    assert tools.metrics_difference(lines, lines) == ''
    slower = [line | {'perf/steps_per_sec': -1.0} for line in lines]
    assert tools.metrics_difference(slower, lines) == ''
    other = [lines[0], lines[1] | {'d/loss': 7.0}]
    for bad, says in (
        (lines[:1], 'other steps: [4]'), ([*lines, lines[1]], 'doubled'),
        (other, 'from step 4 on'),
    ):
        assert says in tools.metrics_difference(bad, lines)


def test_one_different_bit_of_a_state_is_detected(finished, tmp_path):
    state = sampling.load(finished)[1]
    assert tools.states_difference(state, state) == ''
    other = state.replace(position=np.int32(state.position + 1))
    assert 'position' in tools.states_difference(other, state)
    assert '1 arrays differ' in tools.states_difference(
        {'x': np.float32(0.0)}, {'x': np.float32(-0.0)}
    )
    assert 'not in both' in tools.states_difference({'x': 1}, {'y': 1})
    shorter = shutil.copytree(finished, tmp_path / 'shorter')
    shutil.rmtree(shorter / 'checkpoints' / '4')
    assert 'arrays differ' in tools.difference(shorter, finished)


def test_unreported_damage_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(
        survival_damage, 'damage', lambda folder, draw: 'none file'
    )
    (case,) = survival_damage.cases(tools.Options(), tmp_path, count=1)
    assert case.failure.startswith('0 lines and not one warning')


def fake_process(folder, said, code=-9, step=0):
    return types.SimpleNamespace(
        folder=folder, code=code, said=lambda: said, step=lambda: step
    )


def test_phase_of_a_kill_is_inferred_from_the_files(tmp_path):
    def place(*args, before=frozenset(), **kwargs):
        return survival_kills.place_of(
            fake_process(tmp_path, *args, **kwargs), before
        )

    assert place('', code=0) == 'too late'
    assert place('Run') == 'starting'
    assert place('Compiling') == 'compiling'
    assert place('Compiling', step=4) == 'before a save'
    torn = tmp_path / 'checkpoints' / '24.orbax-checkpoint-tmp-0'
    torn.mkdir(parents=True)
    assert place('Compiling', step=24) == 'in a save'
    torn = torn.rename(torn.parent / '24')
    assert place('Compiling', step=24) == 'in a save'
    before = survival_kills.checkpoints_of(tmp_path)[1]
    assert place('Compiling', step=28, before=before) == 'before a save'
    (torn / 'manifest.json').touch()
    assert place('Compiling', step=28) == 'between saves'
    last = survival_kills.STEPS
    assert place('Compiling', step=last) == 'at the end'


def test_moments_are_drawn_by_seed():
    draws = [
        [random.Random(f'{seed} 3').choice(survival_kills.MOMENTS)
         for seed in range(40)] for _ in range(2)
    ]
    assert draws[0] == draws[1]
    assert set(draws[0]) == set(survival_kills.MOMENTS)


def test_table_counts_cases_and_reports_failures(tmp_path, capsys):
    results = [
        tools.Case('a', marks=('in a save',)), tools.Case('b', 'lost 3'),
        tools.Case('c', skipped='no data'),
    ]
    sections = {'kills': lambda options, folder: iter(results)}
    assert not survival.run(sections, tools.Options(), tmp_path)
    said = capsys.readouterr().out
    assert 'kills    FAILED  b: lost 3' in said
    assert 'kills    skipped c: no data' in said
    assert '| kills | 3 | 1 | 1 | 1 | 0.0 |' in said
    assert 'kills: 1 in a save' in said
    results.pop(1)
    (tmp_path / 'kills').rmdir()
    assert survival.run(sections, tools.Options(), tmp_path)


def test_command_line_is_parsed_and_validated(capsys):
    names, parsed = survival.parse(['--only=damage,kills', '--runs=3'])
    assert names == ['damage', 'kills'] and parsed.runs == 3
    with pytest.raises(SystemExit):
        survival.parse(['--only=kill'])
    assert 'is not one of' in capsys.readouterr().err


@pytest.mark.slow
def test_command_runs_from_the_root_with_its_exit_code():
    done = helpers.run('tests.survival', '--only=damage', cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:]
    assert '| damage | 60 | 60 | 0 | 0 |' in done.stdout
