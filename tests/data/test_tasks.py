"""Tasks made from any images: each pair by hand, and its inverse."""

import numpy as np
import pytest

from gan_jax.data import sources
from gan_jax.data import tasks

NOISE = np.random.RandomState(0).randint(0, 256, (6, 9, 7, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def digits():
    return sources.load(sources.Request('digits')).images[:200]


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('name', tasks.TASKS)
def test_pair_is_of_the_same_size_and_each_image_stands_alone(name, channels):
    images = np.concatenate([NOISE, NOISE], -1)[..., :channels]
    before = images.copy()
    for function in tasks.TASKS[name]:
        whole = function(images)
        assert whole.dtype == np.uint8 and whole.shape[:3] == images.shape[:3]
        np.testing.assert_array_equal(whole[3], function(images[3]))
    np.testing.assert_array_equal(images, before)


def test_applied_task_is_read_on_demand():
    lazy = tasks.apply(NOISE, 'stripes', 'B')
    assert lazy.shape == (6, 9, 7, 3)
    np.testing.assert_array_equal(lazy[[4, 1]], tasks.stripes(NOISE[[4, 1]]))
    assert tasks.apply(NOISE, 'stripes', 'A').shape == (6, 9, 7, 1)


def test_grey_weighs_green_most():
    pixels = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]])
    np.testing.assert_array_equal(tasks.grey(pixels)[0, :, 0], [76, 150, 29, 9])


def test_inverting_keeps_alpha():
    image = np.uint8([[[0, 10, 255, 7]]])
    np.testing.assert_array_equal(tasks.invert(image), [[[255, 245, 0, 7]]])


def test_stripes_by_hand():
    image = np.full((2, 3, 1), 200, np.uint8)
    np.testing.assert_array_equal(tasks.stripes(image), [
        [[200, 100, 0], [200, 200, 200], [0, 100, 200]],
        [[100, 50, 0], [100, 100, 100], [0, 50, 100]],
    ])


def test_stripes_can_be_undone(digits):
    largest = tasks.stripes(digits).max(-1).astype(int)
    dark = np.arange(32) // 2 % 2 == 1
    grey = np.where(dark[:, None], 2 * largest, largest)
    assert abs(grey - digits[..., 0]).max() <= 1


def test_edges_of_a_step_by_hand():
    image = np.zeros((4, 6, 1), np.uint8)
    image[:, 3:] = 64  # the slope is 64, at both sides of the step
    expected = np.full((4, 6, 1), 255)
    expected[:, 2:4] = 0
    np.testing.assert_array_equal(tasks.edges(image), expected)
    np.testing.assert_array_equal(
        tasks.edges(image.swapaxes(0, 1)), expected.swapaxes(0, 1)
    )
    assert (tasks.edges(image // 2) == 255).all()


def test_blur_keeps_constants_and_lowers_contrast(digits):
    flat = np.full((5, 40, 1), 77, np.uint8)
    np.testing.assert_array_equal(tasks.blur(flat), flat)
    blurred = tasks.blur(digits)
    assert blurred.std() < 0.8 * digits.std()
    np.testing.assert_allclose(blurred.mean(), digits.mean(), rtol=0.01)


def test_blur_of_a_point_is_a_gaussian():
    image = np.zeros((33, 48, 1), np.uint8)
    image[16, 24] = 255
    deviation = 33 / 16
    y, x = np.mgrid[-16:17, -24:24]
    expected = np.exp(-(y**2 + x**2) / (2 * deviation**2))
    expected *= 255 / expected.sum()
    assert abs(tasks.blur(image)[..., 0] - expected).max() < 0.6


def backgrounds(images):
    """Return the colors of the corners, which digits do not reach."""
    return {tuple(color) for color in images[:, 0, 0].tolist()}


def test_background_goes_with_the_domain_or_not(digits):
    a, b = (f(digits) for f in tasks.TASKS['tied_background'])
    assert backgrounds(a) == {tasks.GREEN}
    assert backgrounds(b) == {tasks.YELLOW}
    a, b = (f(digits) for f in tasks.TASKS['free_background'])
    np.testing.assert_array_equal(a[:, 0, 0], b[:, 0, 0])
    assert backgrounds(a) == {tasks.GREEN, tasks.YELLOW}
    assert 0.35 < (a[:, 0, 0] == tasks.GREEN).all(1).mean() < 0.65


def test_only_the_drawing_of_b_is_striped():
    image = np.zeros((32, 4, 1), np.uint8)
    image[:, 1], image[:, 2] = 255, 51  # one fifth of the drawing
    a, b = (f(image) for f in tasks.TASKS['tied_background'])
    np.testing.assert_array_equal(a[:, 1], np.full((32, 3), 255))
    np.testing.assert_array_equal(b[:4, 1, 0], [255, 255, 40, 40])
    np.testing.assert_array_equal(a[0, 2], [83, 147, 91])
    np.testing.assert_array_equal(b[0, 3], tasks.YELLOW)
