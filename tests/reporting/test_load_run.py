"""Contents of run folders, damaged ones included."""

import json

import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.reporting import load_run
from gan_jax.runtime import writer

RECORD = {'step': 2, 'd/loss': 1.5, 'perf/steps_per_sec': 4.0}


def folder(path, lines=(RECORD,), config=None):
    """Create the smallest folder that is a run's."""
    path.mkdir(parents=True, exist_ok=True)
    config = (config or helpers.tiny_mlp()).to_dict()
    writer.write_json(path / 'config.json', config)
    (path / writer.METRICS).write_text(''.join(
        (line if isinstance(line, str) else json.dumps(line)) + '\n'
        for line in lines
    ))
    return path


def gather(path, *lines):
    return load_run.load(folder(path, lines or (RECORD,)))


def test_smallest_folder_is_a_run(tmp_path):
    run = gather(tmp_path / 'mine')
    assert run.name == 'mine' and run.workdir == str(tmp_path / 'mine')
    assert run.steps == 2 and run.config['loss.name'] == 'non_saturating'
    assert run.findings is None and run.reals == {}
    assert (run.frames, run.starts, run.evaluations) == ([], [], [])
    assert run.image_shape == () and run.overrides == ()


def test_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(errors.CheckpointError, match='not the folder of a run'):
        load_run.load(tmp_path / 'nothing')
    with pytest.raises(errors.CheckpointError, match='not the config of a run'):
        (folder(tmp_path) / 'config.json').write_text('{"loss": 3}')
        load_run.load(tmp_path)


@pytest.mark.parametrize('lines', [(), ('{"step": 1, "d/', '[]')])
def test_folder_without_numbers_is_refused(lines, tmp_path):
    folder(tmp_path, lines)
    with pytest.raises(errors.CheckpointError, match='has no numbers yet'):
        load_run.load(tmp_path)


def test_damaged_lines_are_counted_and_the_rest_is_read_in_order(tmp_path):
    run = gather(
        tmp_path, {'step': 4, 'a': 4.0}, {'step': 2, 'a': float('nan')},
        '{"step": 3, "a"', '[1]', '{"a": 1}', '{"step": true}', '\0',
        '{"step": 1' + '0' * 400 + '}', '[' * 10**5,
        {'step': 4, 'b': 5}, {'step': 6, 'a': '<b>', 'b': 10 ** 400},
    )
    assert run.damaged == 7
    assert run.records == [
        {'step': 2, 'a': None}, {'step': 4, 'a': 4.0, 'b': 5.0},
        {'step': 6, 'a': None, 'b': None},
    ]
    assert load_run.series(run, 'a') == ([4], [4.0])
    assert load_run.names([run]) == ['a', 'b']


@pytest.mark.parametrize('content', ['', '{', '[', '3', '"x"', 'null', '[[1]]'])
def test_other_files_may_hold_anything(content, tmp_path):
    folder(tmp_path)
    for name in ('environment.json', 'data.json', 'evaluation.json'):
        (tmp_path / name).write_text(content)
    run = load_run.load(tmp_path)
    assert (run.starts, run.data, run.evaluations) == ([], {}, [])


@pytest.mark.parametrize('shape, expected', [
    ([8, 8, 1], (8, 8, 1)), ([2], (2,)), ([8, 8], ()), ('8x8', ()),
    ([8, 0, 1], ()), ([8, '8', 1], ()),
])
def test_only_valid_shapes_are_taken(shape, expected, tmp_path):
    folder(tmp_path)
    writer.write_json(
        tmp_path / 'data.json', {'real': {'image_shape': shape}}
    )
    run = load_run.load(tmp_path)
    assert run.image_shape == expected
    assert run.has_points == (expected == (2,))


def test_pictures_are_listed_by_step(tmp_path):
    samples = folder(tmp_path) / 'samples'
    for name in ('000010', '000002', 'reals', 'reconstructed-000004', 'x2'):
        writer.save_png(samples / f'{name}.png', np.zeros((2, 2, 1), np.uint8))
    run = load_run.load(tmp_path)
    assert [frame.step for frame in run.frames] == [2, 10]
    assert run.reals[''].name == 'reals.png'
    assert run.reconstructed['reconstructed'].step == 4


