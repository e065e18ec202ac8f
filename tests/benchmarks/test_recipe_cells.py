"""Cells of runs on the digits: what each group counts and sees."""

import json

import numpy as np
import pytest

import helpers
from gan_jax.config import defaults
from gan_jax.data import sources
from gan_jax.features import classifier

script, _ = helpers.load_script('recipe_cells')

SCORE = {
    'confidence': 0.95, 'rarest_class': 0.08, 'nearest': 1.4, 'spread': 0.9,
}


def test_seconds_are_those_between_the_logged_steps(tmp_path):
    lines = [
        {'step': 20, 'perf/steps_per_sec': 10.0},
        {'step': 40, 'perf/steps_per_sec': 5.0},
        {'step': 41, 'perf/steps_per_sec': 0.5},
    ]
    (tmp_path / 'metrics.jsonl').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines)
    )
    config = defaults.default_config()
    config.packing = 2
    state = helpers.start(helpers.linear_gan()).replace(
        position=np.int32(100)
    )
    run = script.Trained(config, tmp_path, None, state, np.zeros(0))
    assert script.training(run) == {
        'seconds': 2.0 + 4.0 + 2.0, 'real_images': 100 * 64 * 2,
    }


def test_sharpness_by_hand():
    ramp = np.zeros((2, 6, 7, 1), np.uint8)
    ramp[0] = 3 * np.arange(6)[:, None, None] + 4 * np.arange(7)[:, None]
    found = script.digits_metrics.sharpness(ramp)
    np.testing.assert_allclose(found, 5 / 2)  # of the two, one is flat


@pytest.mark.parametrize('column, value, words', [
    (None, None, ''),
    ('rarest_class', 0.009, 'classes are missing'),
    ('confidence', 0.84, 'unsure'),
    ('nearest', 1.51, 'far from digits'),
    ('spread', 0.59, 'alike'),
])
def test_verdict_says_what_is_plainly_wrong(column, value, words):
    score = dict(SCORE)
    if column:
        score[column] = value
    found = script.verdict({'score': score})
    assert words in found and bool(found) == bool(words)


def of_samples(samples, test_share):
    config = defaults.default_config()
    config.data.test_share = test_share
    return script.Trained(config, None, None, None, samples)


def test_copies_are_told_where_digits_were_held_out():
    request = sources.Request('digits', test_share=0.2)
    copies = sources.load(request).images[:200]
    others = sources.load(request._replace(split='test')).images[:200]
    found = script.copying(of_samples(copies, 0.2))
    assert found == {'memorisation': 1.0, 'copies': True}
    assert 'copies training images' in script.verdict(
        {'score': SCORE, 'copying': found}
    )
    assert not script.copying(of_samples(others, 0.2))['copies']
    assert script.copying(of_samples(copies, 0.0))['copies'] is None


def test_quality_knows_digits_from_noise_and_all_from_one(
    monkeypatch, tmp_path
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(
        script, 'SETTINGS', classifier.Settings(steps=40, width=4)
    )
    digits = sources.load(sources.Request('digits')).images
    sets = {
        'digits': digits[::6], 'one': np.tile(digits[:1], (300, 1, 1, 1)),
        'noise': helpers.random_images(300, (32, 32, 1)),
    }
    found = {
        name: script.quality(of_samples(images, 0.0))
        for name, images in sets.items()
    }
    for name in ('one', 'noise'):
        assert found[name]['fid'] > 10 * found['digits']['fid']
        assert found[name]['kid'] > 10 * abs(found['digits']['kid'])
        assert found[name]['coverage'] < found['digits']['coverage'] / 2
    assert found['one']['is'] == pytest.approx(1)
    assert found['digits']['is'] > 1.3
    assert found['one']['precision'] > found['noise']['precision']
    assert found['digits']['recall'] > 0.5 > found['one']['recall']
