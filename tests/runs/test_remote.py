"""Run folders on a remote file system: fsspec's memory under s3://.

Arrays are not tested: Orbax writes them by TensorStore, which does not use
fsspec.
"""

import fsspec
from fsspec.implementations import memory
import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.runs import run_folder
from gan_jax.runtime import checkpoint
from gan_jax.runtime import lock
from gan_jax.runtime import manifest
from gan_jax.runtime import loggers
from gan_jax.runtime import writer


class Memory(memory.MemoryFileSystem):
    """File system in memory under s3://."""

    protocol = 's3'
    store = {}
    pseudo_dirs = ['']

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix('s3:/'))


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Return a folder on the store; nothing may be written to the disk."""
    from etils.epath import backend

    monkeypatch.chdir(tmp_path)
    fsspec.register_implementation('s3', Memory, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield run_folder.at('s3://bucket/runs/mine')
    assert list(tmp_path.iterdir()) == []
    Memory.store.clear()


def test_remote_folder_is_created_locked_and_moved_aside(workdir):
    with run_folder.created(workdir), lock.held(workdir):
        (workdir / 'old').write_text('x')
        with pytest.raises(errors.LockedError, match='in use by process'):
            with lock.held(workdir):
                raise AssertionError('the lock was given twice')
        run_folder.move_aside(workdir)
        assert (workdir / 'before-1' / 'old').read_text() == 'x'
        assert [path.name for path in workdir.iterdir()] == [
            'before-1', lock.NAME
        ]
    assert not (workdir / lock.NAME).exists()


def test_remote_metrics_pictures_and_json_are_continued(
    workdir, capsys, monkeypatch
):
    monkeypatch.setitem(loggers.TENSORBOARD_NEEDS, 's3', 'no_such_module')
    for start in (0, 2):
        run_writer = writer.Writer(workdir, enabled=True, start=start, total=4)
        for step in (start + 1, start + 2, start + 3):
            run_writer.scalars(step, {'d/loss': 1.0}, 'line')
        run_writer.picture('x', helpers.random_images(1)[0], step=start + 2)
        run_writer.close()
    text = (workdir / writer.METRICS).read_text()
    assert text.count('{"step": 3') == 1 and len(text.splitlines()) == 5
    assert (workdir / 'samples' / 'x.png').stat().length > 50
    writer.append_json(workdir / 'a.json', 1)
    writer.append_json(workdir / 'a.json', 2)
    assert (workdir / 'a.json').read_text().split() == ['[', '1,', '2', ']']
    assert 'warning: no TensorBoard in s3:' in capsys.readouterr().out


def test_remote_manifest_detects_damage(workdir):
    (workdir / 'a').mkdir(parents=True)
    (workdir / 'a' / 'deep').write_bytes(b'text')
    manifest.write(workdir, step=3)
    assert manifest.verify(workdir)['step'] == 3
    (workdir / 'a' / 'deep').write_bytes(b'tent')
    with pytest.raises(ValueError, match='with other content'):
        manifest.verify(workdir)


def test_remote_checkpoints_are_not_looked_for_locally(workdir):
    checkpoints = checkpoint.Checkpoints(workdir / 'checkpoints')
    assert checkpoints.steps() == []
    assert checkpoints.restore_newest({'a': np.zeros(3)}) is None
    checkpoints.close()
    assert (workdir / 'checkpoints').exists()
