"""Compare ADA with DiffAugment and no augmentation on few images.

    python benchmarks/few_images.py --data=flowers --minutes=60 \\
      --table=benchmarks/results/few_images.md \\
      --picture=benchmarks/results/few_images.png

It trains configs/few_images.py:images on --count of the images of a folder or
an archive; the rest is held out. Each run has --minutes of training, not
counting compilation, or --num_steps. With --side, --width and --full_side the
images and the networks are smaller.

  none         without augmentation
  diffaugment  color, translation and cutout of every image
  ada          the 13 changes of `bgc`, with a probability p that adapts

At each saved step it measures the averaged generator's samples against the
held-out images: FID, KID and recall by --features; and D on both kinds of real
images, without augmentation: r, the mean sign of its output. D knows its images
by heart if r is near 1 on them and below 0 on the held-out ones.

Run the same command again to continue after an interruption. More --minutes
continue the same runs. To repeat a run, move its folder away. With --only each
run has a process of its own; a last command without it makes the table.
"""

import json
import pathlib

from absl import flags
import numpy as np

import run_clock
from gan_jax.algorithms import adversarial_monitors
from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import sources
from gan_jax.evaluation import reference
from gan_jax.evaluation import runner
from gan_jax.features import extractors
from gan_jax.metrics import catalog
from gan_jax.runs import sampling
from gan_jax.runtime import environment
from gan_jax.runtime import writer

DATA = flags.DEFINE_string('data', '', 'Folder or archive of images.')
OUT = flags.DEFINE_string('out', 'runs/few_images', 'Folder of the runs.')
COUNT = flags.DEFINE_integer(
    'count', 500, 'Images to train on; the others are held out.', lower_bound=16
)
MINUTES = flags.DEFINE_float(
    'minutes', 60.0, 'Time limit of training for each run; 0 is no limit.',
    lower_bound=0.0,
)
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 1_000_000, 'Largest number of steps.', lower_bound=1
)
EVERY = flags.DEFINE_integer(
    'every', 500, 'Steps between measurements.', lower_bound=1
)
SIDE = flags.DEFINE_integer('side', 64, 'Side of the images.', lower_bound=8)
WIDTH = flags.DEFINE_integer(
    'width', 0, "Width of both networks and of z; 0 is the recipe's.",
    lower_bound=0,
)
FULL_SIDE = flags.DEFINE_integer(
    'full_side', 0, "Largest side with this width; 0 is the recipe's.",
    lower_bound=0,
)
FEATURES = flags.DEFINE_enum(
    'features', 'random', sorted(extractors.EXTRACTORS), 'Of the distances.'
)
NUM_SAMPLES = flags.DEFINE_integer(
    'num_samples', 1000, 'Samples of each step.', lower_bound=16
)
ONLY = flags.DEFINE_list('only', [], 'Rows, like none,ada; default all.')
SEED = flags.DEFINE_integer('seed', 0, 'Seed of all runs.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')
TABLE = flags.DEFINE_string('table', '', 'Markdown file to write the table to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')

RECIPE = pathlib.Path(__file__).parent.parent / 'configs' / 'few_images.py'
LOG_EVERY = 50  # steps between checks of the time limit
SHOWN = 12  # samples of each run in the picture
CHANGES = ('color', 'translation', 'cutout')
ROWS = {
    'none': {'augment.adaptive': False},
    'diffaugment': {
        'augment.adaptive': False,
        **{f'augment.{name}': True for name in CHANGES},
    },
    'ada': {},
}
FIXED = {'none': 0.0, 'diffaugment': 1.0}  # their p
NUMBERS = ('fid', 'kid', 'recall')
COLUMNS = {  # key: (title in the table, format)
    'step': ('steps', '{:,.0f}'), 'fid': ('FID', '{:.2f}'),
    'best_fid': ('best FID', '{:.2f}'), 'kid': ('KID', '{:.4f}'),
    'recall': ('recall', '{:.2f}'), 'r': ('r', '{:.2f}'),
    'r_held_out': ('r held out', '{:.2f}'), 'p': ('p', '{:.2f}'),
}


