"""Every way from images to features, by name, behind one interface."""

import hashlib
import json
from typing import Callable, NamedTuple, Optional

import jax
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.core import errors
from gan_jax.features import batches
from gan_jax.features import check_inputs
from gan_jax.features import classifier as classifier_lib
from gan_jax.features import classifier_cache
from gan_jax.features import inception as inception_lib
from gan_jax.features import random_cnn

PIXELS_VERSION = 1


class Features(NamedTuple):
    """What an extractor gives.

    Attributes:
        features: float32 [N, F].
        logits: float32 [N, K]; None of one that tells no classes.
    """

    features: np.ndarray
    logits: Optional[np.ndarray]


class Extractor(NamedTuple):
    """Images, or points, to features.

    Attributes:
        name: of `EXTRACTORS`, or 'discriminator'.
        fingerprint: 12 hex digits of what the features depend on; numbers
            made with two of them do not compare.
        note: what to print beside every number made with it.
        num_classes: K of the logits; 0 where there are none.
        apply: function of [batch_size, H, W, C] uint8, or float32 in [-1, 1];
            or of points [batch_size, D]; to (features, logits or None).
        batch_size: how many at a time.
    """

    name: str
    fingerprint: str
    note: str
    num_classes: int
    apply: Callable
    batch_size: int = 64

    def __call__(self, images, progress=None):
        """Give the features of all images, a batch of one size at a time.

        Args:
            images: [N, H, W, C] uint8, or float in [-1, 1]; or points [N, D];
                an array, or what gives one when sliced.
            progress: function of (images done, of how many), or None.

        Returns:
            `Features` of NumPy arrays.

        Raises:
            errors.DataError: for no images, or such as it does not read.
            errors.NonFiniteError: for a value that is not finite.
        """
        if not len(images):
            raise errors.DataError(f'{self.name}: there are no images')
        done = 0

        def apply(batch):
            nonlocal done
            features, logits = self.apply(check_inputs.checked(batch))
            done = min(done + len(batch), len(images))
            if progress is not None:
                jax.block_until_ready((features, logits))
                progress(done, len(images))
            return features, logits

        found = batches.extract(apply, images, self.batch_size)
        return Features(*(
            None if part is None else np.asarray(part, np.float32)
            for part in found
        ))


def fingerprint(*parts):
    """Give 12 hex digits of what JSON can hold."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pixels(dataset=None, test=None, *, seed=0, progress=None):
    """Make the extractor of the values themselves, in one row.

    Args:
        dataset, test, seed, progress: not used.

    Returns:
        `Extractor`; of [N, H, W, C] in [-1, 1], and of points as they are.
    """
    del dataset, test, seed, progress
    return Extractor(
        'pixels', fingerprint('pixels', PIXELS_VERSION), 'raw pixels', 0,
        _flat,
    )


def _flat(images):
    rows = images.reshape(len(images), -1)
    if rows.dtype != np.uint8:
        return rows, None
    return rows.astype(np.float32) / np.float32(127.5) - 1, None


def random(dataset=None, test=None, *, seed=0, progress=None):
    """Make the extractor of a convolutional network that was never trained.

    Args:
        dataset, test, progress: not used.
        seed: of its weights.

    Returns:
        `Extractor`, of images of any size from 4 x 4 and any channels.
    """
    del dataset, test, progress
    features = random_cnn.extractor(seed)
    return Extractor(
        'random', fingerprint('random', random_cnn.VERSION, seed),
        f'untrained network of seed {seed}', 0,
        lambda images: (features(algorithm.to_unit_range(images)), None),
    )


def inception(dataset=None, test=None, *, seed=0, progress=None, path=''):
    """Make the extractor of Inception-v3.

    Args:
        dataset, test, seed, progress: not used.
        path: as of `inception.load`.

    Returns:
        `Extractor`.

    Raises:
        errors.CheckpointError: where the converted weights are not there.
    """
    del dataset, test, seed, progress
    loaded = inception_lib.load(path)
    return Extractor(
        'inception', loaded.fingerprint, 'Inception-v3 of 2015',
        inception_lib.NUM_CLASSES, loaded,
    )


def classifier(
    dataset=None, test=None, *, seed=0, progress=None,
    settings=classifier_lib.Settings(),
):
    """Make the extractor of a classifier of these data; it may be trained.

    Args:
        dataset: with images, labels and classes, as `data.sources.Dataset`.
        test: another to measure its accuracy on; None keeps a part back.
        seed: of its training.
        progress: as of `classifier.train`.
        settings: `classifier.Settings`; its seed is not used.

    Returns:
        `Extractor`.

    Raises:
        errors.DataError: where the data cannot train one.
    """
    made = classifier_cache.load(
        getattr(dataset, 'images', None),
        getattr(dataset, 'labels', None),
        getattr(dataset, 'classes', ()),
        test=None if test is None else (test.images, test.labels),
        settings=settings._replace(seed=seed),
        progress=progress,
    )
    return Extractor(
        'classifier', made.fingerprint,
        f'classifier {100 * made.accuracy:.1f} % on {made.measured_on}',
        made.network.num_classes, made, classifier_lib.BATCH,
    )


EXTRACTORS = {
    'classifier': classifier,
    'inception': inception,
    'pixels': pixels,
    'random': random,
}
TELLING_CLASSES = ('classifier', 'inception')


def make(name, dataset=None, test=None, **options):
    """Make an extractor by name.

    Args:
        name: of `EXTRACTORS`.
        dataset, test, **options: as of that function.

    Returns:
        `Extractor`.

    Raises:
        errors.ConfigError: for another name.
    """
    if name not in EXTRACTORS:
        raise errors.ConfigError(
            errors.unknown_name('features', name, EXTRACTORS)
        )
    return EXTRACTORS[name](dataset, test, **options)
