"""Best checkpoint of a run: it is kept and can be loaded."""

import json

import pytest

import helpers
from gan_jax.core import errors
from gan_jax.metrics import catalog
from gan_jax.runs import sampling
from gan_jax.training import train


def config_of(num_steps):
    config = helpers.tiny_mlp()
    config.num_steps, config.log_every, config.sample_every = num_steps, 0, 0
    config.keep_checkpoints, config.checkpoint_every = 1, 4
    config.eval_every, config.keep_best = 1, 'eval/diversity'
    return config


def run(folder, config):
    return train.train(config, folder, images=helpers.random_images()).state


def scores(folder):
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return {
        line['step']: abs(line['eval/diversity'] - 1)
        for line in map(json.loads, lines)
    }


def saved(folder):
    return sorted(int(p.name) for p in (folder / 'checkpoints').iterdir())


def test_best_step_is_kept_beside_the_newest(tmp_path):
    run(tmp_path / 'a', config_of(12))
    first_scores = scores(tmp_path / 'a')
    best = min(first_scores, key=first_scores.get)
    assert len(set(first_scores.values())) == 12
    assert saved(tmp_path / 'a') == sorted({best, 12})
    _, state = sampling.load(tmp_path / 'a', sampling.BEST)
    assert int(state.step) == best
    # A run that is stopped and continued keeps the same one.
    run(tmp_path / 'b', config_of(5))
    run(tmp_path / 'b', config_of(12))
    assert scores(tmp_path / 'b') == first_scores
    assert sampling.load(tmp_path / 'b', 'best')[1].step == best


def test_run_without_a_best_step_is_an_error(tmp_path):
    config = config_of(2)
    config.keep_best = ''
    run(tmp_path, config)
    with pytest.raises(errors.CheckpointError, match='keep_best'):
        sampling.load(tmp_path, 'best')


def test_unmeasured_keep_best_metric_is_refused_before_training(tmp_path):
    config = config_of(2)
    config.keep_best = 'eval/modes'
    with pytest.raises(errors.ConfigError, match="is not measured"):
        run(tmp_path, config)


def test_cost_is_lowest_at_the_best_value_of_each_metric():
    best = {
        'eval/diversity': (1, (0.5, 1.5)), 'eval/nearest_real': (1, (0.5, 2)),
        'eval/modes': (8, (7, 0)), 'eval/high_quality': (1, (0.9, 0)),
        'eval/reverse_kl': (0, (0.1, 2)), 'eval/smallest_mode': (0.1, (0.0,)),
    }
    for name, (good, worse) in best.items():
        assert all(
            catalog.cost(name, good) < catalog.cost(name, value)
            for value in worse
        )


@pytest.mark.parametrize('text, step', [
    (None, None), ('best', 'best'), ('12', 12),
])
def test_step_flag_is_parsed(text, step):
    assert sampling.parse_step(text) == step


@pytest.mark.parametrize('text', ['', 'last', '-1', '1.5', '٣'])
def test_invalid_step_flag_is_refused(text):
    with pytest.raises(errors.ConfigError, match='--step='):
        sampling.parse_step(text)
