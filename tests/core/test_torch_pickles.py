"""Pickles of PyTorch networks are read as data, and nothing in them is run."""

import os
import pickle
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import torch_files
from gan_jax.core import pickles
from gan_jax.core import torch_pickles

Call, Name, Persistent = (
    torch_files.Call, torch_files.Name, torch_files.Persistent
)
ROW = np.arange(24, dtype=np.float32)


@pytest.fixture(autouse=True)
def nothing_is_run(tmp_path, monkeypatch):
    """Run each test in an empty folder, which must stay empty."""
    monkeypatch.chdir(tmp_path)
    yield
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_plain_values_are_read(protocol):
    value = {
        'a': [None, True, False, 1, -1, 300, 70_000, -2**40, 2**70, 1.5],
        'b': ('text', b'bytes', (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        'c': {1, 2}, 'd': {}, 'e': 'x' * 300, 'f': [[]], 'g': set(),
    }
    value['h'] = value['a']
    read = torch_pickles.load(pickle.dumps(value, protocol))
    assert read == value
    assert read['h'] is read['a']


def as_text(array):
    """Return a tensor for protocol 2, which stores bytes as text."""
    made = Call(
        'torch.storage._load_from_bytes', Call(
            '_codecs.encode', torch_files.storage(array).decode('latin1'),
            'latin1',
        ),
    )
    tensor = torch_files.tensor(array)
    tensor.arguments = (made, *tensor.arguments[1:])
    return tensor


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('array', [
    ROW.reshape(2, 3, 4), ROW[:0].reshape(0, 5), np.float32(3.0),
    ROW.astype(np.float64), ROW.astype(np.float16), np.arange(5),
])
def test_tensors_are_read(array, protocol):
    tensor = as_text(array) if protocol == 2 else torch_files.parameter(array)
    read = torch_pickles.load(torch_files.dumps(tensor, protocol))
    np.testing.assert_array_equal(read, array, strict=True)


def test_tensors_may_be_parts_with_axes_in_another_order():
    data = torch_files.storage(ROW)
    for shape, strides, offset, expected in [
        ((2, 3), (3, 1), 5, ROW[5:11].reshape(2, 3)),
        ((3, 2), (1, 3), 0, ROW[:6].reshape(2, 3).T),
        ((2, 3, 2, 2), (12, 1, 6, 3),  # channels last
         0, ROW.reshape(2, 2, 2, 3).transpose(0, 3, 1, 2)),
        ((1, 4, 1), (77, 1, 99), 20, ROW[20:].reshape(1, 4, 1)),
    ]:
        read = torch_pickles.load(torch_files.dumps(
            torch_files.of_bytes(data, shape, strides, offset)
        ))
        np.testing.assert_array_equal(read, expected, strict=True)


PAIR = {'b': ROW, 'a': np.arange(3)}
TENSORS = {key: torch_files.stored(array, key) for key, array in PAIR.items()}


@pytest.mark.parametrize('save', [torch_files.archive, torch_files.older])
def test_both_formats_of_files_are_read(save):
    read = torch_pickles.load(save({**TENSORS, 'c': TENSORS['a']}, PAIR))
    assert list(read) == ['b', 'a', 'c']
    for key, array in {**PAIR, 'c': PAIR['a']}.items():
        np.testing.assert_array_equal(read[key], array, strict=True)


def test_compressed_archives_are_refused():
    with pytest.raises(pickles.FormatError, match='is compressed'):
        torch_pickles.load(torch_files.archive(
            TENSORS, PAIR, zipfile.ZIP_DEFLATED
        ))


def test_every_cut_of_the_older_format_is_refused():
    data = torch_files.older(TENSORS, PAIR)
    for end in range(len(data)):
        with pytest.raises(pickles.FormatError):
            torch_pickles.load(data[:end])


def test_other_values_of_networks_are_read():
    read = torch_pickles.load(torch_files.dumps({
        'number': torch_files.number(0.01),
        'array': Call(
            'numpy.core.multiarray._reconstruct', Name('numpy.ndarray'), (0,),
            b'b', state=(1, (2,), None, False, b'12345678'),
        ),
        'easy': Call('dnnlib.util.EasyDict', [('a', 1)]),
        'set': Call('builtins.set', ['a']),
    }))
    assert isinstance(read.pop('array'), torch_pickles.Opaque)
    assert read == {'number': 0.01, 'easy': {'a': 1}, 'set': {'a'}}


def test_modules_are_names_and_values():
    inner = torch_files.module('Inner', {'weight': ROW, 'bias': None}, gain=2)
    outer = torch_files.module(
        'Outer', buffers={'mean': ROW[:2]}, modules={'inner': inner}
    )
    read = torch_pickles.load(torch_files.dumps({'G': outer}))['G']
    modules = torch_pickles.modules(read)
    assert {name: each.class_name for name, each in modules.items()} == {
        '': 'Outer', 'inner': 'Inner'
    }
    assert modules['inner'].state['gain'] == 2
    assert torch_files.SOURCE not in str(read)
    tensors = torch_pickles.tensors(read)
    assert {name: len(value) for name, value in tensors.items()} == {
        'mean': 2, 'inner.weight': 24
    }


def bad_tensor(shape, strides, offset=0):
    data = torch_files.storage(ROW)
    return torch_files.of_bytes(data, shape, strides, offset)


def bad_storage(**claims):
    return torch_files.of_bytes(
        torch_files.storage(ROW, **claims), (24,), (1,)
    )


def nested(depth):
    """Return an archive that holds an archive, and so on."""
    data = torch_files.archive(0, {})
    for _ in range(depth):
        data = torch_files.archive(
            Call('torch.storage._load_from_bytes', Call(
                '_codecs.encode', data.decode('latin1'), 'latin1'
            )), {}
        )
    return data


def again(name, *arguments):
    """Return a pickle of 500 calls with the same arguments."""
    return torch_files.dumps([Call(name, *arguments) for _ in range(500)])


MEMORY = '^asks for more than 4 times the memory of its bytes$'
LARGE = np.zeros(2**18, np.float32)  # 1 MB
# A list of 2^60 lists, remembered as number 60.
BOMB = b']\x94' + b''.join(
    b'](h%ch%ce\x94' % (number, number) for number in range(60)
)
CALL = b'(X\x04\x00\x00\x00echotR.'
HOSTILE = {
    'os.system': (b'cos\nsystem\n' + CALL, "^names 'os.system'"),
    'posix.system': (b'cposix\nsystem\n' + CALL, "^names 'posix.system'"),
    'eval': (b'cbuiltins\neval\n' + CALL, "^names 'builtins.eval'"),
    'getattr': (
        torch_files.dumps(Call('builtins.getattr', 1, 'real')),
        "^names 'builtins.getattr'.* nothing was run",
    ),
    'name of a part of a module': (
        torch_files.dumps(Name('torch_utils.persistence.exec')),
        "^names 'torch_utils.persistence.exec'",
    ),
    'dotted name': (
        b'\x80\x04\x8c\x05torch\x8c\x10_utils.os.system\x93.',
        "^names 'torch._utils.os.system'",
    ),
    'name that is no text': (b'\x80\x04K\x01K\x02\x93.', '^is damaged'),
    'name without end': (BOMB + b'\x8c\x01ah\x3c\x93.', '^is damaged'),
    'dtype without end': (
        BOMB + b'cnumpy\ndtype\nh\x3c\x85R.', 'dtype a value of type list$',
    ),
    'escapes in a name': (b'ca\x1b[31m\nb\n.', r"^names 'a\\x1b\[31m.b'"),
    'instruction INST': (b'(ios\nsystem\n.', 'instruction INST'),
    'instruction OBJ': (b'(cbuiltins\nset\no.', 'instruction OBJ'),
    'instruction EXT1': (b'\x82\x01.', 'instruction EXT1'),
    'instruction PERSID': (b'P0\n.', 'instruction PERSID'),
    'persistent id': (b'K\x01Q.', '^is damaged'),
    'TensorFlow': (
        torch_files.dumps(Call('dnnlib.tflib.network.Network')),
        'of a network in TensorFlow; only those in PyTorch',
    ),
    'hostile bytes of a tensor': (
        torch_files.dumps(Call(
            'torch.storage._load_from_bytes', b'cos\nsystem\n' + CALL
        )), "^names 'os.system'",
    ),
    'bytes in bytes': (
        torch_files.dumps(Call(
            'torch.storage._load_from_bytes',
            torch_files.dumps(Call('torch.storage._load_from_bytes', b'')),
        )), "^names 'torch.storage._load_from_bytes'",
    ),
    'archives in archives': (
        nested(2), "^names '(_codecs.encode|torch.storage._load_from_bytes)'",
    ),
    'call of a value': (b'K\x01K\x02\x85R.', '^is damaged'),
    'call of a storage': (b'ctorch\nFloatStorage\n)R.', '^is damaged'),
    'state of a name': (b'cbuiltins\nset\n}b.', '^is damaged'),
    'state of an array': (
        torch_files.dumps([torch_files.tensor(ROW)])[:-2] + b'}b.',
        '^is damaged',
    ),
    'tuple as a key': (b'})K\x01s.', '^is damaged'),
    'half an item': (b'}(K\x01u.', '^is damaged'),
    'items of a list': (b'](K\x01K\x02u.', '^is damaged'),
    'unknown memory': (b'h\x07.', '^is damaged'),
    'empty stack': (b'.', '^is damaged'),
    'nothing': (b'', '^is no pickle, or one that is cut off'),
    'text': (b'text', '^is '),
    'HTML': (b'<html>', '^is '),
    'image': (b'\x89PNG\r\n\x1a\n', 'instruction PERSID'),
    'archive of nothing': (torch_files.archive(0, {})[:-30], '^is damaged'),
    'claimed text': (b'\x80\x04\x8d' + b'\xff' * 8 + b'a.', 'is cut off'),
    'claimed bytes': (
        b'\x80\x04\x8e' + (2**62).to_bytes(8, 'little') + b'a.', 'is cut off',
    ),
    'claimed integer': (b'\x80\x02\x8b\xff\xff\xff\x7fa.', 'is cut off'),
    'claimed memory': (b'\x80\x02Nr\xff\xff\xff\xff.', None),
    'bytearray': (
        b'\x80\x05\x96' + (2**62).to_bytes(8, 'little') + b'.',
        'is cut off',
    ),
    'size of a storage': (
        torch_files.dumps(bad_storage(size=2**40)),
        'claims a tensor of 1,099,511,627,776 values and has 24',
    ),
    'two sizes of a storage': (
        torch_files.dumps(bad_storage(after=2**40)),
        'claims a tensor of 24 values and of 1,099,511,627,776',
    ),
    'negative size': (
        torch_files.dumps(bad_storage(size=-1, after=24)), 'impossible size',
    ),
    'kind of storage': (
        torch_files.dumps(bad_storage(kind='torch.QInt8Storage')),
        "^names 'torch.QInt8Storage'",
    ),
    'big-endian storage': (
        torch_files.dumps(bad_storage(machine=False)), 'unknown format',
    ),
    'no storage': (
        torch_files.dumps(Call('torch.storage._load_from_bytes', b'N.')),
        'is no pickle, or one that is cut off',
    ),
    'name in the older format': (
        torch_files.older(Call('os.system', 'echo'), {}), "^names 'os.system'",
    ),
    'storage that is not listed': (
        torch_files.older(TENSORS, {'a': ROW}), 'unknown format',
    ),
    'storage of another size': (
        torch_files.older(TENSORS, {**PAIR, 'a': ROW}),
        'claims a tensor of 3 values and of 24',
    ),
    'big-endian number': (
        torch_files.dumps(Call(
            'numpy.dtype', 'f8', False, True, state=(3, '>')
        )), 'big-endian',
    ),
    'dtype of objects': (
        torch_files.dumps(Call('numpy.dtype', 'O8', False, True)), "dtype 'O8'",
    ),
    'strides of 0': (
        torch_files.dumps(bad_tensor((2**40,), (0,))), 'leaves its storage',
    ),
    'overlap': (torch_files.dumps(bad_tensor((3, 3), (1, 1))), 'overlap'),
    'gaps': (torch_files.dumps(bad_tensor((3,), (2,))), 'gaps'),
    'negative offset': (
        torch_files.dumps(bad_tensor((3,), (1,), -3)), 'impossible shape',
    ),
    'offset': (
        torch_files.dumps(bad_tensor((3,), (1,), 22)), 'leaves its storage',
    ),
    'huge shape': (
        torch_files.dumps(bad_tensor((2**62,) * 8, (1,) * 8)),
        'leaves its storage',
    ),
    'shape of texts': (
        torch_files.dumps(bad_tensor(('3',), (1,))), 'impossible shape',
    ),
    'memory by text': (again('_codecs.encode', 'x' * 2**20, 'latin1'), MEMORY),
    'memory by sets': (again('builtins.set', list(range(2**13))), MEMORY),
    'memory by dicts': (
        again('collections.OrderedDict', [(n, n) for n in range(2**13)]),
        MEMORY,
    ),
    'memory by storages': (
        again('torch.storage._load_from_bytes', torch_files.storage(
            ROW, key='x' * 2**20
        )), MEMORY,
    ),
    'memory by archives': (
        again('torch.storage._load_from_bytes', torch_files.archive(
            Persistent(torch_files.identity(LARGE)), {'0': LARGE}
        )), MEMORY,
    ),
    'many arguments': (
        again('numpy.core.multiarray._reconstruct', *range(17)), '^is damaged',
    ),
    'object without a class': (
        torch_files.dumps(Call(
            'torch_utils.persistence._reconstruct_persistent_obj',
            {'type': 'class', 'module_src': torch_files.SOURCE},
        )), '^is damaged',
    ),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_hostile_files_are_refused(case):
    data, says = HOSTILE[case]
    tracemalloc.start()
    try:
        if says is None:
            torch_pickles.load(data)
        else:
            with pytest.raises(pickles.FormatError, match=says) as refused:
                torch_pickles.load(data)
            assert '\n' not in str(refused.value)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_every_cut_and_every_changed_byte_is_refused_or_read():
    data = torch_files.dumps({'G': torch_files.module(
        'A', {'weight': ROW}, gain=torch_files.number(2)
    )})
    for end in range(len(data)):
        with pytest.raises(pickles.FormatError):
            torch_pickles.load(data[:end])
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 0x55
        try:
            torch_pickles.load(bytes(changed))
        except pickles.FormatError as error:
            assert '\n' not in str(error)


def test_calls_may_create_what_a_real_file_needs():
    arrays = [np.full(2**18, n, np.float32) for n in range(8)]
    for protocol in (2, 4):
        data = torch_files.dumps([
            torch_files.tensor(array) if protocol == 4 else as_text(array)
            for array in arrays
        ], protocol)
        read = torch_pickles.load(data)
        np.testing.assert_array_equal(read, arrays)


def test_number_of_instructions_is_limited(monkeypatch):
    monkeypatch.setattr(pickles, 'MAX_INSTRUCTIONS', 1000)
    inner = torch_files.of_bytes(torch_files.storage(ROW), (24,), (1,))
    with pytest.raises(pickles.FormatError, match='more than 1,000 pickle'):
        torch_pickles.load(torch_files.dumps([inner] + [
            torch_files.tensor(ROW) for _ in range(50)
        ]))
    with pytest.raises(pickles.FormatError, match='more than 1,000 pickle'):
        torch_pickles.load(b'N' * 1000 + b'.')


def test_deep_and_endless_structures_end():
    deep = torch_pickles.load(b'N' + b'\x85' * 100_000 + b'.')
    assert type(deep) is tuple
    with pytest.raises(pickles.FormatError):  # its hash would recurse
        torch_pickles.load(b'}N' + b'\x85' * 100_000 + b'Ns.')
    bomb = []
    for _ in range(60):
        bomb = [bomb, bomb]
    start = time.monotonic()
    torch_pickles.load(pickle.dumps(bomb))
    assert time.monotonic() - start < 5


def peak_of(function, network, says):
    """Return the bytes that it takes to refuse a network."""
    tracemalloc.start()
    try:
        with pytest.raises(pickles.FormatError, match=says):
            function(network)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def shared(count, parameters):
    """Return a network of modules that share the dict of their parameters."""
    def instance(modules, parameters):
        return torch_pickles.Instance('A', {
            '_parameters': parameters, '_buffers': {}, '_modules': modules,
        })

    inner = instance({}, parameters)
    return instance({str(n): inner for n in range(count)}, {})


@pytest.mark.parametrize('names, says', [
    ([f'a{n}' for n in range(1000)], 'more than 10,000 tensors'),
    (['a' * 2**20], "has the name 'a{80}' in a module"),
    ([7], 'has the name 7 in a module'),
    ([10**5000], 'has the name a value of type int in a module'),
])
def test_shared_parameters_are_not_expanded(names, says):
    network = shared(1000, dict.fromkeys(names, ROW))
    assert peak_of(torch_pickles.tensors, network, says) < 2**22


def test_tensors_may_share_values_within_bounds():
    torch_pickles.check_sizes([ROW] * 4, ROW.nbytes)
    with pytest.raises(pickles.FormatError, match='4 times its bytes'):
        torch_pickles.check_sizes([ROW] * 5, ROW.nbytes)


def test_endless_modules_are_refused():
    state = {part: {} for part in torch_pickles.PARTS}
    loop = torch_pickles.Instance('A', state)
    state['_modules']['a'] = loop
    with pytest.raises(pickles.FormatError, match='without end'):
        torch_pickles.modules(loop)
    state['_modules'] = {str(n): loop for n in range(5000)}
    assert peak_of(torch_pickles.modules, loop, 'without end') < 2**24
    for value in (None, [], {}, torch_pickles.Instance('A', {})):
        with pytest.raises(pickles.FormatError, match='no module'):
            torch_pickles.modules(value)
