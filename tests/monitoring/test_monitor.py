"""Diagnosis of a run: once per onset, in three places, without effect."""

import json

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.algorithms.game import G
from gan_jax.config import builders
from gan_jax.config import unused_keys
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.monitoring import monitor
from gan_jax.objectives import losses
from gan_jax.reporting import inspect_model
from gan_jax.reporting import load_run
from gan_jax.reporting import page
from gan_jax.runs import run_folder
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.training import train


def config_of(**changes):
    """Return a config whose D wins at once: a loss below 9 counts as zero."""
    config = helpers.tiny_mlp()
    config.num_steps, config.log_every = 12, 1
    config.sample_every = config.checkpoint_every = 4
    config.diagnosis.patience = config.diagnosis.window = 2
    config.diagnosis.d_loss_zero = 9.0
    config.update_from_flattened_dict(changes)
    return config


def collapsing(**changes):
    """Return a config for which all samples count as duplicates."""
    return config_of(**{
        'diagnosis.collapse_distance': 1e9, 'diagnosis.d_loss_zero': 0.0,
        **changes,
    })


def run(folder, config):
    unused_keys.leave_out(config)
    return train.train(config, folder, images=helpers.random_images())


def lines(folder, name='diagnosis.jsonl'):
    path = folder / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def named(folder):
    return [(line['step'], line['rule']) for line in lines(folder)]


def test_finding_is_in_file_terminal_and_tensorboard(tmp_path, capsys):
    run(tmp_path, config_of())
    records = [x for x in lines(tmp_path) if x['rule'] == 'discriminator_won']
    assert [record['step'] for record in records] == [2]
    (line,) = records
    assert set(line) == {
        'step', 'rule', 'level', 'text', 'evidence', 'advice'
    }
    assert line['level'] == 'alarm' and line['evidence']['d/loss'] < 9
    shown = f'step 2  alarm: {line["text"]}. {line["advice"]}'
    assert capsys.readouterr().out.count(shown) == 1
    (events,) = (tmp_path / 'tensorboard').glob('events*')
    assert b'diagnosis/discriminator_won' in events.read_bytes()


def test_probes_are_in_the_metrics_of_their_step(tmp_path):
    run(tmp_path, config_of(log_every=3))
    metrics = {x['step']: x for x in lines(tmp_path, 'metrics.jsonl')}
    assert [s for s in metrics if 'probe/judge' in metrics[s]] == [4, 8, 12]
    assert 'd/loss' not in metrics[4] and 'd/loss' in metrics[12]


def test_held_out_images_of_another_size_are_probed(tmp_path):
    for split, shape in ('train', (8, 8, 1)), ('test', (12, 10, 3)):
        (tmp_path / split).mkdir()
        for number, image in enumerate(helpers.random_images(8, shape)):
            content = image_files.encoded(image)
            (tmp_path / split / f'{number}.png').write_bytes(content)
    config = config_of(**{'data.path': str(tmp_path)})
    dataset = builders.dataset(config)
    specs = builders.single_source_specs(dataset.images.shape[1:])
    gan = builders.algorithm(config, specs)
    state = builders.initial_state(config, gan, specs)
    found = monitor.Diagnosis(config, gan, state, dataset, []).probe(
        gan, state.replace(step=np.int32(2))
    )
    assert 'probe/d_memory' in found


@pytest.mark.parametrize('off, there, words', [
    ({'diagnosis.on': False}, False, 'This run was not diagnosed.'),
    ({'diagnosis.patience': 99}, True, 'Nothing was found.'),
])
def test_switched_off_or_patient_it_finds_nothing(off, there, words, tmp_path):
    run(tmp_path, config_of(**off))
    assert not lines(tmp_path)
    assert b'probe/' not in (tmp_path / 'metrics.jsonl').read_bytes()
    assert (tmp_path / 'diagnosis.jsonl').exists() == there
    report = page.of_run(load_run.load(tmp_path), inspect_model.Inspection())
    assert [said for said in (
        'This run was not diagnosed.', 'Nothing was found.'
    ) if said in report] == [words]


