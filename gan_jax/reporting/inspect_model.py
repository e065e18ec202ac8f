"""Scores and nearest neighbours of a run's samples, for its report.

D scores the samples of seeds 0 to 255 one by one; those of seeds 0 to 63 are
matched with their nearest training images. It must not know HTML.
"""

from typing import Any, NamedTuple, Optional

import numpy as np

from gan_jax.config import builders
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.evaluation import domains
from gan_jax.metrics import registry
from gan_jax.reporting import inspect_translation
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runs import styles
from gan_jax.runtime import writer

NUM_SCORED = 256  # samples that D scores
NUM_SHOWN = 8  # of them in each of the rows worst, median, best
NUM_MATCHED = 64  # samples that are matched with training images
ROWS, NEIGHBOURS = 8, 4  # matched samples shown, and neighbours of each
TRUNCATIONS = (-1, -0.5, 0, 0.5, 0.7, 1)  # of a style-based generator
MIXED_ROWS, MIXED_COLUMNS = range(4), range(4, 10)  # seeds of mixed styles
MOST_IMAGES = 10_000  # training images that are searched
MOST_BYTES = 32 * 2**20  # of their pixels


class Scored(NamedTuple):
    """A row of samples, from low to high scores.

    Attributes:
        picture: uint8 [H, W, C], the samples side by side.
        seeds: list of int.
        scores: list of float, D's logits.
    """

    picture: Any
    seeds: list
    scores: list


class Inspection(NamedTuple):
    """Scores and neighbours of the samples of one step.

    Attributes:
        step: step of the networks.
        scored: {'worst': `Scored`, 'median': …, 'best': …}, or {}.
        pairs: uint8 [H, W, C], in each row a sample and its neighbours; or
            None.
        distances: float [rows, neighbours], Euclidean over pixels.
        num_searched: number of training images that were searched.
        num_images: number of all training images.
        translations: list of `inspect_translation.Rows`.
        styles: ((caption, uint8 [H, W, C]), ...), grids of a style-based
            generator.
        reasons: {'scored', 'pairs' or 'translations': sentence} why it is
            missing.
    """

    step: Optional[int] = None
    scored: dict = {}
    pairs: Any = None
    distances: Any = None
    num_searched: int = 0
    num_images: int = 0
    translations: tuple = ()
    styles: tuple = ()
    reasons: dict = {}


def inspect(algorithm, state, dataset=None, reason='', units=None):
    """Sample a run's networks, score the samples and match them with images.

    Args:
        algorithm: `algorithm.Algorithm` that trained.
        state: `algorithm.TrainState` of NumPy arrays.
        dataset: `sources.Dataset` that it was trained on, or None.
        reason: sentence why the data set is missing.
        units: `fields.Units` of the images, or None for those of the data set.

    Returns:
        `Inspection`.
    """
    samples = sampling.sample(algorithm, state, range(NUM_SCORED))
    if samples.ndim == 2:
        return _missing(
            'Points are shown all together above, not one by one.',
            int(state.step),
        )
    if units is None and dataset is not None:
        units = dataset.units
    images = writer.to_uint8(samples) if units is None else (
        writer.like(samples, samples)
    )
    inspection, reasons = Inspection(int(state.step)), {}
    if algorithm.num_styles:
        inspection = inspection._replace(styles=_styles(
            algorithm, state, units
        ))
    if algorithm.monitors is None:
        reasons['scored'] = (
            f'algorithm={algorithm.name!r} has no discriminator to score by.'
        )
    else:
        inspection = inspection._replace(scored=by_score(
            images, algorithm.monitors.scores(state, samples), units
        ))
    if dataset is None:
        reasons['pairs'] = reason
    else:
        inspection = inspection._replace(**_neighbours(
            images, dataset.images, units
        ))
    return inspection._replace(reasons=reasons)


