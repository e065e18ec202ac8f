"""Safetensors files of the weights of feature networks, and PyTorch's tensors.

A file is untrusted: its size is bounded before it is read, and every tensor is
checked against the network. It is read once, so that the hashed bytes are the
loaded ones. This module knows no network.
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
MAX_HEADER = 2**20  # bytes; Inception-v3 has 55,000
SHOWN = 3  # differences in an error message
KEY = 'gan_jax'
TORCH_LEAVES = {  # names of parameters and statistics in PyTorch
    'kernel': 'weight', 'scale': 'weight', 'bias': 'bias',
    'mean': 'running_mean', 'var': 'running_var',
}


class Weights(NamedTuple):
    """Contents of a file.

    Attributes:
        variables: tree of float32 arrays.
        fingerprint: first 12 hex digits of the file's SHA-256.
        about: dict that was given to `write`.
    """

    variables: Any
    fingerprint: str
    about: dict


def default_path(name):
    """Return the path of a network's weights in the user's cache folder."""
    folder = pathlib.Path(platformdirs.user_cache_dir('gan_jax'))
    return folder / 'features' / f'{name}.safetensors'


def flatten(variables):
    """Flatten a tree of dicts to {'collection/module/…/parameter': leaf}."""
    return traverse_util.flatten_dict(variables, sep='/')


def write(path, variables, **about):
    """Write a tree of float32 arrays, atomically.

    Equal arguments give equal bytes, so equal weights have equal fingerprints.

    Args:
        path: file to write; its folder is created.
        variables: tree of dicts of arrays.
        **about: description of the weights, of JSON types.

    Returns:
        The fingerprint of the file.

    Raises:
        OSError: if it cannot be written.
    """
    # One key: the order in which safetensors writes several is random.
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
    """Read the weights of a network, and check every tensor.

    Args:
        path: file that `write` wrote.
        expected: tree of dicts whose leaves have the expected shapes.

    Returns:
        `Weights`.

    Raises:
        errors.CheckpointError: if the file cannot be read.
        errors.DamagedError: if it is damaged, or of another network.
    """
    expected = {k: tuple(v.shape) for k, v in flatten(expected).items()}
    size = sum(4 * int(np.prod(shape)) for shape in expected.values())
    data = read_file(path, size + MAX_HEADER)
    tensors, about = parse(path, data)
    if about['format'] != FORMAT:
        raise errors.DamagedError(
            f'{path} has format {about["format"]!a:.20}, not {FORMAT}; convert '
            'it again'
        )
    check_tensors(
        path,
        {
            name: (tensor['dtype'], tuple(tensor['shape']))
            for name, tensor in tensors.items()
        },
        {name: ('F32', shape) for name, shape in expected.items()},
    )
    arrays = {
        name: np.frombuffer(tensor['data'], '<f4').reshape(expected[name])
        for name, tensor in tensors.items()
    }
    check_finite(path, arrays)
    variables = traverse_util.unflatten_dict(arrays, sep='/')
    return Weights(variables, _fingerprint(data), about)


def parse(path, data):
    """Parse the bytes of a safetensors file that this package wrote.

    Args:
        path: of the file, for messages.
        data: bytes.

    Returns:
        ({name: {'dtype', 'shape', 'data'}} as of `safetensors.deserialize`,
        dict of the metadata, with 'format').

    Raises:
        errors.DamagedError: if it is damaged or has other metadata.
    """
    header = int.from_bytes(data[:8], 'little')
    if len(data) < 8 or header > MAX_HEADER:
        raise errors.DamagedError(f'{path} is not a safetensors file')
    try:
        tensors = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise errors.DamagedError(
            f'{path} is a damaged safetensors file: {_line(error)}'
        ) from error
    return tensors, _about(path, json.loads(data[8:8 + header]))


def read_file(path, most):
    """Read a regular file of bounded size.

    Args:
        path: the file.
        most: largest size in bytes.

    Returns:
        bytes.

    Raises:
        errors.CheckpointError: if it cannot be read.
        errors.DamagedError: if it is not a regular file, or is larger.
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
    """Check that the tensors of a file are those of a network.

    Args:
        path: of the file, for messages.
        found: {name: (dtype, shape)} of the file.
        expected: {name: (dtype, shape)} of the network.

    Raises:
        errors.DamagedError: naming the first differences.
    """
    wrong = [f'missing {name}' for name in expected if name not in found]
    wrong += [
        f'{name} is {_show(found[name])}, not {_show(form)}'
        for name, form in expected.items()
        if name in found and found[name] != form
    ]
    wrong += [
        f'unexpected {name!a:.80}' for name in found if name not in expected
    ]
    if wrong:
        more = len(wrong) - SHOWN
        raise errors.DamagedError(
            f'{path} does not hold this network: {"; ".join(wrong[:SHOWN])}'
            f'{f"; and {more:,} more differences" if more > 0 else ""}'
        )


def torch_axes(rank):
    """Return the permutation of axes from PyTorch's tensor to ours.

    Kernels are [out, in, height, width] there and [height, width, in, out]
    here; those of dense layers are [out, in] and [in, out].
    """
    return {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[rank]


def from_torch(path, state, expected, torch_name):
    """Convert the tensors of a network in PyTorch to variables of ours.

    Args:
        path: file that they are from, for error messages.
        state: {name: float32 array}; `num_batches_tracked` is ignored.
        expected: tree of dicts whose leaves have the shapes of our variables.
        torch_name: function of a name of `flatten` to the name in `state`.

    Returns:
        Tree of arrays.

    Raises:
        errors.DamagedError: if a tensor is missing, unexpected, not finite, or
            has another shape or type.
    """
    expected = flatten(expected)
    names = {torch_name(name): name for name in expected}
    check_tensors(
        path,
        {
            name: (str(array.dtype), tuple(array.shape))
            for name, array in state.items()
            if not name.endswith('.num_batches_tracked')
        },
        {
            theirs: ('float32', _torch_shape(expected[ours].shape))
            for theirs, ours in names.items()
        },
    )
    check_finite(path, {name: state[name] for name in names})
    return traverse_util.unflatten_dict({
        ours: np.transpose(state[theirs], torch_axes(state[theirs].ndim))
        for theirs, ours in names.items()
    }, sep='/')


def _torch_shape(shape):
    axes = torch_axes(len(shape))
    return tuple(shape[axes.index(axis)] for axis in range(len(shape)))


def check_finite(path, arrays):
    """Check that all values of {name: array} are finite.

    Raises:
        errors.DamagedError: naming the first array that is not.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise errors.DamagedError(f'{path}: {name} is not finite')


def _show(form):
    dtype, shape = form
    return f'{dtype} {list(shape)}'[:80]


def _about(path, header):
    """Return the dict that `write` stored, from a parsed header."""
    try:
        about = json.loads(header['__metadata__'][KEY])
        about['format']
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise errors.DamagedError(
            f'{path} was not written by gan_jax'
        ) from error
    return about


def _line(error):
    return ascii(' '.join(str(error).split()))[1:161]


def _fingerprint(data):
    return hashlib.sha256(data).hexdigest()[:12]
