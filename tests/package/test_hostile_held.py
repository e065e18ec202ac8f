"""Hostile files, texts and requests that must do no harm.

Cases in the tests of single modules are not repeated here: hostile weights are
in `features/test_weights.py`, malformed messages of the lab in
`lab/test_lab_server.py`, text of reports in `reporting/test_reporting.py`.
"""

import contextlib
import html.parser
import json
import os
import pathlib
import re
import socket as sockets
import struct
import sys
import tarfile
import time
import zlib

import jax
import numpy as np
import pytest

import helpers
import image_files
import test_archive
import test_lab
from gan_jax.algorithms import game
from gan_jax.core import errors
from gan_jax.data import arrays
from gan_jax.data import pictures
from gan_jax.data import sources
from gan_jax.lab import recording
from gan_jax.runtime import checkpoint
from gan_jax.runtime import manifest
from gan_jax.tools import quiz


@contextlib.contextmanager
def bounded(megabytes, seconds=10):
    """Assert that a block stays below a peak of memory and a time."""
    began, before = time.monotonic(), resident('VmRSS')
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
    yield
    more = (resident('VmHWM') - before) / 1024
    assert more < megabytes, f'{more:.0f} MiB'
    assert time.monotonic() - began < seconds


def resident(field):
    """Return a field of this process's status in kB, on Linux."""
    status = pathlib.Path('/proc/self/status').read_text()
    return int(re.search(rf'{field}:\s+(\d+)', status)[1])


# Archives

def sized(field):
    """Build a tar of one member whose header has this size field."""
    info = tarfile.TarInfo('a.png')
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = field
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return bytes(header) + image_files.flat(1).ljust(512, b'\0') + bytes(1024)


@pytest.mark.parametrize('name', ['x.tar', 'x.tar.gz'])
@pytest.mark.parametrize('size', [2**80, 2**63, 2**62, 2**40, -512, -1])
def test_tar_member_of_any_claimed_size_ends_in_one_line(size, name, tmp_path):
    first = b'\x80' if size > 0 else b'\xff'
    content = sized(first + (size % 2**88).to_bytes(11, 'big'))
    path = tmp_path / name
    path.write_bytes(test_archive.PACKED.get(name[6:], bytes)(content))
    with bounded(32), pytest.raises(errors.DataError) as caught:
        sources.load(sources.Request(sources.uri_of_path(path)))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('offset', [2**63, 2**64 - 1, 2**40])
def test_zip_member_at_any_place_ends_in_one_line(offset, tmp_path):
    content = bytearray(test_archive.zip_of([('a.png', image_files.flat(1))]))
    entry, end = content.index(b'PK\1\2'), content.index(b'PK\5\6')
    extra = struct.pack('<HHQ', 1, 8, offset)
    struct.pack_into('<I', content, entry + 42, 2**32 - 1)
    struct.pack_into('<H', content, entry + 30, len(extra))
    struct.pack_into('<I', content, end + 12, end - entry + len(extra))
    path = tmp_path / 'x.zip'
    path.write_bytes(content[:end] + extra + content[end:])
    with bounded(32), pytest.raises(errors.DataError) as caught:
        sources.load(sources.Request(sources.uri_of_path(path)))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['stored.zip', 'x.tar', 'x.tar.gz'])
def test_paths_of_other_systems_write_nothing(name, tmp_path):
    path = test_archive.write(tmp_path / name, [
        ('C:\\a.png', image_files.flat(1)),
        ('..\\..\\b.png', image_files.flat(2)),
        ('\\\\host\\share\\c.png', image_files.flat(3)),
    ])
    listing = test_archive.listing(path)
    assert sorted(test_archive.levels(listing)) == [1, 3]
    assert [reason for _, reason in listing.ignored] == ['is hidden']
    assert list(tmp_path.iterdir()) == [path]


# Folders

@pytest.mark.skipif(os.name == 'nt', reason='there such names are none')
def test_file_names_are_escaped(tmp_path):
    folder = tmp_path / 'data'
    for name in (
        '\x1b[2Ja.png', '<script>b.png', '\u202egnp.c', 'd\r\n.png',
        '\x9be.txt',
    ):
        image_files.write(folder / name)
    image_files.write(folder / os.fsdecode(b'\xff.png'), b'no image')
    ((code, printed, warned),) = helpers.commands([[
        'gan_jax', 'check_data', folder, '--data.max_bad=0.9',
        f'--out={tmp_path / "x.png"}',
    ]])
    assert code == 0, warned
    shown = (printed + warned).replace('\n', '')
    assert shown.isprintable() and r'\x9be.txt' in shown and r'\udcff' in shown


