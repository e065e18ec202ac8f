"""Run a command line: mistakes end in one line and an exit code."""

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

# Of what is raised while flags are parsed, that whose words say enough.
CLEAR = (
    errors.UserError, flags.Error, AttributeError, ImportError, KeyError,
    NameError, SyntaxError, TypeError, ValueError,
)


def run(main):
    """Parse flags, call main(argv) and exit.

    A `UserError` prints "error: …" and exits with its code; a flag or config
    key that cannot be parsed does so with code 2. Anything else is a fault of
    the program and keeps its traceback.

    Args:
        main: callable of the arguments that are left after flags, program
            name first; what it returns is the exit code, None for 0. The
            docstring of its module is the text of --help.
    """
    _print_help_if_asked(sys.modules[main.__module__])
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse)


def _print_help_if_asked(module):
    """Print the flags of a command and exit with 0, read to the end or not."""
    if not {'--help', '-help', '-h', '-?'} & set(sys.argv[1:]):
        return
    own = {
        flag.name: flag for name, found in flags.FLAGS.flags_by_module_dict()
        .items() if name == sys.argv[0] or name.startswith('gan_jax.')
        for flag in found if '.' not in flag.name
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
        # Python would write what is left in the buffer once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _default_of(flag):
    """Return what --help adds of a flag's default."""
    shown = flag.default not in (None, '', [], False)
    return f' Default: {flag.default}.' if shown else ''


# Groups of config keys that the command takes, with a line for --help.
_GROUPS = {}


def define_config():
    """Define --config, a recipe by path or by name, and --config.KEY."""
    from ml_collections import config_flags

    with mistakes_told():  # of a --flagfile
        config_flags.DEFINE_config_file(
            'config', None, 'Recipe: its name, or a Python file such as '
            'configs/dcgan.py; followed by :argument where it takes one.',
        )
    _GROUPS['config'] = 'Any key of the config: configs/KEYS.md lists them.'


def define_data():
    """Define --data.KEY, as the group `data` of a config.

    Its defaults take a second to import, so that the flags are made by `run`.

    Returns:
        What has the ConfigDict of the keys as `value` while `main` runs.
    """
    _GROUPS['data'] = "Any data key of the config: configs/KEYS.md lists them."
    return _Data()


class _Data:
    value = property(lambda self: flags.FLAGS['data'].value)


def _guard(main, argv):
    _be_quiet()
    try:
        return main(argv)
    except errors.UserError as error:
        return _fail(error, error.exit_code)


def _be_quiet():
    """Shut absl's log, unless --verbosity=0 or the like opens it.

    Orbax and TFDS tell it of every file, and of each error that is told in one
    line here.
    """
    if not flags.FLAGS['verbosity'].present:
        logging.set_verbosity(logging.FATAL)


def _parse(argv):
    """Parse absl flags, with --config.* checked for one-line messages.

    Recipes run here, so that any exception may come.
    """
    _be_quiet()
    try:
        if 'data' in _GROUPS:
            _define_data_keys()
        argv = sys.argv[:] = _with_paths(argv)  # ml_collections reads both
        _refuse_twice(argv)
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
    """Return a command line with the recipe's path in place of its name."""
    flag = re.compile(r'(--?config=)(.+)', re.DOTALL)
    words = list(argv)
    for place, word in enumerate(words):
        if match := flag.fullmatch(word):
            words[place] = match[1] + recipe_files.path_of(match[2])
        elif word in ('--config', '-config') and place + 1 < len(words):
            words[place + 1] = recipe_files.path_of(words[place + 1])
    return words


def _refuse_twice(argv):
    """Refuse a key of a config that is set twice, as the last would count."""
    seen = set()
    for word in flags.FLAGS.read_flags_from_files(argv, force_gnu=False):
        match = re.match(r'--?(?:no)?((?:config|data)\.[\w.]+)(?:=|$)', word)
        if match and match[1] in seen:
            raise errors.ConfigError(f'--{match[1]} is given twice')
        seen.update([match[1]] if match else [])


@contextlib.contextmanager
def mistakes_told():
    """Exit as `run` does where a flag is parsed when it is defined.

    Those of `DEFINE_config_dict` are, and a --flagfile is read then.
    """
    try:
        yield
    except Exception as error:
        sys.exit(_fail(error, errors.ConfigError.exit_code))


def config_of(argv, example='dcgan'):
    """Return the validated config of --config and what follows it.

    What the recipe sets and a choice on the command line leaves without a use
    has its default, which is told; what is typed there is refused instead.

    Args:
        argv: what is left of the command line; surplus words are refused.
        example: recipe that is named where none is.

    Raises:
        errors.ConfigError: one line that says what to mend.
    """
    from ml_collections import config_flags

    from gan_jax.config import validation

    flag = flags.FLAGS['config']
    config = flag.value
    if config is None and flag.present:
        raise errors.ConfigError(
            f'{flag.serialize()} has a get_config that returns nothing'
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
        left_out = validation.leave_out(
            config, config_flags.get_override_values(flag)
        )
        validation.validate(config)
    except OSError as error:
        raise errors.ConfigError(
            f'{flag.serialize()} is not a readable file'
        ) from error
    for line in left_out:
        say(f'warning: {line}')
    return config


def request(argv, data):
    """Give what a command asks of the one source on its line.

    Args:
        argv: program name and the source: a path, a name or a URI.
        data: ConfigDict of the data.* keys.

    Returns:
        `sources.Request`.

    Raises:
        errors.ConfigError: for no source, several, or a bad key.
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
        raise errors.ConfigError(f'{argv[1]!r} has points, and no images')
    return builders.request(config)


def save_png(flag, path, image):
    """Write a uint8 image [H, W, C] to the path that a flag names.

    Raises:
        errors.ConfigError: where it cannot be written.
    """
    from gan_jax.runtime import writer

    with written(flag, path):
        writer.save_png(path, image)


@contextlib.contextmanager
def written(flag, path):
    """Tell in one line what keeps the path of a flag from being written.

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
    """Print an exception as one line; returns the exit code."""
    line = ' '.join(_told(error).split())
    redact.say(f'error: {line}', sys.stderr)
    return code


def say(text, file=None):
    """Print lines of a command, as `redact.say` does."""
    redact.say(text, file)


def _told(error):
    """Give the words of an exception; with its place where a recipe failed."""
    text = str(error)
    group = re.match(r'flag (\S+?)=.* as a ConfigDict', text)
    if group:
        return f'{group[1]} is a group of keys; set one as {group[1]}.KEY=VALUE'
    if 'Traceback (most recent call last)' in text:  # in ml_collections' words
        places = re.findall(r'File "(.+)", line (\d+)', text)
        return f'{text.strip().splitlines()[-1]} {_last(places)}'
    if not isinstance(error, CLEAR):
        places = traceback.extract_tb(error.__traceback__)
        places = [(place.filename, place.lineno) for place in places]
        return f'{type(error).__name__}: {text} {_last(places)}'
    while isinstance(error, (AttributeError, KeyError)) and error.args:
        if isinstance(error, KeyError):  # ml_collections' missing key
            text = f'unknown config key {error.args[0]}'
        error = error.args[0]
    return text


def _last(places):
    """Show the last of some (file, line) that is not of a library."""
    own = [place for place in places if 'site-packages' not in place[0]]
    return '({}, line {})'.format(*(own or places)[-1])
