"""Count how many of stacked MNIST's 1,000 modes tiny networks recover.

    python benchmarks/stacked_mnist.py --out=runs/stacked_mnist_table
    python benchmarks/stacked_mnist.py --minutes=30 --only=gan,pacgan2

It reproduces the table of Lin et al., PacGAN: The power of two samples in
generative adversarial networks, https://arxiv.org/abs/1712.04086, 2017, in the
setting of Metz et al., Unrolled Generative Adversarial Networks,
https://arxiv.org/abs/1611.02163, 2016: configs/stacked_mnist.py with packing or
unrolling, and with D of 1/4 and 1/2 of G's size. These rows have the same
networks, optimizers, batches, steps and samples. The row r3gan, of --sizes=own,
is configs/r3gan.py:stacked_mnist, with networks of its own.

A run ends after --num_steps, or after --minutes of training, not counting
compilation. Run the same command again to continue after an interruption. A
longer run continues a shorter one. To repeat a failed run, move its folder
away.

It evaluates 25,600 samples of the raw G, as in the papers, and of the averaged
one. The package's own classifier of MNIST classifies each channel. The last row
has as many real triples, the best that samples can reach. With several --seeds
the table has means and standard errors.
"""

import json
import pathlib

from absl import flags
import numpy as np

import run_clock
from gan_jax.cli import app
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.evaluation import runner
from gan_jax.runs import sampling
from gan_jax.runtime import writer

FULL = 500_000  # steps of the papers

OUT = flags.DEFINE_string('out', 'runs/stacked_mnist_table', 'Folder.')
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', FULL, 'Largest number of generator updates.', lower_bound=1
)
MINUTES = flags.DEFINE_float(
    'minutes', 0.0, 'Time limit of training for each run; 0 is no limit.',
    lower_bound=0.0,
)
SEEDS = flags.DEFINE_integer('seeds', 1, 'Number of seeds.', lower_bound=1)
ONLY = flags.DEFINE_list('only', [], 'Rows, like gan,pacgan2; default all.')
SIZES = flags.DEFINE_list('sizes', ['quarter', 'half', 'own'], 'Sizes of D.')
DATA_DIR = flags.DEFINE_string('data_dir', '', 'Folder of TFDS data.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file of samples.')

RECIPES = pathlib.Path(__file__).parent.parent / 'configs'
NUM_SAMPLES = 25_600
LOG_EVERY = 100  # steps between checks of the time limit
SHOWN = (4, 8)  # rows and columns of samples of each run in the picture
SHARES = {'quarter': '1/4', 'half': '1/2', 'own': '1'}
NUMBERS = ('modes', 'reverse_kl', 'confident')
ROWS = {
    'gan': {},
    'pacgan2': {'packing': 2},
    'pacgan3': {'packing': 3},
    'pacgan4': {'packing': 4},
    **{
        f'unrolled{steps}': {
            'schedule.name': 'unrolled', 'schedule.unroll_steps': steps
        } for steps in (1, 5, 10)
    },
}
OWN = ('r3gan',)  # rows of the size 'own'
# Modes ± standard error and KL: PacGAN's table 3, which quotes Metz et al., and
# table 2 of R3GAN (https://arxiv.org/abs/2501.05441, 2025), other networks.
PUBLISHED = {
    'quarter': {
        'gan': '78.5 ± 17.6, 5.21 (Metz 30.6 ± 20.7, 5.99)',
        'pacgan2': '484.5 ± 33, 2.61',
        'pacgan3': '601.3 ± 32, 2.00',
        'pacgan4': '667.4 ± 29, 1.81',
        'unrolled1': '65.4 ± 34.8, 5.91',
        'unrolled5': '236.4 ± 63.3, 4.67',
        'unrolled10': '327.2 ± 74.7, 4.66',
    },
    'half': {
        'gan': '487.7 ± 35, 2.24 (Metz 628 ± 141, 2.58)',
        'pacgan2': '840.7 ± 16, 1.00',
        'pacgan3': '866.6 ± 12, 0.90',
        'pacgan4': '820.2 ± 26, 1.15',
        'unrolled1': '523.6 ± 56, 2.44',
        'unrolled5': '732 ± 45, 1.66',
        'unrolled10': '817.4 ± 38, 1.43',
    },
    'own': {'r3gan': '1000, 0.078'},
}


def configure(row, size, seed):
    """Return the config of a run."""
    if row in OWN:
        config = recipes.load(RECIPES / f'{row}.py', 'stacked_mnist')
    else:
        config = recipes.load(RECIPES / 'stacked_mnist.py', size)
        config.update_from_flattened_dict(ROWS[row])
    config.seed, config.num_steps = seed, NUM_STEPS.value
    config.data.data_dir = DATA_DIR.value
    config.log_every, config.sample_every = LOG_EVERY, 0
    return config


def rows_of(size):
    """List the rows of a size of D, of those in --only."""
    return [
        row for row in (OWN if size == 'own' else ROWS)
        if not ONLY.value or row in ONLY.value
    ]


def folder(row, size, seed):
    """Return the folder of a run; it does not depend on the length."""
    return pathlib.Path(OUT.value) / f'{row}-{size}-seed{seed}'


def numbers(workdir, weights):
    """Count the modes of samples, and of as many real triples."""
    (result,) = runner.evaluate_run(workdir, None, runner.EvaluationOptions(
        ('modes',), weights=weights, num_fake=NUM_SAMPLES,
        num_real=NUM_SAMPLES,
    ), print)
    values = result['values']
    return {
        'samples': {name: values[name]['value'] for name in NUMBERS},
        'real': {name: values[name]['floor'] for name in NUMBERS},
        'features': result['features'],
    }


