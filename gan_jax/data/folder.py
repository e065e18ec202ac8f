"""Image listing of a folder, flat or with a subfolder for each class.

No file is opened; a file that cannot be an image is reported with its reason.
"""

import os
import pathlib
import stat

from gan_jax.core import errors
from gan_jax.core import files as files_lib
from gan_jax.data import label_files
from gan_jax.data import listing as listing_lib


def listing(path, key='data.path', endings=listing_lib.ENDINGS):
    """List a folder; links are followed, and no folder is entered twice.

    Args:
        path: the folder.
        key: name of the key or flag that holds the path, for errors.
        endings: of the files that are images.

    Returns:
        `listing.Listing`, sorted by name.

    Raises:
        errors.DataError: if the path is not a readable folder.
    """
    root = pathlib.Path(os.path.expanduser(path))
    try:
        return _listing(root, path, endings)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.DataError(
            f'{key}={str(path)!r} is not a folder'
        ) from error
    except OSError as error:
        raise errors.DataError(
            f'{key}={str(path)!r} cannot be read: {error.strerror}'
        ) from error


def _listing(root, path, endings):
    stats, files = [], []
    for name, why, reason in sorted(walk(root, endings)):
        reason = reason or (not why and _why_bad(root / name, stats)) or ''
        files.append((name, root / name, why, reason))
    return listing_lib.make(
        path, files, pathlib.Path.read_bytes, listing_lib.digest(
            root.resolve(), *(f[0] for f in files if not any(f[2:])), *stats
        ), lambda file: files_lib.read(file, label_files.MOST),
    )


def walk(root, endings):
    """Yield (path from root, why it is ignored or '', why it is bad or '').

    Folders are only included if they are not entered.

    Args:
        root: `pathlib.Path` of a folder.
        endings: of the files that are images.

    Raises:
        OSError: if the root cannot be read.
    """
    entered = set()

    def enter(folder):
        status = os.stat(root / folder)
        if (status.st_dev, status.st_ino) in entered:
            yield folder, 'leads back to a folder that is read', ''
            return
        entered.add((status.st_dev, status.st_ino))
        for entry in sorted(os.scandir(root / folder), key=lambda e: e.name):
            name = f'{folder}/{entry.name}' if folder else entry.name
            try:
                if not entry.is_dir():
                    yield name, listing_lib.why_ignored(name, endings), ''
                elif entry.name.startswith('.'):
                    yield name, 'is hidden', ''
                else:
                    yield from enter(name)
            except OSError as error:  # no permission, or a link to itself
                is_folder = entry.is_dir(follow_symlinks=False)
                why = '' if is_folder else (
                    listing_lib.why_ignored(name, endings)
                )
                yield name, why, f'cannot be read: {error.strerror}'

    return enter('')


def _why_bad(path, stats):
    """Return why a file cannot be an image; '' if it may be one.

    Args:
        path: of the file, which is not opened.
        stats: list to which its size and modification time are added.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 'is a link to nothing'
    except OSError as error:
        return f'cannot be read: {error.strerror}'
    if not stat.S_ISREG(status.st_mode):
        return 'is not a regular file'
    stats += [status.st_size, status.st_mtime_ns]
    return listing_lib.too_large(status.st_size)
