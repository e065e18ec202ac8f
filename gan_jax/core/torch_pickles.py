"""Pickles of PyTorch networks, read as data: nothing in a file is run.

A class is not imported: an object becomes an `Instance` of its name and
attributes. The module's source, which pickles of StyleGAN2 carry, is dropped.
Tensors become views of the file's bytes, so that a file cannot claim more
memory than it has bytes; all that its calls create is bounded by a small
multiple of them. PyTorch is not used.

A `pickles.FormatError` has a message that follows the name of the file.
"""

import functools
import io
import math
from typing import NamedTuple
import zipfile

import numpy as np

from gan_jax.core import pickles

MAGIC = 0x1950a86a20f9469cfc6c  # of PyTorch's older format
OLDER = b'\x80\x02\x8a\x0a' + MAGIC.to_bytes(10, 'little')  # first bytes of it
ZIP = b'PK\x03\x04'  # first bytes of PyTorch's newer format
STORAGES = {  # classes of PyTorch's storages
    'torch.BoolStorage': '?', 'torch.ByteStorage': 'u1',
    'torch.CharStorage': 'i1', 'torch.DoubleStorage': '<f8',
    'torch.FloatStorage': '<f4', 'torch.HalfStorage': '<f2',
    'torch.IntStorage': '<i4', 'torch.LongStorage': '<i8',
    'torch.ShortStorage': '<i2',
}
SCALARS = ('b1', 'f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4')
MAX_AXES = 8
MAX_DEPTH, MAX_MODULES, MAX_TENSORS = 8, 10_000, 10_000  # of a network
MAX_NAME = 100  # characters of a module or tensor in its module
PARTS = ('_parameters', '_buffers', '_modules')  # attributes of a module
TENSOR = 'torch._utils._rebuild_tensor_v2'

FormatError = pickles.FormatError


class Instance(NamedTuple):
    """An object of a class that is not imported.

    Attributes:
        class_name: str, without its module.
        state: {name of an attribute: value}.
    """

    class_name: str
    state: dict


class Opaque:
    """A NumPy array, whose content is not read."""

    def set_state(self, state):
        """Skip the content."""


class _Dtype:
    """A NumPy dtype of numbers, '<f8' for example."""

    def __init__(self, code, *_):
        if code not in SCALARS:
            raise FormatError(f'has the NumPy dtype {pickles.show(code)}')
        self.numpy = np.dtype(f'<{code}')

    def set_state(self, state):
        """Check the order of bytes."""
        if state[1] not in ('<', '|', '='):
            raise FormatError('has big-endian numbers')


class _Storage:
    """The numbers of tensors, a 1-D array `values`; None before `fill`."""

    def __init__(self, key, dtype, size):
        self.key, self.dtype, self.size = key, np.dtype(dtype), size
        self.values = None

    def fill(self, data, start=0):
        """Set the values to bytes of `data`, without a copy.

        Raises:
            FormatError: where there are fewer bytes than the size needs.
        """
        room = max(0, len(data) - start) // self.dtype.itemsize
        if self.size > room:
            raise FormatError(
                f'claims a tensor of {self.size:,} values and has {room:,}'
            )
        self.values = np.frombuffer(data, self.dtype, self.size, start)


def load(data):
    """Read a pickle, or a file in either format of `torch.save`.

    Args:
        data: bytes of the file.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, set, dict, array,
        `Instance` or `Opaque`, nested; lists and dicts may contain themselves.
        Arrays are read-only views of bytes.

    Raises:
        pickles.FormatError: where the file is damaged, or holds anything else.
    """
    budget = pickles.Budget(len(data))
    admitted = _admitted(budget)
    try:
        if data.startswith(ZIP):
            return _load_zip(data, budget, admitted)
        if data.startswith(OLDER):
            return _load_older(data, budget, admitted)
        return pickles.Machine(admitted, budget, hint=_hint).run(
            io.BytesIO(data)
        )
    except FormatError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise FormatError(
            f'is damaged, or no pickle of networks ({type(error).__name__})'
        ) from error


def _hint(name):
    """Return what to add to the error on a name that is not admitted."""
    return (
        ' of a network in TensorFlow; only those in PyTorch are read'
        if name.startswith('dnnlib.tflib.') else ''
    )


