"""Folder of the compilation cache: private to its owner."""

import os
import pathlib

import jax
import pytest

from gan_jax.runtime import cache
from gan_jax.runtime import environment


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Keep the compilation cache of the test session unchanged."""
    monkeypatch.setattr(
        cache.platformdirs, 'user_cache_dir', lambda name: tmp_path / name
    )
    before = jax.config.jax_compilation_cache_dir
    choose(None)
    cache._refused.cache_clear()
    yield
    cache._refused.cache_clear()
    choose(before)


def choose(path):
    jax.config.update('jax_compilation_cache_dir', path and str(path))


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o7777


def test_cache_folder_and_its_parents_are_created_private(
    tmp_path, no_umask, capsys
):
    assert cache.folder() == str(tmp_path / 'gan_jax' / 'xla')
    assert mode(tmp_path / 'gan_jax') == mode(cache.default()) == 0o700
    assert capsys.readouterr().err == ''


def test_folder_that_others_can_read_is_made_private(capsys):
    cache.default().mkdir(0o755, parents=True)
    cache.default().chmod(0o755)
    assert cache.folder() and mode(cache.default()) == 0o700
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('bits', [0o777, 0o775, 0o757, 0o1777])
def test_folder_that_others_can_write_is_skipped_with_one_warning(bits, capsys):
    cache.default().mkdir(parents=True)
    cache.default().chmod(bits)
    assert cache.folder() is None and cache.folder() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('warning: ') and 'written by others' in line
    assert mode(cache.default()) == bits


def test_folder_set_by_the_user_is_checked_too(tmp_path, capsys):
    chosen = tmp_path / 'chosen'
    choose(chosen)
    assert cache.folder() == str(chosen) and mode(chosen) == 0o700
    chosen.chmod(0o755)  # others may read what was chosen
    assert cache.folder() == str(chosen) and mode(chosen) == 0o755
    cache._refused.cache_clear()
    chosen.chmod(0o777)
    assert cache.folder() == str(cache.default())
    assert f'cached in {chosen}: it can be' in capsys.readouterr().err


def test_folder_of_another_user_is_not_used(tmp_path, monkeypatch):
    path = tmp_path / 'a'
    assert cache.fault(str(path)) is None
    monkeypatch.setattr(cache.os, 'geteuid', lambda: os.getuid() + 1)
    assert cache.fault(str(path)) == 'belongs to another user'


def test_folder_in_a_world_writable_folder_is_not_used(tmp_path):
    above = tmp_path / 'above'
    above.mkdir()
    above.chmod(0o777)
    assert f'{above}, which anyone' in cache.fault(str(above / 'a' / 'b'))
    above.chmod(0o1777)  # as /tmp: nobody renames what is another's
    assert cache.fault(str(above / 'a' / 'b')) is None


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_links_and_parents_of_another_user_are_not_used(tmp_path):
    link, above = tmp_path / 'link', tmp_path / 'above'
    (above / 'a').mkdir(parents=True)
    link.symlink_to(above / 'a')
    assert cache.fault(str(link)) is None
    os.chown(link, 12345, -1, follow_symlinks=False)
    assert 'a link of another user' in cache.fault(str(link))
    os.chown(above, 12345, -1)
    assert f'{above}, which belongs to' in cache.fault(str(above / 'a'))


def test_path_that_is_not_a_folder_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'cannot be used' in cache.fault(str(tmp_path / 'file' / 'a'))
    (tmp_path / 'loop').symlink_to('loop')
    assert 'cannot be used' in cache.fault(str(tmp_path / 'loop'))
    assert cache.fault('gs://bucket/xla') is None
    assert not pathlib.Path('gs:').exists()


def test_programs_are_cached_where_nobody_else_can_write(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.malloc, 'keep_freed_memory', lambda: None)
    choose(tmp_path)
    tmp_path.chmod(0o777)
    environment.prepare()
    assert jax.config.jax_compilation_cache_dir is None
    tmp_path.chmod(0o700)
    cache._refused.cache_clear()
    environment.prepare()
    assert jax.config.jax_compilation_cache_dir == str(cache.default())
