"""Packs: atomic, lossless, checked, and streamed in little memory."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
import helpers
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.data import on_demand
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import sources

WORKER = ROOT / 'tests' / 'pack_worker.py'
IMAGES = helpers.random_images(300, (4, 5, 3))  # more than one chunk
LABELS = (np.arange(300) % 3).astype(np.int32)
CLASSES = ('cat', 'dog', 'öwl')


def load(path, **changes):
    return sources.load(sources.Request(sources.uri_of_path(path), **changes))


def write(path, form='array', images=IMAGES, labels=LABELS):
    classes = () if labels is None else CLASSES
    return packs.write(
        images, labels, classes, path, form=form, source='folder:mine'
    )


@pytest.fixture(params=packs.FORMS)
def pack(request, tmp_path):
    """A pack of `IMAGES` in each form."""
    write(tmp_path / 'packed', request.param)
    return tmp_path / 'packed'


def images_file(pack):
    (file,) = pack.glob('images.*')
    return file


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('labels', [None, LABELS])
@pytest.mark.parametrize('form', packs.FORMS)
def test_pack_reads_back_in_order(form, labels, channels, tmp_path):
    images = helpers.random_images(300, (4, 5, channels))
    write(tmp_path / 'packed', form, images, labels)
    asked = pictures.Preparation(channels=channels)
    for memory in (None, 0):
        dataset = load(tmp_path / 'packed', memory=memory, preparation=asked)
        assert on_demand.in_memory(dataset.images) == (memory is None)
        assert dataset.images.shape == images.shape
        np.testing.assert_array_equal(dataset.images[:], images)
        chosen = np.array([299, 0, 7, 7])
        np.testing.assert_array_equal(dataset.images[chosen], images[chosen])
        if labels is None:
            assert dataset.labels is None and dataset.classes == ()
        else:
            np.testing.assert_array_equal(dataset.labels, labels)
            assert dataset.classes == CLASSES


def test_pack_is_a_path_of_the_data(pack):
    config = defaults.default_config()
    config.data.path = str(pack)
    assert defaults.source(config) == f'pack:{pack}'
    dataset = load(pack, classes=('dog',), limit=10)
    assert dataset.images.shape == (10, 4, 5, 3) and dataset.classes == ('dog',)


@pytest.mark.parametrize('form', packs.FORMS)
def test_images_on_demand_are_packed_in_order(form, tmp_path):
    lazy = on_demand.OnDemand(IMAGES.shape, lambda places: IMAGES[places])
    write(tmp_path / 'packed', form, lazy)
    np.testing.assert_array_equal(load(tmp_path / 'packed').images, IMAGES)


def test_manifest_describes_the_files(pack):
    manifest = json.loads((pack / 'manifest.json').read_text())
    assert manifest['shape'] == [300, 4, 5, 3]
    assert manifest['classes'] == list(CLASSES)
    assert manifest['source'] == 'folder:mine'
    assert sorted(path.name for path in pack.iterdir()) == sorted(
        ['manifest.json', *manifest['files']]
    )
    assert len(manifest['files']) == 2
    for name, described in manifest['files'].items():
        content = (pack / name).read_bytes()
        assert described == {
            'bytes': len(content),
            'sha256': hashlib.sha256(content).hexdigest(),
        }


def test_write_returns_the_manifest(tmp_path):
    given = write(tmp_path / 'a' / 'b', labels=None)
    assert given == json.loads((tmp_path / 'a/b/manifest.json').read_text())
    assert list(given['files']) == ['images.npy']


@pytest.mark.parametrize('kind', ['folder', 'file', 'pack'])
def test_existing_paths_are_not_overwritten(kind, tmp_path):
    path = tmp_path / 'packed'
    if kind == 'file':
        path.write_text('precious')
    elif kind == 'folder':
        path.mkdir()
    else:
        write(path)
    with pytest.raises(errors.DataError, match='exists already'):
        write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.DataError, match='packed cannot be written'):
        write(tmp_path / 'file' / 'packed')


@pytest.mark.parametrize('form', packs.FORMS)
def test_failed_build_leaves_nothing(form, tmp_path):
    def fetch(places):
        if 299 in places:
            raise KeyboardInterrupt
        return IMAGES[places]

    lazy = on_demand.OnDemand(IMAGES.shape, fetch)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / 'packed', form, lazy)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.parametrize('form', packs.FORMS)
def test_killed_build_leaves_no_pack_and_the_next_one_cleans_up(
    form, tmp_path
):
    path = tmp_path / 'a[b]c'  # no pattern
    process = subprocess.Popen(
        [sys.executable, WORKER, 'pack', path, form, '200000'],
        env=helpers.environment(), stdout=subprocess.PIPE, text=True,
    )
    with process:
        assert process.stdout.readline() == 'packing\n'
        process.send_signal(signal.SIGKILL)
    (partial,) = tmp_path.iterdir()
    assert 'partial' in partial.name and images_file(partial).exists()
    assert not packs.is_pack(path) and not packs.is_pack(partial)
    with pytest.raises(errors.DataError, match='is not a pack'):
        packs.read(path)
    write(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.integration
def test_build_of_another_process_is_left_alone(tmp_path):
    with subprocess.Popen(
        [sys.executable, '-c', 'input()'], stdin=subprocess.PIPE
    ) as other:
        theirs = tmp_path / f'packed.partial-{other.pid}'
        theirs.mkdir()
        write(tmp_path / 'packed')
        assert theirs.exists()


def test_leftover_under_our_own_number_is_cleaned(tmp_path, monkeypatch):
    # In a container the killed process often had the same one.
    monkeypatch.setattr(packs.os, 'getpid', lambda: 1)
    (tmp_path / 'packed.partial-1').mkdir()
    write(tmp_path / 'packed')
    assert [path.name for path in tmp_path.iterdir()] == ['packed']


def test_truncated_file_is_refused(pack):
    file = images_file(pack)
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(errors.DataError, match='images.*damaged: its bytes is'):
        load(pack)


@pytest.mark.parametrize('name', ['images', 'labels'])
def test_missing_file_is_refused(name, pack):
    (file,) = pack.glob(f'{name}.*')
    file.unlink()
    with pytest.raises(errors.DataError, match=f'{name}.* is missing'):
        load(pack)


@pytest.mark.parametrize('name', ['images', 'labels'])
def test_flipped_bit_is_found_by_verifying(name, pack):
    packs.read(pack, verify=True)
    (file,) = pack.glob(f'{name}.*')
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(errors.DataError, match=f'{name}.*damaged: its sha256'):
        packs.read(pack, verify=True)


def test_damaged_record_is_refused_when_it_is_read(tmp_path):
    write(tmp_path / 'packed', 'array_record')
    file = images_file(tmp_path / 'packed')
    content = bytearray(file.read_bytes())
    content[content.index(IMAGES[7].tobytes()[:8])] ^= 1
    file.write_bytes(content)
    images, _, _ = packs.read(tmp_path / 'packed')
    np.testing.assert_array_equal(images[6], IMAGES[6])
    with pytest.raises(errors.DataError, match='array_record is damaged'):
        images[7]


def test_file_that_is_not_array_record_is_refused(tmp_path):
    write(tmp_path / 'packed', 'array_record')
    file = images_file(tmp_path / 'packed')
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(errors.DataError, match='cannot be read'):
        packs.read(tmp_path / 'packed')


def change(pack, **changes):
    """Change keys of a manifest."""
    path = pack / 'manifest.json'
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize('content', ['', '{', '[]', '3', '{}', '\xff', 'null',
                                     '[' * 10**5])
def test_invalid_manifest_is_refused(content, pack):
    (pack / 'manifest.json').write_text(content, 'latin-1')
    with pytest.raises(errors.DataError, match='is not a pack'):
        load(pack)


@pytest.mark.parametrize('changes', [
    {'version': 2}, {'version': '1'}, {'format': 'other'}, {'form': 'zip'},
    {'form': ['array']}, {'shape': [300, 4, 5]}, {'shape': [0, 4, 5, 3]},
    {'shape': [300.0, 4, 5, 3]}, {'shape': None}, {'files': {}},
    {'files': None}, {'files': ['images.npy', 'images.array_record']},
    {'files': {'images.npy': 5, 'images.array_record': 5}},
    {'classes': None}, {'classes': [1, 2]},
])
def test_manifest_of_another_form_is_refused(changes, pack):
    change(pack, **changes)
    with pytest.raises(errors.DataError, match='is not a pack'):
        load(pack)


@pytest.mark.parametrize('form', packs.FORMS)
def test_pack_of_other_channels_is_refused(form, tmp_path):
    write(tmp_path / 'packed', form, np.zeros((3, 4, 5, 5), np.uint8), None)
    with pytest.raises(errors.DataError, match='is not a pack'):
        load(tmp_path / 'packed')


@pytest.mark.parametrize('name', [
    '../secret', '/etc/passwd', 'sub/../../secret', 'other.npy', '',
])
def test_manifest_cannot_name_other_files(name, pack):
    files = json.loads((pack / 'manifest.json').read_text())['files']
    secret = pack.parent / 'secret'
    secret.write_text('secret')
    change(pack, files={**files, name: {'bytes': 6, 'sha256': 'x'}})
    with pytest.raises(errors.DataError, match='is not a pack'):
        load(pack)


@pytest.mark.parametrize('shape', [
    [299, 4, 5, 3], [301, 4, 5, 3], [300, 4, 5, 1], [300, 2**40, 2**40, 3],
    [300, 2**70, 1, 1],
])
def test_manifest_of_another_shape_is_refused(shape, pack):
    change(pack, shape=shape)
    with pytest.raises(errors.DataError, match='images.* (holds|cannot be)'):
        load(pack)


@pytest.mark.parametrize('labels', [
    LABELS[:-1], LABELS.astype(np.int64), LABELS - 1, LABELS + 1,
    LABELS.reshape(150, 2),
])
def test_labels_that_do_not_fit_are_refused(labels, pack):
    np.save(pack / 'labels.npy', labels)
    files = json.loads((pack / 'manifest.json').read_text())['files']
    size = (pack / 'labels.npy').stat().st_size
    files['labels.npy']['bytes'] = size
    change(pack, files=files)
    with pytest.raises(errors.DataError, match='300 labels of 3 classes'):
        load(pack)


def replace(pack, name, function):
    """Replace a file of a pack, and its size in the manifest."""
    (pack / name).unlink()
    function(pack / name)
    described = json.loads((pack / 'manifest.json').read_text())['files']
    described[name]['bytes'] = (pack / name).stat().st_size
    change(pack, files=described)


def save_npz(path):
    with path.open('wb') as file:
        np.savez(file, IMAGES)


@pytest.mark.parametrize('form, name', [
    ('array', 'images.npy'), ('array', 'labels.npy'),
    ('array_record', 'images.array_record'),
])
@pytest.mark.parametrize('function, says', [
    (save_npz, 'cannot be read'), (os.mkfifo, 'is not a regular file'),
    (pathlib.Path.mkdir, 'is not a regular file'),
    (lambda path: path.write_bytes(b''), 'cannot be read'),
])
def test_other_kinds_of_files_are_refused(form, name, function, says, tmp_path):
    pack = tmp_path / 'packed'
    write(pack, form)
    replace(pack, name, function)
    for verify in (False, True):
        with pytest.raises(errors.DataError, match=f'packed.*{says}|damaged'):
            packs.read(pack, verify=verify)


def test_records_of_another_size_are_refused(tmp_path):
    from array_record.python import array_record_module

    def records(path):
        writer = array_record_module.ArrayRecordWriter(
            str(path), 'group_size:1'
        )
        for place, image in enumerate(IMAGES):
            writer.write(image.tobytes()[place == 7:])
        writer.close()

    write(tmp_path / 'packed', 'array_record')
    replace(tmp_path / 'packed', 'images.array_record', records)
    images, _, _ = packs.read(tmp_path / 'packed')
    with pytest.raises(errors.DataError, match='a record does not have 60'):
        images[5:9]


@pytest.mark.parametrize('path', ['none', 'x' * 300])
def test_path_that_is_not_a_pack_is_named(path, tmp_path):
    assert not packs.is_pack(tmp_path / path)
    with pytest.raises(errors.DataError, match='is not a pack'):
        packs.read(tmp_path / path)


def work(*arguments):
    """Run the worker; return the content of its last line.

    With one arena: by default glibc gives each thread its own, which fill for
    minutes (20 MiB with array_record) and then stay as they are.
    """
    process = subprocess.run(
        [sys.executable, WORKER, *map(str, arguments)],
        env={**helpers.environment(), 'MALLOC_ARENA_MAX': '1'},
        capture_output=True, text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def memory_of(form, folder, count, batches):
    """Pack images and stream them; return the memory in MiB.

    Returns:
        (before and after packing, after each of 20 parts of the batches).
    """
    packing = work('pack', folder, form, count)
    given = work('stream', folder, batches)
    shutil.rmtree(folder)
    print(f'{form}: {count} images packed {packing}, streamed {given}')
    assert given['same']
    return packing, given['memory']


@pytest.mark.integration
@pytest.mark.parametrize('form', packs.FORMS)
def test_streaming_a_small_pack_needs_little_memory(form, tmp_path):
    packing, used = memory_of(form, tmp_path / 'packed', 6000, 200)
    # 6,000 images are 70 MiB, 200 batches 150 MiB; 16 batches, 12 MiB, wait.
    assert packing[1] - packing[0] < 35
    assert min(used[-5:]) - min(used[5:10]) < 25


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(
    'form, count', [('array', 200_000), ('array_record', 50_000)]
)
def test_memory_stays_flat_while_a_large_pack_is_streamed(
    form, count, tmp_path
):
    packing, used = memory_of(form, tmp_path / 'packed', count, 4000)
    assert packing[1] - packing[0] < 35
    # Of 2.9 GiB that were read; the 16 batches that wait are 12 MiB.
    assert min(used[-5:]) - min(used[3:8]) < 12
