"""Cache of the classifiers of data sets, each trained once.

The last hidden layer gives features for the data's own classes; Inception's are
for those of ImageNet. Metrics are comparable only for equal fingerprints. Files
are checked by a hash, because safetensors does not detect flipped bits.
"""

import hashlib
import json
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.features import classifier
from gan_jax.features import weights

CHUNK = 4096  # images hashed at a time


class Classifier(NamedTuple):
    """A trained network with its accuracy and fingerprint.

    Attributes:
        network: a `classifier.Network`.
        variables: its parameters.
        image_shape: (H, W, C) of its input.
        fingerprint: 12 hex digits, a hash of data, classes, settings and
            version.
        accuracy: on images that it was not trained on.
        measured_on: number and origin of those images, in words.
    """

    network: Any
    variables: Any
    image_shape: Any
    fingerprint: str
    accuracy: float
    measured_on: str

    def __call__(self, images):
        """Return the `classifier.Output` of images [B, H, W, C].

        Raises:
            errors.DataError: for images of another shape.
        """
        if images.shape[1:] != self.image_shape:
            raise errors.DataError(
                f'the classifier was trained on images of shape '
                f'{list(self.image_shape)}, and these have '
                f'{list(images.shape[1:])}'
            )
        return classifier.apply(self.network, self.variables, images)


def load(
    images, labels, classes=(), *, test=None, settings=classifier.Settings(),
    progress=None,
):
    """Load the classifier of a data set from the cache, or train it.

    A damaged file in the cache is reported in one line and replaced.

    Args:
        images, labels, classes: as in `classifier.labelled`.
        test: (images, labels) to measure the accuracy on; None holds out a part
            of the images.
        settings: `classifier.Settings`.
        progress: as in `classifier.train`.

    Returns:
        `Classifier`.

    Raises:
        errors.DataError: if no classifier can be trained on the data.
    """
    data = classifier.labelled(images, labels, classes)
    test = None if test is None else classifier.tested(data, *test)
    network = classifier.Network(
        len(classes) or int(data.labels.max()) + 1,
        settings.width, settings.num_features,
    )
    key = fingerprint(data, test, classes, settings)
    path = weights.default_path(f'classifier-{key}')
    shape = tuple(int(side) for side in data.images.shape[1:])
    train_indices, test_indices = None, None
    if test is None:
        train_indices, test_indices = classifier.split(
            data, settings.held_out, settings.seed
        )
    cached = _read(path, network, shape)
    if cached is None:
        variables = classifier.train(
            network, data, settings, train_indices, progress
        )
        cached = variables, classifier.accuracy(
            network, variables, data if test is None else test, test_indices
        )
        _write(path, *cached)
    variables, accuracy = cached
    return Classifier(
        network, jax.device_put(variables), shape, key, accuracy,
        f'{len(test_indices):,} held-out images' if test is None else
        f'{len(test.labels):,} test images',
    )


def fingerprint(data, test, classes, settings):
    """Hash all that a classifier depends on.

    Args:
        data: `classifier.Labelled` to train on.
        test: `classifier.Labelled` to measure on, or None.
        classes: names of the classes.
        settings: `classifier.Settings`.

    Returns:
        12 hex digits.
    """
    facts = {
        'version': classifier.VERSION,
        'data': _digest(data),
        'test': None if test is None else _digest(test),
        'classes': list(classes),
        'settings': settings._asdict(),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest(data):
    """Hash images and labels, `CHUNK` images at a time."""
    images = data.images
    digest = hashlib.sha256(f'{images.dtype} {images.shape}'.encode())
    for start in range(0, len(images), CHUNK):
        digest.update(np.ascontiguousarray(images[start:start + CHUNK]))
    digest.update(data.labels.tobytes())
    return digest.hexdigest()


def _read(path, network, shape):
    """Read (variables, accuracy) from a file; None if missing or damaged."""
    expected = jax.eval_shape(
        network.init, jax.random.key(0), jnp.zeros((1, *shape))
    )
    try:
        loaded = weights.read(path, expected)
        accuracy = loaded.about.get('accuracy')
        if loaded.about.get('sum') != _sum(loaded.variables, accuracy):
            raise errors.DamagedError(
                f'{path} has changed since it was written'
            )
    except errors.CheckpointError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            _say(f'warning: {error}; the classifier is trained again')
        return None
    return loaded.variables, accuracy


def _write(path, variables, accuracy):
    """Write a classifier; if that fails, the next start trains it again."""
    about = {'accuracy': accuracy, 'sum': _sum(variables, accuracy)}
    try:
        weights.write(path, variables, **about)
    except OSError as error:
        _say(
            f'warning: {path} cannot be written: {error.strerror}; the '
            'classifier is not cached'
        )


def _sum(variables, accuracy):
    """Hash the variables and the accuracy; safetensors has no checksum."""
    digest = hashlib.sha256(json.dumps(accuracy).encode())
    for name, value in sorted(weights.flatten(variables).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value, np.float32))
    return digest.hexdigest()


def _say(text):
    redact.say(text, sys.stderr)
