"""Command-line entry point: flag parsing, --help, error messages, exit codes.

All commands run through `run`. This module does not know what a command does.
It imports neither JAX nor NumPy, so that --help and errors of flags are quick.
"""

import contextlib
import os
import re
import sys
import textwrap
import traceback

from absl import app
from absl import flags
from absl import logging

from gan_jax.cli import recipe_files
from gan_jax.core import errors
from gan_jax.core import redact

# Exceptions raised while flags are parsed whose message is clear on its own.
CLEAR = (
    errors.UserError, flags.Error, AttributeError, ImportError, KeyError,
    NameError, SyntaxError, TypeError, ValueError,
)


def run(main):
    """Parse flags, call main(argv) and exit.

    A `UserError` prints one line, "error: …", and exits with its code. A flag
    or config key that cannot be parsed exits likewise with code 2. Any other
    exception is a bug and keeps its traceback.

    Args:
        main: function of the positional arguments, program name first. It
            returns the exit code, or None for 0. The docstring of its module
            is the text of --help.
    """
    _print_help_if_asked(sys.modules[main.__module__])
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse)


def _print_help_if_asked(module):
    """Print the help of a command and exit with code 0.

    The exit code is 0 too where the reader closes the pipe, as `head` does.
    """
    if not {'--help', '-help', '-h', '-?'} & set(sys.argv[1:]):
        return
    own = {
        flag.name: flag for name, defined in flags.FLAGS.flags_by_module_dict()
        .items() if name == sys.argv[0] or name.startswith('gan_jax.')
        for flag in defined if '.' not in flag.name
    }
    lines = [module.__doc__.strip(), '', 'Flags:']
    for name in sorted(own):
        lines += textwrap.wrap(
            f'--{name}  {own[name].help}{_default_of(own[name])}', 80,
            initial_indent='  ', subsequent_indent='      ',
            break_on_hyphens=False,
        )
    lines += [f'  --{name}.KEY=VALUE  {text}' for name, text in _GROUPS.items()]
    lines += ['', '--helpfull shows the flags of the libraries too.']
    print_help('\n'.join(lines))


