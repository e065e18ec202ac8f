"""The command line: `python -m gan_jax <command>`, or `gan_jax <command>`.

Imports what the command needs, and nothing else.
"""

import importlib
import pathlib
import sys

from gan_jax.cli import app
from gan_jax.cli import recipe_files
from gan_jax.core import errors

_PACKAGE = pathlib.Path(__file__).parent
# Modules of `cli` that are no commands.
_PARTS = ('__init__', 'app', 'recipe_files', 'run_config', 'run_flags')


def main():
    """Run the command that the first word names; without one, list them."""
    paths = commands()
    if len(sys.argv) < 2 or sys.argv[1].lstrip('-') in ('help', 'h', '?'):
        app.print_help(_listed(paths))
    name = sys.argv[1]
    if name not in paths:
        near = errors.nearest(name, paths)
        app.say(f'error: {name!r} is not a command{near}', sys.stderr)
        sys.exit(2)
    sys.argv = [f'gan_jax {name}', *sys.argv[2:]]
    parts = paths[name].relative_to(_PACKAGE.parent).with_suffix('').parts
    app.run(importlib.import_module('.'.join(parts)).main)


def commands():
    """Return {name of a command: path of its module}, sorted."""
    paths = {
        path.stem: path for path in (_PACKAGE / 'cli').glob('*.py')
        if path.stem not in _PARTS
    }
    return dict(sorted({**paths, 'train': _PACKAGE / 'main.py'}.items()))


def _listed(paths):
    """Return the list of commands as text."""
    width = max(map(len, paths))
    return '\n'.join([
        'Usage: python -m gan_jax COMMAND [FLAGS]', '',
        *(f'  {name:{width}}  {recipe_files.summary(path)}'
          for name, path in paths.items()),
        '', 'python -m gan_jax COMMAND --help shows the flags of a command.',
    ])


if __name__ == '__main__':
    main()