def configure(row, share):
    """Return the config of a run.

    Args:
        row: one of `ROWS`.
        share: of the images that are held out.
    """
    config = recipes.load(RECIPE, 'images')
    config.update_from_flattened_dict(ROWS[row])
    unused_keys.leave_out(config, list(ROWS[row]))
    config.data.path, config.data.test_share = DATA.value, share
    config.data.image_size = str(SIDE.value)
    config.seed, config.num_steps = SEED.value, NUM_STEPS.value
    config.log_every, config.sample_every = LOG_EVERY, 0
    config.checkpoint_every = config.keep_every = EVERY.value
    config.report = False
    for player in (config.generator, config.discriminator):
        player.width = WIDTH.value or player.width
        player.full_side = FULL_SIDE.value or player.full_side
    config.latent_size = WIDTH.value or config.latent_size
    return config


def held_out_share():
    """Return the share of the images that --count leaves."""
    config = configure('none', 0.0)
    total = len(sources.load(builders.request(config)).images)
    if total < 2 * COUNT.value:
        raise errors.ConfigError(
            f'--count={COUNT.value} of the {total} images of --data='
            f'{DATA.value} leaves less than half to compare with'
        )
    return 1 - COUNT.value / total


def signs(algorithm, state, images):
    """Compute the mean sign of D on images.

    Args:
        algorithm: `algorithm.Algorithm`.
        state: its state.
        images: uint8 [N, H, W, C].

    Returns:
        float in [-1, 1].
    """
    count = len(images)
    padding = -count % adversarial_monitors.CHUNK
    padded = images[np.arange(count + padding) % count]
    scores = algorithm.monitors.scores(
        state, algorithm_lib.to_unit_range(padded)
    )
    return float(np.sign(scores[:count]).mean())


def real_images(config, split):
    """Draw up to --count real images of a split, uint8 [N, H, W, C]."""
    images = reference.dataset(config, split).images
    return np.asarray(
        images[reference.sample_indices(len(images), COUNT.value)]
    )


def probabilities(workdir):
    """Return {step: p} of the steps in metrics.jsonl that have a p."""
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    records = (json.loads(line) for line in lines)
    return {
        record['step']: record['d/augment_probability'] for record in records
        if 'd/augment_probability' in record
    }


def curve(row, config, workdir):
    """Measure every saved step of a run.

    Returns:
        List of {'step', 'images', name of `NUMBERS`, 'r', 'r_held_out', 'p'}.
    """
    options = runner.EvaluationOptions(
        ('fid', 'kid', 'prdc'), features=FEATURES.value, split='test',
        num_fake=NUM_SAMPLES.value,
    )
    real = [real_images(config, split) for split in ('train', 'test')]
    adapted, points = probabilities(workdir), []
    for result in runner.evaluate_run(
        workdir, runner.ALL_STEPS, options, print
    ):
        step = result['step']
        algorithm, state = sampling.load(workdir, step)
        logged = [p for logged, p in sorted(adapted.items()) if logged <= step]
        points.append({
            'step': step, 'images': step * config.batch_size,
            **{name: result['values'][
                catalog.name_of(name, FEATURES.value)
            ]['value'] for name in NUMBERS},
            'r': signs(algorithm, state, real[0]),
            'r_held_out': signs(algorithm, state, real[1]),
            'p': FIXED.get(row, (logged or [0.0])[-1]),
        })
    return points


def measure(row, share):
    """Train a run, or continue it, and measure it.

    Returns:
        {'step', 'seconds' of training, 'features', 'curve': of `curve`}.

    Raises:
        errors.CheckpointError: if its folder holds another run.
    """
    config = configure(row, share)
    workdir = pathlib.Path(OUT.value) / f'{row}-seed{SEED.value}'
    run_clock.refuse_other(workdir, config)
    clock = run_clock.Clock(workdir, MINUTES.value)
    print(f'\n{row}', flush=True)
    run_clock.run(config, workdir, clock)
    path, identity = workdir / 'result.json', {
        'step': run_clock.newest(workdir), 'features': FEATURES.value,
        'num_samples': NUM_SAMPLES.value,
    }
    result = json.loads(path.read_text()) if path.exists() else {}
    if identity.items() <= result.items():
        return result
    result = {
        **identity, 'seconds': clock.seconds(),
        'curve': curve(row, config, workdir),
    }
    writer.write_json(path, result)
    return result


