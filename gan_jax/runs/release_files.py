"""Files of a release: their names, their hashes, and verified reading.

A release is a folder in the layout of model hubs. It may come from anyone, so a
file is read only if `SHA256SUMS` lists it, within bounds, and once: the bytes
whose hash was compared are those that are used.
"""

import hashlib
import re

from gan_jax.core import errors
from gan_jax.core import files

SUMS = 'SHA256SUMS'
CARD = 'README.md'
CONFIG, DATA = 'config.json', 'data.json'
MODEL = 'model.safetensors'
TRAINING = 'training.safetensors'  # optimizers and memory; may be missing
SAMPLES = 'samples.png'
NAMES = (CARD, CONFIG, DATA, MODEL, TRAINING, SAMPLES)
NEEDED = (SUMS, CONFIG, DATA, MODEL)  # of every release
CHECKPOINTS = 'checkpoints'  # folder of a run, which a release has not
MAX_SUMS = 2**16  # bytes
LINE = re.compile(r'([0-9a-f]{64}) [ *]([\w.-]{1,80})', re.ASCII)


def is_release(folder):
    """Return whether a folder is a release, intact or not, and not a run."""
    try:
        folder = files.to_path(folder)
        return not (folder / CHECKPOINTS).exists() and (
            (folder / SUMS).exists() or (folder / MODEL).exists()
        )
    except (OSError, ImportError):
        return False


def error_type(folder):
    """Return the class of errors about the files of a run or a release."""
    return (
        errors.ReleaseError if is_release(folder) else errors.CheckpointError
    )


def read(folder, name, most=files.MAX_JSON):
    """Read a file of a release and compare its hash with `SHA256SUMS`.

    Args:
        folder: of the release.
        name: one of `NAMES`.
        most: largest size in bytes.

    Returns:
        bytes.

    Raises:
        errors.ReleaseError: where it is missing, not listed, larger, or has
            another hash.
    """
    sums = read_sums(folder)
    if name not in sums:
        raise errors.ReleaseError(f'{folder}/{SUMS} does not list {name}')
    data = _read(folder, name, most)
    if hashlib.sha256(data).hexdigest() != sums[name]:
        raise errors.ReleaseError(
            f'{folder}/{name} is damaged: its SHA-256 is not that in {SUMS}'
        )
    return data


def read_sums(folder):
    """Read the hashes of a release, {name: SHA-256 in hex digits}.

    Raises:
        errors.ReleaseError: where the file is missing or damaged, or names a
            file that a release does not have.
    """
    text = _read(folder, SUMS, MAX_SUMS).decode('utf-8', 'backslashreplace')
    sums = {}
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        if match is None or match[2] not in NAMES or match[2] in sums:
            raise errors.ReleaseError(
                f'{folder}/{SUMS} has the line {line!a:.100}, which is not the '
                f'SHA-256 of one of {", ".join(NAMES)}'
            )
        sums[match[2]] = match[1]
    return sums


def format_sums(contents):
    """Return the text of `SHA256SUMS` for {name: bytes}."""
    return ''.join(
        f'{hashlib.sha256(data).hexdigest()}  {name}\n'
        for name, data in sorted(contents.items())
    )


def _read(folder, name, most):
    """Read a file of bounded size; an error names folder and file."""
    try:
        return files.read(files.to_path(folder) / name, most)
    except FileNotFoundError as error:
        raise errors.ReleaseError(
            f'{folder} is not a whole release: it lacks {name}'
        ) from error
    except OSError as error:
        raise errors.ReleaseError(
            f'{folder}/{name} cannot be read: {error.strerror or error}'
        ) from error
    except ValueError as error:
        raise errors.ReleaseError(f'{folder}/{name} {error}') from error
