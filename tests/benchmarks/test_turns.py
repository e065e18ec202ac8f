"""Workers that take turns: answers, failures, warm-up, ratios."""

import functools
import importlib
import time

import pytest

from conftest import ROOT

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture(name='script')
def fixture_script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_workers_answer_in_turn_and_tell_of_their_end(script, tmp_path):
    turns = script('turns')
    echo = tmp_path / 'echo.py'
    echo.write_text(
        f'import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\nimport turns\n'
        'class Subject:\n'
        '    def twice(self, number):\n'
        '        print("a line of a library")\n'
        '        return 2 * number\n'
        'turns.serve(Subject)\n'
    )
    with turns.Worker(str(echo)) as first, turns.Worker(str(echo)) as second:
        workers = {'first': first, 'second': second}
        assert turns.alternate(workers, ('twice', 4), 2) == {
            'first': [8, 8], 'second': [8, 8]
        }
        asked = {'first': ('twice', 1), 'second': ('twice', 2)}
        assert turns.alternate(workers, asked, 1) == {
            'first': [2], 'second': [4]
        }
        with pytest.raises(turns.Failure, match="^AttributeError: .*'thrice'"):
            first.ask('thrice', 1)


def test_a_worker_that_is_killed_is_missed_though_its_child_lives(
    script, tmp_path
):
    turns = script('turns')
    parent = tmp_path / 'parent.py'
    parent.write_text(
        f'import os, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n'
        'import subprocess, turns\n'
        'class Subject:\n'
        '    def die(self):\n'
        '        subprocess.Popen(["sleep", "5"])  # holds the pipe open\n'
        '        os.kill(os.getpid(), 9)\n'
        'turns.serve(Subject)\n'
    )
    began = time.monotonic()
    with turns.Worker(str(parent)) as worker:
        with pytest.raises(turns.Failure, match='^killed by SIGKILL$'):
            worker.ask('die')
    assert time.monotonic() - began < 4


def test_each_worker_is_warmed_up_and_a_failure_told(script, tmp_path):
    turns = script('turns')
    subject = tmp_path / 'subject.py'
    subject.write_text(
        f'import pathlib, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n'
        'import turns\n'
        'class Subject:\n'
        '    def train(self, steps):\n'
        '        pathlib.Path(sys.argv[1]).touch()\n'
        '        return steps\n'
        'turns.serve(Subject)\n'
    )
    files = [tmp_path / 'a', tmp_path / 'b']
    turns.warm_up([
        functools.partial(turns.Worker, str(subject), str(file))
        for file in files
    ])
    assert all(file.exists() for file in files)
    with pytest.raises(turns.Failure, match='^IndexError: '):
        turns.warm_up([functools.partial(turns.Worker, str(subject))])


def test_ratios_are_of_medians_and_quartiles_of_rounds(script):
    found = script('turns').ratio([1, 2, 4], [2, 2, 2])
    assert found['ratio'] == 1
    assert found['quartiles'] == [0.5, 2]
    assert script('turns').ratio([8.0, 8.0, 4.0], [2.0, 2.0, 2.0], 0.5) == {
        'ratio': 2.0, 'quartiles': [1.0, 2.0]
    }


def test_quartiles_of_two_turns_lie_between_them(script):
    assert script('turns').quartiles([1.0, 3.0]) == [1.5, 2.0, 2.5]
    assert script('turns').quartiles([1.0, 2.0, 4.0]) == [1.0, 2.0, 4.0]
