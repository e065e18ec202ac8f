"""Compare D and G as the player in the inner loop, on the ring.

    python benchmarks/inner_loop.py --out=runs/inner_loop.png

The objective of a GAN is min over G of max over D, so D belongs in the inner
loop. With G in the inner loop it is max over D of min over G, which is another
game: the best response to a fixed D maps every z to the one point that D rates
most real, and D's next update drives G away from there (Goodfellow, NIPS 2016
Tutorial: Generative Adversarial Networks, https://arxiv.org/abs/1701.00160,
2016). Gradient descent uses the same two gradients for both games; the numbers
of updates decide which of them it approximates.

This script trains configs/mixtures.py:ring with 10 updates of D and 1 of G in
each step, and with 1 and 10, so the total number of updates is equal. It
samples points from the raw generator, not the averaged one, twelve times in a
run. "spread" is the mean distance between two points, which is 0 if all are
equal. "moved" is the mean distance between the centres of consecutive records,
which is large if G is driven from mode to mode.

Both have an R1 penalty on D with the weight of ring_objectives.py. Without it
(--r1=0), ten updates make D so sharp that G ends in one mode there too, but it
stays in that mode (seeds 0 and 1).

Finished runs in --runs are kept, so run the same command again after an
interruption.
"""

import pathlib
import time

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.cli import app
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import run_identity
from gan_jax.core import errors
from gan_jax.metrics import distances
from gan_jax.metrics import modes
from gan_jax.ops import mixtures
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import train

