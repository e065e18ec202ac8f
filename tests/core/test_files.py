"""Safe reading and atomic writing of files."""

import json
import os
import pathlib
import socket
import threading
import time

import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.features import weights
from gan_jax import reporting
from gan_jax.runs import run_folder
from gan_jax.runtime import lock
from gan_jax.runtime import writer
from gan_jax.tools import video
from gan_jax.training import train

IMAGE = np.zeros((4, 4, 3), np.uint8)
WRITERS = {
    'x.json': lambda path: writer.write_json(path, {'a': 1}),
    'evaluation.json': lambda path: writer.append_json(path, {'a': 1}),
    'x.png': lambda path: writer.save_png(path, IMAGE),
    'x.npz': lambda path: writer.save_arrays(path, a=IMAGE),
    'x.html': lambda path: reporting.save(path, 'text'),
    'x.gif': lambda path: video.save(path, [IMAGE, IMAGE], 10),
    'x.safetensors': lambda path: weights.write(path, {'a': np.zeros(2)}),
}


@pytest.fixture
def victim(tmp_path):
    """Create a file outside of the folder that is written to."""
    path = tmp_path / 'victim'
    path.write_text('precious')
    (tmp_path / 'run').mkdir()
    yield path
    assert path.read_text() == 'precious'


@pytest.mark.parametrize('name', WRITERS)
def test_links_are_not_followed_when_writing(name, victim):
    path = victim.parent / 'run' / name
    links = [path] + [
        path.with_name(f'{name}{ending}') for ending in
        ('.partial', f'.{os.getpid()}', f'.partial-{os.getpid()}')
    ]
    for link in links:
        link.symlink_to(victim)
    WRITERS[name](path)
    assert path.is_file() and not path.is_symlink()
    assert path.stat().st_size > 3
    assert sorted(path.parent.iterdir()) == sorted(links)


@pytest.mark.parametrize('name', WRITERS)
def test_writing_over_a_folder_or_device_is_an_error(name, tmp_path):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(OSError, match='not a regular file'):
        WRITERS[name](path)
    assert list(tmp_path.iterdir()) == [path] and path.is_fifo()


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('old')
    with pytest.raises(KeyError):
        with files.atomic_write(path) as file:
            file.write(b'new')
            raise KeyError
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.write(tmp_path / 'a', b'')
    finally:
        os.umask(before)
    assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o640


def test_a_writer_appends_to_no_link(victim):
    folder = victim.parent / 'run'
    names = [
        name + ending for name in (writer.METRICS, writer.DIAGNOSIS)
        for ending in ('', '.partial')
    ]
    for name in names:
        (folder / name).symlink_to(victim)
    run_writer = writer.Writer(folder, enabled=True, start=0, total=1)
    run_writer.scalars(1, {'d/loss': 1.0}, 'line')
    run_writer.finding(
        1, {'rule': 'r', 'level': 'note', 'text': '', 'advice': ''}
    )
    run_writer.close()
    for name in (writer.METRICS, writer.DIAGNOSIS):
        assert not (folder / name).is_symlink()
        assert json.loads((folder / name).read_text())['step'] == 1


def test_too_large_metrics_files_are_renamed(tmp_path):
    path = tmp_path / writer.METRICS
    with path.open('wb') as file:
        file.truncate(2**40)
    began = time.monotonic()
    writer.Writer(tmp_path, enabled=True, start=0, total=1).close()
    assert time.monotonic() - began < 5
    (other,) = tmp_path.glob(f'{writer.METRICS}.*')
    assert other.stat().st_size == 2**40 and path.stat().st_size == 0


@pytest.mark.parametrize('make', [
    lambda path, victim: path.symlink_to(victim),
    lambda path, victim: os.mkfifo(path),
])
def test_only_regular_files_are_appended_to(make, victim):
    path = victim.parent / 'run' / 'x.jsonl'
    make(path, victim)
    with pytest.raises(OSError):
        files.append(path, 'text')


def test_lock_and_write_test_follow_no_link(
    victim, monkeypatch
):
    folder, pid = run_folder.at(victim.parent / 'run'), os.getpid()
    for name in (f'.probe-{pid}', f'{lock.NAME}.{pid}'):
        os.symlink(victim, folder / name)
    with run_folder.created(folder), lock.held(folder):
        assert (folder / lock.NAME).is_file()


def link_out(path, victim):
    path.symlink_to(victim.parent)


def device(path, victim):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


