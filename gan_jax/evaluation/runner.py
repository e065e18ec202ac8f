"""What `gan_jax.evaluate` does: sets of images in, numbers and lines out."""

import contextlib
import math
import pathlib
import sys
from typing import NamedTuple, Optional, Tuple

from etils import epath
import numpy as np
import platformdirs
from tqdm import tqdm

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import classifier
from gan_jax.features import discriminators
from gan_jax.features import extractors
from gan_jax.features import probe as probe_lib
from gan_jax.metrics import frechet
from gan_jax.metrics import registry
from gan_jax.runs import sampling
from gan_jax.runtime import writer

OF_RUNS = ('cas', 'memorization', 'probe')  # beside MEASURES
DEFAULT = ('fid', 'kid', 'is', 'prdc', 'modes', 'ms_ssim', 'swd', 'support')
DISCRIMINATOR = 'discriminator'
ALL_STEPS = 'all'


class Asked(NamedTuple):
    """What a person asks for.

    Attributes:
        metrics: names of `registry.MEASURES` and of `OF_RUNS`; () for all that
            can be given.
        features: of `extractors.EXTRACTORS`, or 'discriminator'.
        weights: of the generator, one of `Algorithm.weight_names`.
        num_fake: samples; None is as many as real images.
        num_real: most real images.
        split: of the real images.
    """

    metrics: Tuple[str, ...] = ()
    features: str = 'classifier'
    weights: str = 'ema'
    num_fake: Optional[int] = None
    num_real: int = 10_000
    split: str = 'train'


def of_run(workdir, step, asked, say, keep=lambda result: None):
    """Measure samples of a run's steps.

    Args:
        workdir: folder of the run.
        step: None for the newest, text of a number, 'best' or 'all'.
        asked: `Asked`.
        say: function of a line.
        keep: called with each result when it is there.

    Returns:
        List of dicts of types of JSON, one for each step; of all steps those
        that can be read.

    Raises:
        errors.UserError: one line that says what to mend.
    """
    _check(asked, (*registry.MEASURES, *OF_RUNS))
    sampling.check_data(workdir)
    config = sampling.load_data_config(workdir)
    steps = sampling.saved_steps(workdir) if step == ALL_STEPS else [
        sampling.parse_step(step)
    ]
    training = _dataset(config, asked.split)
    held_out = held_out_of(config, asked.split, training)
    places = some_places(len(training.images), asked.num_real)
    extractor = None
    if asked.features != DISCRIMINATOR:
        extractor = extractor_of(
            asked.features, config, training, held_out, say
        )
    results, real = [], None
    for number in steps:
        try:
            algorithm, state = sampling.load(workdir, number)
        except errors.CheckpointError as error:
            if step != ALL_STEPS:
                raise
            say(f'Left out: {error}')
            continue
        if asked.features == DISCRIMINATOR:
            extractor = discriminators.of_discriminator(algorithm, state)
        if real is None or asked.features == DISCRIMINATOR:
            real = view_of(training, places, extractor, 'real')
        count = asked.num_fake or len(real)
        fake = registry.View(
            sample(algorithm, state, count, asked.weights), None, extractor,
            progress=_progress('fake'),
        )
        about = {
            'run': str(workdir), 'step': int(state.step),
            'weights': asked.weights, 'seeds': f'0-{count - 1}',
            **_about(training, asked.split, real, fake, extractor),
        }
        results.append(_measure(asked, real, fake, about, say, {
            'cas': lambda: _classified(algorithm, real, fake, held_out),
            'memorization': lambda: _memorized(
                workdir, training, held_out, extractor, fake, say
            ),
            'probe': lambda: _probe(
                algorithm, state, training, places, held_out
            ),
        }))
        keep(results[-1])
    return results


def evaluate(workdir, metrics=(), *, step=None, say=lambda line: None,
             **options):
    """Measure the samples of a trained run.

    Args:
        workdir: folder of the run.
        metrics: names of metrics, as ('fid', 'kid'); () for all that the
            features and the data allow.
        step: None for the newest, a number, 'best' or 'all'.
        say: function of a line of progress.
        **options: other fields of `Asked`: `features`, `weights`, `num_fake`,
            `num_real`, `split`.

    Returns:
        List of dicts, one for each step: 'results' holds each number with its
        floor, the rest is what it depends on.

    Raises:
        errors.UserError: one line that says what to mend.
    """
    asked = Asked(metrics=tuple(metrics), **options)
    return of_run(workdir, step, asked, say)


