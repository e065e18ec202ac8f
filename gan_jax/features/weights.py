"""Weights of feature networks as safetensors files, trusted in nothing.

A file is read into memory once, after its size is known to be that of the
network, so what is hashed is what is loaded. Knows no network.
"""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np
import platformdirs
import safetensors
import safetensors.numpy

from gan_jax.core import errors
from gan_jax.core import files

FORMAT = 1
MAX_HEADER = 2**20  # bytes; that of Inception-v3 has 55,000
SHOWN = 3  # differences that are named
KEY = 'gan_jax'


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        variables: tree of float32 arrays.
        fingerprint: first 12 hex digits of the file's SHA-256.
        about: what `write` was told of them.
    """

    variables: Any
    fingerprint: str
    about: dict


def default_path(name):
    """Name the file of a network's weights in the user's cache folder."""
    folder = pathlib.Path(platformdirs.user_cache_dir('gan_jax'))
    return folder / 'features' / f'{name}.safetensors'


def flatten(variables):
    """Give {'collection/module/…/parameter': leaf} of a tree of dicts."""
    return traverse_util.flatten_dict(variables, sep='/')


def write(path, variables, **about):
    """Write a tree of float32 arrays; the file appears whole or not at all.

    Equal arguments give equal bytes, so equal weights have one fingerprint.

    Args:
        path: file to write; its folder is made.
        variables: tree of dicts of arrays.
        **about: what the weights are; JSON can hold it.

    Returns:
        The fingerprint of the file.

    Raises:
        OSError: where it cannot be written.
    """
    # One key: safetensors writes several in an order of chance.
    metadata = {KEY: json.dumps({'format': FORMAT, **about}, sort_keys=True)}
    data = safetensors.numpy.save(
        {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in flatten(variables).items()
        },
        metadata,
    )
    path = pathlib.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, data)
    return _fingerprint(data)


def read(path, expected):
    """Read the weights of a network; every tensor must be one of its own.

    Args:
        path: file that `write` wrote.
        expected: tree of dicts whose leaves have the shapes to be found.

    Returns:
        `Weights`.

    Raises:
        errors.CheckpointError: where the file cannot be read.
        errors.DamagedError: where it is not whole, or holds something else.
    """
    expected = {k: tuple(v.shape) for k, v in flatten(expected).items()}
    room = sum(4 * int(np.prod(shape)) for shape in expected.values())
    data = read_file(path, room + MAX_HEADER)
    header = int.from_bytes(data[:8], 'little')
    if len(data) < 8 or header > MAX_HEADER:
        raise errors.DamagedError(f'{path} is no safetensors file of weights')
    try:
        found = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise errors.DamagedError(
            f'{path} is no whole safetensors file: {_line(error)}'
        ) from error
    check_tensors(
        path,
        {name: (t['dtype'], tuple(t['shape'])) for name, t in found.items()},
        {name: ('F32', shape) for name, shape in expected.items()},
    )
    about = _about(path, json.loads(data[8:8 + header]))
    arrays = {
        name: np.frombuffer(tensor['data'], '<f4').reshape(expected[name])
        for name, tensor in found.items()
    }
    check_finite(path, arrays)
    variables = traverse_util.unflatten_dict(arrays, sep='/')
    return Weights(variables, _fingerprint(data), about)


def read_file(path, most):
    """Read a regular file of at most so many bytes.

    Args:
        path: the file.
        most: bytes it may have.

    Returns:
        bytes.

    Raises:
        errors.CheckpointError: where it cannot be read.
        errors.DamagedError: where it is no file, or larger.
    """
    try:
        return files.read(path, most)
    except OSError as error:
        raise errors.CheckpointError(
            f'{path} cannot be read: {error.strerror}'
        ) from error
    except ValueError as error:
        raise errors.DamagedError(f'{path} {error}') from error


def check_tensors(path, found, expected):
    """Refuse tensors that are not those of the network.

    Args:
        path: where they were found.
        found: {name: (dtype, shape)}.
        expected: the same, of the network.

    Raises:
        errors.DamagedError: naming the first that differ.
    """
    wrong = [f'no {name}' for name in expected if name not in found]
    wrong += [
        f'{name} is {_show(found[name])} and not {_show(form)}'
        for name, form in expected.items()
        if name in found and found[name] != form
    ]
    wrong += [
        f'{name!a:.80} too much' for name in found if name not in expected
    ]
    if wrong:
        more = len(wrong) - SHOWN
        raise errors.DamagedError(
            f'{path} does not hold this network: {"; ".join(wrong[:SHOWN])}'
            f'{f"; and {more:,} more differences" if more > 0 else ""}'
        )


def check_finite(path, arrays):
    """Refuse {name: array} where a value is not finite.

    Raises:
        errors.DamagedError: naming the first.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise errors.DamagedError(f'{path}: {name} is not finite')


def _show(form):
    dtype, shape = form
    return f'{dtype} {list(shape)}'[:80]


def _about(path, header):
    """Give what `write` was told, from a header that safetensors has read."""
    try:
        about = json.loads(header['__metadata__'][KEY])
        made = about['format']
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise errors.DamagedError(
            f'{path} does not say that gan_jax converted it'
        ) from error
    if made != FORMAT:
        raise errors.DamagedError(
            f'{path} has format {made!a:.20} and not {FORMAT}; convert again'
        )
    return about


def _line(error):
    return ascii(' '.join(str(error).split()))[1:161]


def _fingerprint(data):
    return hashlib.sha256(data).hexdigest()[:12]
