"""One run in one folder at a time."""

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
MOST = 2**16  # bytes of it
# What a file system without hard links answers.
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(workdir, enabled=True):
    """Hold the lock of a run folder.

    The lock is a file that names host, process and time. That of a process
    which has ended on this same host is taken over; whether one on another
    host has ended cannot be told from here.

    Args:
        workdir: the folder; it exists.
        enabled: whether this process is the one that holds it for all hosts.

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
    """Make the lock file, whole or not at all; fails where there is one."""
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
    """Give a file another name; fails where there is one of that name.

    Object stores have no such step: there two runs that begin within the same
    moment may both believe that they hold the lock.

    Raises:
        FileExistsError: where the name is taken.
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
    """Remove the lock of an owner that has ended, and nobody else's.

    Two processes may judge it at once; then the slower one finds the lock of
    the quicker, and gives it back.
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
    """Say whether a lock's owner is surely gone."""
    if owner.get('host') != socket.gethostname():
        return False
    return _began(owner.get('pid')) != owner.get('began')


def _began(pid):
    """Give when a process of this host began, None where there is none.

    A number that the system gives anew to another process is told apart by it.
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
    return 0  # alive, on a system that does not tell since when
