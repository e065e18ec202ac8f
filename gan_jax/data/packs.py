"""Packs: prepared images in one file for fast random access, with a manifest.

A pack is a folder. It is renamed to its final name after the manifest, which is
written last, so a folder of that name is complete. The manifest holds sizes and
SHA-256 of the files.
"""

import contextlib
import glob
import hashlib
import json
import math
import os
import pathlib
import shutil
import stat

import numpy as np
from tqdm import tqdm

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import on_demand
from gan_jax.data import pictures

MANIFEST = 'manifest.json'
VERSION = 1
FORMS = {'array': 'images.npy', 'array_record': 'images.array_record'}
CHUNK = 256  # images in each write


def is_pack(path):
    """Return whether a folder is a pack."""
    return os.path.isfile(os.path.join(os.path.expanduser(path), MANIFEST))


def write(images, labels, classes, path, *, form='array', source=''):
    """Write a pack.

    Args:
        images: uint8 [N, H, W, C], an array or `OnDemand`.
        labels: [N] int32, or None.
        classes: a name for each label.
        path: folder to create; it must not exist.
        form: one of `FORMS`: a memory-mapped array or array_record.
        source: origin of the images, for the manifest.

    Returns:
        The manifest, a dict.

    Raises:
        errors.DataError: if the folder exists or cannot be written.
    """
    with new_folder(path) as folder:
        return _fill(folder, images, labels, classes, form, source)


@contextlib.contextmanager
def new_folder(path):
    """Create a folder, which gets its name when it is complete.

    Args:
        path: of the folder; it must not exist.

    Yields:
        `pathlib.Path` of a folder to fill.

    Raises:
        errors.DataError: if the folder exists or cannot be written.
    """
    target = pathlib.Path(os.path.expanduser(path))
    if target.exists():
        raise errors.DataError(f'{path} exists already')
    partial = target.parent / f'{target.name}.partial-{os.getpid()}'
    try:
        for stale in target.parent.glob(
                f'{glob.escape(target.name)}.partial-*'):
            if not _is_running(stale.name.rpartition('-')[2]):
                shutil.rmtree(stale)
        partial.mkdir(parents=True)
        try:
            yield partial
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise errors.DataError(
            f'{path} cannot be written: {error.strerror or error}'
        ) from error


def _is_running(pid):
    """Return whether another process of this number is running.

    In containers, numbers start at 1, so a killed process often had our own.
    """
    if not (pid.isascii() and pid.isdigit()) or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True  # of another user
    except (OSError, OverflowError):
        return False
    return True


def _fill(folder, images, labels, classes, form, source):
    """Write the files of a pack, the manifest last; return the manifest."""
    name = FORMS[form]
    WRITERS[form](folder / name, images)
    names = [name]
    if labels is not None:
        np.save(folder / 'labels.npy', np.asarray(labels, np.int32))
        names.append('labels.npy')
    manifest = {
        'format': 'gan_jax pack',
        'version': VERSION,
        'form': form,
        'source': source,
        'shape': [int(n) for n in images.shape],
        'classes': list(classes),
        'files': {name: _describe(folder / name) for name in names},
    }
    with (folder / MANIFEST).open('w') as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def chunks(images):
    """Yield images in parts of `CHUNK`, with a bar of progress."""
    bar = {'delay': 1, 'leave': False, 'disable': None}  # only on terminals
    with tqdm(total=len(images), desc='Packing', unit='image', **bar) as bar:
        for start in range(0, len(images), CHUNK):
            chunk = images[start:start + CHUNK]
            yield chunk
            bar.update(len(chunk))


def _write_array(path, images):
    header = {
        'descr': '|u1', 'fortran_order': False, 'shape': tuple(images.shape)
    }
    with path.open('wb') as file:
        np.lib.format.write_array_header_2_0(file, header)
        for chunk in chunks(images):
            file.write(np.ascontiguousarray(chunk))
        file.flush()
        os.fsync(file.fileno())


def _write_array_record(path, images):
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    try:
        for chunk in chunks(images):
            for image in chunk:
                writer.write(image.tobytes())
    finally:
        writer.close()
    with path.open('rb') as file:
        os.fsync(file.fileno())


WRITERS = {'array': _write_array, 'array_record': _write_array_record}


def _describe(path):
    with path.open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {'bytes': path.stat().st_size, 'sha256': digest}


