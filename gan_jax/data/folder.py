"""List the images of a folder, flat or with one subfolder for each class."""

import os
import pathlib
import stat

from gan_jax.core import errors
from gan_jax.data import listing as listing_lib


def listing(path):
    """List a folder; links are followed, each folder is entered once.

    Args:
        path: the folder.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: for a wrong path.
    """
    root = pathlib.Path(os.path.expanduser(path))
    try:
        return _listing(root, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.DataError(
            f'data.path={str(path)!r} is not a folder'
        ) from error
    except OSError as error:
        raise errors.DataError(
            f'data.path={str(path)!r} cannot be read: {error.strerror}'
        ) from error


def _listing(root, path):
    marks, found = [], []
    for name, why, reason in sorted(_walk(root)):
        reason = reason or (not why and _why_bad(root / name, marks)) or ''
        found.append((name, root / name, why, reason))
    return listing_lib.make(
        path, found, pathlib.Path.read_bytes, listing_lib.digest(
            root.resolve(), *(f[0] for f in found if not any(f[2:])), *marks
        ),
    )


def _walk(root):
    """Yield (path from root, why it is left out or '', why it is bad or '').

    Folders are told of alone where they are not entered.
    """
    entered = set()

    def enter(folder):
        where = os.stat(root / folder)
        if (where.st_dev, where.st_ino) in entered:
            yield folder, 'leads back to a folder that is read', ''
            return
        entered.add((where.st_dev, where.st_ino))
        for entry in sorted(os.scandir(root / folder), key=lambda e: e.name):
            name = f'{folder}/{entry.name}' if folder else entry.name
            try:
                if not entry.is_dir():
                    yield name, listing_lib.why_ignored(name), ''
                elif entry.name.startswith('.'):
                    yield name, 'is hidden', ''
                else:
                    yield from enter(name)
            except OSError as error:  # a folder that is shut, a link to itself
                is_folder = entry.is_dir(follow_symlinks=False)
                why = '' if is_folder else listing_lib.why_ignored(name)
                yield name, why, f'cannot be read: {error.strerror}'

    return enter('')


def _why_bad(path, marks):
    """Say why a file is no image without opening it; '' where it may be.

    Args:
        path: of the file.
        marks: list to which its size and time of change are added.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 'is a link to nothing'
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    if not stat.S_ISREG(found.st_mode):
        return 'is not a regular file'
    marks += [found.st_size, found.st_mtime_ns]
    return listing_lib.too_large(found.st_size)
