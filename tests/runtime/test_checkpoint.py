"""Checkpoints: exact restore, verification, fallback, full disks, hosts."""

import json
import os
import random
import shutil

import chex
import jax
import numpy as np
import pytest

import helpers
from survival_damage import DAMAGES
from survival_damage import files_of
from gan_jax.algorithms import game
from gan_jax.core import errors
from gan_jax.runtime import checkpoint
from gan_jax.runtime import manifest
from gan_jax.runtime import parallel


@pytest.fixture
def state():
    """Return a state as the loop saves it, with empty branches."""
    gan = helpers.linear_gan()
    initial = game.init(gan, jax.random.key(0), (2, 2, 1))
    return jax.tree.map(np.asarray, initial)


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state
    )


def test_checkpoint_restores_every_bit(state, tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path / 'c')
    checkpoints.save(3, state)
    checkpoints.close()
    again = checkpoint.Checkpoints(tmp_path / 'c', read_only=True)
    assert again.steps() == [3]
    restored = again.restore(3, abstract(state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    chex.assert_trees_all_equal(restored, state)
    assert all(
        a.dtype == b.dtype
        for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state))
    )
    again.close()


def test_checkpoints_keep_the_newest(state, tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path / 'c', keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, state)
    checkpoints.close()
    assert checkpoint.Checkpoints(tmp_path / 'c').steps() == [2, 3]


def test_missing_folder_and_step_are_errors(state, tmp_path):
    with pytest.raises(errors.CheckpointError, match='no checkpoints in'):
        checkpoint.Checkpoints(tmp_path / 'none', read_only=True)
    checkpoints = checkpoint.Checkpoints(tmp_path / 'c')
    checkpoints.save(1, state)
    with pytest.raises(errors.CheckpointError, match=r'there are \[1\]'):
        checkpoints.restore(2, abstract(state))
    checkpoints.close()


def test_checkpoint_of_other_shapes_is_refused_in_one_line(state, tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path / 'c')
    checkpoints.save(1, state)
    other = state.replace(averages={'x': np.zeros(3)})
    with pytest.raises(errors.CheckpointError) as caught:
        checkpoints.restore(1, abstract(other))
    assert 'averages/x: none saved, float64[3] expected' in str(caught.value)
    assert 'float32[3, 4] saved, none expected' in str(caught.value)
    assert '\n' not in str(caught.value)
    checkpoints.close()


@pytest.fixture
def saved(state, tmp_path):
    """Create a folder with steps 1, 2 and 3."""
    checkpoints = checkpoint.Checkpoints(tmp_path / 'c')
    for step in (1, 2, 3):
        checkpoints.save(step, of_step(state, step))
    checkpoints.close()
    return tmp_path / 'c'


def of_step(state, step):
    return state.replace(step=np.int32(step))


def newest(folder, state, **options):
    """Restore the newest intact step; returns (its number, warnings)."""
    lines = []
    checkpoints = checkpoint.Checkpoints(folder, say=lines.append, **options)
    try:
        restored = checkpoints.restore_newest(abstract(state))
    finally:
        checkpoints.close()
    return None if restored is None else int(restored.step), lines


def test_newest_is_restored_without_a_warning(saved, state):
    assert newest(saved, state) == (3, [])


def test_folder_without_checkpoints_gives_none(tmp_path, state):
    assert newest(tmp_path / 'new', state) == (None, [])


@pytest.mark.parametrize('number', range(12))
def test_damage_falls_back_with_one_warning(number, saved, state):
    draw = random.Random(number)
    damage = sorted(DAMAGES)[number % len(DAMAGES)]
    path = draw.choice(files_of(saved / '3'))
    while not path.stat().st_size:
        path = draw.choice(files_of(saved / '3'))
    DAMAGES[damage](path, draw)
    step, lines = newest(saved, state)
    assert step == 2, (damage, path)
    assert len(lines) == 1 and lines[0].startswith('warning: ')
    assert not (saved / '3').exists()  # training comes by it again


