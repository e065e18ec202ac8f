"""The benchmark of backgrounds: its numbers by hand, its configs, its files."""

import json

import numpy as np
from PIL import Image

import helpers
from gan_jax.config import recipes
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.data import tasks
from gan_jax.runtime import writer

script, parse = helpers.load_script('background')


def drawings():
    """Return grey images of a white bar on black, [8, 16, 16, 1]."""
    grey = np.zeros((8, 16, 16, 1), np.uint8)
    for number, image in enumerate(grey):
        image[:, 4:6 + number] = 255
        image[0, 0] = number  # as parity decides the color
    return grey


def numbers(task, translate):
    """Measure a translation of the drawings of a task."""
    grey = drawings()
    inputs, partners = tasks.TASKS[task].a(grey), tasks.TASKS[task].b(grey)
    return script.measure(inputs, translate(inputs, partners), partners, grey)


def test_true_images_change_the_background_only_where_it_is_tied():
    tied, free = (
        numbers(task, lambda inputs, partners: partners)
        for task in script.TASKS
    )
    swap = np.abs(np.subtract(tasks.GREEN, tasks.YELLOW)).mean() / 255
    np.testing.assert_allclose(tied['background'], swap, atol=0.01)
    np.testing.assert_allclose(free['background'], 0, atol=1e-9)
    assert tied['color_kept'] == 0 and free['color_kept'] == 1
    for row in (tied, free):
        assert row['true_error'] == 0 < row['domain_distance']
        assert row['background'] == row['background_of_task']
        # Every other row of the bar is 40 in place of 255.
        np.testing.assert_allclose(row['digit'], 0.5 * 215 / 255)
        assert row['digit'] == row['digit_of_task']


def test_unchanged_images_keep_their_background():
    for task in script.TASKS:
        row = numbers(task, lambda inputs, partners: inputs)
        assert row['background'] == row['digit'] == 0
        assert row['color_kept'] == 1
        assert row['true_error'] == row['domain_distance'] > 0


def test_one_color_for_all_keeps_half_of_two_colors():
    def paint(inputs, partners):
        del inputs
        return np.full_like(partners, 0) + np.array(tasks.YELLOW, np.uint8)

    assert numbers('tied_background', paint)['color_kept'] == 0
    assert numbers('free_background', paint)['color_kept'] == 0.5


def test_runs_differ_in_task_and_identity_alone():
    parse('--steps=100')
    configs, names = zip(*(
        script.make_config(task, identity)
        for task in script.TASKS for identity in (0.0, 2.5)
    ))
    assert len(set(names)) == 4
    for config in configs:
        validation.validate(config)
        assert config.g_optimizer.schedule_steps == config.num_steps == 100
        assert config.d_optimizer.hold_steps == 50
    changed = run_identity.differences(configs[0], configs[3])
    assert {line.split(':')[0] for line in changed} <= {
        'data.task', 'data.a.task', 'data.b.task', 'translation.identity'
    }
    parse('--steps=200', '--seed=3')
    assert script.make_config('tied_background', 0)[1] not in names


def test_picture_shows_all_pixels_and_is_small(tmp_path):
    """Also where all translations are noise."""
    noise = helpers.random_images(script.SHOWN, (32, 32, 3))
    plain = np.zeros_like(noise) + np.arange(32, dtype=np.uint8)[:, None]
    one = script.Result({}, plain, noise, plain)
    picture = script.draw({
        ('a', 0.0): one, ('a', 1.0): one, ('b', 0.0): one, ('b', 1.0): one
    })
    images = picture[script.GAP:, script.LABELS:]
    for row, expected in ((0, plain), (1, noise), (3, plain)):
        top = row * (64 + script.GAP)
        np.testing.assert_array_equal(
            images[top:top + 64, :64], expected[0].repeat(2, 0).repeat(2, 1)
        )
    label = picture[script.GAP:script.GAP + 64, :script.LABELS].min((0, 2))
    assert label.min() < 128 and label[:script.GAP].min() == 255
    writer.save_png(tmp_path / 'noise.png', picture)
    assert (tmp_path / 'noise.png').stat().st_size < 200_000


def test_main_writes_its_files_and_keeps_its_runs(
        monkeypatch, tmp_path, capsys):
    load = recipes.load

    def shrunk(path):
        config = load(path)
        config.generator.width = config.discriminator.width = 2
        config.generator.num_blocks, config.batch_size = 1, 2
        config.data.limit = 40
        return config

    monkeypatch.setattr(script.recipes, 'load', shrunk)
    monkeypatch.setattr(script, 'TASKS', ('free_background',))
    out, numbers, page = (
        tmp_path / 'new' / name for name in ('b.png', 'b.json', 'b.md')
    )
    parse(
        '--steps=2', '--identity=1', f'--out={out}', f'--json={numbers}',
        f'--table={page}', f'--runs={tmp_path / "runs"}',
    )
    script.main([])
    written = json.loads(numbers.read_text())
    rows = written['runs']
    assert [(row['task'], row['identity']) for row in rows] == [
        ('free_background', 0), ('free_background', 1)
    ]
    for row in rows:
        assert set(script.COLUMNS) < set(row)
        assert row['background_of_task'] < 0.02 < row['digit_of_task']
    assert written['environment']['device_kind'] in page.read_text()
    assert page.read_text().count('| `free_background` | ') == 2
    assert page.read_text() in capsys.readouterr().out
    assert out.stat().st_size < 200_000
    with Image.open(out) as image:
        assert image.format == 'PNG'
    script.main([])
    assert 'is complete: 2 of 2 steps' in capsys.readouterr().out
