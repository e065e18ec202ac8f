"""Evaluation of translations: perfect, useless and untrained ones."""

import json
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.evaluation import domains
from gan_jax.evaluation import runner
from gan_jax.evaluation import translations
from gan_jax.features import classifier
from gan_jax.features import classifier_cache

PIXELS = runner.EvaluationOptions(features='pixels', num_real=200)


class Scaled(NamedTuple):
    """An algorithm that multiplies images by a factor, raw ones by 0."""

    factor: float
    directions: tuple = ('a_to_b', 'b_to_a')
    weight_names = ('ema', 'raw')

    def weights(self, state, name):
        del state
        return jnp.float32(self.factor if name == 'ema' else 0)

    def translate(self, weights, images, direction, keys=None):
        del direction, keys
        return weights * images


def configured(algorithm='cyclegan'):
    """Return a config of tiny networks that invert digits."""
    config = defaults.default_config()
    config.algorithm = algorithm
    config.data = defaults.grouped_data('a', 'b')
    config.data.update({
        'name': 'digits', 'task': 'invert', 'limit': 200, 'test_share': 0.1,
    })
    config.generator.name = {
        'cyclegan': 'resnet_translator', 'pix2pix': 'unet'
    }[algorithm]
    config.discriminator.name = 'patchgan'
    config.generator.width = config.discriminator.width = 2
    config.loss.name, config.batch_size = 'least_squares', 2
    return config


@pytest.fixture(scope='module', params=['cyclegan', 'pix2pix'])
def folder(request, tmp_path_factory):
    """Return the folder of an untrained run."""
    folder = tmp_path_factory.mktemp(request.param) / 'run'
    helpers.untrained(configured(request.param), folder)
    return folder


@pytest.fixture(autouse=True)
def brightness(monkeypatch):
    """Replace the classifier by one that needs no training."""
    monkeypatch.setattr(
        classifier_cache, 'load', lambda *args, **options:
        classifier_cache.Classifier(
            None, None, (32, 32, 1), 'fingerprint', 0.75, 'nothing',
        )
    )
    monkeypatch.setattr(classifier, 'apply', _see_brightness)


@pytest.fixture
def evaluated(tmp_path_factory, monkeypatch):
    """Return a function: algorithm, options -> {direction: result}, lines."""
    folder = tmp_path_factory.mktemp('scaled') / 'run'
    config = configured()
    state = helpers.untrained(config, folder).state

    def evaluate(algorithm, options=PIXELS):
        lines = []
        monkeypatch.setattr(
            translations.sampling, 'load', lambda *args: (algorithm, state)
        )
        results = runner.evaluate_run(folder, None, options, lines.append)
        return {result['direction']: result for result in results}, lines

    return evaluate


def _see_brightness(network, variables, images):
    """Classify as 0 what is dark, and as 1 what is bright."""
    del network, variables
    bright = jnp.asarray(images).reshape(len(images), -1).mean(1) > 127
    logits = jnp.zeros((len(images), 10)).at[:, 1].set(bright)
    return classifier.Output(logits, logits)


def test_perfect_translation_has_no_error(evaluated):
    results, lines = evaluated(Scaled(-1.0))
    assert list(results) == ['a_to_b', 'b_to_a']
    for name, result in results.items():
        values = result['values']
        np.testing.assert_allclose(values['true_error']['value'], 0, atol=1e-6)
        np.testing.assert_allclose(values['cycle_error']['value'], 0, atol=1e-6)
        np.testing.assert_allclose(
            values['true_error_ratio']['value'], 0, atol=1e-6
        )
        # |x - (1 - x)|, of digits on black
        distance = values['domain_distance']['value']
        assert values['true_error']['untranslated'] == distance
        assert 0.8 < distance < 0.95
        fid = values['fid']
        assert fid['value'] < 3 * fid['floor'] < 0.1 * fid['untranslated']
        assert result['held_out'] and result['num_fake'] == 180
        assert result['true_images'] == "data.task='invert'"
    assert any(line.startswith('true_error ') for line in lines)
    json.dumps(list(results.values()))


def test_identity_is_as_far_as_the_domains_but_has_a_perfect_cycle(evaluated):
    results, _ = evaluated(Scaled(1.0))
    for result in results.values():
        values = result['values']
        np.testing.assert_allclose(values['true_error_ratio']['value'], 1)
        np.testing.assert_allclose(values['cycle_error']['value'], 0, atol=1e-6)
        fid = values['fid']
        np.testing.assert_allclose(fid['value'], fid['untranslated'])


