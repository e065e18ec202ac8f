"""Cells of a table of runs on the digits: measured once, kept, formatted.

It is shared by compare.py and every_recipe.py and needs the `test` extra.
"""

import functools
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

import digits_metrics
import run_clock
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import reference as reference_lib
from gan_jax.features import classifier
from gan_jax.features import extractors
from gan_jax.metrics import memorization
from gan_jax.metrics import registry
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.training import train

NUM_SAMPLES = 1000  # samples of each run that are scored
TEST_SHARE = 0.2  # share of the digits that is held out
SETTINGS = classifier.Settings()
SHOWN = (4, 10)  # rows and columns of samples of each run in the picture


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
    """Count the real images of all steps, and their seconds."""
    if run.state is None:
        training = sources.load(builders.request(run.config))
        return {'real_images': len(training.images), 'seconds': None}
    step, seconds = 0, 0.0
    for line in (run.workdir / 'metrics.jsonl').read_text().splitlines():
        record = json.loads(line)
        # The first speed leaves out the first call, whose steps count here too.
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


def trained(config, workdir):
    """Train and sample; return `Trained`."""
    run = train.train(config, workdir)
    samples = sampling.sample(run.algorithm, run.state, range(NUM_SAMPLES))
    return Trained(config, workdir, run.algorithm, run.state, samples)


def panel(workdir):
    """Return a grid of samples of the seeds from 0 on."""
    gan, state = sampling.load(workdir)
    rows, columns = SHOWN
    samples = sampling.sample(gan, state, range(rows * columns))
    return writer.grid(samples, columns)


def complete(title, config, workdir, measures, trained):
    """Return the cells of a run; train and measure what is missing.

    Args:
        title: name to print.
        config: of the run.
        workdir: its folder.
        measures: {group: function of `Trained`}, such as `MEASURES`.
        trained: function of the folder that returns `Trained`.

    Returns:
        {group: {column: number or None}}, or {'failed': reason}.

    Raises:
        errors.CheckpointError: if the folder holds another run.
    """
    path = workdir / 'cells.json'
    cells = json.loads(path.read_text()) if path.exists() else {}
    run_clock.refuse_other(workdir, config)
    if 'failed' in cells or not set(measures) - set(cells):
        return cells
    print(f'\n{title}', flush=True)
    try:
        run = trained(workdir)
    except errors.NonFiniteError as error:
        cells = {'failed': str(error)}
        writer.write_json(path, cells)
        return cells
    for group in measures:
        if group not in cells:
            cells[group] = measures[group](run)
            writer.write_json(path, cells)
    return cells


def flat(cells):
    """Return {column: number} of all groups of a run."""
    return {
        column: value for group in cells.values() if isinstance(group, dict)
        for column, value in group.items() if not isinstance(value, bool)
    }


def title(column):
    """Return the title of a column."""
    return TITLES.get(column, column).replace('_', ' ')


def verdict(cells):
    """Describe what is plainly wrong with a run, or return ''."""
    if 'failed' in cells:
        return f'failed: {cells["failed"]}'
    if 'score' not in cells:
        return ''
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
