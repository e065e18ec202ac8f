"""Train every recipe as it is, at its own length, and measure what it gives.

    python benchmarks/every_recipe.py --page=configs/RESULTS.md
    python benchmarks/every_recipe.py --only=dcgan,cyclegan --data_dir=DATA

Each recipe is run with its default argument and nothing changed, but that a
fifth of the digits is held out. Those that take at most --long seconds are run
with every seed of --seeds, the others with the first one. Cells are the median
over the seeds, and half of their range.

Runs on the digits have the columns of compare.py. Recipes of points are
measured by the modes that they find or their distance from the data, recipes
from images to images by `python -m gan_jax evaluate`. `stacked_mnist` needs
--data_dir.

Finished runs and cells in --out are kept and missing ones added, so run the
same command again after an interruption. Seconds are those of the steps,
without compilation.
"""

import functools
import json
import pathlib
import statistics

from absl import flags

import recipe_cells
from gan_jax.cli import app
from gan_jax.cli import recipe_files
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.evaluation import domains
from gan_jax.evaluation import runner
from gan_jax.runtime import environment
from gan_jax.runtime import writer
from gan_jax.training import train

OUT = flags.DEFINE_string('out', 'runs/every_recipe', 'Folder of the runs.')
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', None, "Steps, for a trial; by default the recipe's.",
    lower_bound=1
)
ONLY = flags.DEFINE_list('only', [], 'Recipes; all by default.')
SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of quick recipes.')
LONG = flags.DEFINE_float(
    'long', 180.0, 'Seconds above which a recipe has one seed.'
)
DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder of prepared TFDS data, for stacked_mnist.'
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the cells to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file of all grids to write.')
PAGE = flags.DEFINE_string(
    'page', '', 'Markdown file; its tables are replaced by the new ones.'
)
MARK = '<!-- The rest is written by every_recipe.py --page. -->\n'
HEADS = {
    'digits': 'Samples',
    'points': 'Points',
    'translation': 'Images to images',
    'stacked_mnist': 'Stacked MNIST',
}
TIMES = {'seconds': '{:.0f}', 'real_images': '{:,}'}


def kind(config):
    """Return the table of a recipe, one of `HEADS`."""
    if domains.is_translation(config):
        return 'translation'
    if defaults.has_points(config):
        return 'points'
    return config.data.name


def configure(name, seed):
    """Return the config of a recipe with what a run here changes."""
    config = recipe_files.load(name)
    config.seed = seed
    if NUM_STEPS.value:
        config.num_steps = config.sample_every = NUM_STEPS.value
    if kind(config) == 'digits':
        config.data.test_share = recipe_cells.TEST_SHARE
    if config.data.get('name') == 'stacked_mnist':
        config.data.data_dir = DATA_DIR.value
    return config


def folder(name, seed):
    """Return the folder of a run."""
    steps = NUM_STEPS.value
    return pathlib.Path(OUT.value) / (
        f'{name}-seed{seed}' + (f'-{steps}' if steps else '')
    )


def last_eval(run):
    """Return the run's last own numbers of its samples, without prefix."""
    found = {}
    for line in (run.workdir / 'metrics.jsonl').read_text().splitlines():
        record = json.loads(line)
        own = {
            key.partition('/')[2]: value for key, value in record.items()
            if key.startswith('eval/')
        }
        found = own or found
    return found


def translated(run):
    """Measure the translations of each direction."""
    names = 'true_error', 'class_kept', 'fid'
    if run.config.algorithm == 'cyclegan':
        names += 'cycle_error',
    shown = 'true_error_ratio', 'class_kept', 'cycle_error', 'fid'
    return {
        f"{result['direction']} {name}": number['value']
        for result in runner.evaluate(run.workdir, names)
        for name, number in result['values'].items() if name in shown
    }


def stacked_modes(run):
    """Count the modes among 25,600 samples of stacked MNIST."""
    (result,) = runner.evaluate(
        run.workdir, ('modes',), num_fake=25_600, num_real=25_600,
        weights='raw',
    )
    return {
        name: number['value'] for name, number in result['values'].items()
    }


def seconds(run):
    """Return the seconds of training."""
    return {'seconds': recipe_cells.training(run)['seconds']}


