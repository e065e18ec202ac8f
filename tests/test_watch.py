"""What a run measures of itself: with few images, and what cannot be."""

import numpy as np
import pytest

import helpers
from gan_jax import build
from gan_jax import train
from gan_jax import watch
from gan_jax.data import sources


@pytest.mark.parametrize('count', [1, 3, 4])
def test_images_too_few_to_compare_leave_no_numbers_of_them(count):
    images = helpers.random_images(count)
    config, dataset = helpers.tiny_mlp(), sources.from_arrays(images)
    gan = build.gan(config, images.shape[1:], 0)
    state = train._initial_state(gan, config, images.shape[1:])
    found = watch.Watch(config, dataset).numbers(gan, state)
    assert all(np.isfinite(list(found.values())))
    assert bool(found) == (count > 3)
