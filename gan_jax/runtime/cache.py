"""Folder of compiled programs: machine code, so private to its owner."""

import functools
import os
import pathlib
import stat
import sys

import jax
import platformdirs

from gan_jax.core import redact

# Owners of folders above: root, and whom containers show in root's place.
TRUSTED = (0, 65534)


def folder():
    """Return the folder to keep compiled programs in, or None for no such.

    That is the one that JAX was told of (JAX_COMPILATION_CACHE_DIR), or one in
    the user's cache folder. One that others can write is not used: who writes
    there has code run by its owner. A line tells of it.
    """
    chosen = jax.config.jax_compilation_cache_dir
    own = str(default())
    return next((
        path for path in filter(None, (chosen, own)) if not _refused(path)
    ), None)


def default():
    """Return the path of the folder where JAX was told of none."""
    return pathlib.Path(platformdirs.user_cache_dir('gan_jax')) / 'xla'


@functools.cache
def _refused(path):
    """Make a folder; returns why it is not used, and tells it once."""
    reason = fault(path)
    if reason:
        redact.say(
            f'warning: compiled programs are not kept in {path}: it {reason}',
            sys.stderr,
        )
    return reason


def fault(path):
    """Make a folder private, and return why it cannot be trusted, or None.

    Args:
        path: str; of a store (`gs://…`) nothing is known, and nothing told.
    """
    if '://' in path:
        return None
    path = pathlib.Path(path).expanduser().absolute()
    try:
        _make(path)
        real = path.resolve(strict=True)
        user = getattr(os, 'geteuid', lambda: None)()
        return None if user is None else _exposed(path, real, user)
    except (OSError, RuntimeError) as error:  # a loop of links
        return f'cannot be used: {getattr(error, "strerror", None) or error}'


def _make(path):
    """Make a folder, and those above it, for their owner alone."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir(0o700, exist_ok=True)
    if path == default():
        about = path.stat()
        if not stat.S_IMODE(about.st_mode) & 0o022:
            path.chmod(0o700)


def _exposed(path, real, user):
    """Return why others could put a file into a folder, or None."""
    about = real.stat()
    if about.st_uid != user:
        return 'belongs to another user'
    if about.st_mode & 0o022:
        return 'can be written by others; remove it, and it is made anew'
    for each in real.parents:
        about = each.stat()
        if about.st_uid not in (user, *TRUSTED):
            return f'lies in {each}, which belongs to another user'
        if about.st_mode & 0o002 and not about.st_mode & stat.S_ISVTX:
            return f'lies in {each}, which anyone can write'
    for each in (path, *path.parents):
        if each.is_symlink() and each.lstat().st_uid not in (user, *TRUSTED):
            return f'is reached by {each}, a link of another user'
    return None