def test_training_is_bit_identical_without_diagnosis(tmp_path):
    seen = run(tmp_path / 'seen', config_of())
    blind = run(tmp_path / 'blind', config_of(**{'diagnosis.on': False}))
    assert helpers.leaves_equal(seen.state, blind.state)
    assert lines(tmp_path / 'seen')


@pytest.mark.parametrize('cut', [4, 8])
def test_resumed_run_finds_what_the_whole_run_finds(cut, tmp_path):
    run(tmp_path / 'whole', config_of())
    run(tmp_path / 'parts', config_of(num_steps=cut))
    # What a kill leaves behind: lines of steps that are made again, and half
    # a line.
    with (tmp_path / 'parts' / 'diagnosis.jsonl').open('a') as file:
        late = {**lines(tmp_path / 'whole')[0], 'step': cut + 1}
        file.write(json.dumps(late) + '\n{"step": 2, "ru')
    run(tmp_path / 'parts', config_of())
    assert lines(tmp_path / 'parts') == lines(tmp_path / 'whole')
    assert named(tmp_path / 'parts')


def test_collapse_is_a_warning_by_default(tmp_path):
    result = run(tmp_path, collapsing(num_steps=20))
    assert (12, 'mode_collapse') in named(tmp_path)
    assert int(result.state.step) == 20


def test_collapse_stops_a_run_once_and_it_can_continue(tmp_path):
    config = collapsing(num_steps=20, on_collapse='stop')
    with pytest.raises(errors.CollapseError, match='step 12, which is saved'):
        run(tmp_path, config)
    assert sampling.saved_steps(tmp_path)[-1] == 12
    assert errors.CollapseError.exit_code == 6
    assert int(run(tmp_path, config).state.step) == 20
    assert named(tmp_path).count((12, 'mode_collapse')) == 1


def test_collapse_at_a_logged_step_is_saved(tmp_path):
    run(tmp_path, collapsing())
    config = collapsing(num_steps=20, on_collapse='stop')
    config.diagnosis.patience = 13  # past the three probes
    with pytest.raises(errors.CollapseError, match='step 13, which is saved'):
        run(tmp_path, config)
    assert int(sampling.load(tmp_path)[1].step) == 13


@pytest.mark.slow
def test_collapse_restarts_with_new_seeds_and_keeps_attempts(
    tmp_path, capsys
):
    config = collapsing(num_steps=20, on_collapse='restart', max_restarts=2)
    with pytest.raises(errors.CollapseError, match='was restarted 2 times'):
        run(tmp_path, config)
    assert 'Restarting with seed 2' in capsys.readouterr().err
    noted = json.loads((tmp_path / 'restarts.json').read_text())
    assert [x['seed'] for x in noted] == [1, 2]
    weights = []
    for seed, folder in enumerate((
        tmp_path / 'before-1', tmp_path / 'before-2', tmp_path
    )):
        assert run_files.load_config(folder).seed == seed
        assert (folder / 'metrics.jsonl').exists()
        assert (12, 'mode_collapse') in named(folder)
        weights.append(sampling.load(folder, 4)[1].averages[G].params)
    assert not helpers.leaves_equal(*weights[:2])
    # Resuming keeps the seed of the last attempt.
    config.on_collapse = 'warn'
    assert int(run(tmp_path, config).state.step) == 20
    assert run_files.load_config(tmp_path).seed == 2