MEASURES = {
    'digits': recipe_cells.MEASURES,
    'points': {'training': seconds, 'samples': last_eval},
    'translation': {'training': seconds, 'translations': translated},
    'stacked_mnist': {'training': seconds, 'modes': stacked_modes},
}


def measure(name, seed):
    """Train a recipe, or continue it, and add missing cells."""
    config = configure(name, seed)
    return recipe_cells.complete(
        f'{name}, seed {seed}', config, folder(name, seed),
        MEASURES[kind(config)], functools.partial(trained, config),
    )


def trained(config, workdir):
    """Train; return `recipe_cells.Trained`, whose samples are of digits."""
    if kind(config) == 'digits':
        return recipe_cells.trained(config, workdir)
    run = train.train(config, workdir)
    return recipe_cells.Trained(config, workdir, run.algorithm, run.state, None)


def runs_of(name):
    """Return {seed: cells} of a recipe, one seed if it takes long."""
    first, *others = map(int, SEEDS.value)
    found = {first: measure(name, first)}
    took = recipe_cells.flat(found[first]).get('seconds')
    if took is not None and took <= LONG.value:
        found |= {seed: measure(name, seed) for seed in others}
    return found


def cell(values, form):
    """Format the median of seeds, and half of their range if it shows."""
    values = [value for value in values if value is not None]
    if not values:
        return ''
    text = form.format(type(values[0])(statistics.median(values)))
    spread = form.format((max(values) - min(values)) / 2).rstrip('%')
    return f'{text} ±{spread}' if len(values) > 1 and (
        any(digit in spread for digit in '123456789')) else text


def table(found):
    """Format the recipes of one kind as Markdown.

    Args:
        found: {recipe: {seed: cells}}.

    Returns:
        List of lines.
    """
    columns = {}
    for cells in (one for runs in found.values() for one in runs.values()):
        columns |= dict.fromkeys(recipe_cells.flat(cells))
    forms = {
        name: (recipe_cells.COLUMNS | TIMES).get(name, '{:.3g}')
        for name in [*recipe_cells.COLUMNS, *columns] if name in columns
    }
    forms = {  # the seconds are last
        name: forms[name] for name in sorted(forms, key=lambda n: n in TIMES)
    }
    head = ['recipe', 'seeds', *map(recipe_cells.title, forms), '']
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for name, runs in found.items():
        values = [recipe_cells.flat(cells) for cells in runs.values()]
        shown = [
            cell([value.get(column) for value in values], form)
            for column, form in forms.items()
        ]
        remarks = filter(None, map(recipe_cells.verdict, runs.values()))
        wrong = '; '.join(dict.fromkeys(remarks))
        lines.append(
            f'| {" | ".join([f"`{name}`", str(len(runs)), *shown, wrong])} |'
        )
    return lines


def page(head, found):
    """Return the page: its head up to `MARK`, and a table of each kind."""
    lines = [head.partition(MARK)[0] + MARK]
    for name, title in HEADS.items():
        own = {
            recipe: runs for recipe, runs in found.items()
            if kind(configure(recipe, 0)) == name
        }
        if own:
            lines += [f'## {title}', '', *table(own), '']
    return '\n'.join(lines)


def main(argv):
    """Print the tables; write --json, --page and --picture."""
    del argv
    environment.prepare()
    known = recipe_files.summaries()
    for name in ONLY.value:
        if name not in known:
            raise errors.ConfigError(errors.unknown_name('--only', name, known))
    names = ONLY.value or [
        name for name in known if name != 'stacked_mnist' or DATA_DIR.value
    ]
    found = {}
    for name in names:
        found[name] = runs_of(name)
        if JSON.value:
            writer.write_json(JSON.value, found)
    path = pathlib.Path(PAGE.value)
    text = page(path.read_text() if PAGE.value and path.exists() else '', found)
    print('\n' + text.partition(MARK)[2])
    if PAGE.value:
        files.write(path, text.encode())
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(found))


def picture(found):
    """Draw samples of the first seed of each recipe of digits."""
    panels = []
    for name, runs in found.items():
        seed, cells = next(iter(runs.items()))
        if 'score' in cells:
            panels.append((name, recipe_cells.panel(folder(name, seed))))
    return recipe_cells.draw(panels)


if __name__ == '__main__':
    app.run(main)
