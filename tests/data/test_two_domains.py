"""Two domains, in one source or in two of any kind."""

import shutil

import numpy as np
import pytest

import helpers
import image_files
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.data import listing as listing_lib
from gan_jax.data import sources
from gan_jax.data import tasks
from gan_jax.data import tfds_source
from two_sources import (
    COUNT, config_of, fill, level, levels, load, matched, reference_layout,
    side_by_side, two_folders, unpaired,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache folder of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def packed(root, form):
    """Pack a folder, unless the form is 'folder'; return the path."""
    if form == 'folder':
        return str(root)
    return shutil.make_archive(root, form, root.parent, root.name)


@pytest.mark.parametrize('form', ['folder', 'zip', 'tar'])
def test_one_path_selects_train_and_test_of_both_domains(
    form, tmp_path
):
    root = reference_layout(tmp_path / 'horse2zebra')
    path = packed(root, form)
    for split in ('train', 'test'):
        a, b = load(unpaired(path=path, split=split))
        assert (len(a.images), len(b.images)) == (COUNT, COUNT - 2)
        assert {n % 10 for n in levels(a)} == {0}
        assert {n % 10 for n in levels(b)} == {5}
        assert a.labels is None
    names = sources.files(sources.Request(
        f'{form}:{path}', split='test', side='B'
    )).listing.files
    assert all('/testB/test' in f'/{name}' for name in names)


@pytest.mark.parametrize('form', ['folder', 'zip'])
def test_folders_a_and_b_are_domains_with_splits_of_their_own(form, tmp_path):
    for split, count in (('train', 6), ('test', 3)):
        for side in 'AB':
            fill(tmp_path / 'AB' / side / split, side.lower(), [
                f'{split}{n}.png' for n in range(count)
            ])
    path = packed(tmp_path / 'AB', form)
    for split, count in (('train', 6), ('test', 3)):
        a, b = load(config_of(path=path, split=split))
        assert matched(a, b) == [10 * n for n in range(count)]
        assert a.labels is None


def test_limit_is_that_of_each_domain(tmp_path):
    path = str(reference_layout(tmp_path))
    a, b = load(unpaired(path=path, limit=5))
    assert (len(a.images), len(b.images)) == (5, 5)
    numbers = [{n // 10 for n in levels(dataset)} for dataset in (a, b)]
    assert numbers[0] != numbers[1]  # drawn apart
    a, b = load(unpaired(path=path, limit=11, b__limit=3))
    assert (len(a.images), len(b.images)) == (11, 3)


def test_one_path_in_two_spellings_is_one_source(tmp_path):
    root = reference_layout(tmp_path / 'x')
    a, b = load(unpaired(
        a__path=f'{root}/', b__path=f'{tmp_path}/./x'
    ))
    assert (len(a.images), len(b.images)) == (COUNT, COUNT - 2)


def test_one_side_that_is_set_decides_the_other(tmp_path):
    path = str(side_by_side(tmp_path))
    for key in ({'a__side': 'B'}, {'b__side': 'A'}):
        a, b = load(config_of(path=path, **key))
        assert levels(a) == [value + 5 for value in levels(b)]


def test_domains_of_a_single_source_are_selected_by_their_side(tmp_path):
    root = reference_layout(tmp_path)
    config = defaults.default_config()
    config.data.path, config.data.side = str(root), 'B'
    validation.validate(config)
    assert len(builders.dataset(config).images) == COUNT - 2


def test_halves_are_the_sides_of_other_pictures(tmp_path):
    root = side_by_side(tmp_path / 'AB')
    for path in (root, shutil.make_archive(root, 'zip', root)):
        a, b = load(config_of(path=str(path), b__channels=3))
        assert a.images.shape == (COUNT, 6, 6, 1)
        assert b.images.shape == (COUNT, 6, 6, 3)
        assert (a.images == a.images[:, :1, :1]).all()
        assert len(matched(a, b)) == COUNT
    a, b = load(config_of(path=str(root), image_size='4', feed='streaming'))
    assert a.images.shape == (COUNT, 4, 4, 1)
    matched(a, b)
    images = np.concatenate([a.images[:], b.images[:]], 2)
    np.save(tmp_path / 'AB.npy', images)
    matched(*load(config_of(path=str(tmp_path / 'AB.npy'))))


@pytest.mark.parametrize('a, b', [(1, 3), (3, 1), (4, 1), (0, 4)])
@pytest.mark.parametrize('feed', ['auto', 'streaming'])
def test_domains_have_their_own_channels(a, b, feed, tmp_path):
    keys = {'a__channels': a, 'b__channels': b, 'feed': feed}
    path = str(side_by_side(tmp_path / 'AB'))
    for config in (
        config_of(path=path, **keys),
        config_of(**two_folders(tmp_path), **keys),
        unpaired(path=str(reference_layout(tmp_path / 'x')), **keys),
    ):
        datasets = dict(zip('ab', load(config)))
        shapes = builders.shapes(builders.data_specs(datasets))
        assert (shapes['a'][-1], shapes['b'][-1]) == (a or 1, b)
        if config.algorithm == 'toy':
            matched(*datasets.values())


@pytest.mark.parametrize('name', tasks.TASKS)
def test_tasks_make_pairs_of_any_source(name):
    a, b = load(config_of(name='digits', task=name, limit=20))
    digits = sources.load(sources.Request('digits', limit=20)).images
    for dataset, function in zip((a, b), tasks.TASKS[name]):
        np.testing.assert_array_equal(dataset.images, function(digits))
    np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize('feed', ['auto', 'streaming'])
@pytest.mark.parametrize('name', ['stripes', 'edges', 'invert'])
def test_channels_make_grey_domains_of_a_task_rgb(name, feed, tmp_path):
    names = [f'{n:02}.png' for n in range(COUNT)]
    fill(tmp_path, 'a', names, color=name == 'invert')
    config = config_of(path=str(tmp_path), task=name, feed=feed)
    originals = load(config)
    config.data.channels = 3
    for one, other in zip(originals, load(config)):
        assert other.images.shape == (COUNT, 8, 8, 3)
        np.testing.assert_array_equal(
            other.images[:], np.broadcast_to(one.images[:], other.images.shape)
        )


def test_task_of_files_keeps_test_share_and_streams(tmp_path):
    names = [f'{n:02}.png' for n in range(COUNT)]
    fill(tmp_path, 'a', names, color=True)
    kwargs = {'path': str(tmp_path), 'task': 'invert', 'test_share': 0.25}
    for feed in ('auto', 'streaming'):
        a, b = load(config_of(split='test', feed=feed, **kwargs))
        assert len(a.images) == 3
        np.testing.assert_array_equal(a.images[:], 255 - b.images[:])


@pytest.mark.parametrize('form', ['folder', 'zip', 'gztar'])
def test_classes_of_a_prepared_set_are_a_domain_beside_files(form, tmp_path):
    images = helpers.random_images(40, (28, 28))
    labels = (np.arange(40) % 10).astype(np.uint8)
    for split in ('train', 'test'):
        image_files.write_idx(tmp_path / 'raw', split, images, labels)
    tfds_source.prepare('mnist', str(tmp_path / 'tfds'), str(tmp_path / 'raw'))
    two_folders(tmp_path, size=(28, 28))
    keys = {
        'a__path': packed(tmp_path / 'a', form), 'b__name': 'mnist',
        'b__data_dir': str(tmp_path / 'tfds'), 'b__classes': '3,7',
    }
    for feed in ('auto', 'streaming'):
        a, b = load(unpaired(feed=feed, **keys))
        assert sorted(levels(a)) == [level(n, 'a') for n in range(COUNT)]
        assert b.classes == ('3', '7') and len(b.images) == 8
        expected = images[np.isin(labels, [3, 7])]
        assert {image.tobytes() for image in b.images[:]} == {
            image.tobytes() for image in expected
        }
    a, b = load(unpaired(
        name='mnist', data_dir=str(tmp_path / 'tfds'), a__classes='3',
        b__classes='7', split='test',
    ))
    assert (a.classes, b.classes) == (('3',), ('7',))
    assert (len(a.images), len(b.images)) == (4, 4)


def test_listing_of_a_domain_keeps_its_bad_files_and_classes(tmp_path):
    fill(tmp_path, 'a', [
        'x/valA/cat/1.png', 'x/valA/dog/2.png', 'x/valB/1.png', '0.png'
    ])
    (tmp_path / 'x' / 'valA' / 'bad.png').symlink_to('nothing')
    found, is_domain = listing_lib.of_domain(
        sources.FILES['folder'](tmp_path), 'test', 'A'
    )
    assert is_domain and found.classes == ('cat', 'dog')
    assert [name for name, _ in found.skipped] == ['x/valA/bad.png']
