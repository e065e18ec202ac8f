"""Measure which GANs recover all modes, beside the published figures.

    python benchmarks/mode_recovery.py --table=wide
    python benchmarks/mode_recovery.py --table=published
    python benchmarks/mode_recovery.py --table=figure

All seeds of a setting train at once (`gan_jax/training/multi_seed.py`). The
settings are in mode_settings.py. All else is as in configs/mixtures.py: two
hidden layers of 128 in each player, batch 512, Adam(1e-3, b1 0.5).

  wide       every setting on the ring and the grid, 25,000 updates of G
  published  PacGAN's own networks and protocol on the ring, 400,000 updates;
             the differences to the published figures beside their bound,
             2 sqrt(ours^2 + theirs^2) of standard errors
  figure     the share of modes recovered on a flat manifold, over the number of
             modes and over the manifold's dimension, 5,000 updates of the plain
             GAN, batch 256, z of 64; of the averaged generator, because few
             points of the raw one are precise enough by then

The metrics are those of `metrics/modes.py` on 2,500 points (26 for each mode if
that is more) of the raw generator, as the papers do not average weights. Those
of our averaged generator are measured too. Mean and standard error are over
seeds. A seed that diverged counts with its last finite state, and is listed.
The reverse KL divergence of a seed without a point of high quality is infinite.
It is left out of the mean, and the number of such seeds is printed.

Each setting has a folder in --out, is saved at each measurement and continues
after an interruption. Finished settings are read. Another --num_steps or
--seeds uses another folder.

PacGAN's protocol differs from the authors' Theano code in this: points are
unlimited, where they have 100,000; G and D get different z in a step; BatchNorm
normalises the fakes of a whole batch of tuples, where they normalise each 100;
and G's hidden layers have biases, which BatchNorm cancels. Their loss of G
contains softplus(D(x)) too, which does not depend on G, so it is the
non-saturating loss. We take their beta1 of 0.8 for the decay of the first
moment. Older versions of their library meant one minus it, and the version is
not known.
"""

import json
import math
import pathlib
import time

from absl import flags
import jax
import numpy as np
from PIL import Image

import mode_settings
from gan_jax.cli import app
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.metrics import modes
from gan_jax.ops import mixtures
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import writer
from gan_jax.training import multi_seed as population_lib

TABLE = flags.DEFINE_enum(
    'table', 'wide', ['figure', 'published', 'wide'], 'Table to train.'
)
OUT = flags.DEFINE_string('out', 'runs/modes', 'Folder of the runs.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Number of seeds.', lower_bound=1)
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 0, 'Generator updates; 0 is the default of the table.',
    lower_bound=0,
)
ONLY = flags.DEFINE_list(
    'only', [], 'Settings, such as ring/r1,grid/r1; all by default.'
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'mixtures.py'
COLOURS = 16  # of the picture
LENGTHS = {
    'wide': mode_settings.WIDE_STEPS, 'published': 400_000, 'figure': 5_000,
}
# Steps between measurements, each with a save: half a minute to a few.
EVERY = {'wide': 500, 'published': 1000, 'figure': 2500}
NUM_POINTS, POINTS_PER_MODE = 2500, 26
STD = 0.016  # of the figure's modes, of which 256 in a plane are 0.097 apart
NUMBERS = ('modes', 'high_quality', 'reverse_kl')
COLUMNS = 6  # of clouds in the picture


def settings():
    """Return {name: Setting} of --table, restricted to --only.

    Raises:
        errors.ConfigError: for an unknown setting.
    """
    chosen = {
        'wide': mode_settings.WIDE,
        'published': mode_settings.OWN,
        'figure': [mode_settings.at(p, STD) for p in mode_settings.PLACES],
    }[TABLE.value]
    named = {setting.name: setting for setting in chosen}
    for name in ONLY.value:
        if name not in named:
            raise errors.ConfigError(errors.unknown_name('--only', name, named))
    return {name: named[name] for name in ONLY.value or named}


def num_steps():
    """Return the number of generator updates of each run."""
    return NUM_STEPS.value or LENGTHS[TABLE.value]


def configure(setting):
    """Return the recipe's config with the changes of a setting."""
    config = recipes.load(RECIPE, setting.source)
    config.update_from_flattened_dict(setting.changes)
    config.num_steps = num_steps()
    validation.validate(config)
    return config


def folder(setting):
    """Return the folder of a setting."""
    return pathlib.Path(OUT.value) / (
        f'{TABLE.value}-{num_steps()}-seeds{SEEDS.value}'
    ) / setting.name.replace('/', '-')


def measure(setting):
    """Train a setting with every seed, or continue, or read its results.

    Returns:
        {'raw', 'ema': [{name of NUMBERS: value}] by seed; 'failed': seeds that
        diverged; 'steps': of each seed; 'seconds': of training, with
        compilation}; reverse_kl is None if it is infinite.

    Raises:
        errors.ConfigError: if the folder is of another config.
    """
    config, workdir = configure(setting), folder(setting)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir):
        _keep_config(config, workdir)
        result = workdir / 'result.json'
        if result.exists():
            return json.loads(result.read_text())
        print(f'{setting.name}: {num_steps()} steps', flush=True)
        population = population_lib.Population(config, range(SEEDS.value))
        states, looks = train(population, workdir)
        points = draw_points(population, states)
        with (workdir / 'points.npy').open('wb') as file:
            np.save(file, points)
        measured = {
            'raw': recovered(population, points),
            'ema': recovered(
                population, draw_points(population, states, 'ema')
            ),
            'failed': np.flatnonzero(~np.asarray(states.alive)).tolist(),
            'steps': np.asarray(states.step).tolist(),
            'seconds': sum(look['seconds'] for look in looks),
        }
        writer.write_json(result, measured)
        return measured


