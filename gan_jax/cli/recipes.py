"""List the recipes: what they train, on what data, in which time.

    python -m gan_jax recipes
    python -m gan_jax.main --config=dcgan:mnist

A recipe is given to --config by its name, as here, or by its path.
"""

from gan_jax.cli import app
from gan_jax.cli import recipe_files
from gan_jax.core import errors


def main(argv):
    """Print a line for each recipe."""
    if len(argv) > 1:
        raise errors.ConfigError(f'unexpected argument {argv[1]!r}')
    found = recipe_files.summaries()
    width = max(map(len, found))
    for name, text in found.items():
        app.say(f'{name:{width}}  {text}')
    app.say(f'They are in {recipe_files.folder()}')
