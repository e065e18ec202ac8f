"""Compare autoencoders with and without a discriminator at equal times.

    python benchmarks/autoencoder_comparison.py --out=runs/autoencoders \
        --minutes=15
    python benchmarks/autoencoder_comparison.py --data=cifar10 --minutes=15 \
        --width=16 --num_blocks=1 --features=efficientnet_lite0 \
        --out=runs/autoencoders-cifar10
    python benchmarks/autoencoder_comparison.py --data=images --size=64 \
        --path=my/flowers --features=random --out=runs/autoencoders-flowers

Each row is a recipe, trained for --minutes of steps, without compilation. A row
"without D" is the same recipe whose D never starts: its networks, code and
error are those of the row with D. "factor" is that of the adaptive weight, 0.1
in the recipes. The table is of images that were held out:
the root mean square error of reconstructions; their sharpness, the mean length
of the gradient at a pixel over that of the images; their Fréchet distance to
the images by --features; the sharpness and the distance of samples; and the
usage and perplexity of a codebook.

Finished runs and cells in --out are kept and missing ones added, so run the
same command again after an interruption.
"""

import json
import pathlib
import re
from typing import NamedTuple, Optional

from absl import flags
import numpy as np
from PIL import Image

import digits_metrics
import run_clock
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.evaluation import reference
from gan_jax.features import extractors
from gan_jax.metrics import registry
from gan_jax.runs import sampling
from gan_jax.runtime import environment
from gan_jax.runtime import writer
from gan_jax.tools import inversion

