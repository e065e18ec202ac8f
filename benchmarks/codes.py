"""What do the codes of the baselines keep, and what lies between two of them?

    python benchmarks/codes.py --autoencoder=runs/autoencoder --vae=runs/vae \
        --gan=runs/dcgan --picture=runs/codes.png

Takes three runs on the same images with the same generator; data.test_share
must hold some out. Prints the root mean square error of reconstructions, images
in [-1, 1], of held-out and of training images: of the autoencoder, of the VAE,
and of as many principal components as their codes have numbers.

Draws held-out images and their reconstructions; the codes of training images
along their two principal axes, coloured by class; and the ways from one sample
to another, of neighbouring seeds, on an arc in the space of latents. With
--pose_decoder, a run of configs/pose_decoder.py, it draws what that makes of
codes between two classes, and of one class turned and scaled.
"""

from typing import Any, NamedTuple

from absl import flags
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import runner
from gan_jax.metrics import principal
from gan_jax.runs import sampling
from gan_jax.runtime import writer

RUNS = {
    'autoencoder': flags.DEFINE_string(
        'autoencoder', 'runs/autoencoder', 'Folder of a run with an encoder.'
    ),
    'vae': flags.DEFINE_string(
        'vae', 'runs/vae', 'Folder of another one.'
    ),
    'gan': flags.DEFINE_string('gan', 'runs/dcgan', 'Folder of a GAN.'),
}
POSE_DECODER = flags.DEFINE_string(
    'pose_decoder', '', 'Folder of a run of pose_decoder.py.'
)
PICTURE = flags.DEFINE_string('picture', '', 'PNG to write.')
JSON = flags.DEFINE_string('json', '', 'File to write the numbers to.')

LINEAR = 'pca'
SHOWN = 12  # held-out images
WAYS, STAGES = 3, 12  # of samples


class Codes(NamedTuple):
    """One way to bring images to codes and back.

    Attributes:
        of_training: [N, k], codes of the training images.
        reconstruct: uint8 images -> float images in [-1, 1].
    """

    of_training: np.ndarray
    reconstruct: Any


def load(name):
    """Load a run; returns (config, gan, state)."""
    workdir = RUNS[name].value
    config = sampling.load_config(workdir)
    gan, state = sampling.load(workdir)
    if (name == 'gan') != (config.algorithm == 'adversarial'):
        raise errors.ConfigError(
            f'--{name}={workdir} has algorithm={config.algorithm!r}'
        )
    return config, gan, state


def of_run(name, images):
    """Give the `Codes` of a run with an encoder."""
    config, gan, state = load(name)
    if not gan.encodes:
        raise errors.ConfigError(
            f'--{name}={RUNS[name].value} has no encoder: algorithm='
            f'{config.algorithm!r}'
        )
    return Codes(
        np.asarray(gan.encode(state, images)),
        lambda images: sampling.reconstruct(gan, state, images),
    )


def linear(images, size):
    """Give the `Codes` of principal components."""
    components = principal.fit(flatten(images), size)

    def reconstruct(others):
        made = components.decode(components.encode(flatten(others)))
        return made.reshape(others.shape)

    return Codes(components.encode(flatten(images)), reconstruct)


def flatten(images):
    """Map uint8 images to rows in [-1, 1]."""
    return images.reshape(len(images), -1) / 127.5 - 1


def error(codes, images):
    """Measure the root mean square error over all pixels."""
    made = codes.reconstruct(images).reshape(len(images), -1)
    return float(np.sqrt(np.square(made - flatten(images)).mean()))


def morphs(workdir):
    """Decode codes between given ones.

    Args:
        workdir: of a run whose codes are given.

    Returns:
        {title: [n, STAGES, H, W, C] in [-1, 1]}.
    """
    kind = sampling.load_config(workdir).algorithm
    if kind != 'pose_decoder':
        raise errors.ConfigError(
            f'--pose_decoder={workdir} has algorithm={kind!r}'
        )
    gan, state = sampling.load(workdir)
    decoder, _ = gan.weights(state, 'ema')
    share, still = np.linspace(0, 1, STAGES), np.zeros(STAGES)
    count = gan.latent_size - 2

    def between(first, last):
        ends = np.eye(count, dtype=np.float32)[[first % count, last % count]]
        weights = np.stack([1 - share, share, still, still], 1)
        return weights[:, :2] @ ends, weights[:, 2:]

    def decode(classes, pose):
        codes = np.concatenate([classes, pose], 1).astype(np.float32)
        return np.asarray(algorithm.evaluate(
            gan.generator, decoder, algorithm.Inputs(codes)
        ))

    def moved(column, label):
        classes = np.tile(np.eye(count)[label % count], (STAGES, 1))
        pose = np.zeros((STAGES, 2))
        pose[:, column] = np.linspace(-1, 1, STAGES)
        return decode(classes, pose)

    return {
        'from class to class': np.stack([
            decode(*between(2 * way, 2 * way + 1)) for way in range(WAYS)
        ]),
        'turned': np.stack([moved(0, 3 * way) for way in range(WAYS)]),
        'scaled': np.stack([moved(1, 3 * way + 1) for way in range(WAYS)]),
    }


