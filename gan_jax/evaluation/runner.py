"""Evaluation of a run's samples, or of one set of images against another.

Loads the images, extracts features, measures the metrics of gan_jax/metrics
beside their floors, and reports them as lines and as JSON. `translations` does
it for runs that translate images. This module parses no flags;
gan_jax/cli/evaluate.py does.
"""

import math
from typing import NamedTuple, Optional, Tuple

from etils import epath
import numpy as np

from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import domains
from gan_jax.evaluation import reference
from gan_jax.evaluation import translations
from gan_jax.features import classifier
from gan_jax.features import discriminators
from gan_jax.features import extractors
from gan_jax.features import probe as probe_lib
from gan_jax.metrics import catalog
from gan_jax.metrics import frechet
from gan_jax.metrics import registry
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer

DISCRIMINATOR = 'discriminator'
ALL_STEPS = 'all'
TRAIN = 'train'  # default split of real images


class EvaluationOptions(NamedTuple):
    """Options of an evaluation.

    Attributes:
        metrics: names in `catalog.NAMES`; () for all that can be measured.
        features: one of `extractors.EXTRACTORS`, or 'discriminator'; '' as in
            `extractor_of`.
        weights: of the generator, one of `Algorithm.weight_names`.
        num_fake: number of samples, or of images to translate; None for as many
            as real images.
        num_real: largest number of real images.
        split: of the real images, or of the images to translate; '' for
            'train', or for held-out images to translate if there are any.
        paired: whether files of the same name in both domains are true
            translations of each other, though not trained on as pairs.
    """

    metrics: Tuple[str, ...] = ()
    features: str = ''
    weights: str = 'ema'
    num_fake: Optional[int] = None
    num_real: int = 10_000
    split: str = ''
    paired: bool = False


def evaluate_run(workdir, step, options, say, keep=lambda result: None):
    """Measure samples of one or all saved steps of a run.

    Args:
        workdir: folder of the run.
        step: None for the newest, a number as text, 'best' or 'all'.
        options: `EvaluationOptions`.
        say: function that prints a line.
        keep: function that is called with each result once it is computed.

    Returns:
        List of dicts of JSON types, one for each step, and for each direction
        of a translation. With 'all', steps that cannot be read are skipped.

    Raises:
        errors.UserError: one line that names the mistake.
    """
    sampling.check_data(workdir)
    config = run_files.load_config(workdir)
    translates = domains.is_translation(config)
    if translates:
        translations.check(options)
    else:
        _check(options, catalog.NAMES)
        if options.paired:
            raise errors.ConfigError(
                f'--paired is for runs that translate images, and --workdir='
                f'{workdir} has algorithm={config.algorithm!r}'
            )
    steps = sampling.saved_steps(workdir) if step == ALL_STEPS else [
        sampling.parse_step(step)
    ]
    if translates:
        return translations.evaluate_run(
            workdir, steps, options, say, keep, skip_damaged=step == ALL_STEPS
        )
    config = defaults.of_source(config)
    options = options._replace(split=options.split or TRAIN)
    training = reference.dataset(config, options.split)
    sampling.check_units(workdir, training)
    held_out = reference.held_out_of(config, options.split, training)
    indices = reference.sample_indices(len(training.images), options.num_real)
    extractor = None
    if options.features != DISCRIMINATOR:
        extractor = reference.extractor_of(
            options.features, config, training, held_out, say
        )
    results, real = [], None
    for number in steps:
        try:
            algorithm, state = sampling.load(workdir, number)
        except errors.CheckpointError as error:
            if step != ALL_STEPS:
                raise
            say(f'Skipped: {error}')
            continue
        if options.features == DISCRIMINATOR:
            extractor = discriminators.of_discriminator(algorithm, state)
        if real is None or options.features == DISCRIMINATOR:
            real = reference.view_of(training, indices, extractor, 'real')
        count = options.num_fake or len(real)
        fake = registry.View(
            sample(
                algorithm, state, count, options.weights, real=training.images
            ), None, extractor,
            progress=reference.progress_bar('fake'),
        )
        settings = {
            'run': str(workdir), 'step': int(state.step),
            'weights': options.weights, 'seeds': f'0-{count - 1}',
            **describe(training, options.split, real, fake, extractor),
        }
        results.append(_measure(options, real, fake, settings, say, {
            'cas': lambda: _classification_accuracy(
                algorithm, real, fake, held_out
            ),
            'memorization': lambda: _memorization(
                workdir, training, held_out, extractor, fake, say
            ),
            'probe': lambda: _probe(
                algorithm, state, training, indices, held_out
            ),
        }))
        keep(results[-1])
    return results


def evaluate(workdir, metrics=(), *, step=None, say=lambda line: None,
             **options):
    """Measure the samples of a trained run.

    Args:
        workdir: folder of the run.
        metrics: names of metrics, such as ('fid', 'kid'); () for all that the
            features and the data allow.
        step: None for the newest, a number, 'best' or 'all'.
        say: function that receives lines of progress.
        **options: other fields of `EvaluationOptions`: `features`, `weights`,
            `num_fake`, `num_real`, `split`.

    Returns:
        List of dicts, one for each step (and direction of a translation):
        'values' holds each number with its floor, the other keys the settings
        that it depends on.

    Raises:
        errors.UserError: one line that names the mistake.
    """
    return evaluate_run(
        workdir, step, EvaluationOptions(metrics=tuple(metrics), **options), say
    )


