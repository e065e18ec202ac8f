"""Mistakes with two sources, each of which ends in one line that names it."""

import shutil

import numpy as np
import pytest

from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from two_sources import (
    COUNT, config_of, fill, load, reference_layout, refused, two_folders,
    unpaired,
)


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
        ({'name': 'digits'}, 'an image of digits is 32x32', 'side by side'),
    ]:
        refused(config_of(**keys), *words)


@pytest.mark.parametrize('make', [config_of, unpaired])
def test_mistakes_of_pairs_and_of_domains_apart(make, tmp_path):
    paths = two_folders(tmp_path, 2)
    file = f'{paths["a__path"]}/00.png'
    for keys, *words in [
        ({}, "data.a.name='' and data.a.path=''"),
        ({'b__path': paths['b__path']}, "data.a.name='' and data.a.path=''"),
        ({**paths, 'path': '/x'}, "data.path='/x' has no effect",
         'data.a.path and data.b.path'),
        ({'a__name': 'digits', 'b__name': 'digits', 'name': 'mnist'},
         "data.name='mnist' has no effect"),
        ({**paths, 'task': 'invert'}, "data.task='invert'", 'one source',
         f'not of {paths["a__path"]!r} and {paths["b__path"]!r}'),
        ({'name': 'digits', 'a__task': 'invert'},
         "data.a.task='invert' and data.b.task='' differ"),
        ({'name': 'digits', 'task': 'strip'}, "data.a.task='strip' is not one"),
        ({'name': 'digits', 'b__task': 'x'}, "data.b.task='x' is not one"),
        ({**paths, 'b__side': 'C'}, "data.b.side='C' is not one"),
        ({'name': 'digits', 'task': 'invert', 'side': 'A'},
         "data.a.side and data.b.side are both 'A'"),
        ({**paths, 'a__path': file}, f"data.a.path='{file}' is not a folder"),
        ({'path': file}, f"data.a.path='{file}' is not a folder"),
        ({'a__name': 'digts', 'b__name': 'digits'}, "data.a.name='digts'"),
        ({**paths, 'b__classes': 'x'}, 'data.b.classes'),
        ({'path': str(tmp_path / 'a')}, '00.png of ', 'is 8x8', 'side by side',
         '--config.data.task'),
    ]:
        refused(make(**keys), *words)


def test_whole_images_without_halves_are_not_listed(tmp_path, capsys):
    two_folders(tmp_path)
    for feed in ('auto', 'streaming'):
        refused(config_of(path=str(tmp_path / 'a'), feed=feed), '00.png of ')
    assert capsys.readouterr().err == ''


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


def test_domains_of_unequal_number_are_no_pairs(tmp_path):
    root = reference_layout(tmp_path / 'x')
    refused(
        config_of(path=str(root)), f'2 of {COUNT} images of data.a',
        'no partner of the same name in data.b: train10, train11',
    )
    for side, count in (('a', 6), ('b', 5)):
        np.save(tmp_path / f'{side}.npy', np.zeros((count, 4, 4), np.uint8))
    keys = {f'{side}__path': str(tmp_path / f'{side}.npy') for side in 'ab'}
    refused(config_of(**keys), 'data.a has 6 images and data.b 5')
    load(unpaired(**keys))


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


def test_sizes_that_differ_within_a_source_are_refused(tmp_path):
    for side in 'ab':
        fill(tmp_path / side, side, ['0.png'], size=(8, 8))
        fill(tmp_path / side, side, ['1.png'], size=(9, 9))
    paths = {f'{side}__path': str(tmp_path / side) for side in 'ab'}
    refused(
        config_of(**paths), 'a differ in size (8x8, 9x9)', 'data.a.image_size'
    )
    a, b = load(config_of(image_size='8', **paths))
    assert a.images.shape == b.images.shape == (2, 8, 8, 1)


def test_empty_domain_is_named(tmp_path):
    root = reference_layout(tmp_path, 3)
    shutil.rmtree(root / 'trainB')
    (root / 'trainB').mkdir()
    refused(
        unpaired(path=str(root)), 'no image in trainB; it has images in testA'
    )
    load(unpaired(path=str(root), split='test'))
    (tmp_path / 'none').mkdir()
    refused(unpaired(
        a__path=str(root / 'trainA'), b__path=str(tmp_path / 'none')
    ), 'none holds no image')


@pytest.mark.parametrize('make', [config_of, unpaired])
def test_task_of_two_domains_is_refused(make, tmp_path):
    root = reference_layout(tmp_path, 3)
    refused(
        make(path=str(root), task='stripes'),
        f"data.a.task='stripes' makes two domains of one, and {root} has",
    )
    load(make(path=str(root / 'trainA'), task='stripes'))


def test_missing_domain_is_named(tmp_path):
    root = reference_layout(tmp_path, 3)
    shutil.rmtree(root / 'trainB')
    refused(
        unpaired(path=str(root)),
        'no image in trainB; it has images in testA, testB, trainA',
    )
    refused(unpaired(path=str(root), split='val'), 'no image in valA')
    refused(
        unpaired(path=str(root), test_share=0.1),
        'data.a.test_share=0.1', 'has splits of its own',
    )


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
        f'1.png of {tmp_path} is {size[0]}x{size[1]}, and a picture of two',
    )


def test_files_and_arrays_are_no_pairs(tmp_path):
    paths = two_folders(tmp_path, 2)
    refused(
        config_of(a__path=paths['a__path'], b__name='digits'),
        'data.a has image files and data.b has not',
    )


def test_rows_are_no_pairs(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((6, 4, 4), np.uint8))
    np.save(tmp_path / 'rows.npy', np.zeros((6, 3)))
    rows = str(tmp_path / 'rows.npy')
    for keys, name in [
        ({'a__path': str(tmp_path / 'a.npy'), 'b__path': rows}, 'b'),
        ({'path': rows}, 'a'),
    ]:
        refused(config_of(**keys), f'data.{name} has rows of 3 numbers')


def test_only_keys_are_renamed_in_errors():
    config = config_of()
    text = "data.path='data.name' of my/data.path: set data.limits, data.limit"
    with pytest.raises(errors.DataError) as error:
        with defaults.naming(config, 'b'):
            raise errors.DataError(text)
    assert str(error.value) == (
        "data.b.path='data.name' of my/data.path: set data.limits, data.b.limit"
    )