def of_sources(real, fake, asked, say):
    """Compare two sources of images.

    Args:
        real, fake: `sources.Request`.
        asked: `Asked`; `weights` and the features of a run have no meaning.
        say: function of a line.

    Returns:
        As `of_run`.

    Raises:
        errors.UserError: one line that says what to mend.
    """
    _check(asked, (*registry.MEASURES, 'memorization'))
    if asked.features == DISCRIMINATOR:
        raise errors.ConfigError(
            "--features='discriminator' is of a run; --workdir names one"
        )
    sets = [
        sources.load(request._replace(split=split))
        for request, split in ((real, asked.split), (fake, 'train'))
    ]
    shapes = [tuple(data.images.shape[1:]) for data in sets]
    if shapes[0] != shapes[1]:
        raise errors.DataError(
            f'{real.name} has images of {_size(shapes[0])} and {fake.name} of '
            f'{_size(shapes[1])}; --data.image_size and --data.channels make '
            'them alike'
        )
    held_out = _held_out(real, (asked.split,), sets[0])
    config = defaults.default_config()
    config.data.name, config.data.data_dir = real.name, real.data_dir
    extractor = extractor_of(asked.features, config, sets[0], held_out, say)
    views = [
        view_of(data, some_places(len(data.images), count), extractor, label)
        for data, count, label in (
            (sets[0], asked.num_real, 'real'),
            (sets[1], asked.num_fake or asked.num_real, 'fake'),
        )
    ]
    about = {
        'fake': fake.name,
        **_about(sets[0], asked.split, *views, extractor),
    }
    return [_measure(asked, *views, about, say, {
        'memorization': lambda: _memorized(
            '', sets[0], held_out, extractor, views[1], say
        ),
    })]


def save(path, results):
    """Add results to the list in a JSON file.

    Raises:
        errors.ConfigError: where it cannot be written.
    """
    try:
        for result in results:
            writer.append_json(path, _finite(result))
    except OSError as error:
        raise errors.ConfigError(
            f'--out={path} cannot be written: {error.strerror or error}'
        ) from error


def _finite(told):
    """Put None for numbers that JSON does not know."""
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, float) and not math.isfinite(told):
        return None
    return told


def default_out(workdir):
    """Name the file of results of a run; '' without one."""
    if not workdir:
        return ''
    return str(epath.Path(workdir).expanduser() / 'evaluation.json')


def _check(asked, known):
    for name in asked.metrics:
        if name not in known:
            raise errors.ConfigError(
                errors.unknown_name('--metrics', name, known)
            )
    names = (*extractors.EXTRACTORS, DISCRIMINATOR)
    if asked.features not in names:
        raise errors.ConfigError(
            errors.unknown_name('--features', asked.features, names)
        )


def _dataset(config, split):
    if defaults.has_mixture(config):
        return builders.dataset(config)
    return sources.load(builders.request(config)._replace(split=split))


def held_out_of(config, split='train', like=None):
    """Load what was not trained on; None where there is nothing such.

    Args:
        config: of the run.
        split: what they are compared with; config.data.split was trained on.
        like: `sources.Dataset` whose name, size, channels and classes they must
            have, or None.
    """
    if defaults.has_mixture(config):
        return None
    request = builders.request(config)
    if like is not None and like.name != request.name:  # of arrays
        return None
    return _held_out(request, (split, config.data.split), like)


def _held_out(request, splits, like):
    # As TFDS writes them: 'train[:80%]+test[:1000]'.
    known = {
        part.partition('[')[0].strip() for part in '+'.join(splits).split('+')
    }
    if known & {'all', 'test'}:
        return None
    request = request._replace(split='test')
    if like is not None and like.images.ndim == 4:
        *size, channels = like.images.shape[1:]
        request = request._replace(preparation=request.preparation._replace(
            image_size=tuple(size), channels=channels
        ))
    try:
        found = sources.load(request)
    except errors.DataError:
        return None
    return found if like is None or _form(found) == _form(like) else None


