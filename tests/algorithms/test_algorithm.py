"""The checks of the interface between an algorithm and the loop."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.algorithms import algorithm

STATE = {'w': jnp.ones(3)}
IMAGES = np.zeros((2, 4, 8, 8, 1), np.uint8)
LABELS = np.zeros((2, 4), np.int32)


def step(images=IMAGES, labels=LABELS, state=STATE, loss=jnp.float32(1)):
    fake = types.SimpleNamespace(
        train_step=lambda *args: (state, {'d/loss': loss})
    )
    source = algorithm.Source(images, labels, labels)
    batch = algorithm.Batch({'real': source}, np.arange(4, dtype=np.int32))
    return algorithm.checked_step(fake, None, STATE, batch, None, 0)


@pytest.mark.parametrize('images', [
    IMAGES, IMAGES.astype(np.float32), np.zeros((2, 4, 3), np.float32),
], ids=['images', 'fields', 'points'])
def test_step_of_the_right_form_is_returned_as_it_is(images):
    new, metrics = step(images)
    assert new is STATE and metrics == {'d/loss': 1}


@pytest.mark.parametrize('changes', [
    {'images': IMAGES.astype(np.float16)}, {'images': IMAGES[:, :3]},
    {'images': np.zeros((2, 4, 3))}, {'labels': LABELS.astype(np.int64)},
    {'labels': LABELS[:1]}, {'state': {'w': jnp.ones(4)}},
    {'state': {'w': jnp.ones(3, jnp.bfloat16)}}, {'state': {}},
    {'loss': jnp.ones(2)}, {'loss': jnp.int32(1)},
], ids=[
    'float16 images', 'few images', 'float64 points', 'int64 labels',
    'few labels', 'shape of the state', 'dtype of the state', 'empty state',
    'vector metric', 'integer metric',
])
def test_step_of_another_form_is_refused(changes):
    with pytest.raises(AssertionError):
        step(**changes)