def test_each_source_has_its_shape_and_its_real_images(tmp_path):
    samples = folder(tmp_path) / 'samples'
    writer.write_json(tmp_path / 'data.json', {
        name: {'image_shape': [8, 8, channels]}
        for name, channels in (('b', 1), ('a', 3), ('../c', 1))
    })
    for name in ('reals-a', 'reals-b', 'reals-other'):
        writer.save_png(samples / f'{name}.png', np.zeros((2, 2, 1), np.uint8))
    writer.save_png(tmp_path / 'c.png', np.zeros((2, 2, 1), np.uint8))
    run = load_run.load(tmp_path)
    assert {name: path.name for name, path in run.reals.items()} == {
        'b': 'reals-b.png', 'a': 'reals-a.png'
    }
    assert run.image_shape == (8, 8, 1)
    assert load_run.shape_of(run.sources['a']) == (8, 8, 3)


def test_missing_diagnosis_differs_from_an_empty_one(tmp_path):
    assert gather(tmp_path).findings is None
    path = tmp_path / load_run.DIAGNOSIS
    path.write_text('')
    assert load_run.load(tmp_path).findings == []
    path.write_text(
        '{"step": 5, "rule": "r", "level": "alarm", "text": "t", "advice": "a",'
        '"evidence": {"x": 1}}\nbroken\n{"level": "odd", "evidence": 3}\n'
    )
    assert load_run.load(tmp_path).findings == [
        {'step': 5, 'rule': 'r', 'level': 'alarm', 'text': 't', 'advice': 'a',
         'evidence': {'x': 1}},
        {'step': None, 'rule': '', 'level': 'note', 'text': '', 'advice': '',
         'evidence': {}},
    ]


@pytest.mark.parametrize('command, keys', [
    ('python -m x --config=a.py --config.d_steps=2', ('d_steps',)),
    ('python -m x -config.loss.name hinge --noconfig.report',
     ('loss.name', 'report')),
    ("python -m x --config.no_such=1 --config.seed='2 3", ('seed',)),
    ('python mine.py', ()),
])
def test_keys_of_the_command_line_are_known(command, keys, tmp_path):
    folder(tmp_path)
    writer.write_json(
        tmp_path / 'environment.json', [{'command': 'old'},
                                        {'command': command}]
    )
    assert load_run.load(tmp_path).overrides == keys


def test_changed_and_differing_keys(tmp_path):
    config = helpers.tiny_mlp()
    first = load_run.load(folder(tmp_path / 'a', config=config))
    config.loss.name = 'hinge'
    second = load_run.load(folder(tmp_path / 'b', config=config))
    assert 'batch_size' in load_run.changed(first)
    assert 'loss.name' not in load_run.changed(first)
    assert 'loss.name' in load_run.changed(second)
    assert load_run.differing([first, second]) == ['loss.name']


def test_secrets_are_masked(tmp_path):
    config = helpers.tiny_mlp()
    config.data.path = 'https://me:hunter2@host/x'
    run = load_run.load(folder(tmp_path, config=config))
    assert 'hunter2' not in repr(run)


def test_time_is_that_of_the_logged_steps(tmp_path):
    run = gather(
        tmp_path, {'step': 10, 'perf/steps_per_sec': 2.0}, {'step': 15},
        {'step': 30, 'perf/steps_per_sec': 4.0},
        {'step': 30, 'perf/steps_per_sec': 4.0},
    )
    assert load_run.seconds(run) == 10 / 2 + 20 / 4
    assert load_run.seconds(gather(tmp_path, {'step': 3})) is None


def test_newest_evaluation_of_each_number_counts(tmp_path):
    folder(tmp_path)
    copying = {'pixels': {'verdict': 'copies', 'nearer': 0.5}}
    writer.write_json(tmp_path / 'evaluation.json', [
        {'step': 2, 'values': {'fid': {'value': 9.0, 'floor': 1.0},
                               'is': {'value': 2.0}}},
        {'step': 4, 'weights': 'ema', 'split': 'train',
         'features': {'name': 'pixels'},
         'values': {'fid': {'value': 7.0, 'floor': None},
                    'memorization': copying}},
        {'values': 3},
    ])
    run = load_run.load(tmp_path)
    assert load_run.measured(run) == {
        'fid': (7.0, None, 4, 'pixels, ema, train'),
        'is': (2.0, None, 2, '?, ?, ?'),
    }
    assert load_run.verdicts(run) == copying