@pytest.mark.parametrize('name, make', [
    ('samples', link_out), ('tensorboard', link_out), ('checkpoints', link_out),
    ('before-1', link_out), ('checkpoints/4', link_out),
    ('samples/000002.png', lambda path, victim: path.mkdir()),
    ('samples', lambda path, victim: path.write_text('')),
    ('samples', lambda path, victim: path.symlink_to('nothing')),
    ('metrics.jsonl', lambda path, victim: path.mkdir()),
    ('metrics.jsonl', device),
    ('config.json', lambda path, victim: os.mkfifo(path)),
])
def test_training_refuses_links_and_devices_in_its_folder(
    name, make, victim, monkeypatch
):
    path = victim.parent / 'run' / name
    path.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(path.parent)
    make(path, victim)
    with pytest.raises(errors.CheckpointError, match=f'{name} is no'):
        train.train(helpers.tiny_mlp(), victim.parent / 'run')
    assert sorted(p.name for p in victim.parent.iterdir()) == ['run', 'victim']


def test_names_that_a_run_does_not_write_are_ignored(victim):
    folder = run_folder.at(victim.parent / 'run')
    os.symlink(victim.parent, folder / 'latest')
    os.mkfifo(folder / 'pipe')
    (folder / 'samples').mkdir()
    run_folder.check_entries(folder)
    with pytest.raises(errors.CheckpointError, match='latest is not a folder'):
        run_folder.check_entries(folder, ('latest',))


@pytest.mark.parametrize('content', [
    [{'seed': 2, 'before': '..'}], [{'seed': 2, 'before': '../before-1'}],
    [{'seed': 2}], [{'seed': 'x', 'before': 'before-1'}], [3], {'seed': 2}, 3,
])
def test_restart_records_cannot_name_other_folders(content, victim):
    folder = run_folder.at(victim.parent / 'run')
    writer.write_json(folder / 'config.json', helpers.tiny_mlp().to_dict())
    writer.write_json(folder / run_folder.RESTARTS, content)
    with pytest.raises(errors.CheckpointError, match='starts again'):
        run_folder.restarts(folder)
    assert (folder / 'config.json').exists()


def append(path, number):
    for item in range(20):
        writer.append_json(path, [number, item])


def test_concurrent_appends_lose_nothing(tmp_path):
    path = tmp_path / 'evaluation.json'
    threads = [
        threading.Thread(target=append, args=(path, number))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    items = json.loads(path.read_text())
    assert len(items) == 60 and len(set(map(tuple, items))) == 60
    assert list(tmp_path.iterdir()) == [path]


def fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize('make, says', [
    (fifo, 'is not a regular file'),
    (pathlib.Path.mkdir, 'is not a regular file'),
    (lambda path: path.symlink_to('/dev/zero'), 'is not a regular file'),
    (lambda path: path.write_bytes(b'"' + b' ' * 100 + b'"'), 'more than 64'),
    (lambda path: path.write_bytes(b'[' * 60), 'is not JSON'),
    (lambda path: path.write_bytes(b''), 'is not JSON'),
    (lambda path: path.write_bytes(b'\xff\xfe\x00'), 'is not JSON'),
    (lambda path: path.write_bytes(b'9' * 63), None),
])
def test_json_is_read_within_bounds(make, says, tmp_path):
    path = tmp_path / 'x.json'
    make(path)
    if says is None:
        assert files.read_json(path, 64) == int('9' * 63)
        return
    with pytest.raises(ValueError, match=says):
        files.read_json(path, 64)


@pytest.mark.parametrize('depth, deep', [
    (files.MAX_DEPTH, False), (files.MAX_DEPTH + 1, True), (10**5, True),
])
def test_json_nesting_is_limited(depth, deep):
    text = '[{"a":' * (depth // 2) + '[' * (depth % 2) + (
        ']' * (depth % 2) + '}]' * (depth // 2)
    )
    text = text.replace(':}', ':0}')
    if not deep:
        files.parse_json(text)
        return
    with pytest.raises(ValueError, match='too deeply'):
        files.parse_json(text)


def test_missing_files_and_unknown_file_systems_raise_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / 'x')
    for path in ('https://host/x', 'nosuch://x/y'):
        with pytest.raises(OSError, match='unknown file system'):
            files.read_json(path)


def test_json_lines_can_be_thinned_and_long_lines_skipped(
    tmp_path, monkeypatch
):
    path = tmp_path / 'x.jsonl'
    path.write_bytes(
        b'{"a": 1}\n[1]\n' + b'{"a":"' + b'x' * 200 + b'"}\n{"a": 2}\n{"a'
    )
    monkeypatch.setattr(files, 'MAX_LINE', 100)
    objects = [item for _, item in files.lines(path)]
    assert objects == [{'a': 1}, None, None, {'a': 2}, None]
    assert [item for _, item in files.lines(path, 4)] == [{'a': 2}]


@pytest.mark.parametrize('value, expected', [
    (1, 1.0), (2.5, 2.5), (True, None), ('1', None), (None, None),
    (float('inf'), None), (float('nan'), None), (10**400, None), ([], None),
])
def test_number_is_finite_or_none(value, expected):
    assert files.number(value) == expected