def test_two_damaged_steps_take_two_warnings(saved, state):
    for step in (2, 3):
        DAMAGES['empty'](max(
            files_of(saved / str(step)), key=lambda path: path.stat().st_size
        ), None)
    step, lines = newest(saved, state)
    assert step == 1 and len(lines) == 2


def test_no_intact_step_is_an_error_and_removes_nothing(saved, state):
    for step in (1, 2, 3):
        (saved / str(step) / '_CHECKPOINT_METADATA').write_text('x')
    with pytest.raises(errors.CheckpointError, match='--restart starts again'):
        newest(saved, state)
    assert sorted(os.listdir(saved)) == ['1', '2', '3']


def test_reader_removes_nothing(saved, state):
    (saved / '3' / '_CHECKPOINT_METADATA').write_text('x')
    assert newest(saved, state, read_only=True)[0] == 2
    assert (saved / '3').exists()


def test_step_without_a_manifest_is_skipped(saved, state):
    (saved / '3' / manifest.NAME).unlink()
    step, lines = newest(saved, state)
    assert step == 2
    assert 'lacks manifest.json' in lines[0]


def test_partly_removed_steps_are_removed(saved, state):
    (saved / '1' / manifest.NAME).unlink()
    assert newest(saved, state, read_only=True) == (3, [])
    assert (saved / '1').exists()
    assert newest(saved, state) == (3, [])
    assert not (saved / '1').exists() and (saved / '2').exists()


@pytest.mark.parametrize('damaged', [2, 3])
@pytest.mark.parametrize('content', [b'[]', b'{"a": 1}', b'[' * 10**5])
def test_metadata_is_read_only_after_verification(
    content, damaged, saved, state
):
    (saved / str(damaged) / '_CHECKPOINT_METADATA').write_bytes(content)
    assert newest(saved, state)[0] == (3 if damaged == 2 else 2)


@pytest.mark.parametrize('name', ['²', '007', '9' * 200, '-1', '1.5'])
def test_folders_with_other_names_are_ignored(name, saved, state):
    shutil.copytree(saved / '3', saved / name)
    assert newest(saved, state, read_only=True)[0] == 3


@pytest.mark.parametrize('cost', ['x', [1], True, float('nan'), 10**400])
def test_invalid_costs_are_ignored(cost, saved):
    path = saved / '3' / manifest.NAME
    content = json.loads(path.read_text()) | {'cost': cost}
    content['sha256'] = manifest._own_hash(content)
    path.write_text(json.dumps(content))
    checkpoints = checkpoint.Checkpoints(saved, read_only=True)
    assert checkpoints.best() == (None, float('inf'))
    checkpoints.close()


@pytest.mark.parametrize('form', [None, 3, {'step': 3}, [], {'step': [1]}])
def test_manifest_that_describes_no_state_is_damage(form, saved, state):
    path = saved / '3' / manifest.NAME
    content = json.loads(path.read_text()) | {'state': form}
    content['sha256'] = manifest._own_hash(content)
    path.write_text(json.dumps(content))
    step, lines = newest(saved, state, read_only=True)
    assert step == 2 and 'does not describe a state' in lines[0]


def test_state_larger_than_memory_is_refused(saved, state, monkeypatch):
    monkeypatch.setattr(parallel, 'machine_memory', lambda: 10)
    with pytest.raises(errors.CheckpointError, match='more memory than this'):
        newest(saved, state, read_only=True)


def test_run_without_any_manifest_is_refused(saved, state):
    for step in (1, 2, 3):
        (saved / str(step) / manifest.NAME).unlink()
    with pytest.raises(errors.CheckpointError, match='--restart starts again'):
        newest(saved, state)
    assert sorted(os.listdir(saved)) == ['1', '2', '3']
    checkpoints = checkpoint.Checkpoints(saved, read_only=True)
    assert checkpoints.steps() == []
    checkpoints.close()


