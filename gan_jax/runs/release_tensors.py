"""A training state as safetensors files, and back, with every tensor checked.

`MODEL` holds what sampling needs: parameters and statistics of all players,
averages, counters. `TRAINING` holds the rest: optimizers and memory.
"""

import json
import math

import jax
import numpy as np
from safetensors import numpy as safetensors

import gan_jax
from gan_jax.core import errors
from gan_jax.features import weights as weight_files
from gan_jax.runs import release_files
from gan_jax.runtime import checkpoint
from gan_jax.runtime import parallel

FORMAT = 1
# Owners in `algorithm.TrainState.memory` that samplers read.
CODES = ('codebook', 'codes')  # use or moments of an autoencoder's codes
SAMPLED_MEMORY = (*CODES, 'snapshots')
DTYPES = {
    'bfloat16': 'BF16', 'bool': 'BOOL', 'float16': 'F16', 'float32': 'F32',
    'int32': 'I32', 'int64': 'I64', 'int8': 'I8', 'uint32': 'U32',
    'uint8': 'U8',
}


def file_of(name):
    """Return the file of a tensor, by its name in `checkpoint.form`."""
    parts = name.split('/')
    training = (
        parts[0] == 'players' and parts[2] == 'opt_state'
        or parts[0] == 'memory' and parts[1] not in SAMPLED_MEMORY
    )
    return release_files.TRAINING if training else release_files.MODEL


def pack(state):
    """Return a state as safetensors files.

    Equal states give equal bytes.

    Args:
        state: `algorithm.TrainState` of NumPy arrays.

    Returns:
        {name of the file: bytes}.
    """
    tensors = {release_files.MODEL: {}, release_files.TRAINING: {}}
    for name, leaf in zip(checkpoint.form(state), jax.tree.leaves(state)):
        tensors[file_of(name)][name] = np.asarray(leaf, order='C')
    about = {
        'format': FORMAT, 'made_by': f'gan_jax {gan_jax.__version__}',
        'step': int(state.step),
    }
    # One key: the order in which safetensors writes several is random.
    metadata = {weight_files.KEY: json.dumps(about)}
    return {
        file: safetensors.save(named, metadata)
        for file, named in tensors.items()
    }


def load(folder, abstract):
    """Load a state from a release.

    Args:
        folder: of the release.
        abstract: the `algorithm.TrainState` of its networks, as of
            `builders.abstract_state`.

    Returns:
        (`algorithm.TrainState` of NumPy arrays, whether it is complete). In one
        that is not, optimizers and the memory of training are 0.

    Raises:
        errors.ReleaseError: where a file is damaged or has other tensors, or
            the state is larger than the memory.
    """
    expected = checkpoint.form(abstract)
    size = _size(expected)
    if size > parallel.machine_memory():
        raise errors.ReleaseError(
            f'{folder} needs {size / 2**30:,.1f} GiB by its config, more '
            'memory than this machine has'
        )
    listed = release_files.read_sums(folder)
    complete = release_files.TRAINING in listed
    arrays = {}
    for file in (release_files.MODEL, *[release_files.TRAINING] * complete):
        arrays.update(_load_file(folder, file, {
            name: form for name, form in expected.items()
            if file_of(name) == file
        }))
    leaves, structure = jax.tree.flatten(abstract)
    state = jax.tree.unflatten(structure, [
        arrays[name] if name in arrays else np.zeros(leaf.shape, leaf.dtype)
        for name, leaf in zip(expected, leaves)
    ])
    if not state.alive or state.step < 0 or state.position < 0:
        raise errors.ReleaseError(
            f'{folder}/{release_files.MODEL} has impossible counters'
        )
    return state, complete


def _load_file(folder, file, expected):
    """Load the tensors of one file.

    Args:
        folder, file: of the release.
        expected: {name: [shape, dtype]}, all of its tensors.

    Returns:
        {name: array}.
    """
    size = weight_files.MAX_HEADER + _size(expected)
    path = f'{folder}/{file}'
    data = release_files.read(folder, file, size)
    try:
        tensors, about = weight_files.parse(path, data)
        weight_files.check_tensors(path, {
            name: (tensor['dtype'], tuple(tensor['shape']))
            for name, tensor in tensors.items()
        }, {
            name: (DTYPES[dtype], tuple(shape))
            for name, (shape, dtype) in expected.items()
        })
        if about.get('format') != FORMAT:
            raise errors.DamagedError(
                f'{path} has format {about.get("format")!a:.20}; this program '
                f'reads {FORMAT}'
            )
        arrays = {
            name: _array(tensors[name]['data'], shape, dtype)
            for name, (shape, dtype) in expected.items()
        }
        weight_files.check_finite(path, arrays)
    except errors.DamagedError as error:
        raise errors.ReleaseError(str(error)) from error
    return arrays


def _size(expected):
    """Return the bytes of all tensors of {name: [shape, dtype]}."""
    return sum(
        math.prod(shape) * np.dtype(dtype).itemsize
        for shape, dtype in expected.values()
    )


def _array(data, shape, dtype):
    """Return the array of a tensor's bytes, little-endian."""
    if dtype == 'bool':  # bytes other than 0 and 1 count as true
        return np.frombuffer(data, np.uint8).reshape(shape) != 0
    return np.frombuffer(
        data, np.dtype(dtype).newbyteorder('<')
    ).reshape(shape).astype(dtype)
