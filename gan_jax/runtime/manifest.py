"""What a checkpoint's folder holds, written last: without it, there is none.

Orbax restores damaged files without a word, so each file's size and SHA-256 are
kept beside them and compared before a restore.
"""

import hashlib
import json

from etils import epath

from gan_jax.core import files
from gan_jax.runtime import writer

NAME = 'manifest.json'
VERSION = 3  # of `algorithm.TrainState` too; no other is read


def write(folder, **about):
    """Write the manifest of a finished folder.

    Args:
        folder: path; all that lies below it is described.
        **about: what else to tell, of types that JSON holds.
    """
    folder = epath.Path(folder)
    manifest = {
        'format': 'gan_jax checkpoint',
        'version': VERSION,
        **about,
        'files': {
            name: _describe(folder / name) for name in sorted(_files(folder))
        },
    }
    manifest['sha256'] = _own_hash(manifest)
    writer.write_json(folder / NAME, manifest)


def exists(folder):
    """Say whether a folder has a manifest."""
    return (epath.Path(folder) / NAME).exists()


def verify(folder):
    """Compare every file of a folder with its manifest.

    Returns:
        The manifest, a dict.

    Raises:
        ValueError: with what is wrong, in words that follow the folder's name.
    """
    folder = epath.Path(folder)
    manifest = read(folder)
    try:
        found, described = set(_files(folder)), set(manifest['files'])
    except OSError as error:
        raise ValueError(
            f'cannot be read: {error.strerror or error}'
        ) from error
    for names, wrong in (
        (described - found, 'lacks'), (found - described, 'has besides')
    ):
        if names:
            raise ValueError(f'{wrong} {min(names)}')
    for name, expected in sorted(manifest['files'].items()):
        try:
            size = (folder / name).stat().length
            same = size == expected['bytes'] and (
                _describe(folder / name) == expected
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise ValueError(
                f'has {name} that cannot be read: {reason}'
            ) from error
        if not same:
            raise ValueError(f'has {name} of other content than was saved')
    return manifest


def _own_hash(manifest):
    """Hash what a manifest tells, its own hash left out."""
    told = {k: v for k, v in manifest.items() if k != 'sha256'}
    return hashlib.sha256(
        json.dumps(told, sort_keys=True).encode()
    ).hexdigest()


def read(folder):
    """Give the manifest of a folder, unaltered since it was written.

    Raises:
        ValueError: as `verify`.
    """
    path = epath.Path(folder) / NAME
    try:
        manifest = files.read_json(path)
        own = manifest['sha256'] == _own_hash(manifest)
        known = manifest['format'] == 'gan_jax checkpoint'
        version, described = manifest['version'], manifest['files']
        well_formed = own and known and isinstance(version, int) and all(
            set(told) == {'bytes', 'sha256'} for told in described.values()
        )
    except FileNotFoundError as error:
        raise ValueError(f'lacks {NAME}') from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'has a {NAME} that cannot be read') from error
    if not well_formed:
        raise ValueError(f'has a {NAME} that cannot be read')
    if version != VERSION:
        raise ValueError(
            f'is of version {version}, and this program reads version '
            f'{VERSION} alone'
        )
    return manifest


def _files(folder):
    """Yield the paths of files below a folder, the manifest left out.

    A link to a folder counts as a file, which cannot be read as one.
    """
    names = ['']
    while names:
        inside = names.pop()
        for path in (folder / inside).iterdir():
            name = f'{inside}/{path.name}' if inside else path.name
            if path.is_dir() and files.kind(path) != 'link':
                names.append(name)
            elif path.name != NAME:
                yield name


def _describe(path):
    with files.opened(path) as file:
        found = hashlib.file_digest(file, 'sha256').hexdigest()
    return {'bytes': path.stat().length, 'sha256': found}
