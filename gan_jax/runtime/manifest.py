"""Manifest of a checkpoint: size and SHA-256 of each of its files.

Orbax restores damaged files without an error, so the hashes are compared before
each restore. The manifest is written last; a checkpoint without one is
incomplete. It could go when Orbax verifies its files itself.
"""

import hashlib
import json

from etils import epath

from gan_jax.core import files
from gan_jax.runtime import writer

NAME = 'manifest.json'
VERSION = 3  # also of `algorithm.TrainState`; others are not read


def write(folder, **about):
    """Write the manifest of a finished folder.

    Args:
        folder: path; all files below it are listed.
        **about: further JSON-serializable entries.
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
    """Return whether a folder has a manifest."""
    return (epath.Path(folder) / NAME).exists()


def verify(folder):
    """Verify every file of a folder against its manifest.

    Returns:
        The manifest, a dict.

    Raises:
        ValueError: where they differ; the message follows the folder's name,
            as in "lacks manifest.json".
    """
    folder = epath.Path(folder)
    manifest = read(folder)
    try:
        actual, listed = set(_files(folder)), set(manifest['files'])
    except OSError as error:
        raise ValueError(
            f'cannot be read: {error.strerror or error}'
        ) from error
    for names, difference in (
        (listed - actual, 'lacks'), (actual - listed, 'has an extra file')
    ):
        if names:
            raise ValueError(f'{difference} {min(names)}')
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
            raise ValueError(f'has {name} with other content than was saved')
    return manifest


def _own_hash(manifest):
    """Hash the content of a manifest without its own hash."""
    content = {k: v for k, v in manifest.items() if k != 'sha256'}
    return hashlib.sha256(
        json.dumps(content, sort_keys=True).encode()
    ).hexdigest()


def read(folder):
    """Load the manifest of a folder and verify its own hash.

    Raises:
        ValueError: as `verify`.
    """
    path = epath.Path(folder) / NAME
    try:
        manifest = files.read_json(path)
        own = manifest['sha256'] == _own_hash(manifest)
        known = manifest['format'] == 'gan_jax checkpoint'
        version, listed = manifest['version'], manifest['files']
        well_formed = own and known and isinstance(version, int) and all(
            set(entry) == {'bytes', 'sha256'} for entry in listed.values()
        )
    except FileNotFoundError as error:
        raise ValueError(f'lacks {NAME}') from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'has a {NAME} that cannot be read') from error
    if not well_formed:
        raise ValueError(f'has a {NAME} that cannot be read')
    if version != VERSION:
        raise ValueError(
            f'is of version {version}; this program reads only version '
            f'{VERSION}'
        )
    return manifest


def _files(folder):
    """Yield the relative paths of all files in a folder but the manifest.

    A link to a folder is listed as a file, so that reading it fails.
    """
    folders = ['']
    while folders:
        parent = folders.pop()
        for path in (folder / parent).iterdir():
            name = f'{parent}/{path.name}' if parent else path.name
            if path.is_dir() and files.kind(path) != 'link':
                folders.append(name)
            elif path.name != NAME:
                yield name


def _describe(path):
    with files.open_regular(path) as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    return {'bytes': path.stat().length, 'sha256': digest}
