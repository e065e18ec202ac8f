"""Which of a source's images a run takes: classes, split and number."""

import hashlib

import numpy as np

from gan_jax.core import errors


def select(request, count, labels, classes, *, names=None, has_splits=False):
    """Choose the images of the classes, the split and the number asked for.

    Which images are held out as 'test', and which a limit leaves, follows from
    a draw that is the same in every run; where images have names it goes by
    these, so that a new file moves few others.

    Args:
        request: a `sources.Request`.
        count: images there are.
        labels: [count] int32, or None.
        classes: a name for each label.
        names: a name for each image, or None.
        has_splits: whether `request.split` is chosen already.

    Returns:
        (int64 [n] of places, increasing; labels [n], numbered anew where
        classes are chosen; their names).

    Raises:
        errors.DataError: for what there is not.
    """
    places = np.arange(count)
    if request.classes:
        wanted = _wanted(request, classes)
        kept = np.isin(labels, wanted)
        numbers = np.full(len(classes), -1, np.int32)
        numbers[wanted] = np.arange(len(wanted))
        labels = numbers[labels]
        places, classes = places[kept], tuple(classes[n] for n in wanted)
    held = round(request.test_share * len(places))
    if not has_splits:
        if request.split not in ('train', 'test'):
            raise errors.DataError(
                f"data.split={request.split!r}: {request.name} has 'train' and "
                "'test' alone"
            )
        if request.split == 'test' and not request.test_share:
            raise errors.DataError(
                f"data.split='test': {request.name} has the split 'train' "
                'alone; data.test_share=0.1 holds a tenth of it out'
            )
    if request.test_share and not has_splits:
        order = _drawn(places, names)
        places = order[:held] if request.split == 'test' else order[held:]
    if count and not len(places):
        raise errors.DataError(
            f'{request.name}: no image of {count} is left by data.classes='
            f'{",".join(request.classes)!r}, data.split={request.split!r} and '
            f'data.test_share={request.test_share:g}'
        )
    if request.limit and request.limit < len(places):
        places = _drawn(np.sort(places), names)[-request.limit:]
    places = np.sort(places)
    return places, None if labels is None else labels[places], classes


def _wanted(request, classes):
    """Give the numbers of the classes asked for, in the order of the set's."""
    if not classes:
        raise errors.DataError(
            f'data.classes={",".join(request.classes)!r}: {request.name} has '
            'no labels'
        )
    for name in request.classes:
        if name not in classes:
            raise errors.DataError(
                errors.unknown_name('data.classes', name, classes)
            )
    return [n for n, name in enumerate(classes) if name in request.classes]


def _drawn(places, names):
    """Put places into an order that a fixed draw gives."""
    if names is None:
        return np.random.RandomState(0).permutation(places)
    hashes = {
        place: hashlib.sha256(
            names[place].encode(errors='surrogateescape')  # no UTF-8
        ).digest()
        for place in places.tolist()
    }
    return np.array(sorted(hashes, key=hashes.get), np.int64)
