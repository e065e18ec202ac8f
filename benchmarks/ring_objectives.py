"""Measure which objectives find all modes of the ring, and keep them.

    python benchmarks/ring_objectives.py --out=runs/ring_objectives

It trains each objective with each seed, with the networks and the batch size of
configs/mixtures.py. It prints the modes that the averaged generator recovers at
the end, and the time until it first had all modes, as measured twelve times in
a run: seconds from the start, including compilation and measurements. Finished
runs in --out are kept, so run the same command again after an interruption.

With --picture it draws the points of one run of each objective.
"""

import json
import pathlib
import time

from absl import flags
import numpy as np

from gan_jax.cli import app
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.ops import mixtures
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import loop
from gan_jax.training import train

OUT = flags.DEFINE_string('out', 'runs/ring_objectives', 'Folder of the runs.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Number of seeds.', lower_bound=1)
NUM_STEPS = flags.DEFINE_integer('num_steps', 12_000, 'Generator updates.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')
PICTURE_SEED = flags.DEFINE_integer(
    'picture_seed', None, 'Seed in the picture; by default the median of each.'
)

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'
PLAIN = 'non_saturating'
OBJECTIVES = {
    PLAIN: {},
    'non_saturating + r1': {'penalties.r1.weight': 0.1},
    'relativistic + r1 + r2': {
        'loss.name': 'relativistic',
        'penalties.r1.weight': 0.1,
        'penalties.r2.weight': 0.1,
    },
    'hinge + r1': {'loss.name': 'hinge', 'penalties.r1.weight': 0.1},
}
COLUMNS = ('modes', 'smallest_mode', 'high_quality', 'reverse_kl')
LOOKS = 12  # measurements in a run
SHOWN = 4  # objectives in the picture, the plain one first


def folder(name, seed):
    """Return the folder of a run."""
    parent = pathlib.Path(OUT.value) / name.replace(' + ', '+')
    return parent / f'{NUM_STEPS.value}-seed{seed}'


def measure(changes, seed, workdir):
    """Train one run, or read the results of a finished one.

    Args:
        changes: {config key: value}.
        seed: seed of the run.
        workdir: its folder.

    Returns:
        {name of COLUMNS: at the end, 'seconds': of the run, 'curve': [{name of
        COLUMNS, 'step', 'seconds': from the start}]}; reverse_kl is None if
        no point has high quality.
    """
    result = workdir / 'result.json'
    if result.exists():
        measured = json.loads(result.read_text())
        if 'curve' in measured:
            return measured
    if (workdir / 'checkpoints').exists() and any(
            (workdir / 'checkpoints').iterdir()):
        raise errors.ConfigError(
            f'{workdir} has a finished run without a curve; move it away or '
            'choose another --out'
        )
    config = recipes.load(RECIPE, 'ring')
    config.update_from_flattened_dict(changes)
    config.seed, config.num_steps = seed, NUM_STEPS.value
    config.eval_every = config.log_every = NUM_STEPS.value // LOOKS
    config.sample_every = config.checkpoint_every = 0
    curve = []

    def look(step, metrics):
        seconds = time.monotonic() - began
        numbers = {name: metrics[f'eval/{name}'] for name in COLUMNS}
        if not np.isfinite(numbers['reverse_kl']):
            numbers['reverse_kl'] = None  # JSON has no infinity
        curve.append({'step': step, 'seconds': seconds, **numbers})

    began = time.monotonic()
    train.train(config, workdir, callback=look)
    measured = {name: curve[-1][name] for name in COLUMNS}
    measured |= {'seconds': time.monotonic() - began, 'curve': curve}
    writer.write_json(result, measured)
    return measured


def holds(numbers):
    """Return whether all modes are found, none rare, and most points good."""
    return (
        numbers['modes'] == 8 and numbers['smallest_mode'] >= 0.04
        and numbers['high_quality'] >= 0.6
    )


