"""Inspection of a data source: sizes, classes, duplicates and bad files.

Reads every image once. The command `check_data` prints the report.
"""

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
SHOWN_SIDE = 64  # largest side of shown and averaged images


class Report(NamedTuple):
    """Result of an inspection.

    Attributes:
        count: number of good images.
        sizes: {(height, width): number of images}, as stored.
        modes: {Pillow's mode, or text on units: number of images}.
        shapes: {(height, width, channels): number of images}, prepared.
        classes: {name: number of images}; {} without labels.
        duplicates: tuples of names of images with equal pixels.
        skipped: (name, reason) of bad images.
        ignored: (name, reason) of files that are not images.
        mean: [h, w, 3] uint8, the mean image.
        shown: [n, h, w, 3] uint8, examples at equal intervals.
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
    """Accumulator of hashes, mean and examples over all images."""

    def __init__(self, count):
        self._every = -(-count // NUM_SHOWN)
        self._preparation = self._sum = None
        self._names, self._shown = collections.defaultdict(list), []
        self._count = 0

    def add(self, name, pixels, units=None):
        """Add an image, uint8 [H, W, C], or float32 with `fields.Units`."""
        self._count += 1
        content = repr(pixels.shape).encode() + pixels.tobytes()
        self._names[hashlib.sha256(content).digest()].append(name)
        if self._preparation is None:
            height, width = pixels.shape[:2]
            scale = min(1, SHOWN_SIDE / max(height, width))
            size = tuple(max(1, round(scale * n)) for n in (height, width))
            self._preparation = pictures.Preparation(size, channels=3)
            self._sum = np.zeros((*size, 3))
        if units is not None:
            pixels = units.draw(pixels)
        small = pictures.fit_array(pixels, self._preparation)
        self._sum += small
        due = (self._count - 1) % self._every == 0
        if due and len(self._shown) < NUM_SHOWN:
            self._shown.append(small)

    def result(self):
        """Return the fields of a `Report` that need the pixels."""
        duplicates = tuple(
            tuple(names) for names in self._names.values() if len(names) > 1
        )
        mean = np.round(self._sum / self._count).astype(np.uint8)
        return {
            'duplicates': duplicates, 'mean': mean,
            'shown': np.stack(self._shown),
        }


def inspect(request):
    """Read every image of a source once.

    Args:
        request: a `sources.Request`.

    Returns:
        `Report`. Duplicates are images with equal prepared pixels.

    Raises:
        errors.DataError: for no good image, or for rows of numbers.
    """
    scheme, _, path = request.name.partition(':')
    if scheme == 'pack':
        packs.read(path, verify=True)
    found = None if request.task or scheme == 'fields' else (
        sources.files(request)
    )
    if found is None:
        return _of_dataset(sources.load(request._replace(memory=0)))
    listed = sources.select(found).listing
    album = _Album(len(listed.files))

    def visit(place, picture):
        album.add(listed.files[place], picture.pixels)

    survey = listing_lib.survey(
        listed, found.request.preparation, visit=visit
    )
    reading.check(listed.name, survey.skipped, len(survey.good), 1)
    labels = None if listed.labels is None else listed.labels[survey.good]
    return Report(
        count=len(survey.good), sizes=survey.sizes, modes=survey.modes,
        shapes=survey.shapes, classes=_classes(labels, listed.classes),
        skipped=survey.skipped, ignored=listed.ignored, **album.result(),
    )


def _of_dataset(dataset):
    """Describe images in an array."""
    images = dataset.images
    if images.ndim == 2:
        raise errors.DataError(
            f'{dataset.name} holds {len(images)} rows of {images.shape[1]} '
            'numbers, not images'
        )
    album = _Album(len(images))
    for place in range(len(images)):
        album.add(f'image {place}', images[place], dataset.units)
    count, *shape = images.shape
    mode = pictures.CHANNELS.get(shape[2]) if dataset.units is None else (
        dataset.units.described()
    )
    return Report(
        count=count, sizes={tuple(shape[:2]): count},
        modes={mode: count},
        shapes={tuple(shape): count},
        classes=_classes(dataset.labels, dataset.classes),
        skipped=(), ignored=(), **album.result(),
    )


def _classes(labels, names):
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return dict(zip(names, counts))