def table(results):
    """Format the last measurement of each run as a Markdown table.

    Args:
        results: {name of `ROWS`: result of `measure`}.

    Returns:
        str.
    """
    titles = [own_title(title) for title, _ in COLUMNS.values()]
    lines = [
        f'| augmentation | {" | ".join(titles)} |',
        '|---' * (1 + len(titles)) + '|',
    ]
    for row, result in results.items():
        points = result['curve']
        last = points[-1] | {'best_fid': min(one['fid'] for one in points)}
        cells = [form.format(last[key]) for key, (_, form) in COLUMNS.items()]
        lines.append(f'| {row} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def own_title(text):
    """Return a title, with the names that numbers have for the features."""
    for name in ('fid', 'kid'):
        own = catalog.name_of(name, FEATURES.value)
        text = text if own == name else text.replace(name.upper(), own)
    return text


def draw(results, rows):
    """Draw FID, r and p over time, and a row of images of each run.

    Args:
        results: {name of `ROWS`: result of `measure`}.
        rows: list of (title, images [SHOWN, H, W, C]).

    Returns:
        uint8 [H, W, 3].
    """
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(9, 3 + 0.85 * len(rows)), dpi=60, layout='constrained'
    )
    above, below = figure.subfigures(
        2, 1, height_ratios=[3, 0.85 * len(rows)]
    )
    panels = above.subplots(1, 3)
    for color, (row, result) in enumerate(results.items()):
        points = result['curve']
        images = [one['images'] / 1000 for one in points]
        for axes, key, style, label in (
            (panels[0], 'fid', '-', row), (panels[1], 'r', '-', row),
            (panels[1], 'r_held_out', ':', None), (panels[2], 'p', '-', row),
        ):
            axes.plot(
                images, [one[key] for one in points], style, marker='.',
                color=f'C{color}', label=label,
            )
    for axes, title in zip(panels, (
        own_title('FID to held-out images'),
        'r: own images, dotted: held-out', 'p',
    )):
        axes.set_title(title, fontsize=9)
        axes.set_xlabel('images shown, thousands', fontsize=8)
        axes.tick_params(labelsize=8)
    panels[0].legend(fontsize=8)
    for axes, (title, images) in zip(
        below.subplots(len(rows), 1, squeeze=False)[:, 0], rows
    ):
        axes.imshow(writer.grid(images, len(images)), cmap='gray')
        axes.set_ylabel(title, fontsize=8, rotation=0, ha='right', va='center')
        axes.set(xticks=(), yticks=())
        axes.spines[:].set_visible(False)
    return writer.rasterize(figure)


def picture(results, share):
    """Draw the results, with samples of each run and real images."""
    real = real_images(configure('none', share), 'train')
    rows = [('real', real[::len(real) // SHOWN][:SHOWN])]
    for row in results:
        loaded = sampling.load(
            pathlib.Path(OUT.value) / f'{row}-seed{SEED.value}'
        )
        rows.append((row, sampling.sample(*loaded, range(SHOWN))))
    return draw(results, rows)


def main(argv):
    """Train the runs, print the table and write the files."""
    del argv
    for name in ONLY.value:
        if name not in ROWS:
            raise errors.ConfigError(errors.unknown_name('--only', name, ROWS))
    if not DATA.value:
        raise errors.ConfigError('--data must be a folder or an archive')
    environment.prepare()
    share = held_out_share()
    results = {
        row: measure(row, share) for row in ROWS
        if not ONLY.value or row in ONLY.value
    }
    described = environment.describe(SEED.value)
    text = (
        f'{COUNT.value} images of {SIDE.value}x{SIDE.value}, '
        f'{MINUTES.value:g} minutes, seed {SEED.value}, features '
        f'{FEATURES.value}, {NUM_SAMPLES.value:,} samples, '
        f'{len(described["devices"])} x {described["device_kind"]}, '
        f'{described["started"][:10]}.\n\n{table(results)}\n'
    )
    print(f'\n{text}')
    if TABLE.value:
        path = files.to_path(TABLE.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    if JSON.value:
        writer.write_json(JSON.value, {
            'environment': described, 'runs': results
        })
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(results, share))
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