def _admitted(budget):
    """Return {admitted name: function that builds its value}, see `pickles`."""
    return {
        '_codecs.encode': functools.partial(_encode, budget),
        **dict.fromkeys(
            ('builtins.set', '__builtin__.set'),
            functools.partial(_new_set, budget),
        ),
        **dict.fromkeys(
            ('collections.OrderedDict', 'dnnlib.util.EasyDict'),
            functools.partial(_new_dict, budget),
        ),
        'numpy.dtype': _Dtype, 'numpy.ndarray': None,
        **{f'numpy.{core}.multiarray.{name}': build
           for core in ('core', '_core') for name, build in (
               ('_reconstruct', lambda *_: Opaque()), ('scalar', _new_scalar),
           )},
        **dict.fromkeys(STORAGES),
        'torch._utils._rebuild_parameter': lambda tensor, *_: tensor,
        TENSOR: _new_tensor,
        'torch.storage._load_from_bytes': functools.partial(
            _load_storage, budget
        ),
        'torch_utils.persistence._reconstruct_persistent_obj': _new_instance,
    }


def _encode(budget, text, encoding):
    """Return bytes, which old versions of the pickle format store as text."""
    if type(text) is not str or encoding != 'latin1':
        raise TypeError('no bytes')
    budget.allocate(len(text))
    return text.encode('latin1', 'replace')


def _new_set(budget, items=()):
    return set(pickles.plain_keys(list(budget.allocate_items(items))))


def _new_dict(budget, pairs=()):
    pairs = [(key, value) for key, value in budget.allocate_items(pairs)]
    pickles.plain_keys([key for key, _ in pairs])
    return dict(pairs)


def _new_instance(meta):
    """Return the `Instance` of a persistent object, without its source."""
    class_name, state = meta['class_name'], meta['state']
    if type(class_name) is not str or type(state) is not dict:
        raise TypeError('no object')
    return Instance(class_name, state)


def _new_scalar(dtype, data):
    """Return the Python number of a NumPy scalar."""
    if len(data) != dtype.numpy.itemsize:
        raise FormatError('has a number of a wrong size')
    return np.frombuffer(data, dtype.numpy)[0].item()


def _new_tensor(storage, offset, shape, strides, *_):
    """Return a view of a storage; its axes may be in another order.

    Raises:
        FormatError: where it leaves the storage, overlaps or has gaps.
    """
    if len(shape) != len(strides) or len(shape) > MAX_AXES or not all(
            type(number) is int and 0 <= number < 2**63
            for number in (offset, *shape, *strides)):
        raise FormatError('has a tensor of an impossible shape')
    size = math.prod(shape)
    if not 0 <= size <= len(storage.values) - offset:
        raise FormatError(
            f'has a tensor of {size:,} values that leaves its storage of '
            f'{storage.size:,}'
        )
    if not size:
        return np.zeros(shape, storage.dtype)
    # Axes from the slowest to the fastest; an axis of length 1 has any stride.
    axes = sorted(
        range(len(shape)), key=lambda axis: (shape[axis] > 1, -strides[axis])
    )
    step = 1
    for axis in reversed(axes):
        if shape[axis] > 1 and strides[axis] != step:
            raise FormatError('has a tensor whose values overlap or have gaps')
        step *= shape[axis]
    values = storage.values[offset:offset + size]
    return values.reshape([shape[axis] for axis in axes]).transpose(
        [axes.index(axis) for axis in range(len(shape))]
    )


def _new_storage(identity):
    """Return the `_Storage` that a persistent id describes, without values."""
    kind, storage, key, _, size, *view = identity
    if kind != 'storage' or type(storage) is not pickles.Global or view not in (
            [], [None]):
        raise FormatError('has a kind of tensor that is not read')
    if type(key) is not str or type(size) is not int or not 0 <= size < 2**63:
        raise FormatError('has a tensor of an impossible size')
    return _Storage(key, STORAGES[storage.name], size)


def _load_storage(budget, data):
    """Read a storage that `torch.save` wrote to bytes, in either format."""
    if type(data) is not bytes:
        raise TypeError('no bytes')
    budget.allocate(len(data))
    load_either = _load_zip if data.startswith(ZIP) else _load_older
    storage = load_either(data, budget, dict.fromkeys(STORAGES))
    if type(storage) is not _Storage:
        raise FormatError('has bytes in place of a tensor')
    return storage


