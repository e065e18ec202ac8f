"""The flag --deterministic: XLA's flags, and its choice of kernels kept."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import helpers
from gan_jax.core import errors
from gan_jax.runtime import checkpoint
from gan_jax.runtime import determinism
from test_survival import MAIN
from test_survival import TINY

FORBIDDEN = f'{determinism.FORBID}=true'


@pytest.fixture(name='gpu')
def fixture_gpu(monkeypatch, tmp_path):
    """Behave as on a machine with a plugin for GPUs."""
    monkeypatch.setattr(determinism, 'looks_for_gpu', lambda: True)
    monkeypatch.setattr(determinism, '_check_known', lambda flags: None)
    monkeypatch.setenv(determinism.VARIABLE, '')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    enabled = jax.config.jax_enable_compilation_cache
    yield monkeypatch
    jax.config.update('jax_enable_compilation_cache', enabled)


def test_flags_are_added_to_those_of_the_user(tmp_path):
    wanted = {determinism.FORBID: 'true', determinism.DUMP: '/tmp/a'}
    assert determinism.merged(wanted, '') == (
        f'{FORBIDDEN} {determinism.DUMP}=/tmp/a'
    )
    own = f'--xla_dump_to=/tmp/b {determinism.DUMP}=/mine'
    assert determinism.merged(wanted, own) == f'{own} {FORBIDDEN}'
    (tmp_path / 'flags').write_text('--xla_dump_to=/tmp/b\n')
    assert determinism.merged(wanted, f'{tmp_path}/flags') == (
        f'--xla_dump_to=/tmp/b {FORBIDDEN} {determinism.DUMP}=/tmp/a'
    )


@pytest.mark.parametrize('present, says', [
    (f'{determinism.FORBID}=false', 'contradicts'),
    (f'{determinism.FORBID}=0', 'contradicts'),
    ('/no/such/file', 'cannot be read'),
])
def test_flags_that_contradict_are_refused(present, says):
    with pytest.raises(errors.ConfigError, match=says):
        determinism.merged({determinism.FORBID: 'true'}, present)


def test_a_new_run_keeps_the_results_and_the_next_start_loads_them(
    gpu, tmp_path
):
    assert 'is kept in' in determinism.use(tmp_path)
    flags = determinism.flags_set()
    assert flags[determinism.FORBID] == 'true' and determinism.is_set()
    assert determinism.LOAD not in flags
    assert not jax.config.jax_enable_compilation_cache
    determinism.keep(tmp_path)  # nothing was compiled yet
    kept = tmp_path / determinism.RESULTS
    assert not kept.exists()
    pathlib.Path(flags[determinism.DUMP]).write_text('version: 3\n')
    saved = checkpoint.Checkpoints(tmp_path / 'checkpoints')
    saved.save(1, {'a': np.zeros(2)})
    saved.close()
    assert kept.read_text() == 'version: 3\n'

    gpu.setenv(determinism.VARIABLE, '')  # as another process
    assert f'as {kept} says' in determinism.use(tmp_path)
    again = determinism.flags_set()
    assert pathlib.Path(again[determinism.LOAD]).read_text() == 'version: 3\n'
    assert again[determinism.DUMP] != flags[determinism.DUMP]


def test_xla_writes_to_the_users_cache_alone(gpu, tmp_path):
    determinism.use(tmp_path / 'run')
    path = pathlib.Path(determinism.flags_set()[determinism.DUMP])
    assert path.is_relative_to(tmp_path / 'cache')
    assert path.parent.stat().st_mode & 0o777 == 0o700
    gpu.setenv('XDG_CACHE_HOME', str(tmp_path / 'a b'))
    with pytest.raises(errors.ConfigError, match='blanks'):
        determinism.use(tmp_path / 'run')
    (tmp_path / 'file').touch()
    gpu.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(errors.ConfigError, match='cannot be created'):
        determinism.use(tmp_path / 'run')


def test_results_that_cannot_be_read_are_named(gpu, tmp_path):
    (tmp_path / determinism.RESULTS).mkdir()
    with pytest.raises(errors.CheckpointError, match=determinism.RESULTS):
        determinism.use(tmp_path)


@pytest.mark.parametrize('platforms, plugins, expected', [
    ('', [], False), ('', ['xla_cuda13'], True), ('', ['xla_rocm7'], True),
    ('cpu', ['xla_cuda13'], False), ('cuda,cpu', [], True), ('tpu', [], False),
])
def test_flags_are_of_gpus_alone(monkeypatch, platforms, plugins, expected):
    monkeypatch.setattr(determinism, '_plugins', lambda: plugins)
    previous = jax.config.jax_platforms
    jax.config.update('jax_platforms', platforms)
    try:
        assert determinism.looks_for_gpu() == expected
    finally:
        jax.config.update('jax_platforms', previous)


@pytest.mark.integration
def test_flags_are_those_that_this_jaxlib_knows(tmp_path):
    wanted = {
        determinism.FORBID: 'true', determinism.DUMP: str(tmp_path / 'a'),
        determinism.LOAD: str(tmp_path / 'b'),
    }
    determinism._check_known(determinism.merged(wanted, ''))
    with pytest.raises(errors.ConfigError, match='xla_gpu_no_such_flag'):
        determinism._check_known('--xla_gpu_no_such_flag=true')


def test_a_cpu_repeats_its_bits():
    assert determinism.report() == 'the same in 5 calls'


def test_bits_that_differ_are_told(monkeypatch):
    monkeypatch.setattr(determinism, 'repeats_bits', lambda: False)
    assert 'train with --deterministic' in determinism.report()
    monkeypatch.setattr(determinism, 'repeats_bits', lambda: True)
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    monkeypatch.setenv(determinism.VARIABLE, '')
    assert 'only with --deterministic' in determinism.report()
    monkeypatch.setenv(determinism.VARIABLE, FORBIDDEN)
    assert determinism.report() == 'the same in 5 calls'


@pytest.mark.integration
def test_a_run_on_a_cpu_says_so_and_records_its_flags(tmp_path):
    own = '--xla_cpu_enable_fast_math=false'
    run = tmp_path / 'run'
    done = subprocess.run(
        [sys.executable, '-m', *helpers.last_of_each(
            *MAIN, *TINY, '--deterministic', '--config.num_steps=2',
            f'--workdir={run}',
        )], capture_output=True, text=True, env={
            **helpers.environment(), determinism.VARIABLE: ' '.join(filter(
                None, [os.environ.get(determinism.VARIABLE), own]
            )),
        },
    )
    assert done.returncode == 0, done.stderr
    assert 'Deterministic: CPUs and TPUs need no flags' in done.stdout
    described, = json.loads((run / 'environment.json').read_text())
    assert described['deterministic'] is False
    assert described['xla_flags'][own.split('=')[0]] == 'false'
    assert not (run / determinism.RESULTS).exists()
