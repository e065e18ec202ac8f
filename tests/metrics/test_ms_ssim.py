"""MS-SSIM against loops over windows; diversity over pairs of a class."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import ms_ssim

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def pair(height, width, channels=1, noise=0.3, seed=0):
    """Return two float images in [-1, 1] that are similar."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = np.sin(rows / 3)[..., None] * np.cos(
        columns[..., None] / (2 + np.arange(channels))
    )
    other = image + random.normal(0, noise, image.shape)
    return image * 0.9, other.clip(-1, 1)


def plain(x, y, peak, scales):
    """Compute one channel's MS-SSIM window by window: x, y [H, W]."""
    size = min(11, *x.shape)
    places = np.arange(size) - (size - 1) / 2
    window = np.exp(
        -(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5 ** 2)
    )
    window /= window.sum()
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    product = 1.0
    for scale in range(scales):
        ssim, structure = [], []
        for i in range(x.shape[0] - size + 1):
            for j in range(x.shape[1] - size + 1):
                a, b = x[i:i + size, j:j + size], y[i:i + size, j:j + size]
                m, n = (window * a).sum(), (window * b).sum()
                both = (window * (a - m) * (b - n)).sum()
                own = (window * ((a - m) ** 2 + (b - n) ** 2)).sum()
                light = (2 * m * n + (0.01 * peak) ** 2) / (
                    m ** 2 + n ** 2 + (0.01 * peak) ** 2
                )
                structure.append(
                    (2 * both + (0.03 * peak) ** 2)
                    / (own + (0.03 * peak) ** 2)
                )
                ssim.append(light * structure[-1])
        last = scale == scales - 1
        value = max(np.mean(ssim if last else structure), 0)
        product *= value ** weights[scale]
        x, y = halved(x), halved(y)
    return product


def halved(x):
    height, width = ((size + 1) // 2 for size in x.shape)
    result = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            rows = [2 * i, min(2 * i + 1, x.shape[0] - 1)]
            columns = [2 * j, min(2 * j + 1, x.shape[1] - 1)]
            result[i, j] = x[np.ix_(rows, columns)].mean()
    return result


@pytest.mark.parametrize('height, width, scales', [
    (8, 8, 1), (11, 20, 1), (28, 28, 2), (45, 41, 3), (163, 161, 5),
])
def test_loops_over_windows_give_the_same(height, width, scales):
    assert ms_ssim.num_scales(height, width) == scales
    x, y = pair(height, width)
    np.testing.assert_allclose(
        ms_ssim.ms_ssim(x[None], y[None]),
        plain(x[..., 0], y[..., 0], 2, scales), rtol=1e-9,
    )


@pytest.mark.parametrize('size, scales', [
    (1, 1), (20, 1), (21, 2), (32, 2), (40, 2), (64, 3), (80, 3), (128, 4),
    (160, 4), (161, 5), (1024, 5),
])
def test_number_of_scales(size, scales):
    assert ms_ssim.num_scales(size, 2000) == scales
    assert ms_ssim.num_scales(2000, size) == scales


def test_channels_are_averaged_and_images_are_independent():
    pairs = [pair(22, 22, 3, seed=seed) for seed in range(130)]
    x, y = (np.stack(side) for side in zip(*pairs))
    found = ms_ssim.ms_ssim(x, y)
    assert found.shape == (130,)
    for image in (0, 64, 129):
        expected = np.mean([
            plain(x[image, ..., c], y[image, ..., c], 2, 2) for c in range(3)
        ])
        np.testing.assert_allclose(found[image], expected, rtol=1e-9)


@pytest.mark.parametrize('size', [5, 16, 32, 170])
def test_equal_images_give_one(size):
    image = pair(size, size, 3)[1][None]
    np.testing.assert_allclose(ms_ssim.ms_ssim(image, image), 1, rtol=1e-12)


def test_negative_structure_counts_as_none():
    image = pair(32, 32)[0][None]
    assert ms_ssim.ms_ssim(image, -image) == 0


def test_noise_lowers_it_step_by_step():
    found = [
        ms_ssim.ms_ssim(*(im[None] for im in pair(32, 32, noise=noise)))[0]
        for noise in (0.0, 0.1, 0.3, 1.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.98 and found[-1] < 0.5


def test_uint8_images_have_a_peak_of_255():
    x, y = (
        np.round(127.5 * (image[None] + 1)).astype(np.uint8)
        for image in pair(32, 32)
    )
    found = ms_ssim.ms_ssim(x, y)
    np.testing.assert_allclose(
        found, plain(x[0, ..., 0] * 1.0, y[0, ..., 0] * 1.0, 255, 2), rtol=1e-9
    )
    floats = ms_ssim.ms_ssim(x / 255, y / 255, peak=1)
    np.testing.assert_allclose(found, floats, rtol=1e-9)


def test_pairs_are_drawn_uniformly_from_different_images_of_a_class():
    labels = np.array([4, 7, 4, 4, 9, 7])
    first, second = ms_ssim._pairs(labels, 10_000, np.random.default_rng(0))
    assert (first != second).all() and (labels[first] == labels[second]).all()
    np.testing.assert_allclose(
        np.bincount(first, minlength=6) / 10_000,
        [0.2, 0.2, 0.2, 0.2, 0, 0.2], atol=0.02,
    )
    of_first = np.bincount(second[first == 0], minlength=6) / (first == 0).sum()
    np.testing.assert_allclose(of_first, [0, 0, 0.5, 0.5, 0, 0], atol=0.05)


def test_diversity_is_the_mean_over_all_pairs():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (3, 16, 16, 1))
    pairs = ms_ssim.ms_ssim(images[[0, 0, 1]], images[[1, 2, 2]])
    found = ms_ssim.diversity(images, num_pairs=3000)
    np.testing.assert_allclose(found, pairs.mean(), atol=3 * pairs.std() / 50)
    assert found == ms_ssim.diversity(images, num_pairs=3000)
    assert found != ms_ssim.diversity(images, num_pairs=3000, seed=1)


def test_collapse_within_classes_is_detected():
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (40, 16, 16, 1))
    labels = np.arange(40) % 2
    assert ms_ssim.diversity(images, labels, num_pairs=100) < 0.2
    collapsed = images[labels]  # one image of each class
    found = ms_ssim.diversity(collapsed, labels, num_pairs=100)
    np.testing.assert_allclose(found, 1, rtol=1e-12)
    assert ms_ssim.diversity(collapsed, num_pairs=100) < 0.9


def test_bad_images_are_refused():
    images = np.zeros((2, 8, 8, 1))
    with pytest.raises(errors.DataError, match='cannot be compared'):
        ms_ssim.ms_ssim(images, images[:1])
    with pytest.raises(errors.DataError, match='uint8.* with float64'):
        ms_ssim.ms_ssim(images.astype(np.uint8), images)
    with pytest.raises(errors.DataError, match='no class has two'):
        ms_ssim.diversity(images, [0, 1])
    with pytest.raises(errors.NonFiniteError, match='images contain'):
        ms_ssim.diversity(images + np.nan)
