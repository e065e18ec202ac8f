"""Padding and blended tiles."""

import numpy as np
import pytest

from gan_jax.tools import tiles

GRIDS = [
    tiles.Grid(64, 16, 4, 8), tiles.Grid(64, 32, 8, 8), tiles.Grid(60, 0, 8),
    tiles.Grid(33, 5), tiles.Grid(20, 4, 32, 32),
]


def noise(*shape):
    return np.random.RandomState(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('size', [
    (1, 1), (5, 7), (64, 65), (40, 100), (100, 33), (257, 130), (1, 200),
])
def test_tiles_of_a_pointwise_function_equal_the_whole(size, grid):
    image, numbers = noise(*size, 3), []

    def function(part, number):
        numbers.append(number)
        for side in part.shape[:2]:
            assert side % grid.multiple == 0 and side >= grid.smallest
            assert side <= grid.longest
        return np.tanh(part[..., :2] + part[..., 2:])

    found = tiles.apply(function, image, grid)
    expected = np.tanh(image[..., :2] + image[..., 2:])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert numbers == list(range(len(numbers)))
    assert (len(numbers) > 1) == (max(size) > grid.longest)


def test_image_that_fits_is_given_as_it_is():
    image = noise(16, 24, 1)

    def function(part, number):
        np.testing.assert_array_equal(part, image)
        return part + number

    found = tiles.apply(function, image, tiles.Grid(24, 8, 8))
    np.testing.assert_array_equal(found, image)


def test_sides_are_padded_by_reflection_on_both_ends():
    image = np.arange(5.0)[None, :, None]
    padded, inner = tiles.pad(image, tiles.Grid(multiple=8))
    assert padded.shape == (8, 8, 1)
    np.testing.assert_array_equal(padded[0, :, 0], [1, 0, 1, 2, 3, 4, 3, 2])
    np.testing.assert_array_equal(padded[inner], image)
    assert tiles.Grid(multiple=4, smallest=10).valid(3) == 12


def test_short_sides_are_reflected_more_than_once():
    image = np.array([[1.0, 2.0]])[..., None]
    padded, inner = tiles.pad(image, tiles.Grid(multiple=8))
    np.testing.assert_array_equal(padded[0, :, 0], [2, 1, 2, 1, 2, 1, 2, 1])
    np.testing.assert_array_equal(padded[inner], image)


@pytest.mark.parametrize('length', [65, 112, 113, 200, 1000])
@pytest.mark.parametrize('grid', GRIDS[:2])
def test_weights_sum_to_one_and_overlaps_are_long_enough(length, grid):
    spans = tiles.spans(length, grid)
    total = np.zeros(length)
    for span in spans:
        assert (span.weights > 0).all() and len(span.weights) == 64
        total[span.start:span.start + 64] += span.weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    steps = np.diff([span.start for span in spans])
    assert (64 - steps >= grid.overlap).all() and np.ptp(steps) <= 1
    assert spans[0].start == 0 and spans[-1].start == length - 64


def test_blend_is_linear_between_two_tiles():
    grid = tiles.Grid(64, 16)

    def function(part, number):
        return np.full(part.shape, number, np.float32)

    found = tiles.apply(function, np.zeros((8, 112, 1)), grid)[0, :, 0]
    np.testing.assert_array_equal(found[:48], 0)
    np.testing.assert_array_equal(found[64:], 1)
    np.testing.assert_allclose(
        found[48:64], (np.arange(16) + 0.5) / 16, atol=1e-6
    )
    down = tiles.apply(function, np.zeros((112, 8, 1)), grid)[:, 0, 0]
    np.testing.assert_array_equal(down, found)


def test_memory_is_bounded_by_a_row_of_tiles():
    image = noise(1000, 70, 1)
    parts = list(tiles.rows(lambda part, number: part, image, GRIDS[0]))
    assert len(parts) > 15 and max(map(len, parts)) <= 64
    np.testing.assert_allclose(np.concatenate(parts), image, atol=1e-6)
    converted = tiles.apply(
        lambda part, number: part, image, GRIDS[0],
        lambda rows: np.round(100 * rows).astype(np.int8),
    )
    assert converted.dtype == np.int8 and converted.shape == image.shape
