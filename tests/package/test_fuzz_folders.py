"""Damaged run folders: each command ends in one line."""

import random

import pytest

import fuzz_folders
import helpers
from gan_jax.core import errors


def untrained(folder):
    config = fuzz_folders.small_config(folder)
    helpers.untrained(config, folder)
    return config


@pytest.mark.parametrize('only, make, count', [
    (('config.json', 'data.json', '4/manifest.json'), untrained, 3),
    pytest.param((), fuzz_folders.make_run, 5, marks=pytest.mark.slow),
])
def test_every_damage_ends_in_one_line(only, make, count, tmp_path):
    results = list(fuzz_folders.tries(tmp_path, count, 3, only, make))
    assert [each for each in results if each.problem] == []
    readers = fuzz_folders.READERS
    files = [name for name in readers if not only or name.endswith(only)]
    assert len(results) == count * sum(len(readers[name]) for name in files)
    assert {each.code for each in results} >= {0, 5}


def test_forbidden_outcomes_are_reported(tmp_path, monkeypatch):
    """Report a traceback, a wait, a write outside and a wrong exit code."""
    place = tmp_path / 'place'
    (place / 'run').mkdir(parents=True)
    (place / 'victim').write_text('precious')

    def problem(command):
        monkeypatch.setitem(fuzz_folders.COMMANDS, 'sample', command)
        return fuzz_folders.read_by(
            'sample', place / 'run', None, '', 'x'
        ).problem

    def write(name):
        return lambda folder, *_: (folder.parent / name).write_text('x')

    def refuse(code):
        def command(*_):
            error = errors.UserError('a line')
            error.exit_code = code
            raise error
        return command

    monkeypatch.setattr(fuzz_folders, 'WAIT', 1)
    cases = [
        (lambda *_: None, ''), (lambda *_: 1 // 0, 'ZeroDivisionError'),
        (lambda *_: wait(), 'over 1 s'),
        (refuse(5), ''), (refuse(3), 'exit code 3'),
        (write('other'), 'left '), (write('victim'), 'was written to'),
    ]
    for command, says in cases:
        message = problem(command)
        assert message.startswith(says) if not says else says in message
        (place / 'out').rmdir()


def wait():
    while True:
        pass


@pytest.mark.parametrize('name', ['config.json', 'x.jsonl', 'a.png'])
def test_damages_are_reproducible(name, tmp_path):
    descriptions = []
    for _ in range(2):
        path = tmp_path / 'run' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"a": {"b": 1}, "step": 2}')
        descriptions.append(fuzz_folders.damage(path, random.Random(1)))
        path.unlink()
    assert descriptions[0] == descriptions[1]
