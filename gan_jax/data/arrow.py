"""Image listing of a Hugging Face data set that was saved to disk.

`save_to_disk` writes a folder: JSON that names the columns, and the rows as
Arrow streams, in which an image is the bytes of an encoded file. A set with
splits has a folder of each. Apache's pyarrow reads the streams.
"""

import os
import pathlib

import numpy as np

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import listing as listing_lib

SPLITS, STATE, INFO = 'dataset_dict.json', 'state.json', 'dataset_info.json'


def is_saved(path):
    """Return whether a folder is in the layout of `save_to_disk`."""
    root = pathlib.Path(path).expanduser()
    return (root / SPLITS).is_file() or (
        (root / STATE).is_file() and (root / INFO).is_file()
    )


def listing(path):
    """List the images of a saved data set; rows are numbered in their order.

    The images are those of the first column of type Image, the labels those of
    the first of type ClassLabel, if there is one.

    Args:
        path: of the folder.

    Returns:
        `listing.Listing`.

    Raises:
        errors.DataError: if it cannot be read, or has no images.
    """
    root = pathlib.Path(path).expanduser()
    try:
        names = ['']
        if (root / SPLITS).is_file():
            names = sorted(map(str, files.read_json(root / SPLITS)['splits']))
        parts = [_part(root, name) for name in names]
        if not parts:
            raise ValueError('it has no splits')
    except errors.UserError:
        raise
    except Exception as error:  # of JSON, pyarrow and the disk
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise errors.DataError(
            f'{path} cannot be read as a data set saved to disk: {reason:.200}'
        ) from error
    classes = {own for *_, own, _ in parts}
    if len(classes) > 1:
        raise errors.DataError(f'{path} has splits of different classes')
    rows = [
        (f'{name}/{index:09d}'.lstrip('/'), column, index)
        for name, (column, *_) in zip(names, parts)
        for index in range(len(column))
    ]
    labels = [own for _, own, *_ in parts if own is not None]
    return listing_lib.Listing(
        name=str(path), files=tuple(name for name, *_ in rows),
        read=lambda indices: [_encoded(*rows[i][1:]) for i in indices],
        labels=np.concatenate(labels) if labels else None,
        classes=classes.pop(), labelled=True, fingerprint=listing_lib.digest(
            root.resolve(), *(stat for *_, stats in parts for stat in stats)
        ),
    )


def check_one_split(listing):
    """Check that a listing is not of several splits of a saved data set.

    Args:
        listing: `listing.Listing` that `listing.of_split` does not know as
            splits.

    Raises:
        errors.DataError: naming the splits.
    """
    names = sorted({
        file.partition('/')[0] for file in listing.files if '/' in file
    })
    if len(names) > 1:
        raise errors.DataError(
            f'{listing.name} has the splits {", ".join(names)}, not train and '
            'test alone; give the folder of one split, such as '
            f'{listing.name}/{names[0]}'
        )


def _part(root, name):
    """Read a split; return (images, labels or None, classes, file stats)."""
    folder = root / _plain(name) if name else root
    columns = files.read_json(folder / INFO)['features']
    state = files.read_json(folder / STATE)
    if state.get('_indices_data_files'):
        raise ValueError('its rows are selected by an index; save a copy of it')
    kinds = {
        kind: [
            column for column, about in columns.items()
            if isinstance(about, dict) and about.get('_type') == kind
        ] for kind in ('Image', 'ClassLabel')
    }
    if not kinds['Image']:
        raise ValueError(f'none of its columns {list(columns)} has images')
    table, stats = _table(folder, state['_data_files'])
    images = table.column(kinds['Image'][0])
    if not kinds['ClassLabel']:
        return images, None, (), stats
    column = kinds['ClassLabel'][0]
    labels = np.asarray(table.column(column).to_numpy())
    classes = tuple(map(str, columns[column]['names']))
    if labels.dtype.kind not in 'iu' or labels.size and not (
            0 <= labels.min() <= labels.max() < len(classes)):
        raise ValueError(f'column {column!r} has rows without a class')
    return images, labels.astype(np.int32), classes, stats


def _table(folder, listed):
    """Map the rows of a split into memory, and check their layout."""
    import pyarrow

    tables, stats = [], []
    for item in listed:
        path = folder / _plain(item['filename'])
        with files.open_regular(path) as file:
            status = os.fstat(file.fileno())
        stats += [path.name, status.st_size, status.st_mtime_ns]
        with pyarrow.memory_map(str(path)) as source:
            tables.append(pyarrow.ipc.open_stream(source).read_all())
        tables[-1].validate(full=True)
    return pyarrow.concat_tables(tables), stats


def _plain(name):
    """Return a name of a file; refuse one that leads out of the folder."""
    if not isinstance(name, str) or name != pathlib.Path(name).name:
        raise ValueError(f'{name!a:.80} is not the name of a file')
    return name


def _encoded(column, index):
    """Return the bytes of an image.

    Raises:
        ValueError: where the row has none, worded to follow its name.
    """
    value = column[index].as_py()
    content = value.get('bytes') if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ValueError('has no bytes; a path to another file is not followed')
    return content