def _keep_config(config, workdir):
    """Write the config to the folder, or check that it is the same."""
    path, keys = workdir / 'config.json', defaults.flatten(config)
    if not path.exists():
        writer.write_json(path, keys)
    stored = json.loads(path.read_text())
    changed = [name for name in stored if stored[name] != keys.get(name)]
    if changed:
        raise errors.ConfigError(
            f'{workdir} has a run with other {", ".join(changed)}; move it '
            'away or choose another --out'
        )


def train(population, workdir):
    """Train from the newest checkpoint to the end, measuring at each save.

    Args:
        population: `multi_seed.Population`.
        workdir: folder of the setting.

    Returns:
        (states, [{'step', 'seconds': since the measurement before, 'raw': as
        from `measure`}]).
    """
    checkpoints = checkpoint.Checkpoints(workdir / 'checkpoints', keep=2)
    path, every, looks = workdir / 'looks.json', EVERY[TABLE.value], []
    try:
        states = checkpoints.restore_newest(population.abstract())
        if states is None:
            states = population.init()
        elif path.exists():
            looks = json.loads(path.read_text())
        step = int(np.max(states.step))
        # A kill before the save leaves a measurement that was not saved.
        looks = [look for look in looks if look['step'] <= step]
        while step < num_steps() and np.any(states.alive):
            began = time.monotonic()
            size = min(every - step % every, num_steps() - step)
            states, _ = population.advance(states, size)
            states = jax.tree.map(np.array, states)
            step = int(np.max(states.step))
            seconds = time.monotonic() - began
            looks.append({
                'step': step, 'seconds': seconds,
                'raw': recovered(population, draw_points(population, states)),
            })
            writer.write_json(path, looks)
            checkpoints.save(step, states)
            print(f'  step {step}, {seconds:.0f} s', flush=True)
    finally:
        checkpoints.close()
    return states, looks


def draw_points(population, states, weights='raw'):
    """Generate the points to measure: float32 [seeds, N, D]."""
    count = max(NUM_POINTS, POINTS_PER_MODE * len(population.mixture.means))
    return population.sample(states, range(count), weights)


def recovered(population, points):
    """Measure the points of each seed: [{name of NUMBERS: value}]."""
    mixture, results = population.mixture, []
    for own in points:
        numbers = modes.recovered(
            own, mixture.means, mixture.std, mixture.dimension
        )
        if math.isinf(numbers['reverse_kl']):
            numbers['reverse_kl'] = None  # JSON has no infinity
        results.append({name: numbers[name] for name in NUMBERS})
    return results


def summary(values):
    """Compute (mean, standard error, number of infinite values left out).

    Args:
        values: floats, None for infinite.

    Returns:
        The mean is NaN without a finite value, the error with less than two.
    """
    finite = [value for value in values if value is not None]
    mean = float(np.mean(finite)) if finite else math.nan
    error = math.nan
    if len(finite) > 1:
        error = float(np.std(finite, ddof=1) / math.sqrt(len(finite)))
    return mean, error, len(values) - len(finite)


def show(name, mean, error, infinite=0):
    """Format a number with its standard error, as 6.3 ± 0.5."""
    if math.isnan(mean):
        return 'inf'
    scale, digits = {
        'modes': (1, 1), 'high_quality': (100, 1), 'reverse_kl': (1, 2)
    }[name]
    text = f'{scale * mean:.{digits}f}'
    if error is not None and not math.isnan(error):
        text += f' ± {scale * error:.{digits}f}'
    return text + (f' ({infinite} inf)' if infinite else '')


