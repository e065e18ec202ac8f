"""Sweeps: grids, members equal to single runs, folders, table."""

import json
import math

import chex
import jax
import pytest

import helpers
from conftest import ROOT
from gan_jax.algorithms.game import G
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.training import sweep
from gan_jax.training import train

RATE = 'd_optimizer.learning_rate'


def configure(**changes):
    config = helpers.tiny(recipes.load(ROOT / 'configs' / 'mixtures.py'))
    config.num_steps, config.population = 4, 2
    config.log_every = config.checkpoint_every = 2
    config.sample_every, config.eval_every = 0, 4
    config.update_from_flattened_dict(changes)
    return config


def test_a_grid_is_parsed_by_the_types_of_its_keys():
    grid = sweep.parse_grid(
        [f'{RATE}=1e-3,2e-4', 'penalties.r1.weight=1'], configure()
    )
    assert grid == {RATE: [1e-3, 2e-4], 'penalties.r1.weight': [1.0]}


@pytest.mark.parametrize('text, named', [
    ('d_optimizer.learning_rat=1', 'd_optimizer.learning_rate'),
    (f'{RATE}=1e-3;2e-4', 'float'),
    (f'{RATE}', 'float'),
    ('batch_size=8,16', 'batch_size'),
    ('seed=1,2', 'seed'),
    ('loss.name=hinge,minimax', 'loss.name'),
])
def test_a_grid_of_other_keys_or_values_is_refused(text, named):
    with pytest.raises(errors.ConfigError, match=named):
        sweep.parse_grid([text], configure())


def numbers(config):
    """Return the hyper-parameters of all algorithms."""
    return jax.tree.leaves([
        builders.ALGORITHMS[name].hyperparams(config)
        for name in ('adversarial', 'vae')
    ])


def test_keys_of_a_grid_are_those_that_change_hyperparameters():
    config = defaults.default_config()
    config.loss.name, config.d_optimizer.name = 'energy_based', 'sgd'
    config.ema_half_life = 100
    for name in config.penalties:
        config.penalties[name].weight = 1.0
    before = numbers(config)
    for key, value in defaults.flatten(config).items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            assert not sweep.NUMBERS.fullmatch(key), key
            continue
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({key: type(value)(value + 1)})
        after = numbers(changed)
        if key == 'ema_decay' or (  # options of other losses
            key.startswith('loss.') and key != 'loss.margin'
        ):
            assert sweep.NUMBERS.fullmatch(key), key
        elif key not in ('batch_size', 'packing'):  # by way of others
            assert (before != after) == bool(
                sweep.NUMBERS.fullmatch(key)
            ), key


def test_members_are_all_combinations_with_each_seed():
    config = configure(seed=5)
    grid = {RATE: [1e-3, 1e-4], 'ema_decay': [0.9]}
    members = sweep.members(config, grid, 2)
    assert [
        (m.name, m.config.seed, m.config.d_optimizer.learning_rate)
        for m in members
    ] == [
        ('member-000', 5, 1e-3), ('member-001', 6, 1e-3),
        ('member-002', 5, 1e-4), ('member-003', 6, 1e-4),
    ]
    assert all(m.config.population == 1 for m in members)
    with pytest.raises(errors.ConfigError, match='257 GANs'):
        sweep.members(config, {}, 257)
    with pytest.raises(errors.ConfigError, match='learning_rate'):
        sweep.members(config, {RATE: [-1.0]}, 1)


def test_each_member_equals_a_run_of_its_config(tmp_path):
    results = sweep.train(
        configure(), tmp_path / 'sweep', {RATE: [1e-2, 1e-3]},
        say=lambda line: None,
    )
    assert {one['name'] for one in results} == {
        f'member-{n:03d}' for n in range(4)
    }
    folder = tmp_path / 'sweep' / 'member-003'
    gan, state = sampling.load(folder)
    config = run_files.load_config(folder)
    assert (config.seed, config.d_optimizer.learning_rate) == (1, 1e-3)
    alone = train.train(config, tmp_path / 'alone')
    chex.assert_trees_all_close(
        state.players[G].params, alone.state.players[G].params,
        rtol=1e-3, atol=1e-5,
    )
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [2, 4]
    assert 'eval/modes' in json.loads(lines[-1])
    assert (folder / 'samples' / '000004.png').exists()
    assert sampling.sample(gan, state, range(3)).shape == (3, 2)
    stored = json.loads((tmp_path / 'sweep' / 'sweep.json').read_text())
    assert stored == results == sweep.ranked(configure(), results)


