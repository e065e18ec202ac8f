"""Lock file of a run folder: one run per folder at a time.

A file is used and not `flock`, because run folders may lie on network file
systems and object stores, where `flock` is missing or has no effect.
"""

import contextlib
import errno
import os
import pathlib
import socket
import time

from etils import epath

from gan_jax.core import errors
from gan_jax.core import files

NAME = 'lock.json'
MOST = 2**16  # bytes of the lock file
# Errors of file systems without hard links.
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(workdir, enabled=True):
    """Keep the lock of a run folder inside a `with` block.

    The lock file names host, process and time. The lock of a process that has
    ended is taken over if it ran on this host; whether a process on another
    host has ended cannot be detected.

    Args:
        workdir: the run folder, which must exist.
        enabled: whether this process takes the lock, as one of all hosts does.

    Raises:
        errors.LockedError: where another process holds it.
    """
    if not enabled:
        yield
        return
    path = epath.Path(workdir) / NAME
    mine = _describe()
    _take(path, mine)
    try:
        yield
    finally:
        if _read(path) == mine:
            path.unlink(missing_ok=True)


def _describe():
    pid = os.getpid()
    return {
        'host': socket.gethostname(), 'pid': pid, 'began': _began(pid),
        'time': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
    }


def _take(path, mine):
    """Create the lock file atomically; fails where another run holds it."""
    whole = files.create(path.parent)
    try:
        files.write_json(whole, mine)
        for _ in range(2):
            try:
                _move(whole, path)
                return
            except FileExistsError:
                owner = _read(path)
                if not _has_ended(owner):
                    break
                _clear(path, owner, whole.with_name(f'{whole.name}.old'))
    finally:
        whole.unlink(missing_ok=True)
    raise errors.LockedError(
        f'{path.parent} is in use by process {owner.get("pid")} of '
        f'{owner.get("host")} since {owner.get("time")}; choose another '
        f'--workdir, or remove {path} if that run has ended'
    )


def _move(whole, path):
    """Move a file to a path that must be free.

    Object stores cannot do this atomically: there, two runs that start at the
    same moment may both get the lock.

    Raises:
        FileExistsError: where the path is taken.
    """
    if '://' not in str(path):
        try:
            os.link(whole, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with pathlib.Path(path).open('x') as file:
                file.write(whole.read_text())
        return
    if path.exists():
        raise FileExistsError(str(path))
    path.write_text(whole.read_text())


def _clear(path, owner, spare):
    """Remove the lock of an owner that has ended, but no other lock.

    Two processes may do so at the same time; the slower one then finds that it
    moved the new lock of the faster one, and puts it back.
    """
    if '://' in str(path):
        path.unlink(missing_ok=True)
        return
    try:
        path.rename(spare)
    except FileNotFoundError:
        return
    if _read(spare) != owner:
        with contextlib.suppress(FileExistsError):
            _move(spare, path)
    spare.unlink()


def _read(path):
    try:
        owner = files.read_json(path, MOST)
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _has_ended(owner):
    """Return whether a lock's owner has certainly ended."""
    if owner.get('host') != socket.gethostname():
        return False
    return _began(owner.get('pid')) != owner.get('began')


def _began(pid):
    """Return the start time of a process on this host; None if it has ended.

    It distinguishes a process from an earlier one with the same process id.
    """
    if type(pid) is not int or not 0 < pid < 2**31:
        return None
    try:
        fields = pathlib.Path(f'/proc/{pid}/stat').read_text()
        return int(fields.rpartition(')')[2].split()[19])
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return 0  # alive, on a system without start times in /proc
