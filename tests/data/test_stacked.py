"""Stacked sets: three grey images as one of three channels."""

import numpy as np
import pytest

import helpers
from gan_jax.data import on_demand
from gan_jax.data import sources
from gan_jax.data import stacked

IMAGES = helpers.random_images(40, (4, 5, 1))
LABELS = (np.arange(40) % 10).astype(np.int32)


def test_class_is_formed_by_the_digits_of_the_channels():
    images, labels, classes = stacked.stack(IMAGES, LABELS, count=500)
    assert images.shape == (500, 4, 5, 3) and labels.shape == (500,)
    assert classes == tuple(f'{n:03d}' for n in range(1000))
    digits = {
        image.tobytes(): label for image, label in zip(IMAGES, LABELS)
    }
    for image, label in zip(images[:], labels):
        named = [digits[image[..., n].tobytes()] for n in range(3)]
        assert classes[label] == ''.join(map(str, named))


def test_triples_are_the_same_in_every_run_and_differ_by_seed():
    first, labels, _ = stacked.stack(IMAGES, LABELS, count=50)
    again, _, _ = stacked.stack(IMAGES, LABELS, count=50)
    np.testing.assert_array_equal(first[:], again[:])
    np.testing.assert_array_equal(labels[:5], [33, 999, 163, 644, 218])
    _, other, _ = stacked.stack(IMAGES, LABELS, count=50, seed=1)
    assert not np.array_equal(labels, other)


def test_all_128_000_triples_are_lazy():
    images, labels, _ = stacked.stack(IMAGES, LABELS)
    assert images.shape == (128_000, 4, 5, 3)
    assert isinstance(images, on_demand.OnDemand)
    counts = np.bincount(labels, minlength=1000)
    # 128 of each class in the mean, with deviation 11.3.
    assert counts.min() > 70 and counts.max() < 190
    np.testing.assert_array_equal(images[[127_999, 3]][1], images[3])


@pytest.mark.parametrize('name', ['mnist', 'fashion_mnist'])
def test_real_set_is_stacked(name, data_dir):
    request = sources.Request(
        f'stacked_{name}', 'test[:500]', str(data_dir / 'tfds'), memory=0
    )
    base = sources.load(request._replace(name=name, memory=None))
    dataset = sources.load(request)
    assert dataset.images.shape == (128_000, 28, 28, 3)
    assert len(dataset.classes) == 1000
    digits = {
        image.tobytes(): label for image, label in zip(base.images, base.labels)
    }
    for place in range(0, 128_000, 4001):
        channels = np.moveaxis(dataset.images[place], -1, 0)
        a, b, c = (digits[channel.tobytes()] for channel in channels)
        assert dataset.labels[place] == 100 * a + 10 * b + c
    some = sources.load(request._replace(classes=('007', '123'), limit=50))
    assert some.images.shape == (50, 28, 28, 3)
    assert some.classes == ('007', '123') and set(some.labels) == {0, 1}
