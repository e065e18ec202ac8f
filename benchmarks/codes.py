"""Compare codes of autoencoders: reconstructions, structure, interpolations.

    python benchmarks/codes.py --autoencoder=runs/autoencoder --vae=runs/vae \
        --gan=runs/dcgan --picture=runs/codes.png

It takes three runs on the same images with the same generator, of which
data.test_share held some out. It prints the root mean square error of
reconstructions, images in [-1, 1], of held-out and training images, for the
autoencoder, the VAE, and as many principal components as their codes have
numbers.

The picture has held-out images and their reconstructions; the codes of training
images along their two principal axes, coloured by class; and interpolations
between samples of neighbouring seeds, on an arc in latent space. With
--pose_decoder, a run of configs/pose_decoder.py, it also has its outputs for
codes between two classes, and for one class rotated and scaled.
"""

from typing import Any, NamedTuple

from absl import flags
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.cli import app
from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import reference
from gan_jax.metrics import principal
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer

RUNS = {
    'autoencoder': flags.DEFINE_string(
        'autoencoder', 'runs/autoencoder', 'Folder of an autoencoder.'
    ),
    'vae': flags.DEFINE_string(
        'vae', 'runs/vae', 'Folder of a VAE.'
    ),
    'gan': flags.DEFINE_string('gan', 'runs/dcgan', 'Folder of a GAN.'),
}
POSE_DECODER = flags.DEFINE_string(
    'pose_decoder', '', 'Folder of a run of configs/pose_decoder.py.'
)
PICTURE = flags.DEFINE_string('picture', '', 'PNG file to write.')
JSON = flags.DEFINE_string('json', '', 'JSON file to write the numbers to.')

LINEAR = 'pca'
SHOWN = 12  # held-out images
PATHS, STAGES = 3, 12  # interpolations, and images of each


class Codes(NamedTuple):
    """Codes of images, and their decoder.

    Attributes:
        of_training: [N, k], codes of the training images.
        reconstruct: uint8 images -> float images in [-1, 1].
    """

    of_training: np.ndarray
    reconstruct: Any


def load(name):
    """Load a run; return (config, gan, state)."""
    workdir = RUNS[name].value
    config = run_files.load_config(workdir)
    gan, state = sampling.load(workdir)
    if (name == 'gan') != (config.algorithm == 'adversarial'):
        raise errors.ConfigError(
            f'--{name}={workdir} has algorithm={config.algorithm!r}'
        )
    return config, gan, state


def of_run(name, images):
    """Return the `Codes` of a run with an encoder."""
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
    """Return the `Codes` of principal components."""
    components = principal.fit(flatten(images), size)

    def reconstruct(others):
        decoded = components.decode(components.encode(flatten(others)))
        return decoded.reshape(others.shape)

    return Codes(components.encode(flatten(images)), reconstruct)


def flatten(images):
    """Map uint8 images to rows in [-1, 1]."""
    return images.reshape(len(images), -1) / 127.5 - 1


def error(codes, images):
    """Measure the root mean square error over all pixels."""
    outputs = codes.reconstruct(images).reshape(len(images), -1)
    return float(np.sqrt(np.square(outputs - flatten(images)).mean()))


def morphs(workdir):
    """Decode codes of classes and poses.

    Args:
        workdir: folder of a run of configs/pose_decoder.py.

    Returns:
        {title: [n, STAGES, H, W, C] in [-1, 1]}.
    """
    kind = run_files.load_config(workdir).algorithm
    if kind != 'pose_decoder':
        raise errors.ConfigError(
            f'--pose_decoder={workdir} has algorithm={kind!r}'
        )
    gan, state = sampling.load(workdir)
    decoder, _ = gan.weights(state, 'ema')
    share, still = np.linspace(0, 1, STAGES), np.zeros(STAGES)
    count = gan.latent_size - 2

    def interpolate(first, last):
        ends = np.eye(count, dtype=np.float32)[[first % count, last % count]]
        weights = np.stack([1 - share, share, still, still], 1)
        return weights[:, :2] @ ends, weights[:, 2:]

    def decode(classes, pose):
        codes = np.concatenate([classes, pose], 1).astype(np.float32)
        return np.asarray(algorithm.evaluate(
            gan.generator, decoder, algorithm.Inputs(codes)
        ))

    def vary(column, label):
        classes = np.tile(np.eye(count)[label % count], (STAGES, 1))
        pose = np.zeros((STAGES, 2))
        pose[:, column] = np.linspace(-1, 1, STAGES)
        return decode(classes, pose)

    return {
        'from class to class': np.stack([
            decode(*interpolate(2 * n, 2 * n + 1)) for n in range(PATHS)
        ]),
        'rotated': np.stack([vary(0, 3 * n) for n in range(PATHS)]),
        'scaled': np.stack([vary(1, 3 * n + 1) for n in range(PATHS)]),
    }


