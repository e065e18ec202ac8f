"""Sliced Wasserstein distances: closed forms, pyramids, patches by hand."""

import numpy as np
import pytest
from scipy import special

from gan_jax.core import errors
from gan_jax.metrics import sliced_wasserstein as swd


def textures(count=24, size=32, channels=3, wave=3.0, seed=0):
    """Return float images of waves with random phases, and some noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    phases = random.uniform(0, 6.3, (count, 1, 1, channels))
    waves = np.sin((rows + 2 * columns)[None, ..., None] / wave + phases)
    return waves + random.normal(0, 0.1, waves.shape)


@pytest.mark.parametrize('shape', [(32, 32, 3), (16, 64, 1), (33, 47, 2)])
def test_pyramid_is_reconstructed(shape):
    images = np.random.default_rng(0).normal(size=(2, *shape))
    pyramid = swd.laplacian_pyramid(images, 3)
    assert [len(pyramid), pyramid[2].shape[1]] == [3, -(-shape[0] // 4)]
    np.testing.assert_allclose(swd.reconstruct(pyramid), images, atol=1e-5)


def test_pyramid_pixel_by_pixel():
    """One level down and up by the 5x5 kernel, borders mirrored."""
    image = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256

    def blur(values):
        padded = np.pad(values, 2, mode='reflect')
        return np.array([
            [(padded[i:i + 5, j:j + 5] * kernel).sum() for j in range(8)]
            for i in range(8)
        ])

    coarse = blur(image)[::2, ::2]
    doubled = np.zeros((8, 8))
    doubled[::2, ::2] = coarse
    fine, last = swd.laplacian_pyramid(image[None, ..., None], 2)
    np.testing.assert_allclose(last[0, ..., 0], coarse, atol=1e-5)
    np.testing.assert_allclose(
        fine[0, ..., 0], image - 4 * blur(doubled), atol=1e-5
    )


def test_smooth_images_have_only_their_coarsest_level():
    image = np.full((1, 32, 32, 1), 0.7)
    fine, coarse = swd.laplacian_pyramid(image, 2)
    np.testing.assert_allclose(fine, 0, atol=1e-6)
    np.testing.assert_allclose(coarse, 0.7, rtol=1e-6)


@pytest.mark.parametrize('dimension', [1, 2, 20])
def test_distance_of_shifted_sets_is_the_projected_shift(dimension):
    """E |u_1| on the sphere is G(D/2) / (sqrt(pi) G((D+1)/2))."""
    values = np.random.default_rng(0).normal(size=(50, dimension))
    shift = np.zeros(dimension)
    shift[0] = 3
    found = swd.sliced_wasserstein(values, values[::-1] + shift)
    half = dimension / 2
    expected = 3 * np.exp(
        special.gammaln(half) - special.gammaln(half + 0.5)
    ) / np.sqrt(np.pi)
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_every_direction_is_sorted_and_counted():
    random = np.random.default_rng(1)
    values, other = random.normal(size=(2, 30, 4))
    directions = np.random.default_rng(5).normal(size=(swd.DIRECTIONS, 4))
    found = np.mean([
        abs(np.sort(values @ u) - np.sort(other @ u)).mean()
        for u in directions / np.linalg.norm(directions, axis=1)[:, None]
    ])
    np.testing.assert_allclose(
        swd.sliced_wasserstein(values, other, seed=5), found, rtol=1e-10
    )


def test_patches_are_cut_from_their_image_and_normalised(monkeypatch):
    monkeypatch.setattr(swd, 'BLOCK', 3)
    images = np.random.default_rng(0).normal(3, 2, (7, 9, 12, 2))
    patches = swd._patches(images, 0, 1, seed=0).reshape(-1, 7, 7, 2)
    assert len(patches) == 7 * 128
    np.testing.assert_allclose(patches.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(patches.std((0, 1, 2)), 1, rtol=1e-4)
    windows = np.lib.stride_tricks.sliding_window_view(images, (7, 7), (1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3)  # [7, 3, 6, 7, 7, 2]
    places = set()
    for number, patch in enumerate(patches):
        own = windows[number // 128].reshape(18, 7, 7, 2)
        alike = [
            np.corrcoef(patch[..., 1].ravel(), w[..., 1].ravel())[0, 1]
            for w in own
        ]
        assert max(alike) > 0.9999
        places.add(int(np.argmax(alike)))
    assert places == set(range(18))


def test_levels_are_those_of_the_pyramid():
    images = textures(4)
    expected = swd.laplacian_pyramid(images, 2)
    for level in (0, 1):
        found = swd._patches(images, level, 2, seed=0)
        np.testing.assert_array_equal(
            found, swd._patches(expected[level], 0, 1, seed=0)
        )


@pytest.mark.parametrize('size, levels', [
    (7, [7]), (31, [31, 16]), (30, [30]), (32, [32, 16]),
    (64, [64, 32, 16]),
])
def test_levels_go_down_to_sixteen_pixels(size, levels):
    images = textures(2, size, 1)
    found = swd.sliced_wasserstein_distance(images, images)
    assert list(found) == [*levels, 'mean']


def test_distance_of_equal_sets_is_zero():
    images = textures()
    found = swd.sliced_wasserstein_distance(images, images)
    assert found == {32: 0, 16: 0, 'mean': 0}
    uint8 = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 1), np.uint8)
    assert swd.sliced_wasserstein_distance(uint8, uint8)['mean'] == 0


def test_fewer_fakes_are_compared_with_as_many_reals():
    images = textures()
    found = swd.sliced_wasserstein_distance(images, images[:5])
    assert found['mean'] == 0


def test_it_grows_as_textures_change():
    real = textures()
    means = [
        swd.sliced_wasserstein_distance(real, textures(wave=wave, seed=1))
        for wave in (3.0, 3.6, 5.0)
    ]
    assert [m['mean'] for m in means] == sorted(m['mean'] for m in means)
    assert means[2]['mean'] > 2 * means[0]['mean'] > 0
    for found in means:
        np.testing.assert_allclose(found['mean'], (found[32] + found[16]) / 2)


def test_noise_is_largest_at_the_finest_level():
    real = textures()
    noise = np.random.default_rng(5).normal(0, 0.5, real.shape)
    found = swd.sliced_wasserstein_distance(real, real + noise)
    assert found[32] > 2 * found[16]


def test_colour_casts_and_contrast_are_not_detected():
    real = textures()
    found = swd.sliced_wasserstein_distance(real, 3 * real + 1)
    assert found['mean'] < 0.1 < swd.sliced_wasserstein_distance(
        real, textures(seed=1)
    )['mean']


def test_constant_channels_are_allowed():
    found = swd.sliced_wasserstein_distance(
        np.zeros((3, 16, 16, 1)), np.ones((3, 16, 16, 1))
    )
    assert found == {16: 0, 'mean': 0}


def test_bad_images_are_refused():
    images = np.zeros((2, 16, 16, 1))
    with pytest.raises(errors.DataError, match='cannot be compared'):
        swd.sliced_wasserstein_distance(images, images[:, 2:])
    with pytest.raises(errors.DataError, match='smaller than a patch of 7'):
        swd.sliced_wasserstein_distance(images[:, :6], images[:, :6])
    with pytest.raises(errors.NonFiniteError, match='fake images'):
        swd.sliced_wasserstein_distance(images, images + np.inf)
