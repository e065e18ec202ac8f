"""Compare the recipes on the digits, with the same generator.

    python benchmarks/compare.py --out=runs/compare

It trains the image recipes on the embedded digits, all for the same number of
updates of G, and prints a table: the digits score (digits_score.py) of 1,000
samples of the averaged generator, and the share of them that has the requested
class; IS, FID, KID, precision, recall and coverage against all digits, by the
features of a classifier of them; memorisation, the share of samples that are
nearer to the training images than 5 % of held-out digits; sharpness, the mean
length of the gradient at a pixel over that of real digits; the number of real
images that D got; and seconds of training without compilation. It needs the
`test` extra.

The baselines have the same generator as decoder: an autoencoder, sampled by a
Gaussian fitted to its codes and by N(0, I); a VAE; optimised codes (GLO); a
decoder of class, angle and scale; and, without a network, as many principal
components as the codes have numbers.

A fifth of the digits is held out. Older runs in --out that held nothing out are
kept, and have no memorisation.

Every row has DCGAN's generator of widths 24 to 96 in place of its recipe's, and
its recipe's discriminator, loss, optimizers and schedule. Rows with "own G"
keep the recipe's generator. Only the row that says so has instance noise.

Finished runs and cells in --out are kept and missing ones added, so run the
same command again after an interruption. A run that fails stays in the table
with the reason; to repeat it, move its folder away.
"""

import functools
import json
import pathlib
import re
from typing import Any, NamedTuple

from absl import flags
import numpy as np

import digits_metrics
import run_clock
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import reference as reference_lib
from gan_jax.features import classifier
from gan_jax.features import extractors
from gan_jax.metrics import memorization
from gan_jax.metrics import principal
from gan_jax.metrics import registry
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import train

OUT = flags.DEFINE_string('out', 'runs/compare', 'Folder of the runs.')
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 2000, 'Generator updates.', lower_bound=1
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of every run.')
ONLY = flags.DEFINE_list(
    'only', [], 'Rows, such as wgan,lsgan; all by default.'
)
JSON = flags.DEFINE_string('json', '', 'JSON file to write the table to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file of all grids to write.')

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
NUM_SAMPLES = 1000  # samples of each run that are scored
TEST_SHARE = 0.2  # share of the digits that is held out
SETTINGS = classifier.Settings()
SHOWN = (4, 10)  # rows and columns of samples of each run in the picture


class Row(NamedTuple):
    """Row of the table.

    Attributes:
        recipe: name of a file of configs/.
        changes: {config key: value}.
        own: whether it keeps the recipe's generator.
    """

    recipe: str
    changes: dict = {}
    own: bool = False


LINEAR = 'pca'
ROWS = {
    LINEAR: Row('autoencoder'),
    'autoencoder': Row('autoencoder'),
    'autoencoder (gaussian)': Row('autoencoder', {'latent': 'gaussian'}),
    'vae': Row('vae'),
    'glo': Row('glo'),
    'pose_decoder': Row('pose_decoder'),
    'gan': Row('gan'),
    'gan (own G)': Row('gan', own=True),
    'dcgan': Row('dcgan', {'instance_noise.std': 0.0}),
    'dcgan (noise)': Row('dcgan'),
    'lsgan': Row('lsgan'),
    'wgan': Row('wgan'),
    'wgan_gp': Row('wgan_gp'),
    'dragan': Row('dragan'),
    'sngan': Row('sngan'),
    'hinge_resnet': Row('hinge_resnet'),
    'hinge_resnet (own G)': Row('hinge_resnet', own=True),
    'sagan': Row('sagan'),
    'sagan (own G)': Row('sagan', own=True),
    'ebgan': Row('ebgan'),
    'began': Row('began'),
    'relativistic': Row('relativistic'),
    'r3gan (own G)': Row('r3gan', {'instance_noise.std': 0.0}, own=True),
    'stylegan2 (own G)': Row(
        'stylegan2', {'instance_noise.std': 0.0}, own=True
    ),
    'pacgan': Row('pacgan'),
    'cgan': Row('cgan'),
    'cgan (projection)': Row('cgan', {
        'generator.condition': 'batch_norm',
        'discriminator.condition': 'projection',
    }),
    'biggan (own G)': Row('biggan', {'instance_noise.std': 0.0}, own=True),
    'acgan': Row('acgan'),
    "acgan (paper's weights)": Row('acgan', {
        'discriminator.dropout': 0.5,
        'penalties.g_classification.weight': 1.0,
    }),
}


def folder(name):
    """Return the folder of a row's run."""
    plain = re.sub(r'\W+', '-', name).strip('-')
    return pathlib.Path(OUT.value) / (
        f'{plain}-{NUM_STEPS.value}-seed{SEED.value}'
    )