def test_errors_are_shares_of_the_range_of_values(evaluated):
    raw = PIXELS._replace(metrics=('true_error', 'cycle_error'), weights='raw')
    results, _ = evaluated(Scaled(1.0), raw)  # all grey
    for result in results.values():
        inputs = domains.directions(configured())[0].inputs
        images = inputs.images[:] / 255
        expected = np.abs(images - 0.5).mean()
        for name in ('true_error', 'cycle_error'):
            np.testing.assert_allclose(
                result['values'][name]['value'], expected, rtol=1e-5
            )


def test_class_is_that_of_the_source(evaluated):
    """The classifier sees a 0 in dark images, and a 1 in bright ones."""
    results, _ = evaluated(
        Scaled(-1.0), PIXELS._replace(metrics=('class_kept',))
    )
    labels = domains.directions(configured())[0].inputs.labels
    zeros, ones = (labels == 0).mean(), (labels == 1).mean()
    assert zeros != ones
    there, back = (
        results[name]['values']['class_kept'] for name in ('a_to_b', 'b_to_a')
    )
    assert there == {'value': ones, 'untranslated': zeros, 'floor': 0.75}
    assert back == {'value': zeros, 'untranslated': ones, 'floor': 0.75}


def test_all_steps_of_a_run_are_measured_in_its_directions(folder):
    lines, kept = [], []
    results = runner.evaluate_run(
        folder, 'all', PIXELS._replace(num_fake=30), lines.append, kept.append
    )
    is_cyclegan = folder.parent.name.startswith('cyclegan')
    names = translation.KINDS['cyclegan' if is_cyclegan else 'pix2pix']
    assert [result['direction'] for result in results] == list(names)
    assert results == kept
    for result in results:
        values = result['values']
        assert ('cycle_error' in values) == is_cyclegan
        assert {
            'true_error', 'domain_distance', 'true_error_ratio',
            'mean_image_error', 'class_kept', 'fid', 'kid', 'precision', 'swd',
        } <= set(values)
        assert values['true_error']['value'] > 0.01
        assert result['step'] == 4 and result['num_fake'] == 30
    text = '\n'.join(lines)
    assert ('cycle_error is skipped: there is no generator' in text) != (
        is_cyclegan
    )


def test_batches_do_not_change_a_translation(folder, monkeypatch):
    algorithm, state = translations.sampling.load(folder)
    weights = algorithm.weights(state, 'ema')
    images = helpers.random_images(5, (32, 32, 1))
    whole = translations.translate(
        algorithm, weights, 'a_to_b', images, np.arange(5)
    )
    monkeypatch.setattr(translations, 'BATCH_PIXELS', 2 * 32 * 32)
    parts = translations.translate(
        algorithm, weights, 'a_to_b', images, np.arange(5)
    )
    if algorithm.name == 'cyclegan':  # the noise of pix2pix is by its place
        np.testing.assert_allclose(
            whole.images.astype(int), parts.images, atol=1
        )
    assert len(parts.images) == 5 and parts.true_errors is None


@pytest.mark.parametrize('change, message', [
    ({'metrics': ('memorization',)}, '--metrics='),
    ({'features': 'discriminator'}, '--features='),
    ({'weights': 'snapshots'}, 'weights='),
    ({'split': 'validation'}, 'validation'),
])
def test_mistakes_are_named(change, message, folder):
    with pytest.raises(errors.UserError, match=message):
        runner.evaluate_run(folder, None, PIXELS._replace(**change), print)


def test_metrics_of_translations_are_refused_for_samples(tmp_path):
    helpers.untrained(helpers.tiny_mlp(), tmp_path)
    with pytest.raises(errors.ConfigError, match='true_error'):
        runner.evaluate_run(
            tmp_path, None, PIXELS._replace(metrics=('true_error',)), print
        )


def test_table_has_a_row_for_each_number():
    result = {
        'direction': 'b_to_a', 'step': 40, 'weights': 'ema', 'num_fake': 1234,
        'held_out': False, 'data': 'horses', 'shape': [8, 8, 3],
        'split': 'train', 'num_real': 99, 'target': 'zebras',
        'target_shape': [8, 8, 1], 'true_images': '',
        'features': {'note': 'raw pixels', 'fingerprint': 'abc'},
        'values': {
            'cycle_error': {'value': 0.125},
            'fid': {'value': 12.3456, 'untranslated': 100.0, 'floor': 1.0},
            'kid_std': {'value': 3.0},
        },
    }
    assert translations.table(result) == [
        'b_to_a of step 40 ema: 1,234 images of b, trained on (horses 8x8x3, '
        'train), against 99 of a (zebras 8x8x1)',
        'true translations: not known | features: raw pixels, abc',
        'number       translated  untranslated  real  better',
        'cycle_error       0.125             -     -  lower',
        'fid               12.35           100     1  lower',
    ]
