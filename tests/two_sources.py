"""Configs and image files of two sources for tests, in pairs and apart."""

import numpy as np
import pytest

import image_files
import toy
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors

COUNT = 12
UNPAIRED = 'toy_unpaired'  # an algorithm that draws both sources apart

builders.ALGORITHMS[UNPAIRED] = builders.ALGORITHMS[toy.Toy.name]._replace(
    sources={'a': 'a', 'b': 'b'}
)


def config_of(**keys):
    """Return a config of two sources; a key is that of one or of both."""
    config = defaults.default_config()
    config.algorithm, config.batch_size = toy.Toy.name, 4
    config.data = defaults.grouped_data('a', 'b')
    config.update_from_flattened_dict({
        f'data.{key.replace("__", ".")}': value for key, value in keys.items()
    })
    return config


def unpaired(**keys):
    """Return a config of two sources that are drawn apart."""
    config = config_of(**keys)
    config.algorithm = UNPAIRED
    return config


def load(config):
    """Return the data sets of both sources, as a run does."""
    validation.validate(config)
    datasets = builders.datasets(config)
    return datasets['a'], datasets['b']


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


def reference_layout(root, count=COUNT):
    """Write trainA, trainB, testA and testB; B has fewer images."""
    for split in ('train', 'test'):
        for side, size in (('a', count), ('b', count - 2)):
            names = [f'{split}{n}.jpg' for n in range(size)]
            fill(root / f'{split}{side.upper()}', side, names)
    return root


def side_by_side(root, count=COUNT):
    """Write pictures of two halves."""
    for number in range(count):
        halves = np.uint8([[level(number, side) for side in 'ab']])
        image_files.write(root / f'{number}.png', image_files.encoded(
            halves.repeat(6, 0).repeat(6, 1)
        ))
    return root