def _load_older(data, budget, admitted):
    """Read the older format of `torch.save`.

    It has five pickles: a magic number, a version, a description of the
    machine, the value, and the list of the keys of its storages. Then follow
    the storages in the order of the list: the number of values in 8 bytes, and
    the values.
    """
    stream, storages = io.BytesIO(data), {}

    def persistent(identity):
        storage = _new_storage(identity)
        return storages.setdefault(storage.key, storage)

    def run(admitted):
        return pickles.Machine(
            admitted, budget, persistent=persistent, hint=_hint
        ).run(stream)

    magic, _, machine = (run(admitted) for _ in range(3))
    # The storages lie behind the value, so it is read twice: the first time
    # without tensors.
    start = stream.tell()
    run({
        name: (lambda *_: None) if name == TENSOR else build
        for name, build in admitted.items()
    })
    keys = run(admitted)
    if magic != MAGIC or not machine['little_endian'] or (
            sorted(keys) != sorted(storages)):
        raise FormatError('has a tensor in an unknown format')
    place = stream.tell()
    for key in keys:
        storage = storages[key]
        size = int.from_bytes(data[place:place + 8], 'little')
        if size != storage.size:
            raise FormatError(
                f'claims a tensor of {storage.size:,} values and of {size:,}'
            )
        storage.fill(data, place + 8)
        place += 8 + storage.values.nbytes
    stream.seek(start)
    return run(admitted)


def _load_zip(data, budget, admitted):
    """Read the newer format of `torch.save`: a zip archive, not compressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if sum(member.file_size for member in members.values()) > len(data):
            raise FormatError('claims more bytes than it has')
        if any(member.compress_type != zipfile.ZIP_STORED
               for member in members.values()):
            raise FormatError('is compressed, which PyTorch does not do')
        root = next((
            name.removesuffix('data.pkl') for name in members
            if name.endswith('/data.pkl')
        ), None)
        if root is None:
            raise FormatError('is an archive without a pickle')
        if f'{root}byteorder' in members and (
                archive.read(f'{root}byteorder') != b'little'):
            raise FormatError('has big-endian numbers')
        contents = {}

        def persistent(identity):
            storage = _new_storage(identity)
            name = f'{root}data/{storage.key}'
            if name not in contents:
                contents[name] = archive.read(name)
            storage.fill(contents[name])
            return storage

        return pickles.Machine(
            admitted, budget, persistent=persistent, hint=_hint
        ).run(io.BytesIO(archive.read(f'{root}data.pkl')))


def modules(network):
    """Return {dotted name: `Instance`} of a network and the modules inside it.

    Args:
        network: `Instance` of a `torch.nn.Module`; its own name is ''.

    Raises:
        pickles.FormatError: where it is none, or is nested too deeply.
    """
    found, waiting = {}, [('', network)]
    while waiting:
        name, module = waiting.pop()
        if type(module) is not Instance or not all(
                type(module.state.get(part)) is dict for part in PARTS):
            raise FormatError(f'has {pickles.show(name or "a network")}, which '
                              'is no module')
        found[name], children = module, _named(module.state['_modules'])
        if name.count('.') > MAX_DEPTH or (
                len(found) + len(waiting) + len(children) > MAX_MODULES):
            raise FormatError('has modules in modules without end')
        waiting += [
            (f'{name}.{child}'.lstrip('.'), inner)
            for child, inner in children.items() if inner is not None
        ]
    return found


def tensors(network):
    """Return {dotted name: array} of a network's parameters and buffers.

    Args, raises: as `modules`.
    """
    parts = [
        (name, _named(module.state[part]))
        for name, module in modules(network).items()
        for part in ('_parameters', '_buffers')
    ]
    if sum(len(part) for _, part in parts) > MAX_TENSORS:
        raise FormatError(f'has more than {MAX_TENSORS:,} tensors in a network')
    return {
        f'{name}.{key}'.lstrip('.'): value
        for name, part in parts for key, value in part.items()
        if type(value) is np.ndarray
    }


def _named(part):
    """Return one of the `PARTS` of a module, whose names must be short texts.

    Raises:
        pickles.FormatError: where they are not; the same part may stand in many
            modules, so that long names would take much memory.
    """
    for name in part:
        if type(name) is not str or len(name) > MAX_NAME:
            raise FormatError(
                f'has the name {pickles.show(name)} in a module, which is none'
            )
    return part


def check_sizes(tensors, size):
    """Check that tensors hold no more than the file that they are views of.

    Args:
        tensors: iterable of arrays.
        size: of the file in bytes.

    Raises:
        pickles.FormatError: where they have more than `pickles.MAX_COPIES`
            times as many, because many share their values.
    """
    if sum(tensor.nbytes for tensor in tensors) > pickles.MAX_COPIES * size:
        raise FormatError(
            f'claims tensors of more than {pickles.MAX_COPIES} times its bytes'
        )
