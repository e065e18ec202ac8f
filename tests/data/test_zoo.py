"""Folders and archives with all kinds of files, none of which stop a run."""

import functools
import os
import tarfile
import time
import zipfile

import numpy as np
import pytest

import helpers
import zoo
from conftest import ROOT
from gan_jax.data import archive
from gan_jax.data import folder
from gan_jax.data import listing as listing_lib
from gan_jax.data import pictures
from gan_jax.data import reading

# Pillow's warning of damaged EXIF; outside of tests gan_jax keeps it quiet.
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning:PIL')
PREPARATION = pictures.Preparation((zoo.SIDE, zoo.SIDE), channels=3)
MAX_SECONDS = 5


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.build(tmp_path / 'zoo')
    return tmp_path / 'zoo'


def animals(outcome, regular=False):
    """List those of an outcome; `regular` leaves what archives cannot hold."""
    return [
        animal for animal in zoo.ZOO
        if animal.outcome == outcome and (animal.regular or not regular)
    ]


def assert_told(pairs, outcome, regular=False):
    """Compare (name, reason) of some files with the animals of an outcome."""
    found = dict(pairs)
    assert len(found) == len(pairs)
    expected = {
        listing_lib.shown(animal.name): animal.shows
        for animal in animals(outcome, regular)
    }
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name], name


def assert_shown(names, images, regular=False):
    """Compare images with the good animals."""
    shown = dict(zip(names, np.asarray(images, int), strict=True))
    good = animals('good', regular)
    assert shown.keys() == {animal.name for animal in good}
    for animal in good:
        expected = np.broadcast_to(animal.shows, PREPARATION.image_size + (3,))
        np.testing.assert_allclose(
            shown[animal.name], expected, atol=6, err_msg=animal.name
        )


def skipped_of(lines, root):
    """Extract (name, reason) from lines on stderr."""
    parts = [line.partition(f' of {root}: it ') for line in lines]
    assert all(name.startswith('skipped ') for name, _, _ in parts), lines
    return [(name.removeprefix('skipped '), why) for name, _, why in parts]


def test_zoo_holds_at_least_24_kinds_of_files():
    assert len({animal.name for animal in zoo.ZOO}) == len(zoo.ZOO) >= 24


@pytest.mark.parametrize('memory', [None, 0], ids=['memory', 'on demand'])
def test_good_files_are_read_and_bad_ones_named_in_seconds(
    memory, root, capsys
):
    began = time.monotonic()
    listed = folder.listing(root)
    images, good = reading.read(listed, PREPARATION, memory=memory, max_bad=1)
    images = images[:]
    assert time.monotonic() - began < MAX_SECONDS
    assert_shown([listed.files[place] for place in good], images)
    assert_told(listed.ignored, 'left out')
    *told, warning = capsys.readouterr().err.splitlines()
    assert_told(skipped_of(told, root), 'bad')
    assert warning.startswith('warning: 1 of ') and '1x1' in warning