def compare_sources(real, fake, options, say):
    """Compare two sources of images.

    Args:
        real, fake: `sources.Request`.
        options: `EvaluationOptions`; `weights` is not used.
        say: function that prints a line.

    Returns:
        List of one dict, as from `evaluate_run`.

    Raises:
        errors.UserError: one line that names the mistake.
    """
    _check(options, (*catalog.METRICS, 'memorization'))
    options = options._replace(split=options.split or TRAIN)
    if options.features == DISCRIMINATOR:
        raise errors.ConfigError(
            "--features='discriminator' needs a run, named by --workdir"
        )
    sets = [
        sources.load(request._replace(split=split))
        for request, split in ((real, options.split), (fake, TRAIN))
    ]
    shapes = [tuple(data.images.shape[1:]) for data in sets]
    if shapes[0] != shapes[1]:
        raise errors.DataError(
            f'{real.name} has images of {_size(shapes[0])} and {fake.name} of '
            f'{_size(shapes[1])}; set --data.image_size and --data.channels to '
            'make them equal'
        )
    scales = {data.units and data.units[:2] for data in sets}
    if len(scales) > 1:
        raise errors.DataError(
            f'{real.name} and {fake.name} have values of other ranges; set '
            '--data.range, so that both are measured alike'
        )
    held_out = reference.held_out_part(real, (options.split,), sets[0])
    config = defaults.default_config()
    config.data.name, config.data.data_dir = real.name, real.data_dir
    extractor = reference.extractor_of(
        options.features, config, sets[0], held_out, say
    )
    views = [
        reference.view_of(
            data, reference.sample_indices(len(data.images), count), extractor,
            label,
        ) for data, count, label in (
            (sets[0], options.num_real, 'real'),
            (sets[1], options.num_fake or options.num_real, 'fake'),
        )
    ]
    settings = {
        'fake': fake.name,
        **describe(sets[0], options.split, *views, extractor),
    }
    return [_measure(options, *views, settings, say, {
        'memorization': lambda: _memorization(
            '', sets[0], held_out, extractor, views[1], say
        ),
    })]


def save(path, results):
    """Add results to the list in a JSON file.

    Raises:
        errors.ConfigError: if the file cannot be written.
    """
    try:
        for result in results:
            writer.append_json(path, _finite(result))
    except OSError as error:
        raise errors.ConfigError(
            f'--out={path} cannot be written: {error.strerror or error}'
        ) from error


def _finite(value):
    """Replace numbers that JSON cannot hold by None, in nested dicts too."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def default_out(workdir):
    """Return the path of a run's file of results; '' without a run."""
    if not workdir:
        return ''
    return str(epath.Path(workdir).expanduser() / run_files.EVALUATION)


def _check(options, known):
    for name in options.metrics:
        if name not in known:
            raise errors.ConfigError(
                errors.unknown_name('--metrics', name, known)
            )
    names = (*extractors.EXTRACTORS, DISCRIMINATOR)
    if options.features and options.features not in names:
        raise errors.ConfigError(
            errors.unknown_name('--features', options.features, names)
        )


def sample(algorithm, state, count, weights='ema', *, real):
    """Sample seeds 0 to count - 1: images of the dtype of `real`, or points."""
    samples = []
    chunk = 16 * sampling.BATCH
    for first in reference.with_progress(range(0, count, chunk), 'sampling'):
        seeds = range(first, min(first + chunk, count))
        batch = sampling.sample(algorithm, state, seeds, weights=weights)
        samples.append(writer.like(batch, real) if batch.ndim > 2 else batch)
    return np.concatenate(samples)


def describe(dataset, split, real, fake, extractor):
    """Return what numbers of two sets of images depend on, of JSON types.

    Args:
        dataset: `sources.Dataset` of the real images.
        split: name of their split.
        real, fake: `registry.View`.
        extractor: `extractors.Extractor`.
    """
    return {
        'data': dataset.name, 'split': split,
        'shape': list(real.images.shape[1:]), 'num_real': len(real),
        'num_fake': len(fake),
        'features': {
            'name': extractor.name, 'fingerprint': extractor.fingerprint,
            'note': extractor.note,
        },
    }


