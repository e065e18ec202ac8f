"""Manifest of a checkpoint: every change of a file is detected."""

import json
import os

import pytest

from gan_jax.runtime import manifest


@pytest.fixture
def folder(tmp_path):
    """Create two files, one of them nested, and their manifest."""
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'b' / 'deep').write_bytes(bytes(range(256)) * 8)
    (tmp_path / 'top').write_bytes(b'text')
    manifest.write(tmp_path, step=3)
    return tmp_path


def test_intact_folder_is_verified_and_returns_its_manifest(folder):
    content = manifest.verify(folder)
    assert content['step'] == 3
    assert sorted(content['files']) == ['a/b/deep', 'top']
    assert manifest.exists(folder)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 4
    path.write_bytes(content)


DAMAGES = {
    'flipped': (flip_a_bit, 'has a/b/deep with other content'),
    'cut': (lambda path: path.write_bytes(path.read_bytes()[:-1]),
            'has a/b/deep with other content'),
    'empty': (lambda path: path.write_bytes(b''), 'with other content'),
    'deleted': (lambda path: path.unlink(), 'lacks a/b/deep'),
    'added': (lambda path: (path.parent / 'new').touch(),
              'has an extra file a/b/new'),
    'a folder': (lambda path: (path.unlink(), path.mkdir()), 'lacks a/b/deep'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_named(damage, folder):
    change, says = DAMAGES[damage]
    change(folder / 'a' / 'b' / 'deep')
    with pytest.raises(ValueError, match=says):
        manifest.verify(folder)


def test_links_to_folders_are_not_entered(folder):
    for name in ('x', 'y'):  # 2^40 paths, were they followed
        (folder / 'a' / name).symlink_to('.')
    with pytest.raises(ValueError, match='has an extra file a/x'):
        manifest.verify(folder)
    manifest.write(folder / 'a' / 'b')
    (folder / 'a' / 'b' / 'deep').unlink()
    os.mkfifo(folder / 'a' / 'b' / 'deep')
    with pytest.raises(ValueError, match='has deep with other content'):
        manifest.verify(folder / 'a' / 'b')


def test_fifo_in_place_of_an_empty_file_does_not_block(folder):
    (folder / 'top').write_bytes(b'')
    manifest.write(folder)
    (folder / 'top').unlink()
    os.mkfifo(folder / 'top')
    with pytest.raises(ValueError, match='top that cannot be read: is not a'):
        manifest.verify(folder)


@pytest.mark.parametrize('content', [
    b'', b'{', b'[]', b'null', b'{"format": "gan_jax checkpoint"}', b'\xff\xfe',
    b'{"format": "other", "version": 1, "files": {}}',
    b'{"format": "gan_jax checkpoint", "version": 1, "files": []}',
    b'{"format": "gan_jax checkpoint", "version": 1, "files": {"top": 1}}',
    b'{"format": "gan_jax checkpoint", "version": "1", "files": {}}',
    b'[' * 10**5,
])
def test_invalid_manifest_is_refused(content, folder):
    (folder / manifest.NAME).write_bytes(content)
    with pytest.raises(ValueError, match='that cannot be read'):
        manifest.verify(folder)


@pytest.mark.parametrize('change', [-1, 1])
def test_manifest_of_another_version_is_refused(change, folder):
    path, version = folder / manifest.NAME, manifest.VERSION + change
    content = json.loads(path.read_text()) | {'version': version}
    content['sha256'] = manifest._own_hash(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f'is of version {version}'):
        manifest.verify(folder)
    path.unlink()
    assert not manifest.exists(folder)
    with pytest.raises(ValueError, match='lacks manifest.json'):
        manifest.verify(folder)


def test_every_flipped_bit_of_a_manifest_is_detected(folder):
    path = folder / manifest.NAME
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(ValueError):
            manifest.verify(folder)
    path.write_bytes(whole)
    manifest.verify(folder)
