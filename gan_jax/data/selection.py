"""Selection of a source's images by classes, split and number.

Deterministic: every run and every host selects the same images.
"""

import hashlib

import numpy as np

from gan_jax.core import errors


def select(request, count, labels, classes, *, names=None, has_splits=False):
    """Select the images of the requested classes, split and number.

    The images that are held out as 'test', and those that a limit keeps, are
    drawn with a fixed seed. If images have names, the draw is by hashes of the
    names, so that adding a file moves few others between the splits.

    Args:
        request: a `sources.Request`.
        count: number of images in the source.
        labels: [count] int32, or None.
        classes: a name for each label.
        names: a name for each image, or None.
        has_splits: whether `request.split` is selected already.

    Returns:
        (indices int64 [n], increasing; labels [n], renumbered if classes are
        selected; names of the classes).

    Raises:
        errors.DataError: for classes or splits that do not exist, or if no
            image is left.
    """
    indices = np.arange(count)
    if request.classes:
        chosen = _class_numbers(request, classes)
        mask = np.isin(labels, chosen)
        new_labels = np.full(len(classes), -1, np.int32)
        new_labels[chosen] = np.arange(len(chosen))
        labels = new_labels[labels]
        indices, classes = indices[mask], tuple(classes[n] for n in chosen)
    num_test = round(request.test_share * len(indices))
    if not has_splits:
        if request.split not in ('train', 'test'):
            raise errors.DataError(
                f"data.split={request.split!r}: {request.name} has only "
                "'train' and 'test'"
            )
        if request.split == 'test' and not request.test_share:
            raise errors.DataError(
                f"data.split='test': {request.name} has only the split "
                "'train'; data.test_share=0.1 holds out a tenth of it"
            )
    if request.test_share and not has_splits:
        order = _random_order(indices, names)
        indices = (
            order[:num_test] if request.split == 'test' else order[num_test:]
        )
    if count and not len(indices):
        raise errors.DataError(
            f'{request.name}: no image of {count} is left by data.classes='
            f'{",".join(request.classes)!r}, data.split={request.split!r} and '
            f'data.test_share={request.test_share:g}'
        )
    if request.limit and request.limit < len(indices):
        indices = _random_order(np.sort(indices), names)[-request.limit:]
    indices = np.sort(indices)
    return indices, None if labels is None else labels[indices], classes


def _class_numbers(request, classes):
    """List the numbers of the requested classes in ascending order."""
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


def _random_order(indices, names):
    """Shuffle indices by a fixed seed, or by hashes of the names."""
    if names is None:
        return np.random.RandomState(0).permutation(indices)
    hashes = {
        index: hashlib.sha256(
            names[index].encode(errors='surrogateescape')  # may not be UTF-8
        ).digest()
        for index in indices.tolist()
    }
    return np.array(sorted(hashes, key=hashes.get), np.int64)