def draw(codes, held_out, labels, paths, morphs=None):
    """Draw reconstructions, codes and interpolations.

    Args:
        codes: {name: `Codes`}.
        held_out: [n, H, W, C] uint8.
        labels: [N], classes of the training images.
        paths: {name: [PATHS, STAGES, H, W, C] in [-1, 1]}.
        morphs: dict of `morphs`, or None.

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
        components = principal.fit(one.of_training, 2)
        share = np.square(components.std).sum() / one.of_training.var(
            axis=0, ddof=1
        ).sum()
        x, y = components.encode(one.of_training).T
        points = axes.scatter(x, y, c=labels, cmap='tab10', s=4)
        axes.set_title(f'{name}: {share:.0%} of the variance', fontsize=9)
        axes.tick_params(labelsize=7)
    lines[1].colorbar(points, ax=axes, label='class')
    _panels(lines[2], paths, 'Interpolations between samples')
    if morphs:
        _panels(lines[3], morphs, 'Interpolations between classes and poses')
    return writer.rasterize(figure) // 17 * 17


def _panels(figure, paths, title):
    """Draw interpolations side by side."""
    figure.suptitle(title)
    for axes, (name, images) in zip(
            figure.subplots(1, len(paths)), paths.items()):
        _grid(axes, images.reshape(-1, *images.shape[2:]), STAGES)
        axes.set_title(name, fontsize=9)


def _rows(figure, rows, title):
    """Draw images, one named row for each entry."""
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


def paths(gan, state):
    """Sample interpolations between neighbouring seeds."""
    return np.stack([
        sampling.interpolate(gan, state, (2 * n, 2 * n + 1), STAGES)
        for n in range(PATHS)
    ])


def main(argv):
    """Print the errors; write --json and --picture."""
    del argv
    config, gan, state = load('autoencoder')
    training = sources.load(builders.request(config))
    held_out = reference.held_out_of(config)
    if held_out is None or training.labels is None:
        raise errors.DataError(
            f'--autoencoder={RUNS["autoencoder"].value} needs labelled images, '
            'some held out; train it with --config.data.test_share=0.2'
        )
    codes = {
        LINEAR: linear(training.images, gan.latent_size),
        'autoencoder': of_run('autoencoder', training.images),
        'vae': of_run('vae', training.images),
    }
    results = {
        name: {'held_out': error(one, held_out.images),
               'training': error(one, training.images)}
        for name, one in codes.items()
    }
    print(f'\n{gan.latent_size} numbers per code, {len(training.images)} '
          f'training images and {len(held_out.images)} held-out ones\n')
    print('| codes | held-out error | training error |\n|---|---|---|')
    for name, row in results.items():
        print(f'| {name} | {row["held_out"]:.3f} | {row["training"]:.3f} |')
    if JSON.value:
        writer.write_json(JSON.value, results)
    if PICTURE.value:
        places = np.arange(SHOWN) * len(held_out.images) // SHOWN
        samples = {name: paths(*load(name)[1:]) for name in RUNS}
        writer.save_png(PICTURE.value, draw(
            codes, held_out.images[places], training.labels, samples,
            morphs(POSE_DECODER.value) if POSE_DECODER.value else None,
        ))
        print(f'wrote {PICTURE.value}')


if __name__ == '__main__':
    app.run(main)
