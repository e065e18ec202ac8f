"""Digits score: quality and variety of samples of the 8x8 digits.

It is shared by scripts of this folder. A classifier, scikit-learn's
`CalibratedClassifierCV(SVC(), ensemble=False)`, is trained on 70 % of the real
digits (split seed 0). Samples are compared with the other 30 %.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from gan_jax.data import sources
from gan_jax.metrics import distances
from gan_jax.runtime import writer

BOUNDS = {
    'confidence': (0.97, float('inf')),
    'rarest_class': (0.04, float('inf')),
    'nearest': (0.8, 1.2),
    'spread': (0.85, float('inf')),
}


class Reference(NamedTuple):
    """Real digits and the classifier that samples are scored by.

    Attributes:
        real, labels: all digits, [N, 64] in [0, 1], and their classes.
        train: the 70 % that the classifier is trained on.
        floor: mean distance of the other 30 % to the nearest of the 70 %.
        classifier: has `predict_proba`.
        accuracy, top: accuracy and mean top probability of the classifier on
            the 30 %.
    """

    real: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    floor: float
    classifier: Any
    accuracy: float
    top: float


@functools.lru_cache(maxsize=1)
def reference():
    """Train the classifier, once; return `Reference`."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    digits = sources.load(sources.Request('digits'))
    real = reduce(digits.images)
    train, held, train_labels, held_labels = train_test_split(
        real, digits.labels, train_size=0.7, random_state=0
    )
    classifier = CalibratedClassifierCV(SVC(), ensemble=False)
    classifier.fit(train, train_labels)
    probabilities = classifier.predict_proba(held)
    return Reference(
        real, digits.labels, train,
        floor=distances.nearest(held, train).mean(),
        classifier=classifier,
        accuracy=(probabilities.argmax(1) == held_labels).mean(),
        top=probabilities.max(1).mean(),
    )


def reduce(images):
    """Resize uint8 [N, 32, 32, 1] to 8x8, flattened: [N, 64] in [0, 1]."""
    inside = images[:, 4:-4, 4:-4, 0].astype(np.float64) / 255
    return inside.reshape(-1, 8, 3, 8, 3).mean((2, 4)).reshape(-1, 64)


def spread(values, labels):
    """Compute the mean distance within a class, averaged over classes."""
    groups = [values[labels == label] for label in range(10)]
    return np.mean(
        [distances.mean_pairwise(g) for g in groups if len(g) > 1]
    )


def score(samples):
    """Compute the digits score of samples.

    Args:
        samples: [N, 32, 32, 1] in [-1, 1] or uint8.

    Returns:
        dict of floats: the four numbers of `BOUNDS`, the classifier's accuracy
        and mean top probability on the held-out digits, and the nearest
        distance to all the digits in place of the 70 %.
    """
    known = reference()
    samples = reduce(writer.to_uint8(samples))
    top = known.classifier.predict_proba(samples)
    labels = top.argmax(1)
    numbers = {
        'confidence': top.max(1).mean() / known.top,
        'rarest_class': np.bincount(labels, minlength=10).min() / len(labels),
        'nearest': distances.nearest(samples, known.train).mean() / known.floor,
        'spread': spread(samples, labels) / spread(known.real, known.labels),
        'nearest_of_all': (
            distances.nearest(samples, known.real).mean() / known.floor
        ),
        'classifier_accuracy': known.accuracy,
        'classifier_top': known.top,
    }
    return {name: float(value) for name, value in numbers.items()}


def agreement(samples, requested):
    """Compute the share of samples that the classifier gives their class.

    Args:
        samples: as `score`.
        requested: [N], classes that were requested.

    Returns:
        float in [0, 1]; it cannot be above the classifier's own accuracy,
        except by chance.
    """
    samples = reduce(writer.to_uint8(samples))
    predicted = reference().classifier.predict_proba(samples).argmax(1)
    return float((predicted == np.asarray(requested)).mean())


def sharpness(images):
    """Compute the mean length of the gradient over pixels and images.

    Args:
        images: [N, H, W, 1] uint8; differences are of neighbouring pixels.

    Returns:
        float, grey levels per pixel.
    """
    values = np.asarray(images[..., 0], np.float64)
    down = np.diff(values, axis=1)[:, :, :-1]
    collectives = np.diff(values, axis=2)[:, :-1]
    return float(np.hypot(down, collectives).mean())
