"""Images, or rows of numbers, in arrays and in .npy and .npz files.

Nothing pickled is loaded, because it could run code.
"""

import os

import numpy as np

from gan_jax.core import errors
from gan_jax.data import memory
from gan_jax.data import on_demand

IMAGE_KEYS = ('images', 'image', 'x', 'data', 'arr_0')
LABEL_KEYS = ('labels', 'label', 'y')
MAX_CLASSES = 1_000_000  # larger labels are not class numbers
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path):
    """Read an .npy or .npz file without unpickling.

    An .npy file is memory-mapped. The images of an .npz are the first array of
    `IMAGE_KEYS` in it, or its only array; the labels the first of `LABEL_KEYS`.

    Args:
        path: of the file.

    Returns:
        (images or rows, labels or None).

    Raises:
        errors.DataError: if it cannot be read.
    """
    file = os.path.expanduser(path)
    if not os.path.isfile(file):
        raise errors.DataError(f'{path} is not a file')
    try:
        content = np.load(file, mmap_mode='r', allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content:
            names = _names(path, content)
            _check_memory(path, content, names)
            arrays = [name and content[name] for name in names]
    except errors.UserError:
        raise
    # For damaged files NumPy raises OSError, ValueError, BadZipFile,
    # TokenError, MemoryError and others.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        if 'pickle' in reason or 'Python objects' in reason:
            reason = (
                'it is not a plain array; pickled objects can run code and '
                'are not loaded'
            )
        raise errors.DataError(f'{path} cannot be read: {reason}') from error
    for name, value in zip(names, arrays):
        if not isinstance(value, (np.ndarray, type(None))):
            raise errors.DataError(f'{path} holds {name!r}, which is no array')
    return tuple(arrays)


def _check_memory(path, content, names):
    """Check that the arrays of an .npz fit into the free memory."""
    sizes = {info.filename: info.file_size for info in content.zip.infolist()}
    size = sum(
        sizes.get(name, sizes.get(f'{name}.npy', 0)) for name in names if name
    )
    if size > memory.free():
        raise errors.DataError(
            f'{path} unpacks to {size / 2**30:.1f} GiB, and '
            f'{memory.free() / 2**30:.1f} GiB of memory are free; use an .npy '
            'file, which is memory-mapped'
        )


def _names(path, content):
    """Return the names of the arrays of images and of labels (or None)."""
    names = list(content.files)
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
    """Count the axes of the images in a file by reading only its header.

    Returns:
        int; 0 if it is unknown.
    """
    try:
        content = np.load(
            os.path.expanduser(path), mmap_mode='r', allow_pickle=False
        )
        if isinstance(content, np.ndarray):
            return content.ndim
        with content:
            name, _ = _names(path, content)
            with content.zip.open(f'{name}.npy') as member:
                version = np.lib.format.read_magic(member)
                header = HEADERS[version](member)
                return len(header[0])
    except Exception:  # as in `read`, which reports it
        return 0


def check_images(name, images, labels):
    """Check arrays of images and labels.

    Args:
        name: of their source, for messages.
        images: array or `on_demand.OnDemand`.
        labels: array, or None.

    Returns:
        (images uint8 [N, H, W, C], labels [N] int32 or None, class names).

    Raises:
        errors.DataError: for another dtype or shape.
    """
    if not isinstance(images, (np.ndarray, on_demand.OnDemand)):
        images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    well_formed = images.ndim == 4 and images.shape[-1] in (1, 3, 4)
    if images.dtype != np.uint8 or not well_formed or not all(images.shape):
        raise errors.DataError(
            f'images of {name} are {images.dtype} {list(images.shape)}; they '
            'must be uint8 [N, height, width, channels], values 0 to 255, '
            'N > 0, 1, 3 or 4 channels'
        )
    return images, *check_labels(labels, len(images))


def check_labels(labels, count):
    """Check the labels of `count` images; return (int32 [N], class names)."""
    if labels is None:
        return None, ()
    labels = np.asarray(labels)
    least, most, shown = 0, -1, ''
    if labels.size and labels.dtype.kind in 'biu':
        least, most = int(labels.min()), int(labels.max())
        shown = f' from {least} to {most}'
    if labels.shape != (count,) or not 0 <= least <= most < MAX_CLASSES:
        raise errors.DataError(
            f'labels are {labels.dtype} {list(labels.shape)}{shown}; they must '
            f'be [{count}] integers from 0 to at most {MAX_CLASSES - 1}'
        )
    classes = tuple(str(label) for label in range(most + 1))
    return labels.astype(np.int32), classes