OUT = flags.DEFINE_string('out', 'runs/inner_loop.png', 'PNG file to write.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
RUNS = flags.DEFINE_string('runs', 'runs/inner_loop', 'Folder of the runs.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Number of seeds.', lower_bound=1)
NUM_STEPS = flags.DEFINE_integer('num_steps', 1200, 'Training steps.')
UPDATES = flags.DEFINE_integer(
    'updates', 10, 'Updates of the inner player for each of the outer.',
    lower_bound=1,
)
LOSS = flags.DEFINE_string('loss', 'non_saturating', 'Name of the loss.')
R1 = flags.DEFINE_float('r1', 0.1, 'Weight of the R1 penalty.')
RATE = flags.DEFINE_float('learning_rate', 1e-3, 'Learning rate of both.')
WIDTH = flags.DEFINE_integer('width', 128, 'Units of a hidden layer.')
BATCH = flags.DEFINE_integer('batch_size', 512, 'Real points per update.')
NUM_POINTS = flags.DEFINE_integer(
    'num_points', 2500, 'Points to generate at each record.', lower_bound=2
)
DPI = flags.DEFINE_integer('dpi', 100, 'Pixels per inch of 12.', lower_bound=20)

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'
INNER = {'D inner': 'd_steps', 'G inner': 'g_steps'}
COLOURS = {'D inner': '#0072b2', 'G inner': '#d55e00'}
RECORDS = 12  # records in a run
SHOWN = 4  # records in the picture, evenly spaced
DRAWN = 1000  # points of each record in the picture


def make_config(inner, seed):
    """Return the recipe's config with the changes of the flags.

    Args:
        inner: key of `INNER`.
        seed: seed of the run.

    Returns:
        (ConfigDict, folder name of the run).

    Raises:
        errors.ConfigError: if `RECORDS` does not divide --num_steps.
    """
    num_steps = NUM_STEPS.value
    if num_steps < 1 or num_steps % RECORDS:
        raise errors.ConfigError(
            f'--num_steps={num_steps} is not a positive multiple of {RECORDS}'
        )
    config = recipes.load(RECIPE, 'ring')
    changes = {
        INNER[inner]: UPDATES.value,
        'batch_size': BATCH.value,
        'd_optimizer.learning_rate': RATE.value,
        'discriminator.width': WIDTH.value,
        'g_optimizer.learning_rate': RATE.value,
        'generator.width': WIDTH.value,
        'loss.name': LOSS.value,
        'penalties.r1.weight': R1.value,
        'seed': seed,
    }
    usual = defaults.flatten(config)
    config.update_from_flattened_dict(changes)
    changed = {k: v for k, v in changes.items() if v != usual[k] or k == 'seed'}
    config.num_steps = num_steps
    config.checkpoint_every = num_steps // RECORDS
    config.keep_checkpoints = RECORDS
    config.log_every = config.sample_every = config.eval_every = 0
    name = run_identity.run_name('mixtures.py:ring', changed)
    return config, f'{name}-{num_steps}'


def play(inner, seed):
    """Train one run, or read the points of a finished one.

    Args:
        inner: key of `INNER`.
        seed: seed of the run.

    Returns:
        (points [RECORDS, N, 2] float32 of the raw generator, seconds of
        training).
    """
    config, name = make_config(inner, seed)
    workdir = pathlib.Path(RUNS.value) / name
    path = workdir / f'points{NUM_POINTS.value}.npz'
    if not path.exists():
        began = time.monotonic()
        run = train.train(config, workdir)
        seconds = time.monotonic() - began
        points = np.stack([
            sampling.sample(
                run.algorithm, sampling.load(workdir, step)[1],
                range(NUM_POINTS.value), weights='raw',
            ) for step in steps()
        ])
        partial = path.with_suffix('.partial')
        with partial.open('wb') as file:
            np.savez_compressed(file, points=points, seconds=seconds)
        partial.replace(path)
    with np.load(path) as arrays:
        return arrays['points'], float(arrays['seconds'])


def steps():
    """List the steps at which points are generated."""
    every = NUM_STEPS.value // RECORDS
    return [every * (1 + number) for number in range(RECORDS)]


def measure(points):
    """Measure the points of a run, record by record.

    Args:
        points: [RECORDS, N, 2].

    Returns:
        list of {'modes', 'high_quality' as of `modes.recovered`, 'spread':
        mean distance of two points, 'centre': [2]}.
    """
    ring = mixtures.ring()
    recovered = [modes.recovered(now, ring.means, ring.std) for now in points]
    return [
        {
            'modes': counted['modes'],
            'high_quality': counted['high_quality'],
            'spread': float(distances.mean_pairwise(now)),
            'centre': np.mean(now, 0, np.float64).tolist(),
        } for now, counted in zip(points, recovered)
    ]


def moved(records):
    """Compute the mean distance of consecutive centres; 0 for one record."""
    centres = np.array([record['centre'] for record in records])
    strides = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    return float(strides.mean()) if len(strides) else 0.0


def real_spread():
    """Compute the spread of as many points of the ring itself."""
    numbers = jnp.arange(NUM_POINTS.value, dtype=jnp.uint32)
    return float(distances.mean_pairwise(
        mixtures.sample(mixtures.ring(), jax.random.key(0), numbers)
    ))


def column(run, name):
    """Return one number of all records of a run."""
    return [record[name] for record in run['records']]


def table(results, real):
    """Format the runs as a table, one line for each.

    Args:
        results: {key of INNER: [{'records', 'moved', 'seconds'}]}.
        real: spread of the ring.

    Returns:
        str; the modes at the end, and numbers of the second half of the
        records, as a run need not converge: the mean of "moved" and medians of
        the others.
    """
    half = RECORDS // 2
    lines = [
        f'{"":8} seed  modes at the end  modes  high quality  spread  '
        'of the real  moved  seconds'
    ]
    for inner, runs in results.items():
        for seed, run in enumerate(runs):
            late = {
                name: np.median(column(run, name)[half:])
                for name in ('modes', 'high_quality', 'spread')
            }
            lines.append(
                f'{inner:8} {seed:4}  {run["records"][-1]["modes"]:16}  '
                f'{late["modes"]:5g}  {late["high_quality"]:12.3f}  '
                f'{late["spread"]:6.3f}  {late["spread"] / real:11.1%}  '
                f'{run["moved"]:5.3f}  {run["seconds"]:7.0f}'
            )
    return '\n'.join(lines)


def _plot(axes, results, name):
    """Plot a number over the steps: seeds as thin lines, the median thick."""
    for inner, runs in results.items():
        columns = [column(run, name) for run in runs]
        for values in columns:
            axes.plot(
                steps(), values, color=COLOURS[inner], linewidth=0.8, alpha=0.6
            )
        axes.plot(
            steps(), np.median(columns, 0), 'o-', color=COLOURS[inner],
            linewidth=2.5, markersize=4, label=inner,
        )
    axes.grid(alpha=0.3)
    axes.set(xlabel='step', xlim=(0, 1.02 * NUM_STEPS.value))


def _scatter(axes, points, record, step, colour):
    """Draw generated points over circles on the modes."""
    axes.scatter(
        *mixtures.ring().means.T, s=110, facecolors='#dddddd',
        edgecolors='#777777', zorder=1,
    )
    axes.scatter(
        *points[:DRAWN].T, s=4, linewidths=0, alpha=0.6, color=colour, zorder=2
    )
    inside = (np.abs(points) < 1.6).all(1).mean()
    title = f'step {step}: spread {record["spread"]:.2f}'
    if inside < 0.995:
        title += f'\n{1 - inside:.0%} outside'
    axes.set(
        xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect='equal', xticks=[-1, 0, 1],
        yticks=[-1, 0, 1],
    )
    axes.set_title(title, fontsize=10)


def draw(results, points, real, dpi):
    """Draw modes and spread over time, and the points of seed 0.

    Args:
        results: as for `table`.
        points: {key of INNER: [RECORDS, N, 2]}.
        real: spread of the ring.
        dpi: pixels per inch of 12 by 9.6.

    Returns:
        uint8 [9.6 dpi, 12 dpi, 3].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9.6), dpi=dpi, layout='constrained')
    upper, lower = figure.subfigures(2, 1, height_ratios=(3.4, 6.2))
    left, right = upper.subplots(1, 2)
    _plot(left, results, 'modes')
    _plot(right, results, 'spread')
    left.set(title='modes of 8', ylim=(-0.3, 8.3))
    right.axhline(real, color='#777777', linestyle='--', label='real points')
    right.set(
        title='spread: mean distance between two points', ylim=(0, 1.6 * real)
    )
    counts = {'D inner': (UPDATES.value, 1), 'G inner': (1, UPDATES.value)}
    right.legend(loc='upper right', ncols=3)
    shown = [(1 + n) * RECORDS // SHOWN - 1 for n in range(SHOWN)]
    panels = lower.subplots(len(points), SHOWN, squeeze=False)
    for row, (inner, records) in zip(panels, points.items()):
        for axes, place in zip(row, shown):
            _scatter(
                axes, records[place], results[inner][0]['records'][place],
                steps()[place], COLOURS[inner],
            )
        d_steps, g_steps = counts[inner]
        row[0].set_ylabel(
            f'{inner}\n{d_steps} of D, {g_steps} of G a step',
            color=COLOURS[inner], fontsize=11,
        )
    lower.suptitle(
        f'{LOSS.value}, r1 {R1.value:g}: points of seed 0; grey: the modes, '
        'enlarged', fontsize=12,
    )
    return writer.rasterize(figure)


def main(argv):
    """Train all runs, print the table and write the picture."""
    del argv
    results = {inner: [] for inner in INNER}
    first = {}
    for seed in range(SEEDS.value):
        for inner in INNER:
            points, seconds = play(inner, seed)
            first.setdefault(inner, points)
            records = measure(points)
            results[inner].append({
                'seconds': seconds,
                'moved': moved(records[RECORDS // 2:]),
                'records': [
                    {'step': step, **record}
                    for step, record in zip(steps(), records)
                ],
            })
    real = real_spread()
    print(
        f'\nring, {LOSS.value}, r1 {R1.value:g}, {NUM_STEPS.value} steps of '
        f'1 + {UPDATES.value} updates, learning rate {RATE.value:g}, spread of '
        f'the real points {real:.3f}\n{table(results, real)}'
    )
    if JSON.value:
        writer.write_json(JSON.value, {'real_spread': real, **results})
    writer.save_png(OUT.value, draw(results, first, real, DPI.value))
    print(f'Wrote {OUT.value}')


if __name__ == '__main__':
    app.run(main)