def _form(dataset):
    return tuple(dataset.images.shape[1:]), tuple(dataset.classes)


def some_places(count, most):
    """Choose at most so many places of images, by chance, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.RandomState(0).permutation(count)[:most])


def view_of(dataset, places, extractor, label):
    """Give the `registry.View` of some of a data set, seen once for all runs.

    Args:
        dataset: `sources.Dataset`.
        places: int [n].
        extractor: `extractors.Extractor`.
        label: what the progress bar calls them.
    """
    labels = None if dataset.labels is None else dataset.labels[places]
    cache = pathlib.Path(platformdirs.user_cache_dir('gan_jax')) / 'features'
    return registry.View(
        np.asarray(dataset.images[places]), labels, extractor,
        progress=_progress(label), cache=cache,
    )


def sample(algorithm, state, count, weights='ema'):
    """Sample seeds 0 to count - 1: uint8 images, or points as they are."""
    samples = []
    chunk = 16 * sampling.BATCH
    for first in _shown(range(0, count, chunk), 'sampling'):
        seeds = range(first, min(first + chunk, count))
        made = sampling.sample(algorithm, state, seeds, weights=weights)
        samples.append(writer.to_uint8(made) if made.ndim > 2 else made)
    return np.concatenate(samples)


def extractor_of(name, config, training, held_out, say):
    """Make an extractor by name; points have no classifier and no networks.

    Args:
        name: of `extractors.EXTRACTORS`.
        config: of the data.
        training, held_out: `sources.Dataset`, the second or None.
        say: function of a line.
    """
    if training.images.ndim == 2 and name != 'pixels':
        say(f'note: points are compared as they are, not by {name!r}')
        name = 'pixels'
    source = defaults.source(config)
    if name == 'classifier' and source.startswith('stacked_'):
        return _stacked(config, source.removeprefix('stacked_'))
    return extractors.make(name, training, held_out)


def _stacked(config, source):
    """Make the extractor of triples: a classifier of each channel."""
    single = config.copy_and_resolve_references()
    single.data.name, single.data.channels = source, 1
    one = extractors.make(
        'classifier', _dataset(single, 'train'), _dataset(single, 'test')
    )

    def apply(images):
        seen = [one.apply(images[..., c:c + 1]) for c in range(3)]
        features = np.concatenate([np.asarray(f) for f, _ in seen], -1)
        red, green, blue = (
            np.asarray(logits) - np.logaddexp.reduce(
                np.asarray(logits), -1, keepdims=True
            ) for _, logits in seen
        )
        joint = (
            red[:, :, None, None] + green[:, None, :, None]
            + blue[:, None, None, :]
        )
        return features, joint.reshape(len(images), -1)

    return one._replace(
        fingerprint=extractors.fingerprint('stacked', one.fingerprint),
        note=f'{one.note}, each channel', num_classes=one.num_classes ** 3,
        apply=apply,
    )


def _about(dataset, split, real, fake, extractor):
    return {
        'data': dataset.name, 'split': split,
        'shape': list(real.images.shape[1:]), 'num_real': len(real),
        'num_fake': len(fake),
        'features': {
            'name': extractor.name, 'fingerprint': extractor.fingerprint,
            'note': extractor.note,
        },
    }


def _measure(asked, real, fake, about, say, of_runs):
    """Give all numbers that are asked for, each in a line that tells all."""
    suffix = ' | '.join(_suffix(about))
    halves = registry.halves(real)
    values = {}
    for name in asked.metrics or (*DEFAULT, *of_runs):
        try:
            if name in of_runs:
                values[name] = of_runs[name]()
                lines = _told(name, values[name])
            else:
                found = registry.measure(name, real, fake, halves)
                values |= {k: n._asdict() for k, n in found.items()}
                lines = _lines(name, found, len(halves[0]))
        except (errors.ConfigError, errors.DataError) as error:
            if asked.metrics:
                raise
            say(f'{name} is left out: {error}')
            continue
        for line in lines:
            say(f'{line} | {suffix}')
        if name == 'fid':
            count = min(len(real), len(fake))
            complaint = frechet.complaint(count, real.features.shape[1])
            if complaint:
                say(f'note: {complaint}')
    return {**about, 'values': values}


def _lines(name, found, count):
    kind = registry.MEASURES[name]
    against = 'real' if kind.alone else f'halves of {count:,} real'
    for key, number in found.items():
        if key.endswith('_std') or key not in kind.better and name == 'swd':
            continue
        std = found.get(f'{key}_std')
        spread = f' ± {std.value:.3g}' if std and std.value else ''
        better = kind.better.get(key)
        way = f', {better} is better' if better else ''
        yield (
            f'{key} {number.value:.4g}{spread} ({against}: '
            f'{number.floor:.4g}{way})'
        )


def _told(name, found):
    if name == 'cas':
        yield (
            f'cas {100 * found["value"]:.1f} % (trained on real: '
            f'{100 * found["floor"]:.1f} %, higher is better)'
        )
        return
    if name == 'probe':
        yield 'probe ' + ', '.join(
            f'{key} {100 * value:.1f} %' for key, value in found.items()
        )
        return
    for key, verdict in found.items():
        yield (
            f'memorization by {key}: {verdict["verdict"]}; '
            f'{100 * verdict["nearer"]:.1f} % of samples nearer than '
            f'{100 * verdict["nearer_expected"]:.1f} % of held-out images, '
            f'distance {verdict["distance"]:.3g} times theirs'
        )


def _suffix(about):
    features = about['features']
    yield f'{features["note"]}, {features["fingerprint"]}'
    yield (
        f'real {about["num_real"]:,} of {about["data"]} {about["split"]} '
        f'{_size(about["shape"])}'
    )
    if 'step' in about:
        yield (
            f'fake {about["num_fake"]:,} of step {about["step"]} '
            f'{about["weights"]} seeds {about["seeds"]}'
        )
    else:
        yield f'fake {about["num_fake"]:,} of {about["fake"]}'


def _size(shape):
    return 'x'.join(map(str, shape))


def _memorized(workdir, training, held_out, extractor, fake, say):
    if held_out is None:
        raise errors.DataError(
            'no images were held out; a data set with a split test, or '
            'data.test_share in training, gives some'
        )
    views = [
        view_of(data, np.arange(len(data.images)), extractor, label)
        for data, label in ((held_out, 'held out'), (training, 'training'))
    ]
    found = registry.memorized(fake, *views)
    if fake.images.ndim == 4 and workdir:
        rows, apart = registry.closest(fake, views[1])
        path = epath.Path(workdir).expanduser() / 'neighbours.png'
        try:
            writer.save_png(path, writer.grid(rows, len(rows) // len(apart)))
        except OSError as error:
            raise errors.ConfigError(
                f'{path} cannot be written: {error.strerror or error}'
            ) from error
        say(f'Samples nearest to training images, and these: {path}')
    return found


def _classified(algorithm, real, fake, held_out):
    """Score classes by a classifier that is trained on samples alone."""
    if not algorithm.num_classes:
        raise errors.DataError('its samples have no class that was asked for')
    if held_out is None or held_out.labels is None:
        raise errors.DataError('no labelled images were held out')
    others = np.asarray(held_out.images), held_out.labels
    asked = np.arange(len(fake)) % algorithm.num_classes  # as `sampling.sample`
    return {
        'value': classifier.classifier_accuracy(fake.images, asked, *others),
        'floor': classifier.classifier_accuracy(
            real.images, real.labels, *others
        ),
    }


def _probe(algorithm, state, training, places, held_out):
    if training.labels is None:
        raise errors.DataError('a probe needs labelled data')
    test = None
    if held_out is not None and held_out.labels is not None:
        test = np.asarray(held_out.images), held_out.labels
    found = probe_lib.compare(
        algorithm, state, np.asarray(training.images[places]),
        training.labels[places], test=test,
    )
    return dict(found._asdict())


def _progress(label):
    """Make a function of (done, of how many) that moves a bar."""
    if not sys.stderr.isatty():
        return None
    bar = tqdm(desc=label, unit='image', leave=False, dynamic_ncols=True)

    def show(done, count):
        bar.total = count
        bar.update(done - bar.n)
        if done == count:
            bar.close()

    return show


def _shown(steps, label):
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            steps = stack.enter_context(
                tqdm(steps, desc=label, leave=False, dynamic_ncols=True)
            )
        yield from steps
