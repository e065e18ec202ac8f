"""List the recipes, with one line on what each trains on what data.

    python -m gan_jax recipes
    python -m gan_jax.main --config=dcgan:mnist

The second command trains a recipe that the first one lists. Name it as in the
list, or by the path of its file. The word after the colon chooses the data; the
docstring of each recipe says which words it takes.
"""

from gan_jax.cli import app
from gan_jax.cli import recipe_files
from gan_jax.core import errors


def main(argv):
    """Print a line for each recipe."""
    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    summaries = recipe_files.summaries()
    width = max(map(len, summaries))
    for name, text in summaries.items():
        app.say(f'{name:{width}}  {text}')
    app.say(f'Folder of the recipes: {recipe_files.folder()}')
