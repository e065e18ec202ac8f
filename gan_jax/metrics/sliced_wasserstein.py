"""Sliced Wasserstein distance between patches of images, scale by scale.

NumPy and SciPy alone; it needs no features.
"""

import numpy as np
from scipy import ndimage

from gan_jax.core import errors
from gan_jax.metrics import features

PATCH = 7  # pixels of a side
PATCHES = 128  # of each image
DIRECTIONS = 4 * 128
AT_ONCE = 16  # directions that are projected at once
SMALLEST = 16  # shorter side of the coarsest level
FILTER = np.array([1, 4, 6, 4, 1]) / 16
BLOCK = 256  # images whose pyramids are computed at once


def sliced_wasserstein_distance(real, fake, *, seed=0):
    """Compute the distance between patches of two sets of images per scale.

    Images are decomposed into Laplacian pyramids, halved down to 16 pixels of
    the shorter side. 128 random 7x7 patches are cut from each level of each
    image. Each channel of all patches of a set is normalised to mean 0 and
    standard deviation 1; then `sliced_wasserstein`, times 1e3.

    Because each set is normalised separately, a colour cast or a contrast that
    is wrong in all images is not detected, and values do not depend on the
    range of pixels. Fine levels compare textures, the coarsest level
    large-scale structure. The paper's values have 16,384 images, the authors'
    script 8,192; fewer images give larger values, so only compare values of the
    same number.

    Differs from the authors' code: both sets have patches at the same places,
    so equal sets have distance 0, unlike in theirs; sizes need not be powers of
    2; the number of channels need not be 3. Memory: 25 KiB for each image and
    channel of either set, and 24 KiB for each image.

    Args:
        real: [N, H, W, C], uint8 or floats, H and W >= 7.
        fake: [M, H, W, C]; the larger set is truncated to the smaller size.
        seed: of patches and directions; the same seed gives the same numbers.

    Returns:
        {shorter side of each level: float, …, 'mean': float}, all >= 0; the
        keys are 32, 16 and 'mean' for 32x32 images.

    Raises:
        errors.DataError: for no images, shapes that differ, or images smaller
            than a patch.
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
        raise errors.DataError(
            f'images of {shorter} pixels are smaller than a patch of {PATCH}'
        )
    count, values = min(len(real), len(fake)), {}
    sizes = _sizes(shorter)
    for level, size in enumerate(sizes):
        values[size] = 1e3 * sliced_wasserstein(*(
            _patches(images[:count], level, len(sizes), seed)
            for images in (real, fake)
        ), seed=seed)
    return {**values, 'mean': float(np.mean(list(values.values())))}


def sliced_wasserstein(values, other, *, seed=0):
    """Compute the mean 1-D Wasserstein distance along random directions.

    mean_u mean_i |sort(X u)_i - sort(Y u)_i| over 4 x 128 directions u, uniform
    on the unit sphere.

    Args:
        values: X, [N, D]; products are computed in its own type.
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
        block = directions[first:first + AT_ONCE]
        # [directions, N], so that the sorted axis is contiguous.
        gaps, other_projected = block @ values.T, block @ other.T
        gaps.sort(axis=1)
        other_projected.sort(axis=1)
        gaps -= other_projected
        total += np.abs(gaps).sum(dtype=np.float64)
    return total / (DIRECTIONS * len(values))


def laplacian_pyramid(images, levels):
    """Split images into the detail that each scale adds.

    Args:
        images: [N, H, W, C].
        levels: number of levels, >= 1.

    Returns:
        List of float32 [N, H, W, C], finest first; heights and widths halve,
        rounded up. The last level is the downsampled image itself.

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
    """Reconstruct images from a `laplacian_pyramid`.

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
    """List the shorter side of each level."""
    sizes = [size]
    while (sizes[-1] + 1) // 2 >= SMALLEST:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _blur(images):
    for axis in (1, 2):
        images = ndimage.correlate1d(images, FILTER, axis, mode='mirror')
    return images


def _up(images, shape):
    """Upsample images to a shape: insert zeros, then blur."""
    doubled = np.zeros(shape, np.float32)
    doubled[:, ::2, ::2] = images
    return 4 * _blur(doubled)


def _patches(images, level, levels, seed):
    """Extract the normalised patches of a level, float32 [N 128, 7 7 C]."""
    random = np.random.default_rng(seed)
    side = (PATCH, PATCH, images.shape[3])
    patches = np.empty((len(images), PATCHES, *side), np.float32)
    for first in range(0, len(images), BLOCK):
        rows = slice(first, first + BLOCK)
        block = laplacian_pyramid(images[rows], levels)[level]
        patches[rows] = _cut(block, random)
    patches = patches.reshape(-1, side[2])  # [N 128 7 7, C]
    patches -= patches.mean(0, dtype=np.float64).astype(np.float32)
    squares = np.einsum('nc,nc->c', patches, patches, dtype=np.float64)
    std = np.sqrt(squares / len(patches))
    patches /= np.where(std > 0, std, 1)  # a channel may be constant
    return patches.reshape(len(images) * PATCHES, -1)


def _cut(images, random):
    """Extract random patches of each image, [N, 128, 7, 7, C]."""
    count, height, width, _ = images.shape
    shape = (count, PATCHES, 1, 1)
    side = np.arange(PATCH)
    rows = random.integers(0, height - PATCH + 1, shape) + side[:, None]
    columns = random.integers(0, width - PATCH + 1, shape) + side
    number = np.arange(count)[:, None, None, None]
    return images[number, rows, columns]