def first_held(curve):
    """Return the seconds at which a run first `holds`, or None."""
    return next((look['seconds'] for look in curve if holds(look)), None)


def rank(run):
    """Return the sort key of a run; the best has the largest."""
    return holds(run), run['modes'], run['smallest_mode'], run['high_quality']


def median_seed(runs):
    """Return the seed of the median run, the better one of two."""
    return sorted(range(len(runs)), key=lambda seed: rank(runs[seed]))[
        len(runs) // 2
    ]


def shown(table):
    """List the plain objective, if trained, and then the best others."""

    def quality(name):
        runs = table[name]
        return sum(map(holds, runs)) / len(runs), rank(runs[median_seed(runs)])

    plain = [name for name in table if name == PLAIN]
    others = [name for name in table if name != PLAIN]
    others.sort(key=quality, reverse=True)
    return [*plain, *others][:SHOWN]


def draw(panels):
    """Draw points over the modes.

    Args:
        panels: list of (title, points [N, 2]).

    Returns:
        uint8 [360, 300 len(panels), 3].
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    ring = mixtures.ring()
    figure = Figure(
        figsize=(3 * len(panels), 3.6), dpi=100, layout='constrained'
    )
    columns = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, points) in zip(columns, panels):
        axes.scatter(
            *points.T, s=3, linewidths=0, alpha=0.5, color='#d55e00', zorder=2
        )
        for mean in ring.means:
            axes.add_patch(Circle(
                mean, 3 * ring.std, fill=False, color='black', zorder=3
            ))
        axes.set(
            xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect='equal',
            xticks=(-1, 0, 1), yticks=(-1, 0, 1),
        )
        axes.set_title(title, fontsize=10)
    figure.supxlabel(
        'circles: 3 deviations around the modes of the ring', fontsize=9
    )
    return writer.rasterize(figure)


def picture(table):
    """Draw the points of one run of each of the best objectives."""
    panels = []
    for name in shown(table):
        runs, seed = table[name], PICTURE_SEED.value
        seed = median_seed(runs) if seed is None else seed
        run = runs[seed]
        title = (
            f'{name}, seed {seed}\n{run["modes"]} modes, rarest '
            f'{run["smallest_mode"]:.1%}, quality {run["high_quality"]:.0%}'
        )
        gan, state = sampling.load(folder(name, seed))
        points = sampling.sample(gan, state, range(loop.NUM_POINTS))
        panels.append((title, points))
    return draw(panels)


def main(argv):
    """Print a line for each objective; write --json and --picture."""
    del argv
    if NUM_STEPS.value < 1 or NUM_STEPS.value % LOOKS:
        raise errors.ConfigError(
            f'--num_steps={NUM_STEPS.value} is not a positive multiple of '
            f'{LOOKS}'
        )
    if PICTURE_SEED.value not in (None, *range(SEEDS.value)):
        raise errors.ConfigError(
            f'--picture_seed={PICTURE_SEED.value} is not among the seeds 0 to '
            f'{SEEDS.value - 1}'
        )
    table = {}
    for name, changes in OBJECTIVES.items():
        table[name] = [
            measure(changes, seed, folder(name, seed))
            for seed in range(SEEDS.value)
        ]
    print(f'\nring, {NUM_STEPS.value} steps, seeds 0 to {SEEDS.value - 1}')
    for name, runs in table.items():
        firsts = [first_held(run['curve']) for run in runs]
        print(
            f'{name:24} modes {[run["modes"] for run in runs]}  smallest '
            f'{[round(run["smallest_mode"], 3) for run in runs]}  quality '
            f'{[round(run["high_quality"], 3) for run in runs]}  '
            f'{np.median([run["seconds"] for run in runs]):.0f} s  '
            f'all 8 at the end: {sum(map(holds, runs))} of {len(runs)}, '
            'first after s: '
            + ', '.join('-' if s is None else f'{s:.0f}' for s in firsts)
        )
    if JSON.value:
        writer.write_json(JSON.value, table)
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(table))
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
