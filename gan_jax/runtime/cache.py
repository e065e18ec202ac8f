"""JAX's persistent compilation cache, in a folder private to its owner.

The cache holds machine code that JAX runs without a check. Whoever can write to
the folder can run code as its user, so a folder that others can write is not
used. The checks could go if JAX made them itself.
"""

import functools
import os
import pathlib
import stat
import sys

import jax
import platformdirs

from gan_jax.core import redact

# User ids that may own a parent folder: root, and `nobody`, as which containers
# may show root.
TRUSTED = (0, 65534)


def folder():
    """Return the folder for compiled programs, or None if none is safe.

    The first choice is JAX's own setting (JAX_COMPILATION_CACHE_DIR), the
    second a folder in the user's cache folder. A folder that others can write
    is skipped with a warning.
    """
    chosen = jax.config.jax_compilation_cache_dir
    own = str(default())
    return next((
        path for path in filter(None, (chosen, own)) if not _refused(path)
    ), None)


def default():
    """Return the path of the folder that is used without a setting."""
    return pathlib.Path(platformdirs.user_cache_dir('gan_jax')) / 'xla'


@functools.cache
def _refused(path):
    """Create a folder; return why it is not used, with a warning once."""
    reason = fault(path)
    if reason:
        redact.say(
            f'warning: compiled programs are not cached in {path}: it {reason}',
            sys.stderr,
        )
    return reason


def fault(path):
    """Create a private folder; return why it cannot be trusted, or None.

    Args:
        path: str; the URI of an object store (`gs://…`) is always trusted.
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
    """Create a folder and its parents, accessible to their owner alone."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir(0o700, exist_ok=True)
    if path == default():
        about = path.stat()
        if not stat.S_IMODE(about.st_mode) & 0o022:
            path.chmod(0o700)


def _exposed(path, real, user):
    """Return why other users could put a file into a folder, or None."""
    about = real.stat()
    if about.st_uid != user:
        return 'belongs to another user'
    if about.st_mode & 0o022:
        return 'can be written by others; remove it and it is created again'
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
