"""The critic's estimate: its sign, its two ends, its picture."""

import json

import numpy as np
from PIL import Image
import pytest

import helpers
from gan_jax.core import errors

script, parse = helpers.load_script('wgan_estimate')


def test_estimate_is_minus_the_loss_of_d(tmp_path):
    lines = [{'step': 5, 'd/loss': -0.25}, {'step': 10, 'd/loss': 0.5}]
    (tmp_path / 'metrics.jsonl').write_text(
        ''.join(json.dumps(line) + '\n' for line in lines)
    )
    steps, values = script.estimates(tmp_path)
    np.testing.assert_array_equal(steps, [5, 10])
    np.testing.assert_array_equal(values, [0.25, -0.5])


def test_ends_are_a_tenth_of_the_run_each():
    steps = np.arange(1, 101)
    values = np.where(steps <= 10, 4.0, np.where(steps > 90, 1.0, 100.0))
    assert script.ends(steps, values) == (4.0, 1.0)


def test_smoothing_keeps_a_line_and_drops_a_spike():
    line = np.arange(30.0)
    np.testing.assert_allclose(script.smooth(line)[4:-4], line[4:-4])
    assert script.smooth(np.eye(30)[15]).max() == 0


def test_steps_that_the_looks_do_not_divide_are_refused():
    parse('--num_steps=14')
    with pytest.raises(errors.ConfigError, match='num_steps=14'):
        script.configure()


def test_a_short_run_leaves_its_picture(monkeypatch, tmp_path, capsys):
    load = script.recipes.load

    def tiny(path):
        config = helpers.tiny(load(path))
        config.data.image_size, config.d_steps = '8', 1
        config.schedule.burst_steps = config.schedule.burst_first = 1
        return config

    monkeypatch.setattr(script.recipes, 'load', tiny)
    parse(
        '--num_steps=12', f'--workdir={tmp_path}/run', f'--out={tmp_path}/a.png'
    )
    script.main([])
    assert 'estimate: ' in capsys.readouterr().out
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.width == 800
