"""Images, or rows of numbers, in the files of NumPy."""

import os

import numpy as np

from gan_jax.core import errors
from gan_jax.data import memory

IMAGE_KEYS = ('images', 'image', 'x', 'data', 'arr_0')
LABEL_KEYS = ('labels', 'label', 'y')
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path):
    """Read an .npy or .npz file; nothing pickled is.

    An .npy file is mapped, not read. Of an .npz the images are the first array
    of `IMAGE_KEYS` that it has, or its only one, and the labels likewise.

    Args:
        path: of the file.

    Returns:
        (images or rows, labels or None).

    Raises:
        errors.DataError: where it cannot be read.
    """
    file = os.path.expanduser(path)
    if not os.path.isfile(file):
        raise errors.DataError(f'{path} is not a file')
    try:
        held = np.load(file, mmap_mode='r', allow_pickle=False)
        if isinstance(held, np.ndarray):
            return held, None
        with held:
            names = _names(path, held)
            _ask_memory(path, held, names)
            found = [name and held[name] for name in names]
    except errors.UserError:
        raise
    # NumPy lets what a damaged file makes of it pass through: OSError,
    # ValueError, BadZipFile, TokenError, MemoryError and others.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        if 'pickle' in reason or 'Python objects' in reason:
            reason = (
                'it is no plain array; pickled objects, which can run code '
                'when read, stay unread'
            )
        raise errors.DataError(f'{path} cannot be read: {reason}') from error
    for name, value in zip(names, found):
        if not isinstance(value, (np.ndarray, type(None))):
            raise errors.DataError(f'{path} holds {name!r}, and it is no array')
    return tuple(found)


def _ask_memory(path, held, names):
    """Refuse arrays of an .npz that unpack to more than the free memory."""
    sizes = {info.filename: info.file_size for info in held.zip.infolist()}
    size = sum(
        sizes.get(name, sizes.get(f'{name}.npy', 0)) for name in names if name
    )
    if size > memory.free():
        raise errors.DataError(
            f'{path} unpacks to {size / 2**30:.1f} GiB, and '
            f'{memory.free() / 2**30:.1f} GiB of memory are free; an .npy file '
            'is read where it lies'
        )


def _names(path, held):
    """Choose the names of images and labels (None) among those held."""
    names = list(held.files)
    images = [name for name in IMAGE_KEYS if name in names]
    labels = [name for name in LABEL_KEYS if name in names]
    if not images and len(names) == 1:
        images = names
    if not images:
        raise errors.DataError(
            f'{path} holds {names}, none of them {list(IMAGE_KEYS)}'
        )
    return images[0], labels[0] if labels else None


def axes(path):
    """Count the axes of the images in a file, by its header alone.

    Returns:
        int; 0 where it cannot be told.
    """
    try:
        held = np.load(
            os.path.expanduser(path), mmap_mode='r', allow_pickle=False
        )
        if isinstance(held, np.ndarray):
            return held.ndim
        with held:
            name, _ = _names(path, held)
            with held.zip.open(f'{name}.npy') as member:
                version = np.lib.format.read_magic(member)
                header = HEADERS[version](member)
                return len(header[0])
    except Exception:  # as in `read`, which says more
        return 0