def cells(runs):
    """Format NUMBERS over seeds, one text each."""
    return [
        show(name, *summary([run[name] for run in runs])) for name in NUMBERS
    ]


def markdown(header, rows):
    """Format texts as a table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def failures(measured):
    """List the seeds that failed, with their last steps."""
    return ', '.join(
        f'seed {seed} after {measured["steps"][seed]}'
        for seed in measured['failed']
    ) or 'none'


HEADER = ['modes', 'high quality, %', 'reverse KL']


def wide_table(table, weights='raw'):
    """Format the wide table, with the published figures beside ours."""
    rows = []
    for setting in settings().values():
        measured = table[setting.name]
        published = mode_settings.PUBLISHED.get((setting.row, setting.source))
        rows.append([
            setting.source, setting.row, *cells(measured[weights]),
            failures(measured), f'{measured["seconds"] / 60:.1f}',
            '; '.join(map(_one_line, published or ())),
        ])
    return markdown([
        'source', 'setting', *HEADER, 'failed seeds', 'minutes',
        'published, with other networks',
    ], rows)


def _one_line(published):
    """Format the figures of a paper in one line."""
    return ', '.join(
        show(name, *figure) for name in NUMBERS
        if (figure := getattr(published, name)) is not None
    ) + f' ({published.whose})'


def verdicts(table):
    """Compare our runs of PacGAN's protocol with the published figures.

    Returns:
        [{'row', 'number', 'ours', 'error', 'published', 'published_error',
        'difference', 'bound', 'hit'}]; hit is whether every seed's number is
        finite and the difference is below 2 sqrt(ours^2 + theirs^2) of the
        standard errors.
    """
    results = []
    for setting in settings().values():
        published = mode_settings.OWN_PUBLISHED[setting.row]
        for name in NUMBERS:
            ours, error, infinite = summary(
                [run[name] for run in table[setting.name]['raw']]
            )
            theirs = getattr(published, name)
            difference = abs(ours - theirs.mean)
            bound = 2 * math.hypot(error, theirs.error)
            results.append({
                'row': setting.row, 'number': name,
                'ours': ours, 'error': error, 'infinite': infinite,
                'published': theirs.mean, 'published_error': theirs.error,
                'difference': difference, 'bound': bound,
                # Never with a NaN, nor without the worst seeds.
                'hit': not infinite and difference < bound,
            })
    return results


def published_table(table):
    """Format our figures beside the published ones, with the verdicts."""
    units = dict(zip(NUMBERS, HEADER))
    rows = []
    for line in verdicts(table):
        name = line['number']
        rows.append([
            line['row'], units[name],
            show(name, line['ours'], line['error'], line['infinite']),
            show(name, line['published'], line['published_error']),
            show(name, line['difference'], None),
            show(name, line['bound'], None),
            'hit' if line['hit'] else 'MISS',
        ])
    lines = [markdown([
        'setting', 'number', 'ours', f'published ({mode_settings.PACGAN})',
        'difference', 'bound', '',
    ], rows)]
    lines += [
        f'{name}: failed seeds: {failures(measured)}; '
        f'{measured["seconds"] / 60:.0f} minutes'
        for name, measured in table.items()
    ]
    return '\n'.join(lines)


def shares(place, measured, weights='ema'):
    """Compute the share of modes that each seed recovers."""
    return [run['modes'] / place.modes for run in measured[weights]]


def figure_places():
    """Return {name of a setting: its `mode_settings.Place`}."""
    return {
        mode_settings.at(place, STD).name: place
        for place in mode_settings.PLACES
    }


def figure_table(table):
    """Format the points of the figure as a table."""
    rows = []
    for name, measured in table.items():
        place = figure_places()[name]
        texts = []
        for weights in ('ema', 'raw'):
            share, error, _ = summary(shares(place, measured, weights))
            quality = [run['high_quality'] for run in measured[weights]]
            texts += [
                f'{share:.2f} ± {error:.2f}',
                show('high_quality', *summary(quality)),
            ]
        rows.append([
            *map(str, place), *texts, failures(measured),
            f'{measured["seconds"]:.0f}',
        ])
    return markdown([
        'modes', 'dimension', 'data dimension', 'share of modes',
        'high quality, %', 'share, raw G', 'high quality, %',
        'failed seeds', 'seconds',
    ], rows)


LAYOUTS = {
    'wide': wide_table, 'published': published_table, 'figure': figure_table
}


def median_seed(measured):
    """Return the median seed by modes and quality, the better of two."""
    runs = measured['raw']
    order = sorted(range(len(runs)), key=lambda seed: (
        runs[seed]['modes'], runs[seed]['high_quality']
    ))
    return order[len(order) // 2]


def draw_clouds(table):
    """Draw the points of each setting's median seed over the modes."""
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure

    rows = -(-len(table) // COLUMNS)
    columns = min(len(table), COLUMNS)
    figure = Figure(
        figsize=(2.2 * columns, 2.6 * rows + 0.3), dpi=100,
        layout='constrained',
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(table):]:
        axes.set_axis_off()
    for axes, (name, measured) in zip(panels, table.items()):
        setting, seed = settings()[name], median_seed(measured)
        mixture = mixtures.MIXTURES[setting.source]()
        points = np.load(folder(setting) / 'points.npy')[seed]
        axes.scatter(
            *points.T, s=3, linewidths=0, alpha=0.4, color='#d55e00', zorder=2
        )
        axes.add_collection(EllipseCollection(
            *[np.full(len(mixture.means), 6 * mixture.std)] * 2, 0,
            units='xy', offsets=mixture.means, facecolors='none',
            edgecolors='black', linewidths=0.7, zorder=3,
            offset_transform=axes.transData,
        ))
        reach = 1.3 * np.abs(mixture.means).max()
        axes.set(
            xlim=(-reach, reach), ylim=(-reach, reach), aspect='equal',
            xticks=[], yticks=[],
        )
        run = measured['raw'][seed]
        axes.set_title(
            f'{name}, seed {seed}\n{run["modes"]} modes, quality '
            f'{run["high_quality"]:.0%}', fontsize=8,
        )
    figure.supxlabel(
        'the median seed of each; circles: 3 deviations around the modes',
        fontsize=8,
    )
    return writer.rasterize(figure)


def draw_shares(table):
    """Draw the share of modes over their number, and over the dimension."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=100, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    places = {
        place: table[name] for name, place in figure_places().items()
        if name in table
    }
    _curves(left, places, 'modes', 'dimension', {
        'ambient': mode_settings.AMBIENT
    })
    _curves(right, places, 'dimension', 'ambient', {
        'modes': mode_settings.MANY
    })
    left.set(
        xlabel='modes', ylabel='share recovered', ylim=(-0.03, 1.03),
        title=f'data of {mode_settings.AMBIENT} dimensions',
    )
    left.legend(title='dimension of the manifold')
    right.set(
        xlabel='dimension of the manifold',
        title=f'{mode_settings.MANY} modes',
    )
    right.legend(title='dimension of the data')
    return writer.rasterize(figure)


def _curves(axes, places, collectives, curve, fixed):
    """Draw a curve for each value of a field, with other fields fixed."""
    chosen = {
        place: measured for place, measured in places.items()
        if all(getattr(place, k) == value for k, value in fixed.items())
    }
    for value in sorted({getattr(place, curve) for place in chosen}):
        line = sorted(
            (getattr(place, collectives), *summary(shares(place, measured))[:2])
            for place, measured in chosen.items()
            if getattr(place, curve) == value
        )
        x, mean, error = zip(*line)
        axes.errorbar(
            x, mean, np.nan_to_num(error), marker='o', capsize=3,
            label=str(value),
        )
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.grid(alpha=0.3)


def main(argv):
    """Train missing settings; print the table; write --json and --picture."""
    del argv
    environment.prepare()
    chosen = settings()
    for setting in chosen.values():
        configure(setting)  # to fail before hours of training
    table = {name: measure(setting) for name, setting in chosen.items()}
    print(
        f'\n{TABLE.value}: {num_steps()} updates of G, seeds 0 to '
        f'{SEEDS.value - 1}, mean ± standard error; about '
        f'{sum(m["seconds"] for m in table.values()) / 60:.0f} minutes\n\n'
        + LAYOUTS[TABLE.value](table)
    )
    if TABLE.value == 'wide':
        print('\nthe average of the weights of G (EMA)\n\n' + wide_table(
            table, 'ema'
        ))
    if JSON.value:
        described = environment.describe(0)
        writer.write_json(JSON.value, {
            'date': described['started'], 'command': described['command'],
            'device': described['device_kind'],
            'versions': described['versions'],
            'table': TABLE.value, 'num_steps': num_steps(),
            'seeds': SEEDS.value,
            'changes': {n: s.changes for n, s in chosen.items()},
            'settings': table,
            **({'verdicts': verdicts(table)}
               if TABLE.value == 'published' else {}),
        })
    if PICTURE.value:
        draw = draw_shares if TABLE.value == 'figure' else draw_clouds
        # With few colours the file has a third of the size.
        path = pathlib.Path(PICTURE.value).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(table)).quantize(COLOURS).save(path, 'png')
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
