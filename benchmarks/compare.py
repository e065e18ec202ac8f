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
Gaussian fitted to its codes and by N(0, I); a VAE; both with a discriminator
(AAE, VAE-GAN); optimised codes (GLO); a
decoder of class, angle and scale; and, without a network, as many principal
components as the codes have numbers.

A fifth of the digits is held out.

Every row has DCGAN's generator of widths 24 to 96 in place of its recipe's, and
its recipe's discriminator, loss, optimizers and schedule. Rows with "own G"
keep the recipe's generator. Only the row that says so has instance noise.

Finished runs and cells in --out are kept and missing ones added, so run the
same command again after an interruption. A run that fails stays in the table
with the reason; to repeat it, move its folder away.
"""

import functools
import pathlib
import re
from typing import NamedTuple

from absl import flags
import numpy as np

import recipe_cells
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.metrics import principal
from gan_jax.runtime import writer

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
    'aae': Row('aae'),
    'vae_gan': Row('vae_gan'),
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
    config.data.test_share = recipe_cells.TEST_SHARE
    return config


def make(name, config, workdir):
    """Train a row and sample it; return `recipe_cells.Trained`."""
    if name != LINEAR:
        return recipe_cells.trained(config, workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    samples = linear(config)
    return recipe_cells.Trained(config, workdir, None, None, samples)


def linear(config):
    """Sample a Gaussian of the training images' principal components."""
    images = sources.load(builders.request(config)).images
    flat = images.reshape(len(images), -1) / 127.5 - 1
    components = principal.fit(flat, config.latent_size)
    random = np.random.RandomState(config.seed)
    samples = components.sample(random, recipe_cells.NUM_SAMPLES)
    return samples.clip(-1, 1).reshape(-1, *images.shape[1:])


def measure(name):
    """Train a row, or continue it, and add missing cells.

    Returns:
        As `recipe_cells.complete`.
    """
    config = configure(ROWS[name])
    return recipe_cells.complete(
        name, config, folder(name), recipe_cells.MEASURES,
        functools.partial(make, name, config),
    )


def table(rows):
    """Format rows as Markdown.

    Args:
        rows: {name: cells}, as from `measure`.

    Returns:
        list of lines.
    """
    titles = map(recipe_cells.title, recipe_cells.COLUMNS)
    head = ['row', *titles, '']
    lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for name, cells in rows.items():
        values = recipe_cells.flat(cells)
        shown = [
            recipe_cells.EMPTY.get(column, '') if values.get(column) is None
            else form.format(values[column])
            for column, form in recipe_cells.COLUMNS.items()
        ]
        wrong = recipe_cells.verdict(cells)
        lines.append(f'| {" | ".join([name, *shown, wrong])} |')
    return lines


def picture(rows):
    """Draw samples of the seeds from 0 on, of every row that did not fail."""
    panels = []
    for name, cells in rows.items():
        if 'failed' in cells:
            continue
        if name == LINEAR:
            lines, columns = recipe_cells.SHOWN
            samples = linear(configure(ROWS[name]))[:lines * columns]
            panels.append((name, writer.grid(samples, columns)))
        else:
            panels.append((name, recipe_cells.panel(folder(name))))
    return recipe_cells.draw(panels)


def main(argv):
    """Print the table; write --json and --picture."""
    del argv
    for name in ONLY.value:
        if name not in ROWS:
            raise errors.ConfigError(errors.unknown_name('--only', name, ROWS))
    rows = {name: measure(name) for name in ONLY.value or ROWS}
    print(
        f'\ndigits, {NUM_STEPS.value} updates of G, seed {SEED.value}, '
        f'{recipe_cells.NUM_SAMPLES} samples\n'
    )
    print('\n'.join(table(rows)))
    if JSON.value:
        writer.write_json(JSON.value, rows)
    if PICTURE.value:
        writer.save_png(PICTURE.value, picture(rows))
        print(f'Wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