def write_zip(root, path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as packed:
        for animal in zoo.ZOO:
            if animal.regular:
                packed.writestr(animal.name, animal.make)
    return archive.zip_listing(path)


def write_tar(root, path, mode='w'):
    with tarfile.open(path, mode) as packed:
        for animal in zoo.ZOO:
            if animal.regular:
                packed.add(root / animal.name, animal.name)
    return archive.tar_listing(path)


@pytest.mark.parametrize('write, ending', [
    (write_zip, '.zip'), (write_tar, '.tar'),
    (functools.partial(write_tar, mode='w:gz'), '.tar.gz'),
])
def test_archives_of_the_zoo_equal_its_folder(write, ending, root, tmp_path):
    listed = write(root, tmp_path / f'zoo{ending}')
    survey = listing_lib.survey(listed, PREPARATION, keep=True)
    names = [listed.files[place] for place in survey.good]
    assert_shown(names, survey.images, regular=True)
    assert_told(listed.ignored, 'left out', regular=True)
    skipped = [(listing_lib.shown(name), why) for name, why in survey.skipped]
    assert_told(skipped, 'bad', regular=True)


def test_tar_with_links_and_pipes_is_read(root, tmp_path):
    with tarfile.open(tmp_path / 'zoo.tar', 'w') as packed:
        for animal in zoo.ZOO:
            if animal.name not in ('huge.png', 'socket.png', 'memory.png'):
                packed.add(root / animal.name, animal.name, recursive=False)
    listed = archive.tar_listing(tmp_path / 'zoo.tar')
    assert dict(listed.skipped) == dict.fromkeys(
        ('dangling.png', 'device.png', 'itself.png', 'link.png', 'pipe.png'),
        'is not a regular file in the archive',
    )
    assert dict(listed.ignored)['loop'] == 'has no ending'


def test_unreadable_folders_and_files_are_bad(root):
    zoo.build(root / 'shut')
    (root / 'shut').chmod(0)
    (root / 'plain.png').chmod(0)
    try:
        if os.access(root / 'shut', os.R_OK):
            pytest.skip('this user opens every folder')
        listed = folder.listing(root)
        survey = listing_lib.survey(listed, PREPARATION)
    finally:
        (root / 'shut').chmod(0o700)
    why = 'cannot be read: Permission denied'
    skipped = dict(survey.skipped)
    assert skipped['shut'] == skipped['plain.png'] == why


def train(root, *arguments):
    return helpers.run(
        'gan_jax.main', f'--config={ROOT}/configs/dcgan.py',
        f'--config.data.path={root}', f'--config.data.image_size={zoo.SIDE}',
        '--config.generator.width=4', '--config.discriminator.width=4',
        '--config.batch_size=8', '--config.num_steps=4',
        '--config.log_every=2', '--config.sample_every=0',
        '--config.checkpoint_every=0', *arguments, cwd=root.parent,
    )


@pytest.mark.integration
@pytest.mark.parametrize('feed', ['resident', 'streaming'])
def test_run_on_a_zoo_with_few_bad_files_trains(feed, root):
    zoo.breed(root, 3000)
    process = train(root, f'--config.data.feed={feed}')
    assert process.returncode == 0, process.stderr
    good = 3000 + len(animals('good'))
    assert f'{good:,} images of 8x8x3 ({feed})' in process.stdout
    assert 'Done: 4 steps' in process.stdout
    *told, warning = process.stderr.splitlines()
    assert_told(skipped_of(told, root), 'bad')
    assert warning.startswith(f'warning: 1 of {good} images are enlarged')


@pytest.mark.integration
def test_run_on_fewer_images_than_a_batch_warns_and_trains(tmp_path):
    zoo.breed(tmp_path / 'few', 3)
    process = train(tmp_path / 'few')
    assert process.returncode == 0, process.stderr
    assert 'warning: 3 images are fewer than a batch of 8' in process.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    'kinds, says',
    [
        (('good', 'bad', 'left out'), 'images of'),
        (('bad',), 'holds no readable image'),
        (('left out',), 'holds no image'),
        ((), 'holds no image'),
        (None, 'is not a folder'),
    ],
    ids=['many bad', 'all bad', 'no image', 'empty', 'wrong path'],
)
def test_run_on_an_unusable_zoo_ends_in_one_line(
    kinds, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'zoo'
    bad = []
    if kinds is not None:
        chosen = [each for each in zoo.ZOO if each.outcome in kinds]
        bad = [each for each in chosen if each.outcome == 'bad']
        zoo.build(root, chosen)
    process = train(root)
    assert process.returncode == 4
    *told, error = process.stderr.splitlines()
    assert error.startswith('error: ') and says in error
    assert len(skipped_of(told, root)) == len(bad)
    assert not (tmp_path / 'runs').exists()


def test_check_data_names_all_files_that_are_not_read(root):
    process = helpers.run(
        'gan_jax', 'check_data', root, f'--data.image_size={zoo.SIDE}',
        cwd=root.parent,
    )
    assert process.returncode == 4
    good, bad = len(animals('good')), len(animals('bad'))
    told = process.stdout
    assert f'{good} good, {bad} bad' in told
    for start, outcome in (('Skipped ', 'bad'), ('Ignored ', 'left out')):
        lines = [line for line in told.splitlines() if line.startswith(start)]
        parts = [line[10:].partition(': it ') for line in lines]
        assert_told([(name, why) for name, _, why in parts], outcome)
    assert process.stderr.startswith(f'error: {bad} of {good + bad} images')
    assert len(process.stderr.splitlines()) == 1
    assert (root.parent / 'check.png').stat().st_size
