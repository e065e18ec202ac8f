"""Pickles as PyTorch writes them, made without PyTorch."""

import io
import pickle
import zipfile

import numpy as np

MAGIC = 0x1950a86a20f9469cfc6c
KINDS = {'float32': 'Float', 'float16': 'Half', 'float64': 'Double',
         'int64': 'Long'}
# The source of a module, as the pickles carry it; it would leave a file.
SOURCE = "open('EXECUTED', 'w').close()\nclass Generator: pass\n"


class Name:
    """A name in a pickle: 'module.name', where no module is imported."""

    def __init__(self, name):
        self.name = name

    def __call__(self):
        raise AssertionError('a name is written, never called')


class Call:
    """A call in a pickle of a named function, and the state of its result."""

    def __init__(self, name, *arguments, state=None):
        self.name, self.arguments, self.state = name, arguments, state


class Persistent:
    """A persistent id in a pickle."""

    def __init__(self, identity):
        self.identity = identity


class _Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)

    def save_name(self, obj):
        module, _, name = obj.name.rpartition('.')
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f'{module}\n{name}\n'.encode())

    def save_call(self, obj):
        # As pickle writes them: each object once, found again by its id.
        self.save_reduce(
            Name(obj.name), obj.arguments, state=obj.state, obj=obj
        )

    def save_persistent(self, obj):
        self.save(obj.identity)
        self.write(pickle.BINPERSID)

    dispatch.update({
        Name: save_name, Call: save_call, Persistent: save_persistent,
    })


def dumps(value, protocol=4):
    """Pickle a value that contains names, calls and persistent ids."""
    stream = io.BytesIO()
    _Pickler(stream, protocol).dump(value)
    return stream.getvalue()


def identity(array, key='0', size=None, kind=None):
    """Return the persistent id of an array's storage."""
    kind = kind or f'torch.{KINDS[array.dtype.name]}Storage'
    size = array.size if size is None else size
    return ('storage', Name(kind), key, 'cpu', size)


def storage(array, *, size=None, after=None, machine=True, **claims):
    """Return the older format of `torch.save` for the numbers of an array.

    Args:
        array: the numbers.
        size: number of values in the id, by default the true one.
        after: number of values before the bytes, by default as in the id.
        machine: whether numbers are little-endian.
        claims: as of `identity`.
    """
    own = (*identity(array, size=size, **claims), None)
    parts = [
        MAGIC, 1001, {'protocol_version': 1001, 'little_endian': machine},
        Persistent(own), [own[2]],
    ]
    size = (own[4] if after is None else after).to_bytes(8, 'little')
    return b''.join(dumps(part, 2) for part in parts) + size + (
        np.ascontiguousarray(array).tobytes()
    )


def older(value, arrays):
    """Return the older format of `torch.save`.

    Args:
        value: with `Persistent` storages, whose keys are those of `arrays`.
        arrays: {key: array}.
    """
    parts = [MAGIC, 1001, {'little_endian': True}, value, sorted(arrays)]
    return b''.join(dumps(part, 2) for part in parts) + b''.join(
        arrays[key].size.to_bytes(8, 'little') + arrays[key].tobytes()
        for key in sorted(arrays)
    )


def stored(array, key):
    """Return the call that makes a tensor of the storage of a key."""
    strides = np.array(array.strides) // array.itemsize
    return Call(
        'torch._utils._rebuild_tensor_v2', Persistent(identity(array, key)), 0,
        array.shape, tuple(strides.tolist()), False,
        Call('collections.OrderedDict'),
    )


def of_bytes(data, shape, strides, offset=0):
    """Return the call that makes a tensor of the bytes of a storage."""
    return Call(
        'torch._utils._rebuild_tensor_v2',
        Call('torch.storage._load_from_bytes', data), offset, tuple(shape),
        tuple(strides), False, Call('collections.OrderedDict'),
    )


def tensor(array):
    """Return the calls that make a tensor."""
    array = np.asarray(array)
    strides = [
        int(np.prod(array.shape[axis + 1:])) for axis in range(array.ndim)
    ]
    return of_bytes(storage(array), array.shape, strides)


def parameter(array):
    """Return the calls that make a parameter."""
    return Call(
        'torch._utils._rebuild_parameter', tensor(array), False,
        Call('collections.OrderedDict'),
    )


def number(value):
    """Return the calls that make a NumPy scalar."""
    dtype = Call(
        'numpy.dtype', 'f8', False, True,
        state=(3, '<', None, None, None, -1, -1, 0),
    )
    return Call(
        'numpy.core.multiarray.scalar', dtype, np.float64(value).tobytes()
    )


def module(class_name, parameters=(), buffers=(), modules=(), **attributes):
    """Return the calls that make a module of StyleGAN2's code.

    Args:
        class_name: name of the class.
        parameters, buffers: {name: array}; None for an absent one.
        modules: {name: module}.
        attributes: plain values.
    """
    state = {
        'training': False,
        '_parameters': {
            name: None if value is None else parameter(value)
            for name, value in dict(parameters).items()
        },
        '_buffers': {
            name: tensor(value) for name, value in dict(buffers).items()
        },
        '_non_persistent_buffers_set': set(),
        '_backward_hooks': Call('collections.OrderedDict'),
        '_modules': dict(modules),
        **attributes, '_init_args': (), '_init_kwargs': {},
    }
    return Call('torch_utils.persistence._reconstruct_persistent_obj', {
        'type': 'class', 'version': 6, 'module_src': SOURCE,
        'class_name': class_name, 'state': state,
    })


def archive(value, arrays, compression=zipfile.ZIP_STORED):
    """Return the newer format of `torch.save`.

    Args:
        value: with `Persistent` storages, whose keys are those of `arrays`.
        arrays: {key: array}.
        compression: of the members; PyTorch has none.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', compression) as file:
        file.writestr('archive/data.pkl', dumps(value, 2))
        file.writestr('archive/byteorder', b'little')
        for key, array in arrays.items():
            file.writestr(f'archive/data/{key}', array.tobytes())
    return stream.getvalue()
