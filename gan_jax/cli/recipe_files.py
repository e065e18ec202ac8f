"""Recipes that ship with the package: their names, paths and summaries.

Recipes are parsed here, and executed by `load` alone, so that listing them is
quick.
"""

import ast
import os
import pathlib

import gan_jax
from gan_jax.core import errors

_PACKAGE = pathlib.Path(gan_jax.__file__).parent


def folder():
    """Return the folder of recipes, in an installed package or a checkout."""
    installed = _PACKAGE / 'recipes'
    return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def summaries():
    """Return {name of a recipe: first line of its docstring}, sorted."""
    return {
        path.stem: summary(path) for path in sorted(folder().glob('*.py'))
    }


def summary(path):
    """Return the first line of a Python file's docstring, without its stop."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ''
    return text.partition('\n')[0].rstrip('.')


def path_of(recipe):
    """Return the path of a recipe that is named as in `dcgan:mnist`.

    Args:
        recipe: name or path, optionally followed by :argument; or a run folder,
            whose config is then the recipe. A name that ships with the package
            comes first; the path of a folder must have a slash. ~ is expanded.

    Returns:
        Path and argument; the path of a file is only expanded.

    Raises:
        errors.ConfigError: for an unknown name.
    """
    name, colon, argument = recipe.partition(':')
    path = folder() / f'{name}.py'
    if name and '/' not in name and path.is_file():
        return f'{path}{colon}{argument}'
    recipe = os.path.expanduser(recipe)
    if '/' in recipe and is_run(recipe):
        return of_run(recipe)
    name = recipe.partition(':')[0]
    if not name or '/' in name or name.endswith('.py') or (
            pathlib.Path(name).is_file()):
        return recipe
    raise errors.ConfigError(
        f'--config={name} is not a recipe, which `python -m gan_jax recipes` '
        f'lists{errors.nearest(name, summaries())}'
        + (f'; the run is --config=./{recipe}' if is_run(recipe) else '')
    )


def load(recipe):
    """Return the config of a recipe that is named as in `path_of`.

    The recipe's file is executed.
    """
    from gan_jax.config import recipes

    path, _, argument = str(path_of(recipe)).partition('.py:')
    return recipes.load(f"{path.removesuffix('.py')}.py", argument)


def is_run(path):
    """Return whether a local path is the folder of a run."""
    return bool(path) and pathlib.Path(path, 'config.json').is_file()


def of_run(workdir):
    """Return the path and argument of the recipe that is a run's config."""
    return f'{_PACKAGE / "cli" / "run_config.py"}:{workdir}'
