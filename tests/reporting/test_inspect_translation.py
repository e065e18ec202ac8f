"""Translations in the report of a run."""

import html

import numpy as np
import pytest

import helpers
from gan_jax import reporting
from gan_jax.evaluation import runner
from gan_jax.reporting import inspect_translation
from gan_jax.reporting import load_run
from gan_jax.reporting import pictures
from gan_jax.training import train
from test_translations import configured
from test_translations import Scaled


def test_nearest_real_image_is_the_one_of_least_distance():
    real = helpers.random_images(40, (4, 4, 3))
    places = [7, 31, 7]
    images = real[places].copy()
    images[..., 0] ^= 1
    nearest, searched = inspect_translation.nearest_real(images, real)
    assert searched == 40
    np.testing.assert_array_equal(nearest, real[places])


def test_rows_are_the_images_their_translations_and_true_images():
    config = configured()
    there, back = inspect_translation.inspect(Scaled(-1.0), None, config)
    assert (there.source, there.target) == ('a', 'b')
    assert (back.source, back.target) == ('b', 'a') and there.held_out
    rows = pictures.tiles(there.picture, (32, 32, 1))
    images, fakes, cycles, true, near = rows.reshape(5, 10, 32, 32, 1)
    np.testing.assert_array_equal(255 - images, fakes)
    np.testing.assert_array_equal(images, cycles)
    np.testing.assert_array_equal(true, fakes)
    assert near.mean() > 200 > 55 > images.mean()  # of b, which is bright
    assert (near != true).any((1, 2, 3)).all()  # that was held out
    assert len(there.rows) == 5 and "data.task='invert'" in there.rows[3]
    np.testing.assert_allclose(there.error, 0, atol=1e-6)
    back_rows = pictures.tiles(back.picture, (32, 32, 1))
    np.testing.assert_array_equal(back_rows[:10], true)


@pytest.mark.parametrize('algorithm, words', [
    ('cyclegan', ('these back to a', 'cycle from b', 'From b to a',
                  'that translated back; an image of b')),
    ('pix2pix', ('to the true image', 'the true image',)),
])
def test_a_run_has_its_translations_in_the_report(algorithm, words, tmp_path):
    config = configured(algorithm)
    config.num_steps, config.log_every, config.report = 2, 1, True
    config.sample_every = config.checkpoint_every = 1
    train.train(config, tmp_path)
    runner.save(runner.default_out(tmp_path), runner.evaluate_run(
        tmp_path, None, runner.EvaluationOptions(
            ('true_error', 'fid'), 'pixels', num_fake=20, num_real=40
        ), lambda line: None,
    ))
    written = html.unescape((tmp_path / reporting.NAME).read_text())
    again = html.unescape(reporting.report(tmp_path))
    for text in (written, again):
        for part in (
            *words, 'From a to b, at step 2, images that were held out',
            'Rows, from the top: images of a; translations to b',
            'Mean error to the true images: ', 'Adversarial losses by domain',
            'Errors of images', 'Translations of fixed images',
            'The same images at each step', 'of real images of b',
            'Columns: an image of a, its translation to b',
        ):
            assert part in text, part
        assert 'seeds 0 to' not in text and 'not available' not in text
    assert 'a_to_b/true_error' in again and 'untranslated' in again
    assert ('b_to_a/fid' in again) == (algorithm == 'cyclegan')


def test_numbers_of_directions_do_not_replace_each_other():
    evaluations = [
        {'direction': name, 'step': 4, 'values': {'fid': {
            'value': value, 'untranslated': 10 * value, 'floor': 0.5,
        }}} for name, value in (('a_to_b', 1.0), ('b_to_a', 2.0))
    ]
    evaluations.append({'direction': ['x'], 'values': {'kid': {'value': 3}}})
    run = load_run.Run(*[None] * 14)._replace(evaluations=evaluations)
    measured = load_run.measured(run)
    assert [measured[f'{name}/fid'][0] for name in ('a_to_b', 'b_to_a')] == [
        1, 2
    ]
    assert measured['kid'][0] == 3
    assert load_run.untranslated(run) == {'a_to_b/fid': 10, 'b_to_a/fid': 20}
