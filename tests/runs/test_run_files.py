"""Validated reading of run folders from other people."""

import json
import os

import pytest

import helpers
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer

DEEP = '[' * 10**5


@pytest.fixture
def folder(tmp_path):
    writer.write_json(tmp_path / 'config.json', helpers.tiny_mlp().to_dict())
    writer.write_json(
        tmp_path / 'data.json', {'real': {'image_shape': [8, 8, 1]}}
    )
    return tmp_path


def refusal(function, folder, says):
    with pytest.raises(errors.CheckpointError, match=says) as caught:
        function(folder)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(folder))


@pytest.mark.parametrize('content, says', [
    ('[]', 'it is not a group'), ('"x"', 'it is not a group'),
    ('3', 'it is not a group'),
    ('{"seed": "x"}', "seed='x' is not of type int"),
    ('{"seed": true}', 'is not of type int'),
    ('{"seed": 1.5}', 'is not of type int'),
    ('{"num_steps": 1e400}', 'is not of type int'),
    (f'{{"seed": {2**70}}}', 'is not of type int'),
    ('{"report": 1}', 'is not of type bool'),
    (f'{{"ema_decay": {"9" * 4000}}}', 'ema_decay=9* is not of type float'),
    ('{"ema_decay": NaN}', 'is not of type float'), ('{"a.b": 1}', "key 'a.b'"),
    ('{"generator": 5}', 'generator is not a group'),
    ('{"generator": {"width": [4]}}', 'generator.width=.* is not of type int'),
    ('{"generator": {"widht": 4}}', "unknown key 'generator.widht'"),
    ('{"seed": {"a": 1}}', 'is not of type int'),
    ('{"loss": {"name": "x"}}', "'x' is"),
    ('{"loss": {"name": "' + 'x' * 9999 + '"}}', 'loss.name'),
    ('{"batch_size": -1}', 'batch_size=-1'),
    (DEEP, 'too deeply'), ('', 'is not JSON'),
    ('{"seed": ' + '9' * 5000 + '}', 'is not JSON'),
])
def test_invalid_config_is_refused(content, says, folder):
    (folder / 'config.json').write_text(content)
    refusal(run_files.load_config, folder, says)


def test_key_newer_than_the_run_has_its_default(folder):
    stored = helpers.tiny_mlp().to_dict()
    del stored['packing'], stored['generator']['maxout']
    stored['ema_decay'] = 0  # JSON of another program may write 0 for 0.0
    writer.write_json(folder / 'config.json', stored)
    config = run_files.load_config(folder)
    assert config.packing == 1 and config.generator.maxout == 0
    assert config.ema_decay == 0.0 and config.batch_size == 8
    assert config.keys() == defaults.default_config().keys()


@pytest.mark.parametrize('content', [
    '[]', '{}', '3', DEEP, '', '{"image_shape": null}', '{"image_shape": []}',
    *(json.dumps({'image_shape': shape}) for shape in (
        [0, 0, 0], [8, 8], [8, 8, 1, 1, 1], [8, 8, 2], [8.0, 8, 1], ['8'],
        [True], [2**70], [2**31, 2**31, 1], [-8, 8, 1], 'abc', {'a': 1},
    )),
    *(json.dumps({'image_shape': [8, 8, 1], **more}) for more in (
        {'classes': 5}, {'classes': [1]}, {'classes': {'a': 1}},
        {'count': 'x'}, {'count': -1}, {'count': 2**70}, {'count': 1.5},
        {'name': 3},
    )),
])
def test_invalid_data_description_is_refused(content, folder):
    for text in (content, f'{{"real": {content or 1}}}'):
        (folder / 'data.json').write_text(text)
        refusal(run_files.load_data, folder, 'data.json')
        refusal(sampling.load, folder, 'data.json')


@pytest.mark.parametrize('name', ['config.json', 'data.json'])
@pytest.mark.parametrize('make', [
    os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to('/dev/zero'),
    lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 2**40),
])
def test_file_that_is_not_regular_does_not_block(make, name, folder):
    (folder / name).unlink()
    make(folder / name)
    refusal(sampling.load, folder, f'{name} (cannot be|is|has)')


def test_folder_on_an_unknown_file_system_is_refused():
    refusal(sampling.load, 'https://me@host/run', 'not the folder of a run')


def test_networks_that_cannot_be_built_are_an_error(folder, monkeypatch):
    monkeypatch.setattr(
        sampling.builders, 'abstract_state', lambda *args: 1 // 0
    )
    refusal(sampling.load, folder, 'no networks can be built .*: integer div')


def test_only_objects_of_json_lists_are_loaded(folder):
    path = folder / 'environment.json'
    for content, expected in (
        ('[1, {"a": 1}, null]', [{'a': 1}]), ('{}', []), (DEEP, []), ('', []),
    ):
        path.write_text(content)
        assert run_files.load_dicts(folder, path.name) == expected
    path.unlink()
    os.mkfifo(path)
    assert run_files.load_dicts(folder, path.name) == []
    assert list(run_files.lines(folder, path.name)) == []


def test_long_json_lines_file_is_thinned(folder, monkeypatch):
    path = folder / 'metrics.jsonl'
    path.write_text(''.join(f'{{"step": {n}}}\n' for n in range(100, 200)))
    monkeypatch.setattr(run_files, 'MOST_LINES', path.stat().st_size // 3)
    steps = [item['step'] for item in run_files.lines(folder, path.name)]
    assert steps == list(range(103, 200, 4))
    monkeypatch.setattr(run_files.files, 'MOST_FILE', 100)
    assert list(run_files.lines(folder, path.name)) == []