def test_a_sweep_continues_to_the_bit_and_refuses_another(tmp_path):
    def run(folder, num_steps):
        sweep.train(
            configure(num_steps=num_steps), tmp_path / folder,
            say=lambda line: None,
        )
        return sampling.load(tmp_path / folder / 'member-001')[1]

    whole = run('whole', 4)
    run('parts', 2)
    assert helpers.leaves_equal(run('parts', 4), whole)
    looks = json.loads((tmp_path / 'parts' / 'looks.json').read_text())
    assert [look['step'] for look in looks] == [2, 4]
    with pytest.raises(errors.CheckpointError, match='ema_decay'):
        sweep.train(configure(ema_decay=0.5), tmp_path / 'parts')


def test_a_key_off_in_one_member_and_on_in_another_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match='penalties.r1.weight'):
        sweep.train(
            configure(), tmp_path, {'penalties.r1.weight': [0.0, 1.0]}
        )


def test_a_population_of_images_and_no_training_of_one(tmp_path):
    config = configure(**{'data.name': 'digits'})
    results = sweep.train(config, tmp_path, say=lambda line: None)
    assert sweep.ranked_by(config, results) == 'eval/nearest_real'
    gan, state = sampling.load(tmp_path / 'member-000')
    assert sampling.sample(gan, state, range(2)).shape == (2, 32, 32, 1)
    with pytest.raises(errors.ConfigError, match='population=2'):
        train.train(config, tmp_path / 'one')


def test_the_best_member_comes_first_and_failures_last():
    def one(name, modes, alive=True):
        numbers = {} if modes is None else {'eval/modes': modes}
        return {'name': name, 'alive': alive, 'numbers': numbers}

    results = [one('few', 1), one('dead', 9, False), one('all', 8),
               one('unmeasured', None), one('some', 5)]
    assert [one['name'] for one in sweep.ranked(configure(), results)] == [
        'all', 'some', 'few', 'dead', 'unmeasured'
    ]


def test_the_table_ranks_combinations_and_names_failures():
    def one(name, rate, modes, alive=True):
        return {'name': name, 'changes': {RATE: rate}, 'seed': 0,
                'alive': alive, 'numbers': {'eval/modes': modes}}

    results = [one('a', 1.0, 8), one('b', 2.0, 7), one('c', 1.0, 6),
               one('d', 2.0, 5, alive=False)]
    lines = sweep.table(results, 'eval/modes')
    assert lines[2] == f'| {RATE}=1.0 | 2 | 0 | a | 7 ± 1 |'
    assert lines[3] == f'| {RATE}=2.0 | 2 | 1 | b | 6 ± 1 |'
    assert sweep.cost(results[0], 'eval/modes') < sweep.cost(
        results[1], 'eval/modes'
    )
    assert sweep.cost(results[3], 'eval/modes') == math.inf


def test_the_command_prints_the_table(tmp_path):
    done = helpers.run(
        'gan_jax', 'sweep', f'--config={ROOT}/configs/mixtures.py',
        *(f'--config.{k}={v}' for k, v in {
            'num_steps': 2, 'population': 2, 'batch_size': 8,
            'generator.width': 4, 'discriminator.width': 4, 'eval_every': 2,
        }.items()), f'--grid={RATE}=1e-3,1e-4', f'--workdir={tmp_path}/s',
    )
    assert done.returncode == 0, done.stderr
    assert f'| {RATE}=0.001 | 2 | 0 |' in done.stdout
    assert 'Best by eval/modes: ' in done.stdout


def test_a_population_is_at_least_one():
    with pytest.raises(errors.ConfigError, match='population=0'):
        validation.validate(configure(population=0))