def _styles(algorithm, state, units):
    """Return `Inspection.styles`: truncated and mixed samples."""
    coarse = range(algorithm.num_styles // 2)
    own = sampling.styles_of(algorithm, state, [*MIXED_ROWS, *MIXED_COLUMNS])
    steps = np.stack([sampling.styles_of(
        algorithm, state, MIXED_ROWS, truncation=psi
    ) for psi in TRUNCATIONS], 1)  # [seeds, truncations, styles, D]
    truncated, mixed = np.split(sampling.generate(
        algorithm, state, np.concatenate([
            steps.reshape(-1, *own.shape[1:]),
            styles.grid_styles(own, len(MIXED_ROWS), coarse),
        ])
    ), [steps.shape[0] * steps.shape[1]])
    mixed, columns = styles.grid_of(
        mixed, len(MIXED_ROWS), len(MIXED_COLUMNS)
    )
    psis = ', '.join(f'{psi:g}' for psi in TRUNCATIONS)
    rows, tops = (
        f'{seeds[0]} to {seeds[-1]}' for seeds in (MIXED_ROWS, MIXED_COLUMNS)
    )
    return (
        (f'Seeds {rows} at truncations {psis}, at step {int(state.step):,}: 0 '
         'is the mean of w, 1 is no truncation',
         writer.grid(truncated, len(TRUNCATIONS), units=units)),
        (f'Styles 0 to {coarse[-1]} of the column (seeds {tops}), the others '
         f'of the row (seeds {rows})',
         writer.grid(mixed, columns, units=units)),
    )


def inspect_translations(algorithm, state, config, datasets=None):
    """Translate images by a run's networks.

    Args:
        algorithm, state, config, datasets: as of `inspect_translation.inspect`.

    Returns:
        `Inspection`, with the reason where no images can be loaded.
    """
    step, reasons = int(state.step), {
        'scored': 'Images are not scored: each discriminator judges patches of '
        'one domain.',
        'pairs': 'The nearest real images stand below the translations.',
    }
    try:
        rows = inspect_translation.inspect(algorithm, state, config, datasets)
    except (errors.UserError, OSError, ImportError) as error:
        return Inspection(step, reasons={
            **reasons, 'pairs': 'No images were translated.',
            'translations': f'The images are not available: {_line(error)}.',
        })
    return Inspection(step, translations=tuple(rows), reasons=reasons)


def _missing(reason, step=None):
    return Inspection(step, reasons={'scored': reason, 'pairs': reason})


def by_score(images, scores, units=None):
    """Select the samples of the lowest, middle and highest scores.

    Args:
        images: uint8 [N, H, W, C] of the seeds 0 to N - 1.
        scores: [N], high is real.
        units: `fields.Units` of the images, or None.

    Returns:
        {'worst', 'median', 'best': `Scored`}.
    """
    order = np.argsort(scores, kind='stable')
    count = min(NUM_SHOWN, len(order))
    middle = (len(order) - count) // 2
    parts = {
        'worst': order[:count], 'median': order[middle:middle + count],
        'best': order[len(order) - count:],
    }
    return {
        name: Scored(
            writer.grid(images[seeds], count, units=units), seeds.tolist(),
            scores[seeds].tolist(),
        ) for name, seeds in parts.items()
    }


def _neighbours(samples, training, units):
    """Match samples with the training images that are nearest by pixels.

    Returns:
        {field of `Inspection`: value}.
    """
    size = int(np.prod(training.shape[1:]))
    most = max(1, min(MOST_IMAGES, MOST_BYTES // size))
    count = min(len(training), most)
    places = np.arange(count) * len(training) // count
    views = [
        registry.View(images, None, None) for images in
        (samples[:NUM_MATCHED], np.asarray(training[places]))
    ]
    rows, distances = registry.nearest_training_images(
        *views, rows=ROWS, count=NEIGHBOURS
    )
    return {
        'pairs': writer.grid(
            rows, len(rows) // len(distances), units=units
        ),
        'distances': distances, 'num_searched': count,
        'num_images': len(training),
    }


def restore(workdir):
    """Restore a run's newest networks and its data, and inspect them.

    Args:
        workdir: folder of the run.

    Returns:
        `Inspection`, with the reasons for what cannot be restored.
    """
    try:
        algorithm, state = sampling.load(workdir)
    except (errors.UserError, OSError) as error:
        return _missing(f'The networks cannot be restored: {_line(error)}.')
    config = run_files.load_config(workdir)
    if domains.is_translation(config):
        return inspect_translations(algorithm, state, config)
    return inspect(
        algorithm, state, *_data_of(workdir), run_files.units(workdir)
    )


def _data_of(workdir):
    """Return (the data that a run was trained on or None, reason if None)."""
    described = run_files.load_data(workdir)
    try:
        sampling.check_data(workdir)
        dataset = builders.dataset(sampling.load_data_config(workdir))
        sampling.check_units(workdir, dataset)
    except (errors.UserError, OSError, ImportError) as error:
        return None, f'The training images are not available: {_line(error)}.'
    shape, count = list(dataset.images.shape[1:]), len(dataset.images)
    expected = [described.get('image_shape'), described.get('count')]
    if [shape, count] != expected:
        return None, (
            f'The training images are not available: {dataset.name} now has '
            f'{count:,} of {shape}, and the run had {expected[1]} of '
            f'{expected[0]}.'
        )
    return dataset, ''


def _line(error):
    return redact.mask(' '.join(str(error).split())).rstrip('.')