@pytest.mark.parametrize('moved', [0, 1, 3, 99])
def test_kill_while_an_attempt_is_moved_loses_nothing(
    moved, tmp_path, monkeypatch
):
    run(tmp_path, config_of(num_steps=4))
    left = {path.name for path in tmp_path.iterdir()}
    rename, done = type(tmp_path).rename, []
    path_type = type(run_folder.at(tmp_path))

    def dies(self, target):
        if target.parent.name == 'before-1':
            if len(done) == moved:
                raise KeyboardInterrupt
            done.append(self)
        return rename(self, target)

    monkeypatch.setattr(path_type, 'rename', dies)
    try:
        run_folder.restart(run_folder.at(tmp_path), 1, 'collapsed')
    except KeyboardInterrupt:
        assert moved != 99
    monkeypatch.undo()
    past = run_folder.restarts(run_folder.at(tmp_path))
    assert [x['seed'] for x in past] == [1]
    aside = {path.name for path in (tmp_path / 'before-1').iterdir()}
    assert left - {'lock'} <= aside | {run_folder.lock.NAME}
    config = config_of(num_steps=4)
    run(tmp_path, config)
    assert run_files.load_config(tmp_path).seed == 1


@pytest.mark.parametrize('override', [False, True])
def test_seed_that_no_attempt_had_is_refused(override, tmp_path):
    folder = run_folder.at(tmp_path)
    for seed in (4, 5):
        run_folder.restart(folder, seed, 'collapsed')
    config = config_of(seed=0)
    with pytest.raises(
        errors.ConfigError, match='seed=0: .* started with seed 3 .* with 5'
    ):
        train.train(
            config, tmp_path, images=helpers.random_images(),
            override_config=override,
        )
    for config.seed in (3, 4, 5):  # so that the same command goes on
        assert train._with_restarts(
            config, folder, lambda config: config.seed
        ) == 5


@pytest.mark.parametrize('key, value, allowed', [
    ('on_collapse', 'halt', "'restart', 'stop', 'warn'"),
    ('max_restarts', -1, '0 or positive'),
    ('diagnosis.window', 0, 'a positive number'),
    ('diagnosis.range_gap', float('nan'), '0 or positive'),
    ('diagnosis.patience', -1, '0 or positive'),
])
def test_bad_values_are_refused(key, value, allowed):
    config = helpers.tiny_mlp()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(errors.ConfigError, match=f'{key}=.*{allowed}'):
        validation.validate(config)


def game_of(**changes):
    config = helpers.tiny_mlp()
    config.update_from_flattened_dict(changes)
    gan = helpers.linear_gan()
    state = helpers.start(gan)
    if config.algorithm:
        gan = builders.algorithm(
            config, builders.single_source_specs((8, 8, 1))
        )
    return monitor.game_of(config, gan, state)


@pytest.mark.parametrize('loss, d, g', [
    ('non_saturating', 2 * np.log(2), np.log(2)),
    ('minimax', 2 * np.log(2), -np.log(2)),
    ('relativistic', np.log(2), np.log(2)), ('hinge', 2, 0),
    ('relativistic_average', 2 * np.log(2), 2 * np.log(2)),
    ('least_squares', 0.25, 0.125),
])
def test_equilibrium_is_that_of_the_loss(loss, d, g):
    found = game_of(**{'loss.name': loss})
    np.testing.assert_allclose(found.equilibrium, (d, g), rtol=1e-6)
    assert found.unit == found.equilibrium[0]
    logits = np.full(2, found.middle, np.float32)
    sides = losses.LOSSES[loss]
    np.testing.assert_allclose(found.equilibrium, [
        side(logits, logits) for side in (sides.discriminator, sides.generator)
    ], rtol=1e-6, atol=1e-7)
    assert found.kind == sides.kind
    assert found.saturates == (loss == 'minimax')


def test_game_has_sizes_and_the_floor_of_soft_targets():
    found = game_of(**{'labels.real_low': 0.9, 'labels.real_high': 0.9})
    entropy = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    np.testing.assert_allclose(found.floor, entropy)
    assert found.equilibrium is None
    assert (found.g_size, found.d_size) == (3 * 4 + 4, 4 + 1)
    assert game_of(**{'loss.name': 'wasserstein'}).equilibrium is None
    assert game_of(**{'loss.name': 'energy_based'}).unit == 10
    assert game_of(**{'algorithm': 'vae'}).kind == 'none'
    assert found.bounded
    assert not game_of(**{'generator.output': 'linear'}).bounded