# Pictures

def chunked(kind, content):
    """Encode a PNG with an extra chunk before the pixels."""
    pixels = np.full((2, 2), 9, np.uint8)
    return image_files.png(
        pixels, chunks=image_files.png_chunk(kind, content)
    )


def tiff(*tags):
    """Encode the header of a TIFF with tags (number, value)."""
    entries = b''.join(
        struct.pack('<HHII', tag, 4, 1, value) for tag, value in sorted(tags)
    )
    return (
        struct.pack('<2sHIH', b'II', 42, 8, len(tags)) + entries + bytes(64)
    )


BOMB = zlib.compress(bytes(100 * 2**20))
CLAIMS = {
    'PNG of 2^31 - 1': image_files.bomb(2**31 - 1, 2**31 - 1),
    'PNG of 169 million pixels': image_files.bomb(13_000, 13_000),
    'PNG, 100 MiB of text': chunked(b'zTXt', b'a\0\0' + BOMB),
    'PNG, 100 MiB of international text': chunked(
        b'iTXt', b'a\0\1\0\0\0' + BOMB
    ),
    'PNG, 100 MiB of profile': chunked(b'iCCP', b'a\0\0' + BOMB),
    'GIF, a frame of 65,535': (
        b'GIF89a' + struct.pack('<HHBBB', 65535, 65535, 0, 0, 0)
        + b',' + struct.pack('<HHHHB', 0, 0, 65535, 65535, 0)
        + b'\2\2\x4c\1\0;'
    ),
    'GIF, a large frame in a small one': (
        b'GIF89a' + struct.pack('<HHBBB', 2, 2, 0, 0, 0)
        + b',' + struct.pack('<HHHHB', 0, 0, 65535, 65535, 0)
        + b'\2\2\x4c\1\0;'
    ),
    'TIFF, tiles of 2^30': tiff(
        (256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (277, 1),
        (322, 2**30), (323, 2**30), (324, 8), (325, 64),
    ),
    'TIFF, strips of 2^32 - 1': tiff(
        (256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 2**32 - 1),
        (277, 1), (278, 2**32 - 1), (279, 2**32 - 1),
    ),
    'BMP of 2^31 - 1': (
        b'BM' + struct.pack('<IHHI', 54, 0, 0, 54)
        + struct.pack('<IiiHHIIiiII', 40, 2**31 - 1, 2**31 - 1, 1, 24,
                      0, 0, 0, 0, 0, 0)
    ),
    'BMP, upside down': (
        b'BM' + struct.pack('<IHHI', 54, 0, 0, 54)
        + struct.pack('<IiiHHIIiiII', 40, 8, -2**31, 1, 24,
                      0, 0, 0, 0, 0, 0)
    ),
    'WebP of 2^24': (
        b'RIFF' + struct.pack('<I', 30) + b'WEBPVP8X'
        + struct.pack('<IB3x', 10, 0) + b'\xff' * 6 + bytes(8)
    ),
}


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('content', CLAIMS.values(), ids=CLAIMS)
def test_picture_that_claims_a_huge_size_takes_little_memory(content):
    with bounded(32):
        try:
            decoded = pictures.decode(content, pictures.Preparation())
            assert decoded.pixels.size < 1000
        except ValueError as error:
            assert '\n' not in str(error)


# Arrays

HEADERS = {
    'code': "{'descr': '|u1', 'fortran_order': False, 'shape': "
            "__import__('os').mkdir('run')}",
    'nesting': '(' * 5000,
    'minus signs': "{'descr': '|u1', 'fortran_order': False, 'shape': ("
                   + '-' * 5000 + '1,)}',
    'large numbers': "{'descr': '|u1', 'fortran_order': False, 'shape': ("
                     + '9' * 5000 + ',)}',
    'large type': "{'descr': '|V2147483647', 'fortran_order': False, "
                  "'shape': (2, 2, 2, 2)}",
    'spaces': ' ' * 60_000,
}


@pytest.mark.parametrize('header', HEADERS.values(), ids=HEADERS)
def test_header_of_an_array_executes_nothing(header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = (header + '\n').encode()
    (tmp_path / 'x.npy').write_bytes(
        b'\x93NUMPY\1\0' + struct.pack('<H', len(line)) + line + bytes(99)
    )
    with bounded(64):
        with pytest.raises(errors.DataError) as caught:
            sources.load(sources.Request('array:x.npy'))
        arrays.axes('x.npy')
    assert '\n' not in str(caught.value)
    assert os.listdir(tmp_path) == ['x.npy']


# Checkpoints

@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """Return a checkpoint folder with step 1, and its state."""
    folder = tmp_path_factory.mktemp('saved') / 'c'
    state = jax.tree.map(np.asarray, game.init(
        helpers.linear_gan(), jax.random.key(0), (2, 2, 1)
    ))
    checkpoints = checkpoint.Checkpoints(folder)
    checkpoints.save(1, state)
    checkpoints.close()
    return folder, state


def evil(text):
    """Replace the class names in Orbax's metadata by a class of the test."""
    return re.sub(r'(orbax[\w.]*|np)\.\w+', 'payload_of_orbax.Handler', text)


DAMAGES = {
    'empty': lambda text: '', 'list': lambda text: '[]',
    'no metadata': lambda text: '{}', 'number': lambda text: '1e999',
    'nesting': lambda text: '[' * 100_000, 'foreign class': evil,
    'other keys': lambda text: text.replace('step', '../../step'),
    'other types': lambda text: text.replace('np.ndarray', 'str'),
}


@pytest.mark.parametrize('name', ['_CHECKPOINT_METADATA', 'default/_METADATA'])
@pytest.mark.parametrize('damage', DAMAGES)
def test_orbax_metadata_execute_nothing(
    damage, name, saved, tmp_path, monkeypatch
):
    (tmp_path / 'payload_of_orbax.py').write_text('open("sprung", "w")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    folder, state = saved
    path = folder / '1' / name
    before, description = path.read_text(), manifest.read(folder / '1')
    about = {key: value for key, value in description.items() if key not in (
        'format', 'version', 'files', 'sha256'
    )}
    try:
        path.write_text(DAMAGES[damage](before))
        (folder / '1' / manifest.NAME).unlink()
        manifest.write(folder / '1', **about)  # its hashes hold
        restored = restore(folder, state)
        assert restored is None or helpers.leaves_equal(restored, state)
    finally:
        path.write_text(before)
        (folder / '1' / manifest.NAME).unlink()
        manifest.write(folder / '1', **about)
    assert 'payload_of_orbax' not in sys.modules
    assert os.listdir(tmp_path) == ['payload_of_orbax.py']


def restore(folder, state):
    """Restore the newest step read-only; None where that is refused."""
    lines, checkpoints = [], None
    try:
        checkpoints = checkpoint.Checkpoints(
            folder, read_only=True, say=lines.append
        )
        return checkpoints.restore_newest(jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state
        ))
    except errors.CheckpointError as error:
        assert '\n' not in str(error)
        assert not [line for line in lines if '\n' in line]
        return None
    finally:
        if checkpoints is not None:
            checkpoints.close()


# Pages

EVIL = (
    '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028"\'`'
)


class Elements(html.parser.HTMLParser):
    """Parser that collects the elements of a page and its data."""

    def __init__(self, page):
        super().__init__()
        self.names, self._in_data, self.data = [], False, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.names.append((tag, [name for name, _ in attributes]))
        self._in_data = ('id', 'data') in attributes

    def handle_data(self, text):
        if self._in_data:
            self.data, self._in_data = json.loads(text), False


def test_text_in_a_quiz_is_escaped(tmp_path, monkeypatch):
    config = helpers.tiny_mlp()
    images, pages = helpers.random_images(), []
    for folder, source in (('plain', 'plain'), (EVIL.replace('/', ''), EVIL)):
        run = helpers.untrained(config, tmp_path / folder, images)
        monkeypatch.setattr(
            quiz, '_reals', lambda *args: (images, source)
        )
        pages.append(Elements(
            quiz.page(run.workdir, run.algorithm, run.state, count=1)
        ))
    clean, page = pages
    assert page.names == clean.names and page.data['data'] == EVIL
    assert page.data['run'] == EVIL.replace('/', '')


def test_text_in_a_recorded_page_is_escaped():
    settings = test_lab.tiny()
    clean = Elements(recording.page(settings, ({}, [])))
    page = Elements(recording.page(settings, ({EVIL: [EVIL]}, [b'<'])))
    assert page.names == clean.names
    assert page.data['real'] == {EVIL: [EVIL]}


# The lab

@pytest.fixture(scope='module')
def lab():
    pytest.importorskip('websockets', reason="pip install -e '.[lab]'")
    import test_lab_server

    with test_lab_server.serving() as (address, lab):
        yield address.removeprefix('http://').rstrip('/'), lab


def status(own, *lines, path='/', timeout=20):
    """Send a raw request; returns the HTTP status, 0 for no answer."""
    host, port = own.rsplit(':', 1)
    with sockets.create_connection((host, int(port)), timeout) as connection:
        connection.sendall('\r\n'.join(
            [f'GET {path} HTTP/1.1', *lines, '', '']
        ).encode('latin-1'))
        answer = b''
        with contextlib.suppress(OSError):  # reset before all was read
            while b'\r\n' not in answer:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
    return int(answer.split()[1]) if answer.startswith(b'HTTP/') else 0


UPGRADE = (
    'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
)


@pytest.mark.parametrize('hosts', [
    ['{}', 'evil.example'], ['evil.example', '{}'], ['{}', '{}'], [],
    ['{}@evil.example'], ['evil.example#{}'], ['{},evil.example'], ['{}.'],
    ['\t{}\tx'], ['rebound.example:80'], ['0:80'], ['[::]'],
])
def test_requests_need_exactly_one_own_host_header(hosts, lab):
    lines = [f'Host: {host.format(lab[0])}' for host in hosts]
    assert status(lab[0], *lines) in (0, 400, 403)
    assert status(lab[0], f'Host: {lab[0]}') == 200


@pytest.mark.parametrize('origins', [
    [], ['null'], ['http://evil.example'], ['https://{}'], ['http://{}/'],
    ['http://{}', 'http://evil.example'], ['http://evil.example', 'http://{}'],
    ['http://{}.evil.example'], ['http://evil.example#http://{}'],
    ['http://evil@{}'], ['ws://{}'], ['file://'], ['{}'], ['http://{} x'],
    ['chrome-extension://{}'],
])
def test_requests_need_exactly_one_own_origin_header(origins, lab):
    own, lines = lab[0], [f'Host: {lab[0]}', *UPGRADE]
    lines += [f'Origin: {origin.format(own)}' for origin in origins]
    assert status(own, *lines, path='/socket') in (0, 400, 403)
    ours = [f'Host: {own}', *UPGRADE, f'Origin: http://{own}']
    assert status(own, *ours, path='/socket') == 101


@pytest.mark.parametrize('path', [
    '/../settings.py', '/..%2fsettings.py', '/%2e%2e/settings.py',
    '//etc/passwd', '/page.html', '/page.js/../server.py', '/page.js%00',
    '/..\\server.py', 'http://evil.example/', '*', '/' + 'x' * 9000,
])
def test_nothing_but_the_pages_files_is_served(path, lab):
    assert status(lab[0], f'Host: {lab[0]}', path=path) in (0, 400, 404, 414)
    assert status(lab[0], f'Host: {lab[0]}', path='/page.js') == 200


def test_many_or_long_headers_are_refused(lab):
    own = lab[0]
    many = [f'X-{number}: x' for number in range(300)]
    assert status(own, f'Host: {own}', *many) in (0, 400, 431)
    assert status(own, f'Host: {own}', f'X: {"x" * 100_000}') in (0, 400, 431)
    assert status(own, f'Host: {own}', 'no header') in (0, 400)
    assert status(own, f'Host: {own}') == 200


@pytest.mark.integration
def test_idle_connections_block_no_page(lab):
    host, port = lab[0].rsplit(':', 1)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(
                sockets.create_connection((host, int(port)), 20)
            )
        assert status(lab[0], f'Host: {lab[0]}') == 200
