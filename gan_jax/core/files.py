"""Files that others may have written: read within bounds, replaced whole.

A path is local or of a file system of etils.epath. What is read is a regular
file of a bounded size. What is written is a new file under a drawn name that
then takes its place, so that no link is written through. Reading raises OSError
where a file cannot be read and ValueError, in words that follow its name, where
it is of another kind.
"""

import contextlib
import errno
import json
import math
import os
import secrets
import stat

from etils import epath

MOST_JSON = 8 * 2**20  # bytes; 30 times as many are held once it is parsed
MOST_DEPTH = 64  # lists and objects inside each other
MOST_LINE = 2**20  # bytes of a line of JSON
MOST_FILE = 4 * 2**30  # bytes of a file of lines


def at(path):
    """Return a path, local or of a file system of etils.epath.

    Raises:
        OSError: for a file system that is not known, or cannot be reached.
    """
    try:
        return epath.Path(path).expanduser()
    except (KeyError, ImportError) as error:
        raise OSError(
            errno.EINVAL, 'is on no file system that is known here'
        ) from error


def is_remote(path):
    """Return whether a path lies on a store that only etils.epath knows."""
    return '://' in os.fspath(path)


def opened(path):
    """Open a regular file to read bytes; links to files are followed.

    Raises:
        OSError: where it cannot be opened.
        ValueError: for a folder, a FIFO, a device.
    """
    path = at(path)
    if is_remote(path):
        return path.open('rb')
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError('is not a regular file')
    # A FIFO that came meanwhile is not waited for.
    file = open(path, 'rb', opener=lambda name, flags: os.open(
        name, flags | getattr(os, 'O_NONBLOCK', 0)
    ))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError('is not a regular file')
    return file


def read(path, most):
    """Return the bytes of a regular file of at most so many.

    Raises:
        OSError: where it cannot be read.
        ValueError: for what is no regular file, or larger.
    """
    with opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f'has more than {most:,} bytes')
    return data


def read_json(path, most=MOST_JSON, hook=None):
    """Return the content of a JSON file, nested `MOST_DEPTH` deep at most.

    Args:
        path: of the file.
        most: bytes that it may have.
        hook: as json's object_pairs_hook.

    Raises:
        OSError: where it cannot be read.
        ValueError: for what is no such file, or no JSON.
    """
    return parse_json(read(path, most), hook)


def parse_json(text, hook=None):
    """Return the content of JSON text; raises ValueError as `read_json`."""
    try:
        content = json.loads(text, object_pairs_hook=hook)
    except RecursionError as error:
        raise ValueError('is nested too deeply') from error
    except ValueError as error:
        raise ValueError('is no JSON') from error
    level = [content]
    for _ in range(MOST_DEPTH + 1):
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return content
        level = [
            inner for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    raise ValueError('is nested too deeply')


def lines(path, every=1):
    """Yield (bytes of a line, its object or None) of a file of JSON lines.

    Args:
        path: of the file.
        every: of so many lines the last is yielded.

    Raises:
        OSError, ValueError: as `opened`.
    """
    with opened(path) as file:
        number = 0
        while line := file.readline(MOST_LINE):
            rest = line
            while rest and not rest.endswith(b'\n'):
                rest = file.readline(MOST_LINE)
            number += 1
            if not number % every:
                yield line, _object(line)


def _object(line):
    try:
        content = parse_json(line)
    except ValueError:  # cut short by a kill
        return None
    return content if isinstance(content, dict) else None


def number(value):
    """Return a finite float; None for anything else."""
    if type(value) not in (int, float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def lies(path):
    """Return whether a name is taken, be it by a link to nothing."""
    return path.exists() if is_remote(path) else os.path.lexists(path)


def kind(path):
    """Return what lies at a local path.

    Returns:
        'file', 'folder', 'link' to a folder, 'other' for a FIFO or a device,
        or '' for nothing, and for a link to nothing.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ''
    if stat.S_ISDIR(mode):
        return 'link' if os.path.islink(path) else 'folder'
    return 'file' if stat.S_ISREG(mode) else 'other'


def remove(path):
    """Remove a file or a link, where there is one."""
    path.unlink(missing_ok=True)


def set_aside(path):
    """Rename a file to its name with a drawn part; returns the new path."""
    return path.rename(path.parent / f'{path.name}.{secrets.token_hex(4)}')


def create(folder):
    """Make an empty file of a drawn name in a folder; returns its path."""
    path = at(folder) / f'.{secrets.token_hex(8)}.partial'
    with _new(path):
        return path


def _new(path):
    """Open a file to write that is not there yet, nor a link of that name."""
    if is_remote(path):
        return path.open('wb')
    return open(path, 'xb')  # O_EXCL: a link is an error, wherever it leads


@contextlib.contextmanager
def replacing(path):
    """Open a file that takes the place of a path once it is whole.

    A link at the path is replaced, not followed; a folder, FIFO or device
    stays.

    Args:
        path: its folder exists.

    Yields:
        File of bytes; `name` is its path.

    Raises:
        OSError: where it cannot be written.
    """
    path = at(path)
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
    """Write a file whole from bytes or text; raises OSError."""
    with replacing(path) as file:
        # What is no Unicode, as of a name of a file, is written as \udc...
        file.write(data if isinstance(data, bytes) else data.encode(
            errors='backslashreplace'
        ))


def write_json(path, content):
    """Write a JSON file whole; raises OSError."""
    write(path, json.dumps(content, indent=2) + '\n')


def append(path, text):
    """Add text at the end of a regular file, made where it is missing.

    Raises:
        OSError: where it cannot be written, or is a link.
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
def alone(folder):
    """Keep out other processes that ask for the same folder meanwhile.

    Where the file system knows no such locks, nobody is kept out.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl  # which other systems than POSIX lack

            if not is_remote(folder):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