OUT = flags.DEFINE_string('out', 'runs/autoencoders', 'Folder of the runs.')
DATA = flags.DEFINE_string('data', 'digits', "Argument of the recipes.")
PATH = flags.DEFINE_string('path', '', 'Images of --data=images.')
SIZE = flags.DEFINE_integer('size', 64, 'Their side.', lower_bound=8)
MINUTES = flags.DEFINE_float(
    'minutes', 15, 'Minutes of steps of each row; 0: --num_steps alone ends.',
    lower_bound=0,
)
NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 10**6, 'Most steps of each row.', lower_bound=1
)
START = flags.DEFINE_integer(
    'start', 500, 'Step at which D of the KL and VQ rows starts.',
    lower_bound=0,
)
WIDTH = flags.DEFINE_integer(
    'width', 0, 'Width of both networks of the KL and VQ rows; 0: the '
    "recipe's.", lower_bound=0,
)
BLOCKS = flags.DEFINE_integer(
    'num_blocks', 0, "Their residual blocks of each size; 0: the recipe's.",
    lower_bound=0,
)
FEATURES = flags.DEFINE_enum(
    'features', 'classifier', sorted(extractors.EXTRACTORS),
    'Features of the distances.'
)
NUM_IMAGES = flags.DEFINE_integer(
    'num_images', 1000, 'Held-out images, at most, and samples.',
    lower_bound=16,
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of every run.')
ONLY = flags.DEFINE_list('only', [], "Rows, such as 'kl,vq'; all by default.")
JSON = flags.DEFINE_string('json', '', 'JSON file to write the table to.')
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
TEST_SHARE = 0.2  # of digits and of images; others have a split
SHOWN = 10  # columns of the picture
COLOURS = 128  # of it


class Row(NamedTuple):
    """Row of the table.

    Attributes:
        recipe: name of a file of configs/.
        waits: whether its D never starts; None if it has none or no start.
        factor: reconstruction.adversarial; None is the recipe's.
    """

    recipe: str
    waits: Optional[bool] = None
    factor: Optional[float] = None


ROWS = {
    'autoencoder': Row('autoencoder'),
    'vae': Row('vae'),
    'aae': Row('aae'),
    'vae_gan': Row('vae_gan'),
    'kl without D': Row('kl_autoencoder', True),
    'kl': Row('kl_autoencoder', False),
    'kl (factor 0.5)': Row('kl_autoencoder', False, 0.5),
    'vq without D': Row('vq_gan', True),
    'vq': Row('vq_gan', False),
    'vq (factor 0.5)': Row('vq_gan', False, 0.5),
}
COLUMNS = {
    'steps': '{:,}', 'minutes': '{:.1f}', 'error': '{:.4f}',
    'sharpness': '{:.3f}', 'distance': '{:.3g}',
    'sharpness of samples': '{:.3f}', 'distance of samples': '{:.3g}',
    'usage': '{:.0%}', 'perplexity': '{:.0f}',
}


def folder(name):
    """Return the folder of a row's run."""
    plain = re.sub(r'\W+', '-', name).strip('-')
    return pathlib.Path(OUT.value) / f'{plain}-{DATA.value}-seed{SEED.value}'


def configure(row):
    """Return the config of a row."""
    config = recipes.load(CONFIGS / f'{row.recipe}.py', DATA.value)
    if DATA.value == 'images':
        config.data.path, config.data.image_size = PATH.value, str(SIZE.value)
    if DATA.value in ('digits', 'images'):
        config.data.test_share = TEST_SHARE
    config.seed, config.num_steps = SEED.value, NUM_STEPS.value
    config.log_every, config.sample_every = 20, 0
    config.checkpoint_every, config.report = 500, False
    if row.waits is not None:
        config.reconstruction.start = (
            NUM_STEPS.value if row.waits else START.value
        )
        for player in (config.generator, config.discriminator):
            player.width = WIDTH.value or player.width
        config.generator.num_blocks = (
            BLOCKS.value or config.generator.num_blocks
        )
    if row.factor is not None:
        config.reconstruction.adversarial = row.factor
    return config


def sharpness(images):
    """Compute the mean length of the gradient of gray values.

    Args:
        images: [N, H, W, C] uint8.
    """
    return digits_metrics.sharpness(images.mean(-1, keepdims=True))


def measure(name):
    """Train a row, or continue it, and compute its cells.

    Returns:
        {column of `COLUMNS`: number}.
    """
    config, workdir = configure(ROWS[name]), folder(name)
    run_clock.refuse_other(workdir, config)
    path = workdir / 'cells.json'
    if path.exists():
        return json.loads(path.read_text())
    clock = run_clock.Clock(workdir, MINUTES.value)
    run_clock.run(config, workdir, clock)
    algorithm, state = sampling.load(workdir)
    training = builders.dataset(config)
    held_out = reference.held_out_of(config, config.data.split, training)
    images = np.asarray(held_out.images[:NUM_IMAGES.value])
    outputs = sampling.reconstruct(algorithm, state, images)
    samples = sampling.sample(algorithm, state, range(NUM_IMAGES.value))
    error = inversion.error_of(inversion.to_unit_range(images), outputs)
    extractor = extractors.make(FEATURES.value, training, held_out)
    real = registry.View(images, None, extractor)
    cells = {
        'steps': int(state.step), 'minutes': clock.seconds() / 60,
        'error': float(np.sqrt(np.square(error).mean())),
        **_of_images('', real, outputs, extractor),
        **_of_images(' of samples', real, samples, extractor),
        **_of_codebook(workdir),
    }
    writer.write_json(path, cells)
    return cells


def _of_images(words, real, fakes, extractor):
    """Return sharpness and distance of reconstructions or samples."""
    fakes = writer.to_uint8(fakes)
    fake = registry.View(fakes, None, extractor)
    distance, = registry.measure('fid', real, fake).values()
    return {
        f'sharpness{words}': sharpness(fakes) / sharpness(real.images),
        f'distance{words}': float(distance.value),
    }


def _of_codebook(workdir):
    """Return the last usage and perplexity of a run's codebook."""
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    record = json.loads(lines[-1])
    return {
        name: record[f'codes/{name}'] for name in ('usage', 'perplexity')
        if f'codes/{name}' in record
    }


def table(rows):
    """Format rows, {name: cells}, as lines of Markdown."""
    lines = [
        f'| {" | ".join(["row", *COLUMNS])} |', '|---' * (len(COLUMNS) + 1)
        + '|',
    ]
    for name, cells in rows.items():
        shown = [
            form.format(cells[column]) if column in cells else ''
            for column, form in COLUMNS.items()
        ]
        lines.append(f'| {" | ".join([name, *shown])} |')
    return lines


def picture(names):
    """Draw held-out images, reconstructions of each row, and its samples."""
    from matplotlib.figure import Figure

    rows = []
    for name in names:
        algorithm, state = sampling.load(folder(name))
        config = configure(ROWS[name])
        images = np.asarray(
            reference.held_out_of(config).images[:SHOWN]
        )
        if not rows:
            rows.append(('held out', images))
        rows.append((name, writer.to_uint8(
            sampling.reconstruct(algorithm, state, images))))
        rows.append((f'{name}: samples', writer.to_uint8(
            sampling.sample(algorithm, state, range(SHOWN)))))
    figure = Figure(figsize=(7, 0.66 * len(rows)), dpi=80)
    places = figure.subplots(len(rows), 1)
    for axes, (title, images) in zip(places, rows):
        strip = np.concatenate(list(images), axis=1)
        axes.imshow(
            strip if strip.shape[-1] == 3 else strip[..., 0],
            cmap='gray', vmin=0, vmax=255, interpolation='nearest',
        )
        axes.set_ylabel(title, rotation=0, ha='right', va='center', fontsize=7)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.subplots_adjust(left=0.2, right=0.99, top=0.99, bottom=0.01)
    return writer.rasterize(figure)


def main(argv):
    """Print the table; write --json and --picture."""
    del argv
    environment.prepare()
    for name in ONLY.value:
        if name not in ROWS:
            raise errors.ConfigError(errors.unknown_name('--only', name, ROWS))
    names = ONLY.value or [*ROWS]
    rows = {}
    for name in names:
        rows[name] = measure(name)
        app.say('\n'.join(table(rows)))
    if JSON.value:
        writer.write_json(JSON.value, rows)
    if PICTURE.value:
        with files.atomic_write(files.to_path(PICTURE.value)) as file:
            image = Image.fromarray(picture(names)).quantize(COLOURS)
            image.save(file, 'png')
        app.say(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
