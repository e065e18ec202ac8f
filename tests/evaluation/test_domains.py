"""The images that translations are measured with, and their partners."""

import numpy as np
import pytest

import helpers
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.data import pair_folders
from gan_jax.data import tasks
from gan_jax.evaluation import domains


def translation(algorithm='cyclegan', **data):
    """Return a config of two domains with keys of `data` set."""
    config = defaults.default_config()
    config.algorithm = algorithm
    config.data = defaults.grouped_data('a', 'b')
    config.data.update(data)
    return config


def images_of(direction):
    """Return inputs and partners of a direction as arrays."""
    every = slice(None)
    return direction.inputs.images[every], direction.partners[every]


@pytest.mark.parametrize('algorithm, names', [
    ('cyclegan', ['a_to_b', 'b_to_a']), ('pix2pix', ['a_to_b']),
])
def test_partners_of_a_task_are_its_other_side(algorithm, names):
    loaded = domains.directions(translation(
        algorithm, name='digits', task='stripes', test_share=0.1, limit=300,
    ))
    assert [direction.name for direction in loaded] == names
    for direction in loaded:
        assert direction.held_out and direction.split == 'test'
        assert len(direction.training.images) == 300
        assert len(direction.test.images) == len(direction.inputs.images) == 180
    a, b = images_of(loaded[0])
    assert a.shape == (180, 32, 32, 1) and b.shape == (180, 32, 32, 3)
    np.testing.assert_array_equal(tasks.TASKS['stripes'].b(a), b)
    if algorithm == 'cyclegan':
        for one, other in zip(images_of(loaded[1]), (b, a)):
            np.testing.assert_array_equal(one, other)


def test_partners_are_known_also_of_domains_of_other_classes():
    config = translation(name='digits', task='invert', test_share=0.2)
    config.data.a.classes, config.data.b.classes = '3', '8'
    there, back = domains.directions(config)
    for direction in (there, back):
        images, partners = images_of(direction)
        np.testing.assert_array_equal(255 - images, partners)
    assert there.inputs.classes == ('3',) and there.training.classes == ('8',)


def test_without_held_out_images_those_trained_on_are_translated():
    config = translation(name='digits', task='invert', limit=50)
    (there, _) = domains.directions(config)
    assert not there.held_out and there.split == 'train' and there.test is None
    assert len(there.inputs.images) == 50


def test_split_can_be_named():
    config = translation(
        name='digits', task='invert', limit=50, test_share=0.1
    )
    (there, _) = domains.directions(config, 'train')
    assert not there.held_out and len(there.inputs.images) == 50
    (there, _) = domains.directions(config, 'test')
    assert there.held_out and len(there.inputs.images) == 50
    config.data.split = 'test'
    (there, _) = domains.directions(config)
    assert not there.held_out and there.split == 'test'


@pytest.mark.parametrize('layout, known', [
    ('unpaired', ''), ('side_by_side', 'halves of one picture'),
])
def test_partners_in_files_are_the_halves_of_a_picture(
        layout, known, tmp_path):
    images = helpers.random_images(20, (8, 8, 1))
    pair_folders.write(
        images, 'invert', str(tmp_path / 'pairs'), layout=layout,
        test_share=0.25,
    )
    loaded = domains.directions(translation(path=str(tmp_path / 'pairs')))
    for direction in loaded:
        assert direction.known_by == known and direction.held_out
        assert (direction.partners is None) == (not known)
        if known:
            one, other = images_of(direction)
            assert len(one) == 5
            np.testing.assert_array_equal(255 - one, other)


def test_domains_in_two_folders_are_no_pairs_but_for_pix2pix(tmp_path):
    images = helpers.random_images(20, (8, 8, 1))
    pair_folders.write(
        images, 'invert', str(tmp_path / 'pairs'), layout='folders',
        test_share=0.25,
    )
    for algorithm in ('cyclegan', 'pix2pix'):
        config = translation(algorithm)
        for name, side in zip('ab', 'AB'):
            config.data[name].path = str(tmp_path / 'pairs' / side)
        there = domains.directions(config)[0]
        assert there.held_out and len(there.inputs.images) == 5
        if algorithm == 'pix2pix':
            assert there.known_by == 'trained on pairs'
            one, other = images_of(there)
            np.testing.assert_array_equal(255 - one, other)
        else:
            assert there.partners is None
            there = domains.directions(config, paired=True)[0]
            assert there.known_by == 'files of one name'
            one, other = images_of(there)
            np.testing.assert_array_equal(255 - one, other)


def test_middles_are_compared_where_training_crops_at_random():
    config = translation(
        name='digits', task='invert', limit=30, random_crop='16'
    )
    there = domains.directions(config)[0]
    one, other = images_of(there)
    assert one.shape == (30, 16, 16, 1) == there.training.images.shape
    np.testing.assert_array_equal(255 - one, other)
    config.data.random_crop = ''
    whole = builders.datasets(config)['a'].images[:]
    np.testing.assert_array_equal(one, whole[:, 8:24, 8:24])


@pytest.mark.parametrize('split, other', [
    ('train', 'test'), ('train[:80%]', 'test'), ('trainA', 'testA'),
    ('train_extra[:9]', 'test_extra'), ('validation', 'test'),
    ('test', None), ('testB', None), ('all', None), ('train+test[:5]', None),
])
def test_split_that_is_held_out(split, other):
    config = translation(name='digits', task='invert')
    training = builders.datasets(config)
    config.data.split = split
    own = domains.held_out_config(config, training)
    assert other == (own and own.data.a.split)
    if own:
        assert own.data.b.split == other and own.data.a.image_size == '32x32'


def test_channels_of_another_domain():
    grey = helpers.random_images(2, (4, 4, 1))
    for channels in (1, 3, 4):
        images = domains.with_channels(grey, channels)
        assert images.shape == (2, 4, 4, channels) and images.dtype == np.uint8
        for channel in range(min(channels, 3)):
            np.testing.assert_array_equal(images[..., channel], grey[..., 0])
        np.testing.assert_array_equal(domains.with_channels(images, 1), grey)
    assert (images[..., 3] == 255).all()
    np.testing.assert_array_equal(
        domains.with_channels(images, 3), images[..., :3]
    )