def configure(row):
    """Return the config of a row."""
    config = recipes.load(CONFIGS / f'{row.recipe}.py')
    config.update_from_flattened_dict(row.changes)
    if not row.own:
        condition = config.generator.condition
        config.generator = recipes.on_images(row.recipe, 'digits').generator
        config.generator.condition = condition
    config.seed, config.num_steps = SEED.value, NUM_STEPS.value
    config.instance_noise.decay_steps = (
        NUM_STEPS.value if config.instance_noise.std else 0
    )
    if config.anneal.images:
        config.anneal.images = NUM_STEPS.value * config.batch_size
    config.log_every, config.sample_every = 20, 0
    config.data.test_share = TEST_SHARE
    return config


class Trained(NamedTuple):
    """Trained run of a row, and its samples.

    Attributes:
        config, workdir: config and folder of the run.
        algorithm, state: of the last step; None for the row of PCA.
        samples: [NUM_SAMPLES, 32, 32, 1] of the seeds from 0 on.
    """

    config: Any
    workdir: pathlib.Path
    algorithm: Any
    state: Any
    samples: np.ndarray


def training(run):
    """Count D's real images, and the seconds between the logged steps."""
    if run.state is None:
        training = sources.load(builders.request(run.config))
        return {'real_images': len(training.images), 'seconds': None}
    step, seconds = 0, 0.0
    for line in (run.workdir / 'metrics.jsonl').read_text().splitlines():
        record = json.loads(line)
        # No speed includes the compilation; the first includes its steps.
        speed = record['perf/steps_per_sec']
        seconds += (record['step'] - step) / speed if speed else 0.0
        step = record['step']
    images = defaults.images_per_batch(run.config) * int(run.state.position)
    return {'real_images': images, 'seconds': seconds}


def score(run):
    """Compute the digits score."""
    numbers = digits_metrics.score(run.samples)
    return {name: numbers[name] for name in digits_metrics.BOUNDS}


def classes(run):
    """Compute the share of the samples that has the requested class."""
    if run.algorithm is None or not run.algorithm.num_classes:
        return {'agreement': None}
    labels = np.arange(len(run.samples)) % run.algorithm.num_classes
    return {'agreement': digits_metrics.agreement(run.samples, labels)}


@functools.lru_cache(maxsize=1)
def reference():
    """Return all digits and the classifier of them, the same for all rows.

    Returns:
        (`registry.View`, `extractors.Extractor`).
    """
    digits = sources.load(sources.Request('digits'))
    extractor = extractors.make('classifier', digits, settings=SETTINGS)
    return registry.View(digits.images, digits.labels, extractor), extractor


def quality(run):
    """Compare samples with all digits by the classifier's features."""
    real, extractor = reference()
    fake = registry.View(writer.to_uint8(run.samples), None, extractor)
    values = {}
    for name in ('is', 'fid', 'kid', 'prdc'):
        values |= registry.measure(name, real, fake)
    names = 'is', 'fid', 'kid', 'precision', 'recall', 'coverage'
    return {name: values[name].value for name in names}


def copying(run):
    """Check whether samples copy training images; None if none are held out.

    Returns:
        {'memorisation': share of near samples, 'copies': bool}.
    """
    held_out = reference_lib.held_out_of(run.config)
    if held_out is None:
        return {'memorisation': None, 'copies': None}
    training = sources.load(builders.request(run.config))
    result = memorization.verdict(
        writer.to_uint8(run.samples), held_out.images, training.images
    )
    return {
        'memorisation': result['nearer'],
        'copies': result['verdict'] == memorization.COPIES,
    }


def edges(run):
    """Compare the samples' mean gradient with that of all digits."""
    real, _ = reference()
    return {'sharpness': float(
        digits_metrics.sharpness(writer.to_uint8(run.samples))
        / digits_metrics.sharpness(real.images)
    )}


# Groups of cells; a new one is added to finished runs too.
MEASURES = {
    'training': training, 'score': score, 'classes': classes,
    'quality': quality, 'copying': copying, 'edges': edges,
}

COLUMNS = {
    'confidence': '{:.3f}',
    'rarest_class': '{:.1%}',
    'nearest': '{:.3f}',
    'spread': '{:.3f}',
    'agreement': '{:.1%}',
    'is': '{:.2f}',
    'fid': '{:.3g}',
    'kid': '{:.3g}',
    'precision': '{:.2f}',
    'recall': '{:.2f}',
    'coverage': '{:.2f}',
    'memorisation': '{:.1%}',
    'sharpness': '{:.2f}',
    'real_images': '{:,}',
    'seconds': '{:.0f}',
}
TITLES = {'is': 'IS', 'fid': 'FID', 'kid': 'KID'}
EMPTY = {'memorisation': '–'}  # text of None