def read(path, *, verify=False):
    """Open a pack; its images are memory-mapped or read on demand.

    Args:
        path: the folder.
        verify: whether to compare the files' SHA-256 with the manifest; their
            sizes are always compared.

    Returns:
        (images, labels [N] int32 or None, class names).

    Raises:
        errors.DataError: if it is not a pack, or damaged.
    """
    folder = pathlib.Path(os.path.expanduser(path))
    manifest = _manifest(folder, path)
    for name, described in manifest['files'].items():
        _check_file(folder / name, described, verify)
    shape = tuple(manifest['shape'])
    file = folder / FORMS[manifest['form']]
    try:
        images = READERS[manifest['form']](file, shape)
        labels = None
        if 'labels.npy' in manifest['files']:
            labels = _read_array(folder / 'labels.npy', shape)
    # array_record raises RuntimeError and IndexError; NumPy many others than
    # ValueError.
    except Exception as error:
        raise errors.DataError(f'{file} cannot be read: {error}') from error
    if images.shape != shape or images.dtype != np.uint8:
        raise errors.DataError(
            f'{file} holds {images.dtype} {list(images.shape)}; its manifest '
            f'says uint8 {list(shape)}'
        )
    _check_labels(folder, labels, shape[0], len(manifest['classes']))
    return images, labels, tuple(manifest['classes'])


def _check_labels(folder, labels, count, num_classes):
    if labels is None:
        return
    if labels.shape != (count,) or labels.dtype != np.int32 or not (
            0 <= labels.min() <= labels.max() < num_classes):
        raise errors.DataError(
            f'{folder / "labels.npy"} does not hold {count} labels of '
            f'{num_classes} classes, as its manifest says'
        )


def _manifest(folder, path):
    try:
        manifest = files.read_json(folder / MANIFEST)
        well_formed = (
            manifest['format'] == 'gan_jax pack'
            and manifest['version'] == VERSION
            and manifest['form'] in FORMS
            and FORMS[manifest['form']] in manifest['files']
            and set(manifest['files']) <= {*FORMS.values(), 'labels.npy'}
            and all(type(f) is dict for f in manifest['files'].values())
            and len(manifest['shape']) == 4
            and all(type(n) is int and n > 0 for n in manifest['shape'])
            and manifest['shape'][3] in pictures.CHANNELS
            and isinstance(manifest['classes'], list)
            and all(isinstance(name, str) for name in manifest['classes'])
        )
    except (
            AttributeError, KeyError, OSError, TypeError, ValueError
    ) as error:
        raise errors.DataError(
            f'{path} is not a pack: {MANIFEST} is missing or not whole'
        ) from error
    if not well_formed:
        raise errors.DataError(
            f'{path} is not a pack of version {VERSION}: {MANIFEST} says '
            'otherwise'
        )
    return manifest


def _check_file(path, described, verify):
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise errors.DataError(f'{path} of a pack is not a regular file')
        actual = _describe(path) if verify else {'bytes': status.st_size}
    except OSError as error:
        raise errors.DataError(f'{path} of a pack is missing') from error
    for key, value in actual.items():
        if described.get(key) != value:
            raise errors.DataError(
                f'{path} is damaged: its {key} is {value}, the manifest says '
                f'{described.get(key)}'
            )


def _read_array(path, shape):
    del shape  # the file has its own
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError('it is not an array')
    return array


def _read_array_record(path, shape):
    from array_record.python import array_record_data_source

    source = array_record_data_source.ArrayRecordDataSource([str(path)])
    count, size = len(source), len(source[0])
    if (count, size) != (shape[0], math.prod(shape[1:])):
        raise ValueError(f'{count} records of {size} bytes, not {shape}')

    def fetch(indices):
        try:
            records = source.__getitems__([int(index) for index in indices])
        except RuntimeError as error:
            raise errors.DataError(f'{path} is damaged: {error}') from error
        if any(len(record) != size for record in records):
            raise errors.DataError(
                f'{path} is damaged: a record does not have {size:,} bytes'
            )
        joined = np.frombuffer(b''.join(records), np.uint8)
        return joined.reshape(len(indices), *shape[1:])

    return on_demand.OnDemand(shape, fetch)


READERS = {'array': _read_array, 'array_record': _read_array_record}
