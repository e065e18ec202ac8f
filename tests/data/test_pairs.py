"""Two sources, from the command line's keys to batches: pairs and domains."""

import shutil

import numpy as np
import pytest

import image_files
import toy
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import listing as listing_lib
from gan_jax.data import sources
from gan_jax.data import tasks

COUNT = 12


def config_of(**keys):
    """Return a config of two sources; a key is that of one or of both."""
    config = defaults.default_config()
    config.algorithm, config.batch_size = toy.Toy.name, 4
    config.data = defaults.grouped_data('a', 'b')
    config.update_from_flattened_dict({
        f'data.{key.replace("__", ".")}': value for key, value in keys.items()
    })
    return config


def load(config):
    """Return the data sets of both sources, as a run does."""
    validation.validate(config)
    datasets = builders.datasets(config)
    return datasets['a'], datasets['b']


@pytest.fixture
def unpaired(monkeypatch):
    """Let the algorithm draw both sources apart."""
    entry = builders.ALGORITHMS[toy.Toy.name]
    monkeypatch.setitem(
        builders.ALGORITHMS, toy.Toy.name,
        entry._replace(sources={'a': 'a', 'b': 'b'}),
    )


def refused(config, *words):
    """Check that a config ends in one line with words."""
    with pytest.raises(errors.UserError) as error:
        load(config)
    line = str(error.value)
    assert '\n' not in line and len(line) < 400, line
    for word in words:
        assert word in line, line


def level(number, side):
    """Return the grey level of an image, another one for each side."""
    return 10 * number + (5 if side == 'b' else 0)


def fill(root, side, names, size=(8, 8), color=False):
    """Write an image under each name, flat, of the level of its place."""
    for number, name in enumerate(names):
        grey = level(number, side)
        image_files.write(
            root / name,
            image_files.flat((grey, 0, 0) if color else grey, size),
        )


def two_folders(root, count=COUNT, **options):
    """Write pairs a/NN.png and b/NN.png."""
    names = [f'{n:02}.png' for n in range(count)]
    for side in 'ab':
        fill(root / side, side, names, **options)
    return {f'{side}__path': str(root / side) for side in 'ab'}


def levels(dataset):
    return dataset.images[:][:, 0, 0, 0].tolist()


def matched(a, b):
    """Check that each image has its partner; return the levels of a."""
    assert levels(b) == [value + 5 for value in levels(a)]
    return levels(a)


# Pairs by name.


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


def test_pairs_of_arrays_are_matched_by_number(tmp_path):
    images = np.arange(0, 60, 10, np.uint8)[:, None, None] + np.zeros((4, 4))
    for side, add in (('a', 0), ('b', 5)):
        np.save(tmp_path / f'{side}.npy', (images + add).astype(np.uint8))
    a, b = load(config_of(
        limit=4, **{f'{s}__path': str(tmp_path / f'{s}.npy') for s in 'ab'}
    ))
    assert len(matched(a, b)) == 4


# Two domains in one source.


def reference_layout(root, count=COUNT):
    """Write trainA, trainB, testA and testB; B has fewer images."""
    for split in ('train', 'test'):
        for side, size in (('a', count), ('b', count - 2)):
            names = [f'{split}{n}.jpg' for n in range(size)]
            fill(root / f'{split}{side.upper()}', side, names)
    return root


@pytest.mark.parametrize('form', ['folder', 'zip'])
def test_one_path_selects_train_and_test_of_both_domains(
    form, tmp_path, unpaired
):
    root = reference_layout(tmp_path / 'horse2zebra')
    path = root if form == 'folder' else shutil.make_archive(
        root, form, tmp_path, 'horse2zebra'
    )
    for split in ('train', 'test'):
        a, b = load(config_of(path=str(path), split=split))
        assert (len(a.images), len(b.images)) == (COUNT, COUNT - 2)
        assert {n % 10 for n in levels(a)} == {0}
        assert {n % 10 for n in levels(b)} == {5}
        assert a.labels is None
    names = sources.files(sources.Request(
        f'{form}:{path}', split='test', side='B'
    )).listing.files
    assert all('/testB/test' in f'/{name}' for name in names)


def test_domains_of_a_single_source_are_selected_by_their_side(tmp_path):
    root = reference_layout(tmp_path)
    config = defaults.default_config()
    config.data.path, config.data.side = str(root), 'B'
    validation.validate(config)
    assert len(builders.dataset(config).images) == COUNT - 2


def side_by_side(root, count=COUNT):
    """Write pictures of two halves."""
    for number in range(count):
        halves = np.uint8([[level(number, side) for side in 'ab']])
        image_files.write(root / f'{number}.png', image_files.encoded(
            halves.repeat(6, 0).repeat(6, 1)
        ))
    return root


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


@pytest.mark.parametrize('name', tasks.TASKS)
def test_tasks_make_pairs_of_any_source(name):
    a, b = load(config_of(name='digits', task=name, limit=20))
    digits = sources.load(sources.Request('digits', limit=20)).images
    for dataset, function in zip((a, b), tasks.TASKS[name]):
        np.testing.assert_array_equal(dataset.images, function(digits))
    np.testing.assert_array_equal(a.labels, b.labels)


def test_task_of_files_keeps_test_share_and_streams(tmp_path):
    names = [f'{n:02}.png' for n in range(COUNT)]
    fill(tmp_path, 'a', names, color=True)
    kwargs = {'path': str(tmp_path), 'task': 'invert', 'test_share': 0.25}
    for feed in ('auto', 'streaming'):
        a, b = load(config_of(split='test', feed=feed, **kwargs))
        assert len(a.images) == 3
        np.testing.assert_array_equal(a.images[:], 255 - b.images[:])


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


