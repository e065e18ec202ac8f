"""Run a command line: mistakes end in one line and an exit code."""

import sys

from absl import app
from absl import flags
from absl import logging

from gan_jax import errors


def run(main):
    """Parse flags, call main(argv) and exit.

    A `UserError` prints "error: …" and exits with its code; a flag or config
    key that cannot be parsed does so with code 2. Anything else is a fault of
    the program and keeps its traceback.

    Args:
        main: callable of the arguments that are left after flags, program
            name first; what it returns is the exit code, None for 0.
    """
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse)


def _guard(main, argv):
    try:
        return main(argv)
    except errors.UserError as error:
        return _fail(error, error.exit_code)


def _parse(argv):
    """Parse absl flags, with --config.* checked for one-line messages."""
    # Orbax and TFDS tell absl's log of every file; --verbosity=0 shows it.
    flags.FLAGS.set_default('verbosity', logging.ERROR)
    try:
        return app.parse_flags_with_usage(argv) if _asks_help(argv) else (
            flags.FLAGS(argv)
        )
    except errors.UserError as error:
        sys.exit(_fail(error, error.exit_code))
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as e:
        sys.exit(_fail(e, errors.ConfigError.exit_code))


def _asks_help(argv):
    return any(a.startswith(('--help', '-help', '-h', '-?')) for a in argv)


def _fail(error, code):
    line = ' '.join(str(error).split())
    print(f'error: {line}', file=sys.stderr)
    return code
