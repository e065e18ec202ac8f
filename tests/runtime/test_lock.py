"""Lock of a run folder, and takeover from a process that has ended."""

import errno
import json
import os
import subprocess
import sys

import pytest

from gan_jax.core import errors
from gan_jax.runtime import lock


def own():
    return lock._describe()


def test_lock_names_its_owner_and_is_removed_at_the_end(tmp_path):
    with lock.held(tmp_path):
        owner = json.loads((tmp_path / lock.NAME).read_text())
        assert owner['pid'] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_held_lock_is_refused_with_its_owner(tmp_path):
    with lock.held(tmp_path):
        with pytest.raises(
            errors.LockedError, match=str(os.getpid())
        ) as caught:
            with lock.held(tmp_path):
                raise AssertionError('the lock was given twice')
        assert (tmp_path / lock.NAME).exists()
    assert caught.value.exit_code == 75


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    dead = subprocess.run(
        [sys.executable, '-c', 'import os; print(os.getpid())'],
        capture_output=True, text=True, check=True,
    )
    owner = own() | {'pid': int(dead.stdout)}
    (tmp_path / lock.NAME).write_text(json.dumps(owner))
    with lock.held(tmp_path):
        assert lock._read(tmp_path / lock.NAME)['pid'] == os.getpid()


def test_reused_process_id_is_another_process(tmp_path):
    owner = own() | {'began': 1}
    (tmp_path / lock.NAME).write_text(json.dumps(owner))
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize('content', [
    json.dumps({'host': 'elsewhere', 'pid': 1, 'began': 1}), '', '[]', '{',
    '[' * 10**5, '9' * 10**5,
])
def test_lock_whose_owner_may_be_alive_is_respected(content, tmp_path):
    (tmp_path / lock.NAME).write_text(content)
    with pytest.raises(errors.LockedError, match='remove .*lock.json'):
        with lock.held(tmp_path):
            pass
    assert (tmp_path / lock.NAME).read_text() == content


@pytest.mark.parametrize('pid', ['Infinity', '9' * 4000, '-1', '"1"', '[]'])
def test_invalid_process_ids_have_no_start_time(pid, tmp_path):
    owner = json.dumps(own() | {'pid': 0}).replace('"pid": 0', f'"pid": {pid}')
    (tmp_path / lock.NAME).write_text(owner)
    with lock.held(tmp_path):
        assert lock._read(tmp_path / lock.NAME)['pid'] == os.getpid()


@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir])
def test_lock_that_is_not_a_regular_file_does_not_block(make, tmp_path):
    make(tmp_path / lock.NAME)
    with pytest.raises(errors.LockedError):
        with lock.held(tmp_path):
            pass


def test_only_one_of_two_processes_takes_over_a_lock(tmp_path, monkeypatch):
    path = tmp_path / lock.NAME
    path.write_text(json.dumps(own() | {'began': 1}))
    quicker = own() | {'pid': os.getppid(), 'began': lock._began(os.getppid())}
    judge = lock._has_ended

    def slowly(owner):
        ended = judge(owner)
        if ended:  # meanwhile another takes it over
            path.write_text(json.dumps(quicker))
        return ended

    monkeypatch.setattr(lock, '_has_ended', slowly)
    with pytest.raises(errors.LockedError, match=str(os.getppid())):
        with lock.held(tmp_path):
            raise AssertionError('the lock was given twice')
    assert json.loads(path.read_text()) == quicker
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_hard_links_has_locks(tmp_path, monkeypatch):
    def link(*paths):
        raise OSError(errno.EPERM, 'no links here')

    monkeypatch.setattr(os, 'link', link)
    with lock.held(tmp_path):
        with pytest.raises(errors.LockedError):
            with lock.held(tmp_path):
                raise AssertionError('the lock was given twice')
    assert not list(tmp_path.iterdir())


def test_a_lock_taken_by_another_is_not_removed(tmp_path):
    path = tmp_path / lock.NAME
    with lock.held(tmp_path):
        path.write_text('{"pid": 0}')
    assert path.read_text() == '{"pid": 0}'


def test_hosts_that_do_not_write_need_no_lock(tmp_path):
    with lock.held(tmp_path), lock.held(tmp_path, enabled=False):
        assert len(list(tmp_path.iterdir())) == 1
