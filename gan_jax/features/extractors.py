"""Feature extractors by name, behind one interface.

`make` builds those of `EXTRACTORS`; `discriminators` builds that of a
discriminator. The networks and their weights are in other modules.
"""

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
from gan_jax.features import efficientnet
from gan_jax.features import inception as inception_lib
from gan_jax.features import random_cnn

PIXELS_VERSION = 1


class Features(NamedTuple):
    """Output of an extractor.

    Attributes:
        features: float32 [N, F].
        logits: float32 [N, K]; None for an extractor without classes.
    """

    features: np.ndarray
    logits: Optional[np.ndarray]


class Extractor(NamedTuple):
    """A map from images, or points, to features.

    Attributes:
        name: one of `EXTRACTORS`, or 'discriminator'.
        fingerprint: 12 hex digits, a hash of all that the features depend on;
            metrics of different fingerprints are not comparable.
        note: description that is printed beside every metric.
        num_classes: K of the logits; 0 without logits.
        apply: function of images [batch_size, H, W, C], uint8 or float32 in
            [-1, 1], or of points [batch_size, D], to (features, logits or
            None).
        batch_size: images in a batch.
    """

    name: str
    fingerprint: str
    note: str
    num_classes: int
    apply: Callable
    batch_size: int = 64

    def __call__(self, images, progress=None):
        """Extract the features of all images, in batches of one size.

        Args:
            images: [N, H, W, C] uint8, or float in [-1, 1]; or points [N, D];
                an array, or an object whose slices are arrays.
            progress: function of (images done, number of images), or None.

        Returns:
            `Features` of NumPy arrays.

        Raises:
            errors.DataError: for no images, or images that do not fit.
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

        outputs = batches.extract(apply, images, self.batch_size)
        return Features(*(
            None if part is None else np.asarray(part, np.float32)
            for part in outputs
        ))


def fingerprint(*parts):
    """Hash values that JSON can hold to 12 hex digits."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pixels(dataset=None, test=None, *, seed=0, progress=None):
    """Build the extractor that returns the values themselves, flattened.

    Args:
        dataset, test, seed, progress: not used.

    Returns:
        `Extractor`; images are scaled to [-1, 1], points are not changed.
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
    """Build the extractor of an untrained convolutional network.

    Args:
        dataset, test, progress: not used.
        seed: of its weights.

    Returns:
        `Extractor` of images of at least 4 x 4 pixels with any channels.
    """
    del dataset, test, progress
    features = random_cnn.extractor(seed)
    return Extractor(
        'random', fingerprint('random', random_cnn.VERSION, seed),
        f'untrained network of seed {seed}', 0,
        lambda images: (features(algorithm.to_unit_range(images)), None),
    )


def inception(dataset=None, test=None, *, seed=0, progress=None, path=''):
    """Build the extractor of Inception-v3.

    Args:
        dataset, test, seed, progress: not used.
        path: as in `inception.load`.

    Returns:
        `Extractor`.

    Raises:
        errors.CheckpointError: if the converted weights are missing.
    """
    del dataset, test, seed, progress
    loaded = inception_lib.load(path)
    return Extractor(
        'inception', loaded.fingerprint, 'Inception-v3 of 2015',
        inception_lib.NUM_CLASSES, loaded,
    )


def efficientnet_lite0(
    dataset=None, test=None, *, seed=0, progress=None, path=''
):
    """Build the extractor of EfficientNet-Lite0.

    Args:
        dataset, test, seed, progress: not used.
        path: as in `efficientnet.load`.

    Returns:
        `Extractor`.

    Raises:
        errors.CheckpointError: if the package of the weights is not installed.
    """
    del dataset, test, seed, progress
    side = efficientnet.SIDE
    return Extractor(
        'efficientnet_lite0',
        fingerprint(
            'efficientnet_lite0', efficientnet.VERSION, efficientnet.SHA256
        ),
        f'EfficientNet-Lite0 of ImageNet at {side}x{side}, bilinear',
        efficientnet.NUM_CLASSES, efficientnet.load(path),
    )


def classifier(
    dataset=None, test=None, *, seed=0, progress=None,
    settings=classifier_lib.Settings(),
):
    """Build the extractor of a data set's classifier; train it if needed.

    Args:
        dataset: with images, labels and classes, as `data.sources.Dataset`.
        test: another to measure the accuracy on; None holds out a part.
        seed: of the training.
        progress: as in `classifier.train`.
        settings: `classifier.Settings`; its seed is not used.

    Returns:
        `Extractor`.

    Raises:
        errors.DataError: if no classifier can be trained on the data.
    """
    loaded = classifier_cache.load(
        getattr(dataset, 'images', None),
        getattr(dataset, 'labels', None),
        getattr(dataset, 'classes', ()),
        test=None if test is None else (test.images, test.labels),
        settings=settings._replace(seed=seed),
        progress=progress,
    )
    return Extractor(
        'classifier', loaded.fingerprint,
        f'classifier {100 * loaded.accuracy:.1f} % on {loaded.measured_on}',
        loaded.network.num_classes, loaded, classifier_lib.BATCH,
    )


EXTRACTORS = {
    'classifier': classifier,
    'efficientnet_lite0': efficientnet_lite0,
    'inception': inception,
    'pixels': pixels,
    'random': random,
}
PRETRAINED = ('efficientnet_lite0', 'inception')  # on ImageNet
WITH_CLASSES = ('classifier', *PRETRAINED)


def make(name, dataset=None, test=None, **options):
    """Build an extractor by name.

    Args:
        name: one of `EXTRACTORS`.
        dataset, test, **options: arguments of the function of that name.

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
