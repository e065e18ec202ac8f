"""Safe reading and atomic writing of files.

Paths are local or on any file system that `etils.epath` knows. Run folders may
hold files from other people, so only regular files of bounded size are read. A
file is written under a random temporary name and then renamed, so a symbolic
link at its path is replaced and never followed.

Reading raises OSError where a file cannot be read, and ValueError where it has
the wrong kind or content; its message follows the name of the file, as in "has
more than 100 bytes".
"""

import contextlib
import errno
import json
import math
import os
import secrets
import stat

from etils import epath

MAX_JSON = 8 * 2**20  # bytes of a file; parsed, it takes 30 times as many
MAX_DEPTH = 64  # levels of nested lists and objects
MAX_LINE = 2**20  # bytes of a line of JSON
MAX_FILE = 4 * 2**30  # bytes of a file of lines


def to_path(path):
    """Convert to an `etils.epath` path and expand `~`.

    Raises:
        OSError: where the file system is unknown or its library is missing.
    """
    try:
        return epath.Path(path).expanduser()
    except (KeyError, ImportError) as error:
        raise OSError(
            errno.EINVAL, 'is on an unknown file system'
        ) from error


def is_remote(path):
    """Return whether a path is a URI, such as one of an object store."""
    return '://' in os.fspath(path)


def open_regular(path):
    """Open a regular file to read bytes; links to files are followed.

    Raises:
        OSError: where it cannot be opened.
        ValueError: where it is a folder, a FIFO or a device.
    """
    path = to_path(path)
    if is_remote(path):
        return path.open('rb')
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError('is not a regular file')
    # O_NONBLOCK: do not wait for a FIFO that took the place since `stat`.
    file = open(path, 'rb', opener=lambda name, flags: os.open(
        name, flags | getattr(os, 'O_NONBLOCK', 0)
    ))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError('is not a regular file')
    return file


def read(path, most):
    """Read a regular file of at most `most` bytes.

    Raises:
        OSError: where it cannot be read.
        ValueError: where it is not a regular file or is larger.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f'has more than {most:,} bytes')
    return data


def read_json(path, most=MAX_JSON, hook=None):
    """Load the content of a JSON file, nested at most `MAX_DEPTH` deep.

    Args:
        path: of the file.
        most: largest size of the file, in bytes.
        hook: `object_pairs_hook` of `json.loads`.

    Raises:
        OSError: where it cannot be read.
        ValueError: where it is not a regular file, too large or not JSON.
    """
    return parse_json(read(path, most), hook)


def parse_json(text, hook=None):
    """Parse JSON text; raises ValueError as `read_json` does."""
    try:
        content = json.loads(text, object_pairs_hook=hook)
    except RecursionError as error:
        raise ValueError('is nested too deeply') from error
    except ValueError as error:
        raise ValueError('is not JSON') from error
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return content
        level = [
            inner for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    raise ValueError('is nested too deeply')


def lines(path, every=1):
    """Yield (raw line, parsed object or None) from a JSON Lines file.

    Args:
        path: of the file.
        every: yield only each `every`-th line.

    Raises:
        OSError, ValueError: as `opened`.
    """
    with open_regular(path) as file:
        number = 0
        while line := file.readline(MAX_LINE):
            rest = line
            while rest and not rest.endswith(b'\n'):
                rest = file.readline(MAX_LINE)
            number += 1
            if not number % every:
                yield line, _object(line)


def _object(line):
    try:
        content = parse_json(line)
    except ValueError:  # the process was killed while it wrote the line
        return None
    return content if isinstance(content, dict) else None


def number(value):
    """Convert an int or float to a finite float; None for anything else."""
    if type(value) not in (int, float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def lexists(path):
    """Return whether anything has this path, even a broken link."""
    return path.exists() if is_remote(path) else os.path.lexists(path)


def kind(path):
    """Return the kind of file at a local path.

    Returns:
        'file', 'folder', 'link' (to a folder), 'other' (a FIFO or a device), or
        '' where there is nothing or a broken link.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ''
    if stat.S_ISDIR(mode):
        return 'link' if os.path.islink(path) else 'folder'
    return 'file' if stat.S_ISREG(mode) else 'other'


def remove(path):
    """Remove a file or a link, if there is one."""
    path.unlink(missing_ok=True)


def move_aside(path):
    """Rename a file by adding a random suffix; returns the new path."""
    return path.rename(path.parent / f'{path.name}.{secrets.token_hex(4)}')


def move_damaged(path):
    """Rename a file, so that a new one can begin; leave links and folders."""
    if kind(path) in ('', 'file') and not os.path.islink(path):
        move_aside(path)


def create(folder):
    """Create an empty file with a random name; returns its path."""
    path = to_path(folder) / f'.{secrets.token_hex(8)}.partial'
    with _new(path):
        return path


def _new(path):
    """Create a file and open it to write; fails where the name is taken."""
    if is_remote(path):
        return path.open('wb')
    return open(path, 'xb')  # O_EXCL: a link of that name is an error


@contextlib.contextmanager
def atomic_write(path):
    """Open a temporary file that replaces `path` when the block ends.

    After an error the file at `path` is unchanged. A link there is replaced,
    not followed; a folder, FIFO or device is an error.

    Args:
        path: of the file; its folder must exist.

    Yields:
        Binary file, open for writing; its path is `name`.

    Raises:
        OSError: where it cannot be written.
    """
    path = to_path(path)
    if not is_remote(path) and kind(path) not in ('', 'file'):
        raise OSError(errno.EINVAL, 'is not a regular file')
    partial = path.parent / f'.{secrets.token_hex(8)}.partial'
    try:
        with _new(partial) as file:
            yield file
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(partial)
        raise


def write(path, data):
    """Write bytes or text atomically; raises OSError."""
    with atomic_write(path) as file:
        # Lone surrogates, as in file names that are not UTF-8, become \udc..
        file.write(data if isinstance(data, bytes) else data.encode(
            errors='backslashreplace'
        ))


def write_json(path, content):
    """Write a JSON file atomically; raises OSError."""
    write(path, json.dumps(content, indent=2) + '\n')


def append(path, text):
    """Add text at the end of a regular file; create the file if missing.

    Raises:
        OSError: where it cannot be written or is a link.
    """
    if is_remote(path):
        with path.open('a') as file:
            file.write(text)
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    flags |= getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
    with open(path, 'ab', opener=lambda name, _: os.open(
        name, flags, 0o666
    )) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, 'is not a regular file')
        file.write(text.encode())


@contextlib.contextmanager
def exclusive(folder):
    """Keep an exclusive `flock` on a folder.

    Has no effect on file systems and operating systems without `flock`.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl  # exists on POSIX systems only

            if not is_remote(folder):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
