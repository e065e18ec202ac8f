"""Releases on a model hub, by a local double; no test uses the network."""

import os
import pathlib
import re
import shutil
import sys
import types

import numpy as np
import pytest

import gan_jax
import helpers
from gan_jax.core import errors
from gan_jax.runs import hub
from gan_jax.runs import release_files
from gan_jax.tools import release


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Return a double of huggingface_hub, whose hub is a folder."""
    store, module = tmp_path / 'hub', types.ModuleType('huggingface_hub')
    module.calls, module.offline = [], False
    module.sizes = lambda path: path.stat().st_size

    class HfApi:
        def model_info(self, repo, *, revision, files_metadata):
            assert files_metadata
            if module.offline:
                raise ConnectionError('no network')
            if not (store / repo).is_dir():
                error = OSError(f'404: no {repo}\nRequest ID: 1')
                error.response = 404
                raise error
            return types.SimpleNamespace(sha=f'sha of {revision}', siblings=[
                types.SimpleNamespace(
                    rfilename=path.name, size=module.sizes(path)
                ) for path in (store / repo).iterdir()
            ])

        def create_repo(self, repo, *, private, exist_ok):
            module.calls.append((repo, private, exist_ok))
            (store / repo).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(
            self, *, repo_id, folder_path, revision, allow_patterns,
            commit_message,
        ):
            for name in os.listdir(folder_path):
                if name in allow_patterns:
                    shutil.copy(f'{folder_path}/{name}', store / repo_id)
            return f'https://hub/{repo_id}/commit/1'

    def snapshot_download(
        repo, *, revision, allow_patterns, local_dir=tmp_path / 'cache',
        local_files_only=False,
    ):
        module.calls.append((repo, revision))
        if local_files_only:
            if not local_dir.is_dir():
                raise OSError('not in the cache')
            return str(local_dir)
        # As in the cache of the hub, files are links.
        pathlib.Path(local_dir).mkdir(exist_ok=True)
        for name in os.listdir(store / repo):
            if name in allow_patterns:
                pathlib.Path(local_dir, name).symlink_to(store / repo / name)
        return str(local_dir)

    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, 'huggingface_hub', module)
    return module


@pytest.fixture
def released(tmp_path):
    """Return an untrained run, and its release with a private file in it."""
    run = helpers.untrained(
        helpers.tiny_mlp(), tmp_path / 'run', helpers.random_images()
    )
    release.write(tmp_path / 'out', run.workdir, run.algorithm, run.state)
    (tmp_path / 'out' / 'evaluation.json').write_text('[]')
    return run, tmp_path / 'out'


def test_pushed_release_is_pulled_and_samples(library, released, tmp_path):
    run, folder = released
    assert hub.push(folder, 'me/digits').endswith('/commit/1')
    assert library.calls == [('me/digits', True, True)]  # private by default
    loaded = gan_jax.load('hf://me/digits@v1.0')
    assert library.calls[-1] == ('me/digits', 'sha of v1.0')
    np.testing.assert_array_equal(loaded.sample([5]), run.sample([5]))
    assert sorted(os.listdir(loaded.workdir)) == sorted({
        release_files.SUMS, *release_files.NAMES
    } - {release_files.TRAINING})
    hub.pull('me/digits', tmp_path / 'theirs')
    theirs = gan_jax.load(tmp_path / 'theirs')
    np.testing.assert_array_equal(theirs.sample([5]), run.sample([5]))


def test_mistakes_are_one_line(library, released, monkeypatch):
    for name in ('digits', 'hf://a/b/c', 'hf://../x', 'a/b@../../c', 'a b/c'):
        with pytest.raises(errors.ConfigError, match='OWNER/NAME'):
            hub.parse(name)
    with pytest.raises(errors.ReleaseError, match='404: no me/none') as info:
        gan_jax.load('hf://me/none')
    assert '\n' not in str(info.value)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(errors.ConfigError, match=re.escape('.[hub]')):
        gan_jax.load('hf://me/digits')


def test_large_release_is_not_downloaded(library, released):
    hub.push(released[1], 'me/digits')
    calls = len(library.calls)
    for size, says in ((hub.MOST, '16.0 GiB'), (None, 'inf GiB')):
        library.sizes = lambda path: (
            size if 'model' in path.name or 'config' in path.name else 0
        )
        with pytest.raises(errors.ReleaseError, match=says):
            gan_jax.load('hf://me/digits')
    assert len(library.calls) == calls


def test_pulled_release_loads_without_a_network(library, released):
    hub.push(released[1], 'me/digits')
    library.offline = True
    with pytest.raises(errors.ReleaseError, match='not in the cache'):
        gan_jax.load('hf://me/digits')
    library.offline = False
    samples = gan_jax.load('hf://me/digits').sample([5])
    library.offline = True
    np.testing.assert_array_equal(
        gan_jax.load('hf://me/digits').sample([5]), samples
    )