def measure(row, size, seed):
    """Train a run, or continue it, and count its modes.

    Returns:
        {'step', 'seconds' of training, 'raw' and 'ema': as `numbers`}, or
        {'failed': reason}.

    Raises:
        errors.CheckpointError: if its folder holds another run.
    """
    config, workdir = configure(row, size, seed), folder(row, size, seed)
    path = workdir / 'result.json'
    result = json.loads(path.read_text()) if path.exists() else {}
    run_clock.refuse_other(workdir, config)
    if 'failed' in result:
        return result
    clock = run_clock.Clock(workdir, MINUTES.value)
    print(f'\n{row}, D of {SHARES[size]} of G, seed {seed}', flush=True)
    try:
        run_clock.run(config, workdir, clock)
    except errors.NonFiniteError as error:
        result = {'failed': str(error)}
        writer.write_json(path, result)
        return result
    step = run_clock.newest(workdir)
    if (result.get('step'), result.get('num_samples')) != (step, NUM_SAMPLES):
        result = {
            'step': step, 'seconds': clock.seconds(),
            'num_samples': NUM_SAMPLES, 'raw': numbers(workdir, 'raw'),
            'ema': numbers(workdir, 'ema'),
        }
        writer.write_json(path, result)
    return result


def spread(values, form):
    """Format a mean, with the standard error of several values."""
    shown = form.format(np.mean(values))
    if len(values) == 1:
        return shown
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f'{shown} ± {form.format(error)}'


def cells(runs):
    """Format the measured cells of a row, of its runs that did not fail."""
    good = [run for run in runs if 'failed' not in run]
    if not good:
        return [''] * 6 + [f'failed: {runs[0]["failed"]}']
    steps = [run['step'] for run in good]

    def of(weights, name):
        return [run[weights]['samples'][name] for run in good]

    failed = len(runs) - len(good)
    return [
        spread(steps, '{:,.0f}'),
        spread([run['seconds'] / 60 for run in good], '{:.1f}'),
        spread(of('raw', 'modes'), '{:.1f}'),
        spread(of('raw', 'reverse_kl'), '{:.2f}'),
        spread(of('ema', 'modes'), '{:.1f}'),
        spread(of('ema', 'reverse_kl'), '{:.2f}'),
        f'{failed} of {len(runs)} failed' if failed else '',
    ]


def table(results):
    """Format runs as Markdown.

    Args:
        results: {size: {row: list of results of `measure`}}.

    Returns:
        List of lines; the last is of real triples if a run did not fail.
    """
    head = [
        'D', 'row', 'steps', 'minutes', 'modes', 'KL', 'modes (EMA)',
        'KL (EMA)', '', f'published, {FULL:,} steps: modes, KL',
    ]
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for size, rows in results.items():
        for row, runs in rows.items():
            shown = [SHARES[size], row, *cells(runs), PUBLISHED[size][row]]
            lines.append(f'| {" | ".join(shown)} |')
    real = [
        run['raw']['real'] for rows in results.values()
        for runs in rows.values() for run in runs if 'failed' not in run
    ]
    if real:
        shown = [
            '', 'real triples', '', '', f'{real[0]["modes"]:.1f}',
            f'{real[0]["reverse_kl"]:.3f}', '', '', '', '',
        ]
        lines.append(f'| {" | ".join(shown)} |')
    return lines


def draw(panels, columns=4):
    """Draw a titled grid of color for each run.

    Args:
        panels: list of (title, uint8 [H, W, 3] grid).
        columns: panels side by side.

    Returns:
        uint8 [height, width, 3].
    """
    from matplotlib.figure import Figure

    lines = -(-len(panels) // columns)
    figure = Figure(
        figsize=(2.6 * columns, 1.6 * lines), dpi=100, layout='constrained'
    )
    places = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in places:
        axes.axis('off')
    for axes, (title, grid) in zip(places, panels):
        axes.imshow(grid)
        axes.set_title(title, fontsize=8, pad=2)
    return writer.rasterize(figure)


def picture(results):
    """Draw samples of the raw G, of the first seed of every row."""
    panels = []
    for size, rows in results.items():
        for row, (run, *_) in rows.items():
            if 'failed' in run:
                continue
            gan, state = sampling.load(folder(row, size, 0))
            samples = sampling.sample(
                gan, state, range(SHOWN[0] * SHOWN[1]), weights='raw'
            )
            modes = run['raw']['samples']['modes']
            title = f'{row}, D {SHARES[size]}: {modes:.0f} modes'
            panels.append((title, writer.grid(samples, SHOWN[1])))
    return draw(panels)


def main(argv):
    """Print the table; write --json and --picture."""
    del argv
    for flag, names, known in (
        ('--only', ONLY.value, (*ROWS, *OWN)),
        ('--sizes', SIZES.value, SHARES),
    ):
        for name in names:
            if name not in known:
                raise errors.ConfigError(
                    errors.unknown_name(flag, name, known)
                )
    results = {
        size: {
            row: [measure(row, size, seed) for seed in range(SEEDS.value)]
            for row in rows_of(size)
        } for size in SIZES.value
    }
    print(
        f'\nstacked MNIST, {NUM_SAMPLES:,} samples, seeds 0 to '
        f'{SEEDS.value - 1}, full length {FULL:,} steps\n'
    )
    print('\n'.join(table(results)))
    if JSON.value:
        writer.write_json(JSON.value, results)
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(results))
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