def _measure(options, real, fake, settings, say, of_runs):
    """Measure all metrics; print each number with the settings it depends on.

    Args:
        options: `EvaluationOptions`.
        real, fake: `registry.View`.
        settings: dict of `describe`.
        say: function that prints a line.
        of_runs: {name: function without arguments} of metrics that are not in
            the registry.

    Returns:
        The settings, and under 'values' the numbers.
    """
    suffix = ' | '.join(protocol(settings))
    halves = registry.halves(real)
    values = {}
    for name in options.metrics or (*catalog.METRICS, *of_runs):
        try:
            if name in of_runs:
                values[name] = of_runs[name]()
                lines = _lines_of_run(name, values[name])
            else:
                numbers = registry.measure(name, real, fake, halves)
                values |= {k: n._asdict() for k, n in numbers.items()}
                lines = _lines(name, numbers, len(halves[0]))
        except (errors.ConfigError, errors.DataError) as error:
            if options.metrics:
                raise
            say(f'{name} is skipped: {error}')
            continue
        for line in lines:
            say(f'{line} | {suffix}')
        if name == 'fid':
            count = min(len(real), len(fake))
            bias = frechet.bias_note(count, real.features.shape[1])
            if bias:
                say(f'note: {bias}')
    return {**settings, 'values': values}


def _lines(name, numbers, count):
    """Yield a line for each number of a metric of the registry."""
    metric, better = catalog.METRICS[name], catalog.BETTER
    against = 'real' if metric.alone else f'halves of {count:,} real'
    for key, number in numbers.items():
        if key.endswith('_std') or key not in better and name == 'swd':
            continue
        std = numbers.get(f'{key}_std')
        spread = f' ± {std.value:.3g}' if std and std.value else ''
        direction = f', {better[key]} is better' if better.get(key) else ''
        yield (
            f'{key} {number.value:.4g}{spread} ({against}: '
            f'{number.floor:.4g}{direction})'
        )


def _lines_of_run(name, values):
    """Yield the lines of a metric of `catalog.OF_RUNS`."""
    if name == 'cas':
        yield (
            f'cas {100 * values["value"]:.1f} % (trained on real: '
            f'{100 * values["floor"]:.1f} %, higher is better)'
        )
        return
    if name == 'probe':
        yield 'probe ' + ', '.join(
            f'{key} {100 * value:.1f} %' for key, value in values.items()
        )
        return
    for key, verdict in values.items():
        yield (
            f'memorization by {key}: {verdict["verdict"]}; '
            f'{100 * verdict["nearer"]:.1f} % of samples nearer than '
            f'{100 * verdict["nearer_expected"]:.1f} % of '
            f'{verdict["reference"]}, '
            f'mean distance {verdict["distance"]:.3g} times theirs'
        )


def protocol(settings):
    """Yield what a number depends on, part by part, for a line.

    Args:
        settings: dict of `describe`, and of samples of a saved step 'step',
            'weights' and 'seeds', or else 'fake', the name of the images.
    """
    features = settings['features']
    yield f'{features["note"]}, {features["fingerprint"]}'
    yield (
        f'real {settings["num_real"]:,} of {settings["data"]} '
        f'{settings["split"]} {_size(settings["shape"])}'
    )
    if 'step' in settings:
        yield (
            f'fake {settings["num_fake"]:,} of step {settings["step"]} '
            f'{settings["weights"]} seeds {settings["seeds"]}'
        )
    else:
        yield f'fake {settings["num_fake"]:,} of {settings["fake"]}'


def _size(shape):
    return 'x'.join(map(str, shape))


def _memorization(workdir, training, held_out, extractor, fake, say):
    """Test for copies, and save the samples nearest to training images."""
    views = [
        data and reference.view_of(
            data, np.arange(len(data.images)), extractor, label
        )
        for data, label in ((held_out, 'held out'), (training, 'training'))
    ]
    if held_out is None:
        say(
            'note: no images were held out, so copies cannot be told from '
            'samples that are near for another reason; train with '
            '--config.data.test_share=0.1, or on data with a split test'
        )
    verdicts = registry.memorized(fake, *views)
    if fake.images.ndim == 4 and workdir:
        images, rows = registry.nearest_training_images(fake, views[1])
        path = epath.Path(workdir).expanduser() / 'neighbours.png'
        try:
            writer.save_png(
                path, writer.grid(
                    images, len(images) // len(rows), units=training.units
                )
            )
        except OSError as error:
            raise errors.ConfigError(
                f'{path} cannot be written: {error.strerror or error}'
            ) from error
        say(f'Samples with the nearest training images: {path}')
    return verdicts


def _classification_accuracy(algorithm, real, fake, held_out):
    """Compute the accuracy of a classifier that is trained on samples alone."""
    if not algorithm.num_classes:
        raise errors.DataError('the generator is not conditional')
    if held_out is None or held_out.labels is None:
        raise errors.DataError('no labelled images were held out')
    others = np.asarray(held_out.images), held_out.labels
    # The classes that `sampling.sample` asks for.
    labels = np.arange(len(fake)) % algorithm.num_classes
    return {
        'value': classifier.classifier_accuracy(fake.images, labels, *others),
        'floor': classifier.classifier_accuracy(
            real.images, real.labels, *others
        ),
    }


def _probe(algorithm, state, training, indices, held_out):
    """Compute the accuracies of linear classifiers on D's features."""
    if training.labels is None:
        raise errors.DataError('a probe needs labelled data')
    test = None
    if held_out is not None and held_out.labels is not None:
        test = np.asarray(held_out.images), held_out.labels
    accuracies = probe_lib.compare(
        algorithm, state, np.asarray(training.images[indices]),
        training.labels[indices], test=test,
    )
    return dict(accuracies._asdict())