def test_useless_keys_of_a_recipe_are_left_out():
    config = config_of(name='digits', task='invert', a__background='white')
    config.clip_weights, config.snapshots.every = 0.0, 7
    (line,) = validation.leave_out(config)
    assert line.startswith('snapshots.every=7')
    assert config.snapshots.every == 100 and config.data.task == 'invert'


# Mistakes, one line each.


def test_mistakes_of_keys_end_in_one_line(tmp_path):
    paths = two_folders(tmp_path, 2)
    digits = {'name': 'digits', 'task': 'stripes'}
    for keys, *words in [
        ({'a__path': paths['a__path']}, "data.b.name='' and data.b.path=''"),
        ({**paths, 'b__path': '/none'}, "data.b.path='/none' is not a folder"),
        ({**paths, 'b__image_size': 'x'}, "data.b.image_size='x' is not"),
        ({'name': 'digits', 'task': 'stripe'}, 'data.a.task', "'stripes'"),
        ({**paths, 'b__side': 'C'}, "data.b.side='C'", "['', 'A', 'B']"),
        ({**digits, 'channels': 1}, 'data.b.channels=1', 'has 3'),
        ({**digits, 'random_crop': '33'}, 'data.a.random_crop=33x33',
         '32x32'),
        ({**digits, 'random_crop': '9', 'image_size': '8'},
         "data.a.random_crop='9' is larger than data.a.image_size='8'"),
        ({**digits, 'random_crop': '4x'}, "data.a.random_crop='4x'"),
        ({**digits, 'b__flip': True}, 'data.a.flip=False and data.b.flip=True'),
        ({**digits, 'a__limit': 5}, 'data.a.limit=5', 'drawn in pairs'),
        ({**digits, 'a__channels': 1, 'b__channels': 1, 'channels': 3},
         'data.channels=3 has no effect'),
        ({'name': 'ring', 'task': 'invert'}, 'data.a.task', 'has points'),
        ({**paths, 'task': 'invert'}, 'pairs of the images of one source'),
        ({'name': 'digits'}, 'an image of digits is 32x32', 'side by side'),
    ]:
        refused(config_of(**keys), *words)


def test_mistakes_of_a_single_source_end_in_one_line():
    for keys, word in [
        ({'random_crop': '8'}, 'with two sources'),
        ({'task': 'invert'}, 'data.side'),
    ]:
        config = defaults.default_config()
        config.data.update(keys)
        with pytest.raises(errors.ConfigError, match=word):
            validation.validate(config)


@pytest.mark.parametrize('only, other', [('a', 'b'), ('b', 'a')])
def test_image_without_a_partner_is_named(only, other, tmp_path):
    paths = two_folders(tmp_path, 3)
    fill(tmp_path / only, only, [f'x{n}.png' for n in range(4)])
    refused(
        config_of(**paths), f'4 of 7 images of data.{only} have no partner',
        f'data.{other}: x0, x1, x2, …',
    )


def test_two_images_of_one_name_are_refused(tmp_path):
    paths = two_folders(tmp_path, 2)
    fill(tmp_path / 'b', 'b', ['00.bmp'])
    refused(config_of(**paths), '00.bmp and 00.png', 'without the ending')


def test_pairs_of_different_sizes_are_refused(tmp_path):
    two_folders(tmp_path / 'x', 2)
    two_folders(tmp_path / 'y', 2, size=(8, 9))
    paths = {
        'a__path': str(tmp_path / 'x' / 'a'),
        'b__path': str(tmp_path / 'y' / 'b'),
    }
    refused(config_of(**paths), 'data.a have 8x8', 'data.b 8x9', 'image_size')
    load(config_of(image_size='6', **paths))


def test_empty_domain_is_named(tmp_path, unpaired):
    root = reference_layout(tmp_path, 3)
    shutil.rmtree(root / 'trainB')
    (root / 'trainB').mkdir()
    refused(
        config_of(path=str(root)), 'no image in trainB; it has images in testA'
    )
    load(config_of(path=str(root), split='test'))
    (tmp_path / 'none').mkdir()
    refused(config_of(
        a__path=str(root / 'trainA'), b__path=str(tmp_path / 'none')
    ), 'none holds no image')


def test_empty_side_of_pairs_is_named(tmp_path):
    paths = two_folders(tmp_path, 2)
    (tmp_path / 'none').mkdir()
    refused(config_of(**{**paths, 'a__path': str(tmp_path / 'none')}),
            'none holds no image')


@pytest.mark.parametrize('size', [(4, 9), (8, 8), (8, 4)])
def test_picture_that_is_not_two_side_by_side_is_refused(size, tmp_path):
    fill(tmp_path, 'a', ['1.png', '2.png'], size=size)
    refused(
        config_of(path=str(tmp_path)),
        f'1.png, is {size[0]}x{size[1]}, and a picture of two side by side',
    )


def test_files_and_arrays_are_no_pairs(tmp_path):
    paths = two_folders(tmp_path, 2)
    refused(
        config_of(a__path=paths['a__path'], b__name='digits'),
        'data.a has image files and data.b has not',
    )


def test_only_keys_are_renamed_in_errors():
    config = config_of()
    text = "data.path='data.name' of my/data.path: set data.limits, data.limit"
    with pytest.raises(errors.DataError) as error:
        with defaults.naming(config, 'b'):
            raise errors.DataError(text)
    assert str(error.value) == (
        "data.b.path='data.name' of my/data.path: set data.limits, data.b.limit"
    )


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