def test_state_of_other_shapes_does_not_fall_back(saved, state):
    other = state.replace(averages={'x': np.zeros(3)})
    with pytest.raises(errors.CheckpointError, match='does not fit'):
        newest(saved, other)
    assert sorted(os.listdir(saved)) == ['1', '2', '3']


def test_multiples_are_kept_beside_the_newest(state, tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2, keep_every=3)
    for step in range(1, 9):
        checkpoints.save(step, state)
    assert checkpoints.steps() == [3, 6, 7, 8]
    checkpoints.close()


def test_full_disk_warns_and_fails_the_third_time(
    state, tmp_path, monkeypatch
):
    lines = []
    checkpoints = checkpoint.Checkpoints(tmp_path, say=lines.append)
    checkpoints.save(1, state)
    checkpoints.steps()  # waits
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: usage._replace(free=1000)
    )
    for step in (2, 3):
        checkpoints.save(step, state)
    assert len(lines) == 2
    assert '0.0 MB are free' in lines[0] and 'step 1 is kept' in lines[0]
    with pytest.raises(errors.DiskError, match='3 times') as caught:
        checkpoints.save(4, state)
    assert caught.value.exit_code == 74
    monkeypatch.undo()
    checkpoints.save(5, state)
    assert checkpoints.steps() == [1, 5]
    checkpoints.close()


def test_failure_while_writing_keeps_the_last_and_is_cleaned(
    state, tmp_path, monkeypatch
):
    lines = []
    checkpoints = checkpoint.Checkpoints(tmp_path, say=lines.append)
    checkpoints.save(1, of_step(state, 1))
    checkpoints.steps()

    def fail(*args, **kwargs):
        (tmp_path / '2.orbax-checkpoint-tmp').mkdir(exist_ok=True)
        raise OSError('No space left on device')

    monkeypatch.setattr(
        checkpoints._manager, 'wait_until_finished', fail
    )
    checkpoints.save(2, state)
    checkpoints._join()
    assert 'No space left on device' in lines[0]
    assert not list(tmp_path.glob('*tmp*'))
    monkeypatch.undo()
    with pytest.raises(errors.DiskError, match='step 1 is kept'):
        checkpoints.close()  # a run must not end as if its end were saved
    assert newest(tmp_path, state)[0] == 1


def test_lost_host_is_raised_at_once(state, tmp_path, monkeypatch):
    lines = []
    checkpoints = checkpoint.Checkpoints(tmp_path, say=lines.append)

    def fail(*args, **kwargs):
        raise ValueError('UNKNOWN: Gloo AllGather failed')

    monkeypatch.setattr(checkpoints._manager, 'save', fail)
    checkpoints.save(1, state)
    assert 'could not be saved' in lines.pop()
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    monkeypatch.setattr(parallel, 'on_all_hosts', lambda holds: holds)
    with pytest.raises(ValueError, match='Gloo'):
        checkpoints.save(2, state)
    assert not lines


def test_hosts_that_see_different_checkpoints_are_refused(
    saved, state, monkeypatch
):
    monkeypatch.setattr(parallel, 'same_on_all_hosts', lambda text: False)
    with pytest.raises(errors.CheckpointError, match='shared file system'):
        newest(saved, state)


def test_damage_on_another_host_counts_here(saved, state, monkeypatch):
    answers = iter([True, False, True, True])  # the first of the folder
    monkeypatch.setattr(parallel, 'on_all_hosts', lambda holds: next(answers))
    assert newest(saved, state) == (
        2, ['warning: a checkpoint is damaged on another host']
    )


def test_full_disk_of_another_host_counts_here(state, tmp_path, monkeypatch):
    lines = []
    checkpoints = checkpoint.Checkpoints(tmp_path, say=lines.append)
    with monkeypatch.context() as patch:
        patch.setattr(parallel, 'on_all_hosts', lambda holds: False)
        checkpoints.save(1, state)
    assert 'another host has no space for it' in lines[0]
    assert checkpoints.steps() == []
    checkpoints.save(2, state)
    checkpoints.close()