def make(name, config, workdir):
    """Train a row and sample it; return `Trained`."""
    if name == LINEAR:
        workdir.mkdir(parents=True, exist_ok=True)
        return Trained(config, workdir, None, None, linear(config))
    run = train.train(config, workdir)
    samples = sampling.sample(run.algorithm, run.state, range(NUM_SAMPLES))
    return Trained(config, workdir, run.algorithm, run.state, samples)


def linear(config):
    """Sample a Gaussian of the training images' principal components."""
    images = sources.load(builders.request(config)).images
    flat = images.reshape(len(images), -1) / 127.5 - 1
    components = principal.fit(flat, config.latent_size)
    random = np.random.RandomState(config.seed)
    samples = components.sample(random, NUM_SAMPLES)
    return samples.clip(-1, 1).reshape(-1, *images.shape[1:])


def measure(name):
    """Train a row, or continue it, and add missing cells.

    Returns:
        {group of `MEASURES`: {column: number or None}}, or {'failed': reason}.

    Raises:
        errors.CheckpointError: if its folder holds another run.
    """
    config, workdir = configure(ROWS[name]), folder(name)
    path = workdir / 'cells.json'
    cells = json.loads(path.read_text()) if path.exists() else {}
    if (workdir / 'config.json').exists() and not (
        run_files.load_config(workdir).data.test_share
    ):
        config.data.test_share = 0.0  # as when nothing was held out
    run_clock.refuse_other(workdir, config)
    if 'failed' in cells or not set(MEASURES) - set(cells):
        return cells
    print(f'\n{name}', flush=True)
    try:
        run = make(name, config, workdir)
    except errors.NonFiniteError as error:
        cells = {'failed': str(error)}
        writer.write_json(path, cells)
        return cells
    for group in MEASURES:
        if group not in cells:
            cells[group] = MEASURES[group](run)
            writer.write_json(path, cells)
    return cells


def verdict(cells):
    """Describe what is plainly wrong with a row, or return ''."""
    if 'failed' in cells:
        return f'failed: {cells["failed"]}'
    scores, wrong = cells['score'], []
    if scores['rarest_class'] < 0.01:
        wrong.append('classes are missing')
    if scores['confidence'] < 0.85:
        wrong.append('the classifier is unsure')
    if scores['nearest'] > 1.5:
        wrong.append('far from digits')
    if scores['spread'] < 0.6:
        wrong.append('samples of a class are alike')
    if cells.get('copying', {}).get('copies'):
        wrong.append('copies training images')
    return '; '.join(wrong)


def table(rows):
    """Format rows as Markdown.

    Args:
        rows: {name: cells}, as from `measure`.

    Returns:
        list of lines.
    """
    titles = (TITLES.get(name, name).replace('_', ' ') for name in COLUMNS)
    head = ['row', *titles, '']
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for name, cells in rows.items():
        values = {}
        for group in MEASURES:
            values |= cells.get(group, {})
        shown = [
            EMPTY.get(column, '') if values.get(column) is None
            else form.format(values[column])
            for column, form in COLUMNS.items()
        ]
        lines.append(f'| {" | ".join([name, *shown, verdict(cells)])} |')
    return lines


def draw(panels, columns=4):
    """Draw a titled grid for each run.

    Args:
        panels: list of (title, uint8 [H, W, 1] grid).
        columns: panels side by side.

    Returns:
        uint8 [height, width, 1] of 16 greys, for a small file.
    """
    from matplotlib.figure import Figure

    lines = -(-len(panels) // columns)
    figure = Figure(
        figsize=(2.6 * columns, 1.3 * lines), dpi=100, layout='constrained'
    )
    places = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in places:
        axes.axis('off')
    for axes, (title, grid) in zip(places, panels):
        axes.imshow(grid[..., 0], cmap='gray', vmin=0, vmax=255)
        axes.set_title(title, fontsize=8, pad=2)
    return writer.rasterize(figure)[..., :1] // 17 * 17


def picture(rows):
    """Draw samples of the seeds from 0 on, of every row that did not fail."""
    panels = []
    for name, cells in rows.items():
        if 'failed' in cells:
            continue
        count = SHOWN[0] * SHOWN[1]
        if name == LINEAR:
            samples = linear(configure(ROWS[name]))[:count]
        else:
            gan, state = sampling.load(folder(name))
            samples = sampling.sample(gan, state, range(count))
        panels.append((name, writer.grid(samples, SHOWN[1])))
    return draw(panels)


def main(argv):
    """Print the table; write --json and --picture."""
    del argv
    for name in ONLY.value:
        if name not in ROWS:
            raise errors.ConfigError(errors.unknown_name('--only', name, ROWS))
    rows = {name: measure(name) for name in ONLY.value or ROWS}
    print(
        f'\ndigits, {NUM_STEPS.value} updates of G, seed {SEED.value}, '
        f'{NUM_SAMPLES} samples\n'
    )
    print('\n'.join(table(rows)))
    if JSON.value:
        writer.write_json(JSON.value, rows)
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(rows))
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