def draw(codes, held_out, labels, ways, morphs=None):
    """Draw reconstructions, codes and ways.

    Args:
        codes: {name: `Codes`}.
        held_out: [n, H, W, C] uint8.
        labels: [N], classes of the training images.
        ways: {name: [WAYS, STAGES, H, W, C] in [-1, 1]}.
        morphs: of the same form, or None.

    Returns:
        uint8 [H, W, 3].
    """
    from matplotlib.figure import Figure

    heights = [3.2, 4, 1.5] + [1.5] * bool(morphs)
    figure = Figure(
        figsize=(11, sum(heights)), dpi=80, layout='constrained'
    )
    lines = figure.subfigures(len(heights), 1, height_ratios=heights)
    rows = {'real': held_out / 127.5 - 1} | {
        name: one.reconstruct(held_out) for name, one in codes.items()
    }
    _rows(lines[0], rows, 'Held-out images and their reconstructions')
    lines[1].suptitle('Codes of training images along their principal axes')
    for axes, (name, one) in zip(lines[1].subplots(1, len(codes)),
                                 codes.items()):
        found = principal.fit(one.of_training, 2)
        share = np.square(found.std).sum() / one.of_training.var(
            axis=0, ddof=1
        ).sum()
        x, y = found.encode(one.of_training).T
        points = axes.scatter(x, y, c=labels, cmap='tab10', s=4)
        axes.set_title(f'{name}: {share:.0%} of the variance', fontsize=9)
        axes.tick_params(labelsize=7)
    lines[1].colorbar(points, ax=axes, label='class')
    _panels(lines[2], ways, 'From one sample to another')
    if morphs:
        _panels(lines[3], morphs, 'From codes that are given')
    return writer.rasterize(figure) // 17 * 17


def _panels(figure, ways, title):
    """Lay ways out side by side."""
    figure.suptitle(title)
    for axes, (name, images) in zip(
            figure.subplots(1, len(ways)), ways.items()):
        _grid(axes, images.reshape(-1, *images.shape[2:]), STAGES)
        axes.set_title(name, fontsize=9)


def _rows(figure, rows, title):
    """Lay images out, a named row for each."""
    figure.suptitle(title)
    for axes, (name, images) in zip(
            figure.subplots(len(rows), 1), rows.items()):
        _grid(axes, images, len(images))
        axes.set_ylabel(name, rotation=0, ha='right', va='center')


def _grid(axes, images, columns):
    grid = writer.grid(np.asarray(images, np.float32), columns, tile=32)
    if grid.shape[-1] == 1:
        grid = np.repeat(grid, 3, axis=-1)
    axes.imshow(grid)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def ways(gan, state):
    """Sample the ways between neighbouring seeds."""
    return np.stack([
        sampling.interpolate(gan, state, (2 * way, 2 * way + 1), STAGES)
        for way in range(WAYS)
    ])


def main(argv):
    """Print the errors; draw and write where it is asked for."""
    del argv
    config, gan, state = load('autoencoder')
    training = sources.load(builders.request(config))
    held_out = runner.held_out_of(config)
    if held_out is None or training.labels is None:
        raise errors.DataError(
            f'--autoencoder={RUNS["autoencoder"].value} has no labelled images '
            'or holds none out; train it with --config.data.test_share=0.2'
        )
    codes = {
        LINEAR: linear(training.images, gan.latent_size),
        'autoencoder': of_run('autoencoder', training.images),
        'vae': of_run('vae', training.images),
    }
    found = {
        name: {'held_out': error(one, held_out.images),
               'training': error(one, training.images)}
        for name, one in codes.items()
    }
    print(f'\n{gan.latent_size} numbers a code, {len(training.images)} images '
          f'and {len(held_out.images)} held out\n')
    print('| codes | error, held out | error, training |\n|---|---|---|')
    for name, row in found.items():
        print(f'| {name} | {row["held_out"]:.3f} | {row["training"]:.3f} |')
    if JSON.value:
        writer.write_json(JSON.value, found)
    if PICTURE.value:
        places = np.arange(SHOWN) * len(held_out.images) // SHOWN
        between = {name: ways(*load(name)[1:]) for name in RUNS}
        writer.save_png(PICTURE.value, draw(
            codes, held_out.images[places], training.labels, between,
            morphs(POSE_DECODER.value) if POSE_DECODER.value else None,
        ))
        print(f'wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
