"""Real images that samples are compared with, and the features of both.

Loads the images of a split, and those that were held out, by the config of a
run; builds extractors and views. It measures nothing.
"""

import contextlib
import pathlib
import sys

import numpy as np
import platformdirs
from tqdm import tqdm

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.features import extractors
from gan_jax.metrics import registry


def dataset(config, split):
    """Load the `sources.Dataset` of a split of the data of a config."""
    if defaults.has_mixture(config):
        return builders.dataset(config)
    return sources.load(builders.request(config)._replace(split=split))


def held_out_of(config, split='train', like=None):
    """Load the images that were not trained on.

    Args:
        config: of the run.
        split: of the images they are compared with; config.data.split was
            trained on.
        like: `sources.Dataset` whose name, size, channels and classes they must
            have, or None.

    Returns:
        `sources.Dataset`, or None if no images were held out.
    """
    if defaults.has_mixture(config):
        return None
    request = builders.request(config)
    if like is not None and like.name != request.name:  # of arrays
        return None
    return held_out_part(request, (split, config.data.split), like)


def held_out_part(request, splits, like):
    """Load the split 'test' of a source, if it is none of other splits.

    Args:
        request: `sources.Request`.
        splits: names that were trained on or are compared.
        like: as of `held_out_of`.

    Returns:
        `sources.Dataset`, or None where there is no such split.
    """
    # In the notation of TFDS: 'train[:80%]+test[:1000]'.
    names = {
        part.partition('[')[0].strip() for part in '+'.join(splits).split('+')
    }
    if names & {'all', 'test'}:
        return None
    request = request._replace(split='test')
    if like is not None and like.images.ndim == 4:
        *size, channels = like.images.shape[1:]
        request = request._replace(preparation=request.preparation._replace(
            image_size=tuple(size), channels=channels
        ))
    try:
        held_out = sources.load(request)
    except errors.DataError:
        return None
    return held_out if like is None or _form(held_out) == _form(like) else None


def _form(dataset):
    return tuple(dataset.images.shape[1:]), tuple(dataset.classes)


def sample_indices(count, most):
    """Draw at most `most` indices of `count` images, in ascending order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.RandomState(0).permutation(count)[:most])


def view_of(dataset, indices, extractor, label):
    """Return a `registry.View` of part of a data set, with cached features.

    Args:
        dataset: `sources.Dataset`.
        indices: int [n].
        extractor: `extractors.Extractor`.
        label: title of the progress bar.
    """
    labels = None if dataset.labels is None else dataset.labels[indices]
    cache = pathlib.Path(platformdirs.user_cache_dir('gan_jax')) / 'features'
    return registry.View(
        np.asarray(dataset.images[indices]), labels, extractor,
        progress=progress_bar(label), cache=cache,
    )


def extractor_of(name, config, training, held_out, say):
    """Build an extractor by name; points are always compared directly.

    Args:
        name: one of `extractors.EXTRACTORS`; '' for the classifier, or
            'random' where the data have no labels.
        config: of the data.
        training: `sources.Dataset`.
        held_out: `sources.Dataset` or None.
        say: function that prints a line.

    Returns:
        `extractors.Extractor`.
    """
    if training.images.ndim == 2 and name != 'pixels':
        say(f'note: points are compared as they are, not by {name!r}')
        name = 'pixels'
    if not name:
        name = 'random' if training.labels is None else 'classifier'
        if name == 'random':
            say(
                f'note: {training.name} has no labels for a classifier, so '
                'images are compared by features of an untrained network '
                '(--features=random); --features=efficientnet_lite0 or '
                'inception is better'
            )
    source = defaults.source(config)
    if name == 'classifier' and source.startswith('stacked_'):
        return _stacked(config, source.removeprefix('stacked_'))
    return extractors.make(name, training, held_out)


def _stacked(config, source):
    """Build the extractor of stacked images: a classifier of each channel."""
    single = config.copy_and_resolve_references()
    single.data.name, single.data.channels = source, 1
    one = extractors.make(
        'classifier', dataset(single, 'train'), dataset(single, 'test')
    )

    def apply(images):
        outputs = [one.apply(images[..., c:c + 1]) for c in range(3)]
        features = np.concatenate([np.asarray(f) for f, _ in outputs], -1)
        red, green, blue = (  # log probabilities
            np.asarray(logits) - np.logaddexp.reduce(
                np.asarray(logits), -1, keepdims=True
            ) for _, logits in outputs
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


def progress_bar(label):
    """Return a function of (done, total) for a bar; None without a terminal."""
    if not sys.stderr.isatty():
        return None
    bar = tqdm(desc=label, unit='image', leave=False, dynamic_ncols=True)

    def show(done, count):
        bar.total = count
        bar.update(done - bar.n)
        if done == count:
            bar.close()

    return show


def with_progress(steps, label):
    """Yield the steps, with a progress bar on a terminal."""
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            steps = stack.enter_context(
                tqdm(steps, desc=label, leave=False, dynamic_ncols=True)
            )
        yield from steps
