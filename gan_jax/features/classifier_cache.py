"""The classifier of a data set: trained once, then kept in the user's cache.

Its last hidden layer gives features that know the data's own classes, where
Inception knows those of ImageNet. Numbers made with it compare with each other
for one fingerprint alone.
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
    """A trained network, and what is known of it.

    Attributes:
        network: a `classifier.Network`.
        variables: its parameters.
        image_shape: (H, W, C) of the images it reads.
        fingerprint: 12 hex digits of data, classes, settings and version.
        accuracy: share it has right of images it was not trained on.
        measured_on: how many those are, and of what.
    """

    network: Any
    variables: Any
    image_shape: Any
    fingerprint: str
    accuracy: float
    measured_on: str

    def __call__(self, images):
        """Give a `classifier.Output` for images [B, H, W, C].

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
    """Give the classifier of these data: from the user's cache, or train it.

    A file in the cache that is damaged is told of in one line, and replaced.

    Args:
        images, labels, classes: as of `classifier.labelled`.
        test: (images, labels) to measure the accuracy on; None keeps a part of
            the images back for that.
        settings: `classifier.Settings`.
        progress: as of `classifier.train`.

    Returns:
        `Classifier`.

    Raises:
        errors.DataError: where the data cannot train one.
    """
    data = classifier.labelled(images, labels, classes)
    held = None if test is None else classifier.tested(data, *test)
    network = classifier.Network(
        len(classes) or int(data.labels.max()) + 1,
        settings.width, settings.num_features,
    )
    key = fingerprint(data, held, classes, settings)
    path = weights.default_path(f'classifier-{key}')
    shape = tuple(int(side) for side in data.images.shape[1:])
    places, measured = None, None
    if held is None:
        places, measured = classifier.split(
            data, settings.held_out, settings.seed
        )
    known = _recall(path, network, shape)
    if known is None:
        variables = classifier.train(network, data, settings, places, progress)
        known = variables, classifier.accuracy(
            network, variables, data if held is None else held, measured
        )
        _remember(path, *known)
    variables, accuracy = known
    return Classifier(
        network, jax.device_put(variables), shape, key, accuracy,
        f'{len(measured):,} held-out images' if held is None else
        f'{len(held.labels):,} test images',
    )


def fingerprint(data, held, classes, settings):
    """Name what a classifier is made of.

    Args:
        data: `classifier.Labelled`, those to train on.
        held: `classifier.Labelled` to measure on, or None.
        classes: names of the classes.
        settings: `classifier.Settings`.

    Returns:
        12 hex digits.
    """
    made_of = {
        'version': classifier.VERSION,
        'data': _digest(data),
        'test': None if held is None else _digest(held),
        'classes': list(classes),
        'settings': settings._asdict(),
    }
    text = json.dumps(made_of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest(data):
    """Hash images and labels, a part at a time."""
    images = data.images
    digest = hashlib.sha256(f'{images.dtype} {images.shape}'.encode())
    for start in range(0, len(images), CHUNK):
        digest.update(np.ascontiguousarray(images[start:start + CHUNK]))
    digest.update(data.labels.tobytes())
    return digest.hexdigest()


def _recall(path, network, shape):
    """Give (variables, accuracy) of a file; None where it is of no use."""
    expected = jax.eval_shape(
        network.init, jax.random.key(0), jnp.zeros((1, *shape))
    )
    try:
        found = weights.read(path, expected)
        accuracy = found.about.get('accuracy')
        if found.about.get('sum') != _sum(found.variables, accuracy):
            raise errors.DamagedError(f'{path} has changed since it was made')
    except errors.CheckpointError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            _say(f'warning: {error}; the classifier is trained again')
        return None
    return found.variables, accuracy


def _remember(path, variables, accuracy):
    """Keep a classifier; where that fails, the next start trains it again."""
    about = {'accuracy': accuracy, 'sum': _sum(variables, accuracy)}
    try:
        weights.write(path, variables, **about)
    except OSError as error:
        _say(
            f'warning: {path} cannot be written: {error.strerror}; the '
            'classifier is not kept'
        )


def _sum(variables, accuracy):
    """Hash what a file holds: safetensors itself notices no flipped bit."""
    digest = hashlib.sha256(json.dumps(accuracy).encode())
    for name, value in sorted(weights.flatten(variables).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value, np.float32))
    return digest.hexdigest()


def _say(text):
    redact.say(text, sys.stderr)
