"""Releases on a model hub, by a local double; no test uses the network."""

import os
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest

import gan_jax
import helpers
import hub_double
from gan_jax.core import errors
from gan_jax.runs import hub
from gan_jax.runs import release_files
from gan_jax.tools import release


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Return a double of huggingface_hub, whose hub is a folder."""
    module = hub_double.make(tmp_path)
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
    assert library.calls[-1] == ('me/digits', 'v1.0')
    np.testing.assert_array_equal(loaded.sample([5]), run.sample([5]))
    assert sorted(os.listdir(loaded.workdir)) == sorted({
        release_files.SUMS, *release_files.NAMES
    } - {release_files.TRAINING})
    hub.pull('me/digits', tmp_path / 'theirs')
    theirs = gan_jax.load(tmp_path / 'theirs')
    np.testing.assert_array_equal(theirs.sample([5]), run.sample([5]))


def contents(folder):
    """Return {path: bytes} of the files below a folder."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob('*')) if path.is_file()
    }


def test_commands_push_and_pull_and_replace_releases_alone(
    released, monkeypatch, tmp_path
):
    run, folder = released
    modules = tmp_path / 'modules'
    modules.mkdir()
    (modules / 'huggingface_hub.py').write_text(
        'import sys\nimport hub_double\n'
        f'sys.modules[__name__] = hub_double.make({str(tmp_path)!r})\n'
    )
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        filter(None, [str(modules), os.environ.get('PYTHONPATH')])
    ))
    notes, model = tmp_path / 'notes', tmp_path / 'model'
    for other, name in ((notes, 'config.json'), (model, 'model.safetensors')):
        other.mkdir()
        (other / name).write_text('mine')
    (model / release_files.SUMS).write_text(f'{"0" * 64}  config.json\n')
    (tmp_path / 'hub' / 'me' / 'other').mkdir(parents=True)
    shutil.copy(folder / 'config.json', tmp_path / 'hub' / 'me' / 'other')
    before = {
        other: contents(other) for other in (tmp_path / 'run', notes, model)
    }
    write = ['gan_jax', 'release', f'--workdir={run.workdir}']
    pull = ['gan_jax', 'release', '--pull=me/digits']
    done = helpers.commands([
        [*write, '--out=out', '--push=me/digits'],
        [*pull, '--out=theirs'],
        [*pull, '--out=theirs'],
        *([*pull, f'--out={other}'] for other in before),
        *([*write, f'--out={other}'] for other in before),
        ['gan_jax', 'release', '--pull=me/other', '--out=third'],
    ], cwd=tmp_path)
    assert [code for code, *_ in done] == [0, 0, 0, *6 * [2], 8], done
    assert 'Pushed it: https://hub/me/digits/commit/1' in done[0][1]
    assert 'Wrote me/digits, step 4, to theirs' in done[1][1]
    for _, _, err in done[3:]:
        assert err.startswith('error: ') and err.count('\n') == 1
    assert all('holds other files' in err for _, _, err in done[3:9])
    assert before == {other: contents(other) for other in before}
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
    for size, says in ((hub.MOST, '16.0 GiB'), (None, 'how large')):
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
    gan_jax.load('hf://me/digits@v1.0')
    library.offline = True
    for name in ('hf://me/digits', 'hf://me/digits@v1.0'):
        np.testing.assert_array_equal(gan_jax.load(name).sample([5]), samples)
    with pytest.raises(errors.ReleaseError, match='not in the cache'):
        gan_jax.load('hf://me/digits@v2.0')


def test_release_that_changes_while_it_is_pulled_is_refused(library, released):
    hub.push(released[1], 'me/digits')
    library.sha = lambda revision: 'sha-of-older'
    with pytest.raises(errors.ReleaseError, match='was changed while'):
        gan_jax.load('hf://me/digits')


@pytest.mark.parametrize('missing', release_files.NEEDED)
def test_repository_without_a_release_replaces_nothing(
    missing, library, released, tmp_path
):
    hub.push(released[1], 'me/digits')
    (tmp_path / 'hub' / 'me' / 'digits' / missing).unlink()
    calls = len(library.calls)
    with pytest.raises(errors.ReleaseError, match=f'it lacks {missing}'):
        hub.pull('me/digits', released[1])
    assert len(library.calls) == calls
