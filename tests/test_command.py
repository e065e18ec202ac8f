"""Every command tells its flags and exits with 0, read to the end or not."""

import os
import subprocess
import sys

import helpers
from conftest import ROOT

COMMANDS = sorted(
    f'gan_jax.{path.stem}' for path in (ROOT / 'gan_jax').glob('*.py')
    if 'command.run(main)' in path.read_text()
)


def test_help_exits_with_0():
    asked = [[name, '--help'] for name in COMMANDS]
    *answers, mistake = helpers.commands([*asked, ['--helpme']])
    assert len(answers) == len(COMMANDS) > 10
    for name, (code, out, err) in zip(COMMANDS, answers):
        assert (code, err) == (0, ''), name
        assert 'flags:' in out and '--helpfull' in out, name
    assert mistake[0] == 2 and mistake[2].startswith('error: Unknown command')


def test_help_that_nobody_reads_is_no_error():
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, '-m', 'gan_jax.doctor', '--help'],
        stdout=writes, stderr=subprocess.PIPE, env=helpers.environment(),
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b'')
