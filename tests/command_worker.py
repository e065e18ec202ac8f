"""Runner of command lines of `python -m gan_jax.main`, one fork each.

    python tests/command_worker.py < lists.json

Reads a JSON list of argument lists and writes one of [exit code, stdout,
stderr]. A list that begins with gan_jax runs `python -m gan_jax`. Modules are
imported only once, so that a command takes a second.
"""

import json
import os
import runpy
import signal
import sys
import tempfile
import traceback
import warnings

from gan_jax.training import train  # noqa: F401  imported before the forks

SECONDS = 60  # limit of a command; mistakes are reported at once


def _be_main(arguments):
    """Run the command, and exit without the slow clean-up of Python."""
    if not arguments or not arguments[0].startswith('gan_jax'):
        arguments = ['gan_jax.main', *arguments]
    sys.argv, code = arguments, 0
    try:
        runpy.run_module(arguments[0], run_name='__main__')
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments):
    """Run one command; returns [exit code, stdout, stderr]."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            # Of threads that JAX may have; it has no devices before the fork.
            warnings.simplefilter('ignore')
            child = os.fork()
        if not child:
            signal.alarm(SECONDS)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _be_main(arguments)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return [os.waitstatus_to_exitcode(status), *texts]


if __name__ == '__main__':
    print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
