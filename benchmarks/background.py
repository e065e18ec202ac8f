"""Measure what CycleGAN does to a background that goes with the domain.

    python benchmarks/background.py --out=benchmarks/results/background.png \\
      --json=benchmarks/results/background.json \\
      --table=benchmarks/results/background.md

A CycleGAN that turns horses into zebras also turns green grass brown. Zebras
stand on dry grass in the photos, so the discriminator can tell a zebra on green
from the real ones, and no pairs say that the background is to stay. This script
tests that explanation on two tasks of the digits. Domain A has white digits,
and B white digits with dark stripes; the tasks differ in the backgrounds alone:

  tied_background   green in A, yellow in B: the background goes with the domain
  free_background   green or yellow in both, whatever the domain

On each it trains configs/cyclegan.py without and with the identity error, which
the paper uses to keep colors. It then translates held-out images from A to B.
All numbers are means over these; errors are shares of the range of a pixel.

  background        |G(x) - x| over the pixels of the background
  of the task       |y - x| over the same, y the true image of B
  color kept        images whose mean background remains nearer to its own color
                    than to the other one
  digit             |G(x) - x| over the pixels of the digit
  of the task       |y - x| over the same
  true error        |G(x) - y| over all pixels
  inputs            |x - y| over all pixels, the error of no change

The background is where the grey original is below 5 % of white, and the digit
where it is above half of it.

Finished runs in --runs are kept, so run the same command again after an
interruption.
"""

import pathlib
from typing import Any, NamedTuple

from absl import flags
import numpy as np

from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import run_identity
from gan_jax.core import files
from gan_jax.data import sources
from gan_jax.data import tasks
from gan_jax.evaluation import domains
from gan_jax.evaluation import translations
from gan_jax.metrics import translation_errors
from gan_jax.runtime import environment
from gan_jax.runtime import writer
from gan_jax.training import train

