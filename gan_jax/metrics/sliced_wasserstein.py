"""The sliced Wasserstein distance between patches of images, by scale."""

import numpy as np
from scipy import ndimage

from gan_jax.core import errors
from gan_jax.metrics import features

PATCH = 7  # pixels of a side
PATCHES = 128  # of each image
DIRECTIONS = 4 * 128
AT_ONCE = 16  # directions whose projections are held
SMALLEST = 16  # shorter side of the coarsest level
FILTER = np.array([1, 4, 6, 4, 1]) / 16
BLOCK = 256  # images brought into a pyramid at once


def sliced_wasserstein_distance(real, fake, *, seed=0):
    """Compare patches of two sets of images at every scale.

    Images become Laplacian pyramids that halve down to 16 pixels of the
    shorter side. From each level of each image come 128 random 7x7 patches;
    each channel of all patches of a set has its mean taken off and is divided
    by its standard deviation, set by set; then `sliced_wasserstein`, times 1e3.

    Since either set is brought to mean 0 and deviation 1 by itself, a colour
    cast or a contrast that is wrong over all images does not show, and values
    do not depend on the range of pixels. Fine levels tell of textures, the
    coarsest of large-scale structure. The paper's values have 16,384 images,
    the authors' script 8,192; fewer give larger values, so compare like with
    like.

    Differs from the authors' code: both sets have patches at the same places,
    so equal sets are at distance 0, where theirs are not; sizes need not be
    powers of 2; channels need not be 3. Memory: 25 KiB for each image and
    channel of either set, and 24 KiB for each image.

    Args:
        real: [N, H, W, C], uint8 or floats, H and W >= 7.
        fake: [M, H, W, C]; the larger set is cut to the size of the smaller.
        seed: of patches and directions; the same seed gives the same numbers.

    Returns:
        {shorter side of each level: float, …, 'mean': float}, all >= 0: for
        32x32 images 32, 16 and 'mean'.

    Raises:
        errors.DataError: for no images, other shapes, or too small ones.
        errors.NonFiniteError: for a value that is not finite.

    References:
        Karras et al., Progressive growing of GANs for improved quality,
        stability, and variation, https://arxiv.org/abs/1710.10196, 2017.
    """
    real, fake = np.asarray(real), np.asarray(fake)
    if real.shape[1:] != fake.shape[1:] or real.ndim != 4:
        raise errors.DataError(
            f'images {list(real.shape)} cannot be compared with '
            f'{list(fake.shape)}'
        )
    features.pair(real, fake, ('real images', 'fake images'))
    shorter = min(real.shape[1:3])
    if shorter < PATCH:
        raise errors.DataError(f'images have no patches of {PATCH} pixels')
    count, found = min(len(real), len(fake)), {}
    sizes = _sizes(shorter)
    for level, size in enumerate(sizes):
        found[size] = 1e3 * sliced_wasserstein(*(
            _patches(images[:count], level, len(sizes), seed)
            for images in (real, fake)
        ), seed=seed)
    return {**found, 'mean': float(np.mean(list(found.values())))}


def sliced_wasserstein(values, other, *, seed=0):
    """Average the 1-D Wasserstein distance over random directions.

    mean_u mean_i |sort(X u)_i - sort(Y u)_i| over 4 x 128 directions u, even
    on the unit sphere.

    Args:
        values: X, [N, D]; products are made in its own type.
        other: Y, [N, D].
        seed: of the directions.

    Returns:
        float >= 0.

    References:
        Rabin et al., Wasserstein barycenter and its application to texture
        mixing, SSVM, 2011.
    """
    random = np.random.default_rng(seed)
    directions = random.normal(size=(DIRECTIONS, values.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions.astype(values.dtype)
    total = 0.0
    for first in range(0, DIRECTIONS, AT_ONCE):
        some = directions[first:first + AT_ONCE]
        # [directions, N], so that what is sorted lies side by side.
        projected, shifted = some @ values.T, some @ other.T
        projected.sort(axis=1)
        shifted.sort(axis=1)
        projected -= shifted
        total += np.abs(projected).sum(dtype=np.float64)
    return total / (DIRECTIONS * len(values))


def laplacian_pyramid(images, levels):
    """Split images into what each scale adds to the next coarser one.

    Args:
        images: [N, H, W, C].
        levels: how many, >= 1.

    Returns:
        list of float32 [N, H, W, C], finest first; heights and widths halve,
        odd ones rounded up. The last is the image itself at its scale.

    References:
        Burt and Adelson, The Laplacian pyramid as a compact image code, IEEE
        Transactions on Communications 31, 1983.
    """
    pyramid = [np.asarray(images, np.float32)]
    for _ in range(levels - 1):
        pyramid.append(_blur(pyramid[-1])[:, ::2, ::2])
        pyramid[-2] = pyramid[-2] - _up(pyramid[-1], pyramid[-2].shape)
    return pyramid


def reconstruct(pyramid):
    """Give the images of a `laplacian_pyramid`.

    Args:
        pyramid: list of [N, H, W, C], finest first.

    Returns:
        float32 [N, H, W, C].
    """
    images = pyramid[-1]
    for level in reversed(pyramid[:-1]):
        images = _up(images, level.shape) + level
    return images


def _sizes(size):
    """Give the shorter side of each level."""
    sizes = [size]
    while (sizes[-1] + 1) // 2 >= SMALLEST:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _blur(images):
    for axis in (1, 2):
        images = ndimage.correlate1d(images, FILTER, axis, mode='mirror')
    return images


def _up(images, shape):
    """Double images to a shape: every second pixel is theirs, then blur."""
    doubled = np.zeros(shape, np.float32)
    doubled[:, ::2, ::2] = images
    return 4 * _blur(doubled)


def _patches(images, level, levels, seed):
    """Give the normalised patches of a level, float32 [N 128, 7 7 C]."""
    random = np.random.default_rng(seed)
    side = (PATCH, PATCH, images.shape[3])
    patches = np.empty((len(images), PATCHES, *side), np.float32)
    for first in range(0, len(images), BLOCK):
        rows = slice(first, first + BLOCK)
        block = laplacian_pyramid(images[rows], levels)[level]
        patches[rows] = _cut(block, random)
    patches = patches.reshape(-1, side[2])  # a row for each pixel
    patches -= patches.mean(0, dtype=np.float64).astype(np.float32)
    squares = np.einsum('nc,nc->c', patches, patches, dtype=np.float64)
    std = np.sqrt(squares / len(patches))
    patches /= np.where(std > 0, std, 1)  # a channel may be constant
    return patches.reshape(len(images) * PATCHES, -1)


def _cut(images, random):
    """Cut random patches of each image, [N, 128, 7, 7, C]."""
    count, height, width, _ = images.shape
    shape = (count, PATCHES, 1, 1)
    side = np.arange(PATCH)
    rows = random.integers(0, height - PATCH + 1, shape) + side[:, None]
    columns = random.integers(0, width - PATCH + 1, shape) + side
    number = np.arange(count)[:, None, None, None]
    return images[number, rows, columns]
