"""What a person wants to know of a source before a night is spent on it."""

import collections
import hashlib
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from gan_jax.core import errors
from gan_jax.data import listing as listing_lib
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import reading
from gan_jax.data import sources

NUM_SHOWN = 64
SHOWN_SIDE = 64  # pixels; images are shown and averaged no larger


class Report(NamedTuple):
    """What an inspection found.

    Attributes:
        count: good images.
        sizes: {(height, width): images}, as they lie.
        modes: {Pillow's mode: images}.
        shapes: {(height, width, channels): images}, prepared.
        classes: {name: images}; {} without labels.
        duplicates: tuples of names of images with the same pixels.
        skipped: (name, reason) of the bad.
        ignored: (name, reason) of what was not taken for an image.
        mean: [h, w, 3] uint8, the mean image.
        shown: [n, h, w, 3] uint8, some images, evenly spaced.
    """

    count: int
    sizes: Dict[Any, int]
    modes: Dict[str, int]
    shapes: Dict[Any, int]
    classes: Dict[str, int]
    duplicates: Tuple[Tuple[str, ...], ...]
    skipped: Tuple[Tuple[str, str], ...]
    ignored: Tuple[Tuple[str, str], ...]
    mean: np.ndarray
    shown: np.ndarray


class _Album:
    """Gathers what each image adds: hash, mean, and some to show."""

    def __init__(self, count):
        self._every = -(-count // NUM_SHOWN)
        self._preparation = self._sum = None
        self._seen, self._shown = collections.defaultdict(list), []
        self._count = 0

    def add(self, name, pixels):
        self._count += 1
        content = repr(pixels.shape).encode() + pixels.tobytes()
        self._seen[hashlib.sha256(content).digest()].append(name)
        if self._preparation is None:
            height, width = pixels.shape[:2]
            scale = min(1, SHOWN_SIDE / max(height, width))
            size = tuple(max(1, round(scale * n)) for n in (height, width))
            self._preparation = pictures.Preparation(size, channels=3)
            self._sum = np.zeros((*size, 3))
        small = pictures.fit_array(pixels, self._preparation)
        self._sum += small
        due = (self._count - 1) % self._every == 0
        if due and len(self._shown) < NUM_SHOWN:
            self._shown.append(small)

    def found(self):
        same = tuple(
            tuple(names) for names in self._seen.values() if len(names) > 1
        )
        mean = np.round(self._sum / self._count).astype(np.uint8)
        return {
            'duplicates': same, 'mean': mean, 'shown': np.stack(self._shown)
        }


def inspect(request):
    """Read every image of a source once.

    Args:
        request: a `sources.Request`.

    Returns:
        `Report`. Images are the same where their prepared pixels are.

    Raises:
        errors.DataError: where there is no good image, or rows of numbers.
    """
    scheme, _, path = request.name.partition(':')
    if scheme == 'pack':
        packs.read(path, verify=True)
    listed = sources.listing(request)
    if listed is None:
        return _of_dataset(sources.load(request._replace(memory=0)))
    album = _Album(len(listed.files))
    survey = listing_lib.survey(
        listed, request.preparation, visit=lambda place, picture: album.add(
            listed.files[place], picture.pixels
        ),
    )
    reading.check(listed.name, survey.skipped, len(survey.good), 1)
    labels = None if listed.labels is None else listed.labels[survey.good]
    return Report(
        count=len(survey.good), sizes=survey.sizes, modes=survey.modes,
        shapes=survey.shapes, classes=_classes(labels, listed.classes),
        skipped=survey.skipped, ignored=listed.ignored, **album.found(),
    )


def _of_dataset(dataset):
    """Inspect images that lie in an array."""
    images = dataset.images
    if images.ndim == 2:
        raise errors.DataError(
            f'{dataset.name} holds rows of {images.shape[1]} numbers, '
            f'{len(images)} of them, and no images'
        )
    album = _Album(len(images))
    for place in range(len(images)):
        album.add(f'image {place}', images[place])
    count, *shape = images.shape
    return Report(
        count=count, sizes={tuple(shape[:2]): count},
        modes={pictures.CHANNELS[shape[2]]: count},
        shapes={tuple(shape): count},
        classes=_classes(dataset.labels, dataset.classes),
        skipped=(), ignored=(), **album.found(),
    )


def _classes(labels, names):
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return dict(zip(names, counts))