OUT = flags.DEFINE_string('out', 'runs/background.png', 'PNG file to write.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
TABLE = flags.DEFINE_string('table', '', 'Markdown file to write the table to.')
RUNS = flags.DEFINE_string('runs', 'runs/background', 'Folder of the runs.')
STEPS = flags.DEFINE_integer(
    'steps', 6000, 'Training steps of each run.', lower_bound=1
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of all runs.')
IDENTITY = flags.DEFINE_float(
    'identity', 2.5, 'Weight of the identity error in the runs that have it.',
    lower_bound=0,
)

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'cyclegan.py'
TASKS = ('tied_background', 'free_background')
DIRECTION = 'a_to_b'
BACKGROUND, DIGIT = 13, 128  # largest and least grey values, of 255
SHOWN = 8  # images of each run in the picture
DPI, LABELS, GAP = 80, 170, 8  # of the picture; pixels left of the images
COLUMNS = {  # key: title in the table
    'background': 'background', 'background_of_task': 'of the task',
    'color_kept': 'color kept', 'digit': 'digit',
    'digit_of_task': 'of the task', 'true_error': 'true error',
    'domain_distance': 'inputs',
}


class Result(NamedTuple):
    """Numbers of a run, and images for the picture.

    Attributes:
        numbers: {key of `COLUMNS`: float}.
        inputs, images, partners: [SHOWN, H, W, 3] uint8: images of A, their
            translations, and the true ones.
    """

    numbers: dict
    inputs: Any
    images: Any
    partners: Any


def make_config(task, identity):
    """Return (config, folder name) of a run.

    Args:
        task: one of `TASKS`.
        identity: weight of the identity error; 0 is off.
    """
    config = recipes.load(RECIPE)
    config.data.task = task
    config.translation.identity = float(identity)
    config.seed, config.num_steps = SEED.value, STEPS.value
    for optimizer in (config.g_optimizer, config.d_optimizer):
        optimizer.schedule_steps = STEPS.value
        optimizer.hold_steps = STEPS.value // 2
    config.sample_every = 0
    config.report = False
    name = run_identity.run_name('cyclegan.py', {
        'data.task': task, 'translation.identity': float(identity),
        'seed': SEED.value, 'num_steps': STEPS.value,
    })
    return config, f'{name}-{STEPS.value}'


def play(task, identity):
    """Train one run, or load a finished one, and measure it.

    Args:
        task: one of `TASKS`.
        identity: weight of the identity error.

    Returns:
        `Result`.
    """
    config, name = make_config(task, identity)
    run = train.train(config, pathlib.Path(RUNS.value) / name)
    direction = next(
        one for one in domains.directions(config) if one.name == DIRECTION
    )
    inputs = direction.inputs.images
    translated = translations.translate(
        run.algorithm, run.algorithm.weights(run.state, 'ema'), DIRECTION,
        inputs, np.arange(len(inputs)), direction.partners,
    )
    shown = np.arange(SHOWN) * len(inputs) // SHOWN
    return Result(
        measure(
            translated.inputs, translated.images, translated.partners,
            originals(config, direction.split),
        ),
        *(images[shown] for images in (
            translated.inputs, translated.images, translated.partners
        )),
    )


def originals(config, split):
    """Load the grey images of which a task makes those of a split.

    Returns:
        uint8 [N, H, W, 1].
    """
    request = builders.request(defaults.of_source(config, 'a'))
    dataset = sources.load(request._replace(task='', side='', split=split))
    return tasks.grey(np.asarray(dataset.images[:]))


def measure(inputs, images, partners, grey):
    """Compute the numbers of a run.

    Args:
        inputs: uint8 [N, H, W, 3], images of A.
        images: uint8 [N, H, W, 3], their translations.
        partners: uint8 [N, H, W, 3], their true translations.
        grey: uint8 [N, H, W, 1], what all three are made of.

    Returns:
        {key of `COLUMNS`: float}.
    """
    background, digit = grey <= BACKGROUND, grey >= DIGIT
    errors_of = translation_errors.absolute_errors
    return {
        'background': change(inputs, images, background),
        'background_of_task': change(inputs, partners, background),
        'color_kept': float((
            nearest_color(inputs, background)
            == nearest_color(images, background)
        ).mean()),
        'digit': change(inputs, images, digit),
        'digit_of_task': change(inputs, partners, digit),
        'true_error': float(errors_of(images, partners).mean()),
        'domain_distance': float(errors_of(inputs, partners).mean()),
    }


def change(images, others, mask):
    """Compute the mean of |x - y| over the pixels of a mask, of all images.

    Args:
        images, others: uint8 [N, H, W, C].
        mask: bool [N, H, W, 1].

    Returns:
        float in [0, 1]; NaN for an empty mask.
    """
    difference = np.abs(images / 255 - others / 255).mean(-1, keepdims=True)
    return float(difference[mask].mean()) if mask.any() else float('nan')


def nearest_color(images, mask):
    """Return whether backgrounds are nearer to yellow than to green.

    Args:
        images: uint8 [N, H, W, 3].
        mask: bool [N, H, W, 1], pixels of the background, some in each image.

    Returns:
        bool [N].
    """
    color = (images * mask).sum((1, 2)) / mask.sum((1, 2))  # [N, 3]
    green, yellow = (
        np.linalg.norm(color - np.array(known), axis=1)
        for known in (tasks.GREEN, tasks.YELLOW)
    )
    return yellow < green


def table(results):
    """Format the numbers as a Markdown table, one row for each run.

    Args:
        results: {(task, weight of the identity error): {key: float}}.

    Returns:
        str.
    """
    lines = [
        f'| task | identity | {" | ".join(COLUMNS.values())} |',
        '|' + '---|' * (2 + len(COLUMNS)),
    ]
    for (task, identity), numbers in results.items():
        cells = [
            f'{numbers[key]:.0%}' if key == 'color_kept' else
            f'{numbers[key]:.3f}' for key in COLUMNS
        ]
        lines.append(f'| `{task}` | {identity:g} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def draw(results):
    """Draw images of A, and their translations and true images of each run.

    Args:
        results: {(task, weight of the identity error): `Result`}.

    Returns:
        uint8 [H, W, 3].
    """
    from matplotlib.figure import Figure

    rows = []  # (name, images)
    for task in dict.fromkeys(task for task, _ in results):
        runs = {key[1]: one for key, one in results.items() if key[0] == task}
        first = next(iter(runs.values()))
        rows.append((f'{task}: A', first.inputs))
        rows += [
            (f'to B, identity {identity:g}', one.images)
            for identity, one in runs.items()
        ]
        rows.append(('true image of B', first.partners))
    rows = [(name, writer.grid(images, len(images))) for name, images in rows]
    height = sum(len(grid) + GAP for _, grid in rows) + GAP
    width = LABELS + rows[0][1].shape[1] + GAP
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    bottom = height
    for name, grid in rows:
        bottom -= len(grid) + GAP
        figure.figimage(grid, LABELS, bottom)  # pixel by pixel
        figure.text(
            (LABELS - GAP) / width, (bottom + len(grid) / 2) / height, name,
            ha='right', va='center', fontsize=9,
        )
    return writer.rasterize(figure)


def main(argv):
    """Train all runs, print the table and write the files."""
    del argv
    environment.prepare()
    results = {
        (task, identity): play(task, identity)
        for task in TASKS for identity in (0.0, IDENTITY.value)
    }
    numbers = {key: one.numbers for key, one in results.items()}
    described = environment.describe(SEED.value)
    text = (
        f'{STEPS.value:,} steps, seed {SEED.value}, '
        f'{len(described["devices"])} x {described["device_kind"]}, '
        f'{described["started"][:10]}.\n\n{table(numbers)}\n'
    )
    print(f'\n{text}')
    if TABLE.value:
        path = files.to_path(TABLE.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    if JSON.value:
        writer.write_json(JSON.value, {
            'steps': STEPS.value, 'environment': described, 'runs': [
                {'task': task, 'identity': identity, **row}
                for (task, identity), row in numbers.items()
            ],
        })
    writer.save_png(OUT.value, draw(results))
    print(f'Wrote {OUT.value}')


if __name__ == '__main__':
    app.run(main)