def print_help(text):
    """Print a text and exit with 0, read to the end or not."""
    try:
        say(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # At exit Python flushes the buffer once more, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _default_of(flag):
    """Return the end of a flag's help: its default, if it has one."""
    shown = flag.default not in (None, '', [], False)
    return f' Default: {flag.default}.' if shown else ''


# Groups of config keys that the command accepts, with their line of --help.
_GROUPS = {}


def define_config():
    """Define the flags --config, a recipe's name or path, and --config.KEY."""
    from ml_collections import config_flags

    with exit_on_flag_error():  # of a --flagfile
        config_flags.DEFINE_config_file(
            'config', None, 'Recipe: a name that `python -m gan_jax recipes` '
            'lists, or a Python file such as configs/dcgan.py. Append '
            ':argument to choose the data, as in dcgan:mnist.',
        )
    _GROUPS['config'] = 'Sets a config key; configs/KEYS.md lists all keys.'


def define_data():
    """Define the flags --data.KEY, the group `data` of a config.

    Importing their defaults takes a second, so `run` defines the flags, and
    only if --help is not asked for.

    Returns:
        Object whose `value` is the ConfigDict of the keys while `main` runs.
    """
    _GROUPS['data'] = 'Sets a data key; configs/KEYS.md lists all keys.'
    return _Data()


def define_weights():
    """Define --weights, the weights of G to sample with."""
    return flags.DEFINE_enum(
        'weights', 'ema', ['ema', 'raw', 'snapshots'],
        "Weights of the generator: 'ema' is their moving average, 'raw' the "
        "weights as trained, 'snapshots' the average of the last snapshots."
    )


class _Data:
    """Values of the --data.KEY flags, read as from a flag holder of absl."""

    value = property(lambda self: flags.FLAGS['data'].value)


def _guard(main, argv):
    """Call main(argv); a `UserError` becomes one line and an exit code."""
    _silence_absl()
    try:
        return main(argv)
    except errors.UserError as error:
        return _fail(error, error.exit_code)


def _silence_absl():
    """Set absl's log to FATAL, unless the user passes --verbosity.

    Orbax and TFDS log every file that they touch, and each error that is
    printed here as one line.
    """
    if not flags.FLAGS['verbosity'].present:
        logging.set_verbosity(logging.FATAL)


def _parse(argv):
    """Parse absl flags; an error becomes one line and an exit code.

    This runs the recipe of --config, so any exception can occur.
    """
    _silence_absl()
    try:
        if 'data' in _GROUPS:
            _define_data_keys()
        # ml_collections reads argv and sys.argv.
        argv = sys.argv[:] = _with_paths(argv)
        _check_repeated_keys(argv)
        return flags.FLAGS(argv)
    except errors.UserError as error:
        sys.exit(_fail(error, error.exit_code))
    except Exception as error:
        sys.exit(_fail(error, errors.ConfigError.exit_code))


def _define_data_keys():
    from gan_jax.config import defaults
    from ml_collections import config_flags

    config_flags.DEFINE_config_dict('data', defaults.default_config().data)


def _with_paths(argv):
    """Return the command line with a recipe's name replaced by its path.

    Without --config, it is the config of the run in --workdir, if there is one.
    """
    words = list(argv)
    for index, word in enumerate(words):
        if match := re.fullmatch(r'(--?config=)(.+)', word, re.DOTALL):
            words[index] = match[1] + recipe_files.path_of(match[2])
        elif word in ('--config', '-config') and index + 1 < len(words):
            words[index + 1] = recipe_files.path_of(words[index + 1])
    workdir = _value(argv, 'workdir')
    if 'config' in _GROUPS and workdir and _value(argv, 'config') is None and (
            recipe_files.is_run(workdir)):
        words.insert(1, f'--config={recipe_files.of_run(workdir)}')
    return words


def _value(argv, name):
    """Return the last value of a flag, '' for an unfinished one, or None."""
    value = None
    words = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
    for word, following in zip(words, [*words[1:], '']):
        match = re.fullmatch(rf'--?{name}(=.*)?', word, re.DOTALL)
        if match:
            value = match[1][1:] if match[1] else following
    return value


def _check_repeated_keys(argv):
    """Raise ConfigError for a config key that is set twice.

    Without this check the last value would silently win.
    """
    seen = set()
    for word in flags.FLAGS.read_flags_from_files(argv, force_gnu=False):
        match = re.match(r'--?(?:no)?((?:config|data)\.[\w.]+)(?:=|$)', word)
        if match and match[1] in seen:
            raise errors.ConfigError(f'--{match[1]} is set twice')
        seen.update([match[1]] if match else [])


@contextlib.contextmanager
def exit_on_flag_error():
    """Exit as `run` does on an error while flags are defined.

    `DEFINE_config_dict` parses its flags, and reads a --flagfile, when they
    are defined.
    """
    try:
        yield
    except Exception as error:
        sys.exit(_fail(error, errors.ConfigError.exit_code))


def config_of(argv, example='dcgan'):
    """Return the validated config of --config and the --config.KEY flags.

    A key that the recipe sets, and that a flag makes useless, is reset to its
    default with a warning. A useless key on the command line is an error.

    Args:
        argv: positional arguments, program name first; others are an error.
        example: recipe that the error message names where --config is missing.

    Raises:
        errors.ConfigError: for a missing, unreadable or invalid config.
    """
    from ml_collections import config_flags

    from gan_jax.config import unused_keys
    from gan_jax.config import validation

    flag = flags.FLAGS['config']
    config = flag.value
    if config is None and flag.present:
        raise errors.ConfigError(
            f'{flag.serialize()}: its get_config returns nothing'
        )
    if config is None:
        raise errors.ConfigError(
            f'name a recipe, such as --config=configs/{example}.py'
        )
    if len(argv) > 1:
        raise errors.ConfigError(
            f'unexpected argument {argv[1]!r}; overrides look like '
            '--config.d_steps=5'
        )
    try:
        notes = unused_keys.leave_out(
            config, config_flags.get_override_values(flag)
        )
        validation.validate(config)
    except OSError as error:
        raise errors.ConfigError(
            f'{flag.serialize()} is not a readable file'
        ) from error
    for line in notes:
        say(f'warning: {line}')
    return config


def request(argv, data):
    """Return the data request of a command that takes one source.

    Args:
        argv: program name and the source: a path, a name or a URI.
        data: ConfigDict of the data.* keys.

    Returns:
        `sources.Request`.

    Raises:
        errors.ConfigError: for no source, several sources, or a bad key.
    """
    from gan_jax.config import builders
    from gan_jax.config import defaults
    from gan_jax.config import validation
    from gan_jax.data import sources

    if len(argv) != 2 or data.path:
        raise errors.ConfigError(
            'name one source: a folder, an archive, an array file, a pack, or '
            'a data set such as mnist'
        )
    config = defaults.default_config()
    config.data = data
    key = 'path' if sources.is_path(argv[1]) else 'name'
    config.data[key] = argv[1]
    validation.validate(config)
    if defaults.has_mixture(config):
        raise errors.ConfigError(f'{argv[1]!r} has points, not images')
    return builders.request(config)


def save_png(flag, path, image):
    """Write a uint8 image [H, W, C] to the path that a flag names.

    Raises:
        errors.ConfigError: if it cannot be written.
    """
    from gan_jax.runtime import writer

    with written(flag, path):
        writer.save_png(path, image)


@contextlib.contextmanager
def written(flag, path):
    """Convert an OSError into one line that names the flag and its path.

    Raises:
        errors.ConfigError: for an OSError.
    """
    try:
        yield
    except OSError as error:
        raise errors.ConfigError(
            f'{flag}={path} cannot be written: {error.strerror or error}'
        ) from error


def _fail(error, code):
    """Print an exception as one line; return the exit code."""
    line = ' '.join(_message(error).split())
    redact.say(f'error: {line}', sys.stderr)
    return code


def say(text, file=None):
    """Print lines of a command through `redact.say`."""
    redact.say(text, file)


def _message(error):
    """Return the message of an exception, with file and line of a recipe's."""
    text = str(error)
    group = re.match(r'flag (\S+?)=.* as a ConfigDict', text)
    if group:
        return f'{group[1]} is a group of keys; set one as {group[1]}.KEY=VALUE'
    if 'Traceback (most recent call last)' in text:  # from ml_collections
        frames = re.findall(r'File "(.+)", line (\d+)', text)
        return f'{text.strip().splitlines()[-1]} {_location(frames)}'
    if not isinstance(error, CLEAR):
        frames = traceback.extract_tb(error.__traceback__)
        frames = [(frame.filename, frame.lineno) for frame in frames]
        return f'{type(error).__name__}: {text} {_location(frames)}'
    while isinstance(error, (AttributeError, KeyError)) and error.args:
        if isinstance(error, KeyError):  # ml_collections' missing key
            text = f'unknown config key {error.args[0]}'
        error = error.args[0]
    return text


def _location(frames):
    """Format the last (file, line) that is not inside a library."""
    own = [frame for frame in frames if 'site-packages' not in frame[0]]
    return '({}, line {})'.format(*(own or frames)[-1])
