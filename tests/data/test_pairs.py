"""Pairs of images in two sources, from the command line's keys to batches."""

import shutil
import threading

import numpy as np
import pytest

import helpers
import image_files
import two_sources
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.data import folder
from gan_jax.data import on_demand
from gan_jax.data import pairs
from gan_jax.data import pictures
from gan_jax.data import reading
from two_sources import (
    COUNT, config_of, fill, levels, load, matched, refused, two_folders,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Use a cache folder of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def test_pairs_are_matched_by_the_name_without_the_ending(tmp_path):
    names = ['b/2', 'a/1', 'c', '10', '9']
    fill(tmp_path / 'a', 'a', [f'{name}.png' for name in names])
    fill(tmp_path / 'b', 'b', [f'deep/{n}.JPG' for n in names], color=True)
    a, b = load(config_of(
        a__path=str(tmp_path / 'a'), b__path=str(tmp_path / 'b'),
    ))
    assert sorted(matched(a, b)) == [0, 10, 20, 30, 40]
    assert a.images.shape == (5, 8, 8, 1) and b.images.shape == (5, 8, 8, 3)


@pytest.mark.parametrize('form', ['folder', 'zip', 'tar'])
@pytest.mark.parametrize('kind', ['resident', 'streaming'])
def test_pairs_of_folders_and_archives_on_demand_or_not(form, kind, tmp_path):
    two_folders(tmp_path)
    paths = {f'{side}__path': str(
        tmp_path / side if form == 'folder' or side == 'a' else
        shutil.make_archive(tmp_path / 'packed', form, tmp_path, side)
    ) for side in 'ab'}
    config = config_of(feed=kind, **paths)
    assert matched(*load(config)) == [10 * n for n in range(COUNT)]
    feeds = builders.feeds(config, builders.datasets(config))
    a, b = (
        feeds[name].select(
            feeds[name].resident, feeds[name].read(0, 5)
        )[0] for name in 'ab'
    )
    assert {feed.kind for feed in feeds.values()} == {kind}
    np.testing.assert_array_equal(b.astype(int), a.astype(int) + 5)
    for feed in feeds.values():
        feed.close()


def test_both_sides_select_the_part_of_the_first(tmp_path):
    names = [f'{n % 3}/{n:02}' for n in range(COUNT)]
    fill(tmp_path / 'a', 'a', [f'{name}.png' for name in names])
    fill(tmp_path / 'b', 'b', [f'{name}.bmp' for name in names])
    paths = {f'{side}__path': str(tmp_path / side) for side in 'ab'}
    kept = []
    for split in ('train', 'test'):
        a, b = load(config_of(
            classes='0,2', test_share=0.25, split=split, **paths
        ))
        kept += matched(a, b)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.classes == b.classes == ('0', '2')
    assert sorted(kept) == [10 * n for n in range(COUNT) if n % 3 != 1]
    assert len(matched(*load(config_of(limit=5, **paths)))) == 5


def test_pair_with_a_bad_image_is_left_out(tmp_path, capsys):
    paths = two_folders(tmp_path)
    image_files.write(tmp_path / 'a' / '03.png', b'no image')
    image_files.write(tmp_path / 'b' / '07.png', b'')
    for feed in ('auto', 'streaming'):
        values = matched(*load(config_of(max_bad=0.1, feed=feed, **paths)))
        assert values == [10 * n for n in range(COUNT) if n not in (3, 7)]
        err = capsys.readouterr().err
        assert 'skipped 03.png of' in err and 'skipped 07.png of' in err
    refused(config_of(**paths), '1 of 12 images', 'data.a.max_bad=0.01')


@pytest.mark.parametrize('side', 'ab')
def test_pair_with_an_image_that_is_bad_unread_is_left_out(side, tmp_path):
    paths = two_folders(tmp_path)
    file = tmp_path / side / '03.png'
    file.unlink()
    file.symlink_to('nothing')  # skipped by the listing
    values = matched(*load(config_of(max_bad=0.1, **paths)))
    assert values == [10 * n for n in range(COUNT) if n != 3]


def test_pairs_of_arrays_are_matched_by_number(tmp_path):
    images = np.arange(0, 60, 10, np.uint8)[:, None, None] + np.zeros((4, 4))
    for side, add in (('a', 0), ('b', 5)):
        np.save(tmp_path / f'{side}.npy', (images + add).astype(np.uint8))
    a, b = load(config_of(
        limit=4, **{f'{s}__path': str(tmp_path / f'{s}.npy') for s in 'ab'}
    ))
    assert len(matched(a, b)) == 4


def test_useless_keys_of_a_recipe_are_left_out():
    config = config_of(name='digits', task='invert', a__background='white')
    config.clip_weights, config.snapshots.every = 0.0, 7
    (line,) = unused_keys.leave_out(config)
    assert line.startswith('snapshots.every=7')
    assert config.snapshots.every == 100 and config.data.task == 'invert'


# Images that turn bad during a run.


def damage(root):
    """Delete an image of a, cut one of b, and resize another one."""
    (root / 'a' / '02.png').unlink()
    image_files.write(root / 'b' / '05.png', image_files.flat(1)[:20])
    image_files.write(root / 'b' / '11.png', image_files.flat(1, (9, 9)))
    numbers = np.arange(COUNT)
    numbers[[2, 5, 11]] = 3, 6, 0
    return (10 * numbers).tolist()


@pytest.mark.parametrize('first', 'ab')
def test_image_that_turns_bad_takes_its_partner_with_it(
    first, tmp_path, capsys
):
    paths = two_folders(tmp_path)
    datasets = dict(zip('ab', load(config_of(feed='streaming', **paths))))
    expected = damage(tmp_path)
    other = 'ab'['ab'.index(first) - 1]
    for _ in range(2):
        values = {name: levels(datasets[name]) for name in (first, other)}
        assert values['a'] == expected
        assert values['b'] == [value + 5 for value in expected]
    told = sorted(capsys.readouterr().err.splitlines())
    assert [line.split()[1] for line in told] == ['02.png', '05.png', '11.png']
    assert all(
        line.endswith('; the next good pair replaces it') for line in told
    )


def test_streams_of_pairs_stay_pairs_while_files_turn_bad(tmp_path):
    paths = two_folders(tmp_path)
    config = config_of(feed='streaming', **paths)
    feeds = builders.feeds(config, builders.datasets(config))
    seen = []
    for position in range(30):
        if position == 5:
            damage(tmp_path)
        a, b = (feeds[name].read(position, 1)[0] for name in 'ab')
        np.testing.assert_array_equal(b.astype(int), a.astype(int) + 5)
        seen += a[:, :, 0, 0, 0].ravel().tolist()
    for feed in feeds.values():
        feed.close()
    assert set(seen) >= {0, 10, 30, 40, 60} and 20 not in seen[-40:]


def test_task_and_halves_stay_pairs_while_files_turn_bad(tmp_path):
    fill(tmp_path / 'a', 'a', [f'{n:02}.png' for n in range(COUNT)])
    a, b = load(config_of(
        path=str(tmp_path / 'a'), task='invert', feed='streaming'
    ))
    (tmp_path / 'a' / '04.png').unlink()
    assert levels(a)[3:6] == [30, 50, 50]
    assert levels(b)[3:6] == [225, 205, 205]
    root = two_sources.side_by_side(tmp_path / 'AB')
    a, b = load(config_of(path=str(root), feed='streaming'))
    (root / '4.png').unlink()
    assert 40 not in matched(a, b)


def test_images_in_memory_follow_a_partner_on_demand(tmp_path):
    two_folders(tmp_path)
    listed = [folder.listing(tmp_path / side) for side in 'ab']
    parts = [
        reading.read(one, pictures.Preparation(), memory=memory)[0]
        for one, memory in zip(listed, (None, 0))
    ]
    assert pairs.join(parts[:1])[0] is parts[0]
    a, b = pairs.join(parts)
    assert not on_demand.in_memory(a)
    expected = damage(tmp_path)
    expected[2] = 20  # is in memory
    assert a[:][:, 0, 0, 0].tolist() == expected
    assert b[:][:, 0, 0, 0].tolist() == [value + 5 for value in expected]


def test_no_pair_left_is_an_error_in_both(tmp_path):
    paths = two_folders(tmp_path, 2)
    a, b = load(config_of(feed='streaming', **paths))
    (tmp_path / 'a' / '00.png').unlink()
    (tmp_path / 'b' / '01.png').unlink()
    for dataset in (a, b):
        with pytest.raises(errors.DataError, match='no readable pair is left'):
            dataset.images[0]


def shared_reads(count=8):
    """Return (shared reads of two sources, images of one, indices read)."""
    images, reads = helpers.random_images(count, (2, 2, 3)), []

    def read(indices):
        reads.append(indices.tolist())
        return [images[indices], 255 - images[indices]]

    return pairs._SharedReads(read, [12, 12]), images, reads


def test_each_pair_is_read_once_for_both_sources():
    shared, images, reads = shared_reads()
    batches = [np.array([n, n + 1]) for n in range(6)]
    results = {}

    def run(place):
        results[place] = [shared.read(place, batch) for batch in batches]

    threads = [threading.Thread(target=run, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reads) == [batch.tolist() for batch in batches]
    for batch, one, two in zip(batches, results[0], results[1]):
        np.testing.assert_array_equal(one, images[batch])
        np.testing.assert_array_equal(two, 255 - images[batch])
    assert not shared._waiting


def test_one_source_alone_is_read_anew_within_the_memory(monkeypatch):
    shared, images, reads = shared_reads()
    monkeypatch.setattr(pairs, 'MAX_BYTES', 3 * 12)
    for _ in range(2):
        for n in range(8):
            one = shared.read(0, np.array([n]))
            np.testing.assert_array_equal(one, images[[n]])
    assert len(reads) == 16 and len(shared._waiting) == 3
    other = shared.read(1, np.array([0]))
    np.testing.assert_array_equal(other, 255 - images[:1])
    assert len(reads) == 17
    shared.read(1, np.array([7]))
    assert len(reads) == 17


def test_error_of_a_joint_read_reaches_both_sources():
    shared, *_ = shared_reads(count=2)
    for place in (0, 1):
        with pytest.raises(IndexError):
            shared.read(place, np.array([5]))


# Keys of both sources, and of one.


def test_key_of_data_is_that_of_both_unless_one_has_its_own():
    config = config_of(name='digits', b__channels=3, image_size='16')
    config.data.channels = 1  # after that of b
    config.data.a.split = 'test'
    a, b = (defaults.of_source(config, name).data for name in 'ab')
    assert (a.channels, b.channels, a.image_size) == (1, 3, '16')
    assert (a.split, b.split, config.data.split) == ('test', 'train', 'train')
    assert a.name == b.name == 'digits'


@pytest.mark.parametrize('keys, sides', [
    ({'path': 'x'}, 'AB'), ({'name': 'mnist'}, 'AB'),
    ({'a__path': 'x', 'b__path': 'y'}, ('', '')),
    ({'name': 'mnist', 'a__classes': '1', 'b__classes': '7'}, ('', '')),
    ({'name': 'mnist', 'a__split': 'test'}, ('', '')),
    ({'a__path': 'x', 'b__path': 'y', 'task': 'invert'}, 'AB'),
    ({'path': 'x', 'a__side': 'B', 'b__side': 'A'}, 'BA'),
    ({'name': 'ring'}, ('', '')),
])
def test_sources_of_the_same_images_are_its_sides(keys, sides):
    config = config_of(**keys)
    for name, side in zip('ab', sides):
        assert defaults.of_source(config, name).data.side == side


def test_random_crop_is_the_shape_of_a_sample():
    config = config_of(
        name='digits', task='stripes', image_size='36', random_crop='28x32',
    )
    datasets = dict(zip('ab', load(config)))
    shapes = builders.shapes(builders.data_specs(datasets))
    assert shapes == {'a': (28, 32, 1), 'b': (28, 32, 3)}
    np.testing.assert_array_equal(
        datasets['b'].centered([3, 5]),
        datasets['b'].images[[3, 5], 4:32, 2:34],
    )
