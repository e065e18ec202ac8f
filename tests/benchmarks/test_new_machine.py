"""One command on a machine that is new: every part is a line, none stops."""

import json
import subprocess
import sys
import time

import pytest

import helpers
from conftest import ROOT

SCRIPT = ROOT / 'benchmarks' / 'new_machine.py'
SAVES = (
    'import pathlib, sys, time\n'
    'path = pathlib.Path({run!r}) / "checkpoints" / sys.argv[1]\n'
    'path.mkdir(parents=True)\n'
    'print("Continuing from step 1")\n'
    'time.sleep(float(sys.argv[2]))\n'
)
TABLE = (
    'import json, sys\n'
    'print("| the table |")\n'
    'json.dump({"cases": {"a": 1, "b": 2}, "not_measured": ["b", "c"]},\n'
    '          open(sys.argv[1], "w"))\n'
)


@pytest.fixture(name='script')
def fixture_script(monkeypatch, tmp_path):
    """Return the module, whose parts are programs of a line."""
    module, _ = helpers.load_script('new_machine')
    run, out = str(tmp_path / 'out' / 'run'), tmp_path / 'out'
    saves = SAVES.format(run=run)
    module.stubs = {
        'doctor': ['-c', 'print("a device")'],
        'train': ['-c', saves, '1', '60'], 'resume': ['-c', saves, '4', '0'],
        'sample': ['-c', ''], 'evaluate': ['-c', ''],
        'tests': ['-c', 'print("2 passed")'],
        'table': ['-c', TABLE, str(out / 'table.json')],
    }
    monkeypatch.setattr(module, 'commands', lambda *_: module.stubs)
    module.arguments = [f'--out={out}', '--steps=4', '--minutes=0.5']
    return module


def results(tmp_path):
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    return {
        one['part']: (one['passed'], one['remark']) for one in summary['parts']
    }


def test_all_parts_are_lines_of_one_summary(script, tmp_path):
    assert script.main(script.arguments) == 0
    assert results(tmp_path) == {
        'doctor': (True, ''), 'train': (True, 'killed after step 1 was saved'),
        'resume': (True, 'Continuing from step 1 to step 4'),
        'sample': (True, ''), 'evaluate': (True, ''),
        'table': (True, '1 cases measured, not b, c'),
    }
    text = (tmp_path / 'out' / 'summary.md').read_text()
    for line in (
        '| train | passed | 0 | killed after step 1 was saved |',
        'a device', '| the table |', 'minutes: 0.5  ',
    ):
        assert line in text.splitlines()


def test_parts_that_fail_do_not_stop_the_rest(script, tmp_path, capsys):
    script.stubs |= {
        'doctor': ['-c', 'import sys; sys.exit("error: no device | here")'],
        'train': script.stubs['resume'], 'resume': ['-c', ''],
        'sample': ['-c', 'import time; time.sleep(60)'],
        'evaluate': ['-c', 'import os; os.abort()'],
        'table': ['-c', ''],
    }
    began = time.monotonic()
    assert script.main([*script.arguments, '--minutes=0.25']) == 1
    assert time.monotonic() - began < 15
    found = results(tmp_path)
    assert not any(passed for passed, _ in found.values())
    remarks = [remark for _, remark in found.values()]
    assert remarks[:5] == [
        'exit code 1: error: no device | here',
        'it ended before it could be killed', 'no resumed run to step 4',
        'not done within 1 s', 'exit code -6: nothing printed',
    ]
    assert remarks[5].startswith('FileNotFoundError')
    assert 'FAILED  sample: 1 s  not done within 1 s' in capsys.readouterr().out
    text = (tmp_path / 'out' / 'summary.md').read_text()
    assert '| FAILED | 0 | exit code 1: error: no device / here |' in text


def test_the_last_part_has_the_time_that_is_left(script, tmp_path, monkeypatch):
    given = {}

    def note(name, options, seconds):
        given[name] = seconds
        return True, ''

    monkeypatch.setattr(script, 'perform', note)
    script.main([*script.arguments, '--minutes=10'])
    assert list(given) == script.DEFAULT and 'tests' not in given
    assert given['doctor'] == 60 and 590 < given['table'] <= 600
    assert script.perform is note
    monkeypatch.undo()
    options = script.parse([f'--out={tmp_path}'])
    table = script.commands(options, 100)['table']
    assert '--limit=90' in table and '--table' in table
    assert script.perform('table', options, 0.5) == (
        False, 'no time left'
    )


def test_more_flags_go_to_the_table(script, tmp_path, monkeypatch):
    monkeypatch.undo()
    options = script.parse([
        f'--out={tmp_path}', "--table_flags=--only='mlp 64' --rounds=2"
    ])
    made = script.commands(options, 100)
    assert made['table'][-2:] == ['--only=mlp 64', '--rounds=2']
    assert all(
        (ROOT / path).exists() for path in made['tests'] if '/' in path
    )


@pytest.mark.parametrize('arguments, says', [
    (['--parts=doctor,dance'], 'dance'), ([], 'holds another summary.json'),
])
def test_mistakes_are_told(script, tmp_path, arguments, says, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'summary.json').touch()
    with pytest.raises(SystemExit, match='2'):
        script.main([*script.arguments, *arguments])
    assert says in capsys.readouterr().err


def test_it_needs_no_package_to_begin(tmp_path):
    done = subprocess.run(
        [sys.executable, '-S', SCRIPT, '--help'], cwd=tmp_path,
        capture_output=True, text=True,
    )
    assert done.returncode == 0 and '--table_flags' in done.stdout
