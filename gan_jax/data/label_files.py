"""Labels in a file beside the images: StyleGAN's dataset.json, and CSV.

Names in such a file are only compared with those of the images; no path in it
is opened.

References:
    Karras et al., Training Generative Adversarial Networks with Limited Data,
    https://arxiv.org/abs/2006.06676, 2020; the layout is that of its code.
"""

import csv
import io
import sys

import numpy as np

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact

JSON, CSV = 'dataset.json', 'labels.csv'
MOST = 64 * 2**20  # bytes of such a file
LARGEST = 1e30  # value of a vector
MAX_CLASSES = 1_000_000  # larger labels are not class numbers


def is_one(name):
    """Return whether a file of a source may hold its labels."""
    return name.rpartition('/')[2] in (JSON, CSV)


def find(names, images):
    """Return the name of the file of labels; '' if there is none.

    It lies in the folder that holds all images.

    Args:
        names: of all files of a source, parts joined by '/'.
        images: names of its images.
    """
    for name in sorted(names, key=lambda name: (name.count('/'), name)):
        prefix = ''.join(name.rpartition('/')[:2])
        if is_one(name) and all(
            image.startswith(prefix) for image in images
        ):
            return name
    return ''


def check_unused(source, entries, images, load, others=()):
    """Check that no file of labels is of a part of the images alone.

    Args:
        source: name of the source, for messages.
        entries: (file name, argument of `load`) of all files of a source in
            which `find` finds none.
        images, load, others: as of `read`.

    Raises:
        errors.DataError: where a file has labels.
    """
    for name, member in entries:
        if not is_one(name) or any(
                folder.startswith('.') for folder in name.split('/')):
            continue
        prefix = ''.join(name.rpartition('/')[:2])
        part = [image for image in images if image.startswith(prefix)]
        labels, _ = read(source, name, load, member, part, others)
        if labels is not None:
            raise errors.DataError(
                f'{name} of {source} has labels of the images below its folder '
                'alone; give that folder, or one file of labels above all '
                'images'
            )


def read(source, name, load, member, images, others=()):
    """Read the labels of images.

    Args:
        source: name of the source, for messages.
        name: of the file of labels, as from `find`.
        load: function that returns its bytes; raises OSError or ValueError.
        member: argument of `load`.
        images: names of the images.
        others: names of files that may have a label, but are bad images.

    Returns:
        (labels [N] int32 or None, a name for each class).

    Raises:
        errors.DataError: in one line, if they do not fit the images.
    """
    prefix = ''.join(name.rpartition('/')[:2])
    try:
        content = load(member)
        if len(content) > MOST:
            raise ValueError(f'has more than {MOST:,} bytes')
        parse = _of_json if name.endswith(JSON) else _of_csv
        pairs, classes = parse(content)
        if pairs is None:
            return None, ()
        named = _by_name(pairs, prefix)
        known = {*images, *others}
        for file in named:
            if file not in known:
                raise ValueError(f'has a label for {_shown(file)}, which is no '
                                 'image there')
        for image in images:
            if image not in named:
                raise ValueError(f'has no label for {_shown(image)}')
        return _numbers(source, [named[image] for image in images], classes)
    except (OSError, ValueError) as error:
        reason = f'cannot be read: {error.strerror}' if (
            isinstance(error, OSError)) else error
        raise errors.DataError(f'{name} of {source} {reason}') from error


def _shown(name):
    return name if name.isprintable() else ascii(name)


def _of_json(content):
    """Return ([(file, label)] or None, class names) of a dataset.json."""
    data = files.parse_json(content)
    if not isinstance(data, dict):
        raise ValueError('is not an object with labels')
    pairs, classes = data.get('labels'), data.get('classes', [])
    if pairs is None:
        return None, ()
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in pairs
    ):
        raise ValueError('does not list a [file, label] for each image')
    if not isinstance(classes, list) or not all(
        isinstance(name, str) for name in classes
    ) or len(set(classes)) < len(classes):
        raise ValueError('has classes that are not different names')
    return pairs, tuple(classes)


def _of_csv(content):
    """Return ([(file, label)], class names) of a CSV of files and labels.

    The first row may be a header: it is one if its first cell has no ending.
    """
    try:
        text = content.decode('utf-8-sig')
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError('is not CSV in UTF-8') from error
    if rows and '.' not in rows[0][0]:
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or not row[1].strip():
            raise ValueError(f'has a row that is not file,label: {row!r:.60}')
    names = {row[1].strip() for row in rows}
    whole = all(name.isascii() and name.isdigit() for name in names)
    classes = tuple(sorted(
        names, key=(lambda name: (int(name), name)) if whole else None
    ))
    numbers = {name: number for number, name in enumerate(classes)}
    return [(row[0].strip(), numbers[row[1].strip()]) for row in rows], classes


def _by_name(pairs, prefix):
    """Return {file: label}, with the names that the source has."""
    named = {}
    for file, label in pairs:
        file = prefix + file.replace('\\', '/')
        if file in named:
            raise ValueError(f'has two labels for {_shown(file)}')
        named[file] = label
    return named


def _numbers(source, values, classes):
    """Return labels as class numbers, and class names.

    One-hot vectors are classes. Other vectors are left out with a warning,
    since no network here is conditioned on numbers.
    """
    if values and isinstance(values[0], list):
        values = _of_vectors(source, values)
        if values is None:
            return None, ()
        values, count = values
        classes = classes or tuple(map(str, range(count)))
    if not all(type(n) is int and 0 <= n < MAX_CLASSES for n in values):
        raise ValueError(
            f'has labels that are neither whole numbers from 0 to '
            f'{MAX_CLASSES - 1} nor vectors of one length'
        )
    count = max(values, default=-1) + 1
    if not classes:
        classes = tuple(map(str, range(count)))
    if count > len(classes):
        raise ValueError(
            f'has a label {count - 1}, and names {len(classes)} classes'
        )
    return np.array(values, np.int32), classes


def _of_vectors(source, values):
    """Return (numbers, length) of one-hot vectors; None for others."""
    lengths = {len(v) if isinstance(v, list) else 0 for v in values}
    if len(lengths) > 1 or 0 in lengths or not all(
        type(x) in (int, float) and abs(x) < LARGEST
        for vector in values for x in vector
    ):
        raise ValueError(
            'has vectors of several lengths, or not of finite numbers'
        )
    vectors = np.array(values, np.float64)
    one_hot = ((vectors == 0) | (vectors == 1)).all() and (
        (vectors.sum(1) == 1).all()
    )
    if not one_hot:
        redact.say(
            f'warning: the labels of {source} are vectors that are not one-hot;'
            ' networks here take classes, so they are left out', sys.stderr
        )
        return None
    return vectors.argmax(1).tolist(), vectors.shape[1]
