"""Order of the images."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from gan_jax.data import order


@given(
    seed=st.integers(0, 2**63 - 1),
    batch_size=st.integers(1, 20),
    size=st.integers(1, 50),
    epochs=st.integers(1, 4),
)
def test_every_image_occurs_once_per_epoch(seed, batch_size, size, epochs):
    count = -(-epochs * size // batch_size)
    drawn = order.indices(seed, 0, count, batch_size, size).ravel()
    for epoch in range(epochs):
        images = drawn[epoch * size:(epoch + 1) * size]
        np.testing.assert_array_equal(np.sort(images), np.arange(size))


@given(
    position=st.integers(0, 1000),
    count=st.integers(1, 8),
    batch_size=st.integers(1, 20),
    size=st.integers(1, 50),
)
def test_a_batch_depends_only_on_its_position(
    position, count, batch_size, size
):
    joint_batch = order.indices(7, position, count, batch_size, size)
    apart = [
        order.indices(7, position + i, 1, batch_size, size)[0]
        for i in range(count)
    ]
    np.testing.assert_array_equal(joint_batch, apart)


def test_a_larger_batch_is_the_same_images_in_the_same_order():
    small = order.indices(3, 8, 4, 4, 100)
    large = order.indices(3, 2, 1, 16, 100)
    np.testing.assert_array_equal(small.ravel(), large.ravel())


@pytest.mark.parametrize('other', [(1, 0, 64), (0, 1, 64), (2**32, 0, 64)])
def test_seed_and_epoch_change_the_shuffle(other):
    first = order.permutation(0, 0, 64)
    assert not np.array_equal(first, order.permutation(*other))


def test_the_shuffle_equals_that_of_old_checkpoints():
    np.testing.assert_array_equal(
        order.permutation(0, 0, 10), [8, 2, 4, 3, 6, 0, 9, 1, 5, 7]
    )
