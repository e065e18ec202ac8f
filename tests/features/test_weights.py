"""Files of weights: a round trip, and hostile files."""

import io
import json
import os
import tracemalloc

import chex
import numpy as np
import pytest
import safetensors.numpy

from gan_jax.core import errors
from gan_jax.features import inception
from gan_jax.features import weights

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.ones(3, np.float32)
VARIABLES = {'params': {'a': {'bias': BIAS, 'kernel': KERNEL}}}
NAMES = ('params/a/bias', 'params/a/kernel')
ABOUT = json.dumps({'format': 1})


def pack(tensors, about=ABOUT, key='gan_jax'):
    return safetensors.numpy.save(tensors, {key: about})


def raw(header, data=bytes(36)):
    """Return a file with any header, given as text or a JSON value."""
    if not isinstance(header, str):
        header = json.dumps(header)
    header = header.encode()
    return len(header).to_bytes(8, 'little') + header + data


def described(bias=(0, 12), kernel=(12, 36), **changes):
    """Return the header of a valid file with some changes."""
    return {
        '__metadata__': {'gan_jax': ABOUT},
        NAMES[0]: {'dtype': 'F32', 'shape': [3], 'data_offsets': bias},
        NAMES[1]: {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': kernel},
        **changes,
    }


GOOD = dict(zip(NAMES, (BIAS, KERNEL)))


def read(path, data=None):
    if data is not None:
        path.write_bytes(data)
    return weights.read(path, VARIABLES)


def test_written_weights_are_read(tmp_path):
    path = tmp_path / 'new' / 'w.safetensors'
    fingerprint = weights.write(path, VARIABLES, source='here', number=3)
    found = read(path)
    chex.assert_trees_all_equal(found.variables, VARIABLES)
    assert found.about == {'format': 1, 'source': 'here', 'number': 3}
    assert found.fingerprint == fingerprint and len(fingerprint) == 12
    assert os.listdir(path.parent) == ['w.safetensors']


def test_fingerprint_is_that_of_the_weights(tmp_path):
    kinds = {
        weights.write(tmp_path / 'w', VARIABLES, a=1, b=2, c=3, d=4)
        for _ in range(8)
    }
    assert len(kinds) == 1
    changed = {'params': {'a': {'bias': 2 * BIAS, 'kernel': KERNEL}}}
    assert weights.write(tmp_path / 'w', changed, a=1, b=2, c=3, d=4) not in (
        kinds
    )


def test_valid_files_of_the_same_form_are_read(tmp_path):
    read(tmp_path / 'w', pack(GOOD))
    read(tmp_path / 'w', raw(described()))


HOSTILE = {
    'empty': (b'', 'not a safetensors file'),
    'text': (b'<html>Not found</html>', 'not a safetensors file'),
    'header of 2^60 bytes': (
        (2**60).to_bytes(8, 'little') + b'{}', 'not a safetensors file'
    ),
    'header of 2^64 - 1 bytes': (b'\xff' * 40, 'not a safetensors file'),
    'header longer than the file': (
        (2**20).to_bytes(8, 'little') + b'{}', 'damaged'
    ),
    'truncated header': (pack(GOOD)[:40], 'damaged'),
    'truncated data': (pack(GOOD)[:-1], 'damaged'),
    'more after the end': (pack(GOOD) + b'0', 'damaged'),
    'overlap': (raw(described(kernel=(0, 24))), 'damaged'),
    'both of one place': (
        raw(described(kernel=(0, 24)), bytes(24)), 'damaged'
    ),
    'offsets that run backwards': (raw(described(kernel=(36, 12))), 'damaged'),
    'offsets of 2^64 - 1': (
        raw(described(kernel=(12, 2**64 - 1))), 'damaged'
    ),
    'negative offset': (raw(described(bias=(-12, 0))), 'damaged'),
    'shape that overflows': (
        raw(described(**{NAMES[1]: {
            'dtype': 'F32', 'shape': [2**63, 2**63], 'data_offsets': [12, 36],
        }})), 'damaged',
    ),
    'one name twice': (
        raw(json.dumps(described())[:-1] + (
            f', "{NAMES[0]}": {{"dtype": "F32", "shape": [3], '
            '"data_offsets": [36, 48]}}'
        ), bytes(48)), 'damaged',
    ),
    'NaN for a name': (raw('{NaN: 1}'), 'damaged'),
    'NaN for an offset': (
        raw(json.dumps(described(bias=(0, float('nan'))))), 'damaged'
    ),
    'deep nesting': (raw('[' * 100_000), 'damaged'),
    'not UTF-8': (
        (4).to_bytes(8, 'little') + b'{"\xff"', 'damaged'
    ),
    'lacking': (pack({NAMES[0]: BIAS}), 'network: missing params/a/kernel$'),
    'nothing': (
        pack({}), 'network: missing params/a/bias; missing params/a/kernel$'
    ),
    'too much': (
        pack({**GOOD, 'x\n\x1b[2J': np.zeros(0, np.float32)}),
        r"network: unexpected 'x\\n\\x1b\[2J'$",
    ),
    'many others, with long names': (
        pack({**GOOD, **{f'{n}' * 999: BIAS[:0] for n in range(9)}}),
        r"network: unexpected '(\d)\1{78}; .*; and 6 more differences$",
    ),
    'another shape': (
        pack({**GOOD, NAMES[1]: KERNEL.T}),
        r'kernel is F32 \[3, 2\], not F32 \[2, 3\]$',
    ),
    'another dtype': (
        pack({**GOOD, NAMES[0]: BIAS.astype(np.int32)}),
        r'bias is I32 \[3\], not F32 \[3\]$',
    ),
    'half precision': (
        pack({**GOOD, NAMES[0]: BIAS.astype(np.float16)}), 'bias is F16'
    ),
    'not a number': (
        pack({**GOOD, NAMES[0]: BIAS * np.nan}), 'params/a/bias is not finite'
    ),
    'infinite': (
        pack({**GOOD, NAMES[1]: KERNEL - np.inf}), 'kernel is not finite'
    ),
    'of another program': (
        pack(GOOD, key='other'), 'was not written by gan_jax'
    ),
    'no metadata': (safetensors.numpy.save(GOOD), 'was not written'),
    'metadata that is no JSON': (pack(GOOD, '{'), 'was not written'),
    'metadata that is a list': (pack(GOOD, '[1]'), 'was not written'),
    'metadata that nests': (pack(GOOD, '[' * 100_000), 'was not written'),
    'metadata with a number of 9,999 digits': (
        pack(GOOD, '{"format": ' + '9' * 9999 + '}'), 'was not written'
    ),
    'a later format': (pack(GOOD, '{"format": 2}'), 'format 2, not 1'),
    'a format with a line break': (
        pack(GOOD, '{"format": "x\\ny"}'), r"format 'x\\ny', not 1"
    ),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_hostile_file_is_refused_in_one_line(kind, tmp_path):
    data, says = HOSTILE[kind]
    with pytest.raises(errors.DamagedError, match=says) as caught:
        read(tmp_path / 'w', data)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 700


def test_every_truncated_file_is_refused(tmp_path):
    data = pack(GOOD)
    for size in range(len(data)):
        with pytest.raises(errors.DamagedError):
            read(tmp_path / 'w', data[:size])


def test_every_changed_byte_is_refused_or_changes_the_fingerprint(tmp_path):
    data = pack(GOOD)
    whole = read(tmp_path / 'w', data).fingerprint
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x55
        try:
            assert read(tmp_path / 'w', bytes(changed)).fingerprint != whole
        except errors.DamagedError as error:
            assert str(error).isprintable()


def test_large_files_are_not_read_to_their_end(tmp_path):
    path = tmp_path / 'w'
    path.write_bytes(pack(GOOD))
    os.truncate(path, 2**40)  # a hole: it takes no room on the disk
    tracemalloc.start()
    with pytest.raises(errors.DamagedError, match='has more than 1,048,612 by'):
        read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 * 2**20


@pytest.mark.parametrize('make, error, says', [
    (lambda path: os.mkfifo(path), errors.DamagedError, 'not a regular file'),
    (lambda path: path.mkdir(), errors.DamagedError, 'not a regular file'),
    (lambda path: None, errors.CheckpointError, 'cannot be read: No such file'),
    (
        lambda path: path.symlink_to(path), errors.CheckpointError,
        'cannot be read: Too many levels',
    ),
])
def test_what_is_not_a_regular_file_is_refused_at_once(
    make, error, says, tmp_path
):
    make(tmp_path / 'w')
    with pytest.raises(error, match=says):
        read(tmp_path / 'w')


def test_failed_write_leaves_no_file(tmp_path, monkeypatch):
    weights.write(tmp_path / 'w', VARIABLES)
    before = (tmp_path / 'w').read_bytes()

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(weights.files, '_new', lambda path: Full(path, 'x'))
    with pytest.raises(OSError, match='No space'):
        weights.write(tmp_path / 'w', VARIABLES, other=1)
    assert os.listdir(tmp_path) == ['w']
    assert (tmp_path / 'w').read_bytes() == before


@pytest.mark.parametrize('given', [True, False])
def test_missing_weights_are_reported_with_the_download(
    given, tmp_path, monkeypatch
):
    path = tmp_path / 'w.safetensors'
    monkeypatch.setattr(weights, 'default_path', lambda name: path)
    with pytest.raises(errors.CheckpointError) as caught:
        inception.load(path if given else '')
    line = str(caught.value)
    assert line.startswith(f'{path} cannot be read: No such file')
    assert f'download {inception.URL} and convert it: python -m' in line
    assert line.endswith(inception.SOURCE + given * f' --out={path}')


def test_weights_of_another_network_are_refused(tmp_path):
    weights.write(tmp_path / 'w', VARIABLES)
    with pytest.raises(
        errors.DamagedError, match='; and 471 more differences$'
    ):
        inception.load(tmp_path / 'w')
