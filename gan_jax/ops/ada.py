"""Augmentations of ADA: geometry and colors of one image, `bgc`.

All geometric changes of an image are one matrix and one resampling, all changes
of its colors one matrix. This module knows neither networks nor losses.

References:
    Karras et al., Training Generative Adversarial Networks with Limited Data,
    https://arxiv.org/abs/2006.06676, 2020, appendix B.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Low-pass filter of the wavelet sym6. Daubechies, Ten Lectures on Wavelets,
# 1992. Filtering up and then down with it is the identity.
SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057,
    -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564,
    0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
])
GEOMETRY = (
    'flip', 'quarter_turn', 'shift', 'scale', 'rotation', 'stretch',
    'second_rotation', 'fractional_shift',
)
EXACT = 3  # the first of them move pixels to pixels
COLORS = ('brightness', 'contrast', 'luma_flip', 'hue', 'saturation')
_LUMA = np.full((3, 3), 1 / 3)  # projection onto the gray axis
_HIGHEST = jax.lax.Precision.HIGHEST


def bgc(image, key, probability):
    """Apply ADA's pixel, geometric and color changes at random.

    Each change is drawn with `probability`, each rotation with 1 - sqrt(1 - p),
    so that an image is rotated with p. An image without a drawn change is
    returned as it is. If p is at most about 0.8, G does not learn the changes.

    Args:
        image: [H, W, C] in [-1, 1]. If C is not 3, hue and saturation are left
            out, and the other changes of colors are those of a gray image, the
            same for each channel.
        key: PRNG key.
        probability: scalar p in [0, 1].

    Returns:
        [H, W, C] of the type of `image`; values may exceed [-1, 1].

    References:
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020. The authors resample
        flips, quarter turns and shifts by whole pixels too, if no other change
        is drawn; here these are exact. Their code raises an error if C is
        neither 1 nor 3.
    """
    geometry_key, color_key = jax.random.split(key)
    *size, channels = image.shape
    changed = transform(
        image.astype(jnp.float32),
        geometry_matrices(geometry_key, probability, size),
    )
    matrices = color_matrices(color_key, probability)
    if channels != 3:
        matrices = matrices[:COLORS.index('hue')]
    return recolor(changed, matrices).astype(image.dtype)


def geometry_matrices(key, probability, size):
    """Draw the geometric changes of one image.

    Mirrored with 1/2; turned by 0 to 3 quarters; shifted by U(-1, 1) / 8 of
    each side, rounded to pixels; scaled by 2^(0.2 n); rotated by U(-pi, pi);
    stretched by 2^(0.2 n) along x and its inverse along y; rotated again;
    shifted by n / 8 of each side. n is normal. In this order.

    Args:
        key: PRNG key.
        probability: scalar p in [0, 1]; a larger one is as 1.
        size: (height, width), static.

    Returns:
        [8, 3, 3] float32, in the order of `GEOMETRY`; the identity if not
        drawn. Each maps (x, y, 1) after the change to (x, y, 1) before it, in
        pixels from the center of the image.
    """
    chance_key, draw_key, normal_key = jax.random.split(key, 3)
    count = len(GEOMETRY)
    draws = jax.random.uniform(draw_key, (count, 2), jnp.float32, -1, 1)
    normal = jax.random.normal(normal_key, (count, 2), jnp.float32)
    sides = jnp.array([size[1], size[0]], jnp.float32)
    turns = jnp.floor(2 * draws[1, 0] + 2).astype(jnp.int32)  # 0 to 3
    stretch = jnp.exp2(0.2 * normal[5, 0])
    scale = jnp.exp2(-0.2 * normal[3, 0])
    matrices = jnp.stack([
        _linear(jnp.where(draws[0, 0] < 0, -1, 1), 0, 0, 1),
        _rotation(*jnp.array([[1, 0], [0, 1], [-1, 0], [0, -1]])[turns]),
        _shift(-jnp.round(draws[2] / 8 * sides)),
        _linear(scale, 0, 0, scale),
        _rotation(jnp.cos(np.pi * draws[4, 0]), jnp.sin(np.pi * draws[4, 0])),
        _linear(1 / stretch, 0, 0, stretch),
        _rotation(jnp.cos(np.pi * draws[6, 0]), jnp.sin(np.pi * draws[6, 0])),
        _shift(-normal[7] / 8 * sides),
    ])
    probabilities = jnp.full(count, jnp.minimum(probability, 1), jnp.float32)
    rotations = np.array(['rotation' in name for name in GEOMETRY])
    probabilities = jnp.where(
        rotations, 1 - jnp.sqrt(1 - probabilities), probabilities
    )
    return _select(chance_key, probabilities, matrices)


def color_matrices(key, probability):
    """Draw the changes of the colors of one image.

    Brightness + 0.2 n; contrast x 2^(0.5 n); the gray axis reversed with 1/2;
    hue rotated about that axis by U(-pi, pi); the distance from it x 2^n. n is
    normal. In this order.

    Args:
        key: PRNG key.
        probability: scalar in [0, 1], of each change.

    Returns:
        [5, 4, 4] float32, in the order of `COLORS`; the identity if not drawn.
        Each maps (r, g, b, 1) to (r, g, b, 1).
    """
    chance_key, draw_key, normal_key = jax.random.split(key, 3)
    count, axis = len(COLORS), _LUMA
    draws = jax.random.uniform(draw_key, (count,), jnp.float32, -1, 1)
    normal = jax.random.normal(normal_key, (count,), jnp.float32)
    identity, angle = jnp.eye(3), np.pi * draws[3]
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    matrices = jnp.stack([
        _affine(identity, 0.2 * normal[0]),
        _affine(identity * jnp.exp2(0.5 * normal[1])),
        _affine(identity - jnp.where(draws[2] < 0, 2, 0) * axis),
        _affine(
            axis + jnp.cos(angle) * (identity - axis) + jnp.sin(angle) * across
        ),
        _affine(axis + jnp.exp2(normal[4]) * (identity - axis)),
    ])
    probabilities = jnp.full(count, probability, jnp.float32)
    return _select(chance_key, probabilities, matrices)


def transform(image, matrices):
    """Apply geometric changes to an image.

    Pixels are copied if only the first `EXACT` changes differ from the
    identity; else the image is resampled, once.

    Args:
        image: [H, W, C] float32.
        matrices: [8, 3, 3], of `geometry_matrices`.

    Returns:
        [H, W, C] float32.
    """
    height, width, _ = image.shape
    resampled = jnp.any(matrices[EXACT:] != jnp.eye(3))
    if height != width:  # a quarter turn may not map pixels to pixels
        resampled |= matrices[1, 0, 1] != 0
    return jnp.where(
        resampled, warp(image, _product(matrices)),
        _copy(image, _product(matrices[:EXACT])),
    )


def warp(image, matrix):
    """Resample an image by an affine map.

    The image is padded by reflection and upsampled by 2 with sym6; values at
    the mapped positions are interpolated linearly and downsampled by 2 with
    sym6. Beyond one reflection, an image's side less 1, the padding is 0.

    Args:
        image: [H, W, C] float32.
        matrix: [3, 3], maps (x, y, 1) in the result to (x, y, 1) in the image,
            in pixels from the center.

    Returns:
        [H, W, C] float32.

    References:
        Karras et al., Training Generative Adversarial Networks with Limited
        Data, https://arxiv.org/abs/2006.06676, 2020. The authors pad by what
        the corners of a batch need, at most by the same. That is not a static
        shape; any smaller bound would lose what a strong change shows.
    """
    height, width, _ = image.shape
    x, y = _sources(matrix, [
        (np.arange(2 * side + 10) - side - 4) / 2 for side in (height, width)
    ])
    # Pixel i of the padded image is at 2 i + 1 here, after a row of zeros.
    fine = _resample(image, _upsampling(height), _upsampling(width))
    sampled = _interpolate(
        fine, 2 * y + 3 * height - 2, 2 * x + 3 * width - 2
    )
    return _resample(sampled, _downsampling(height), _downsampling(width))


def recolor(image, matrices):
    """Apply changes of colors to an image.

    Args:
        image: [H, W, C] float32.
        matrices: [n, 4, 4] of (r, g, b, 1), the first is applied first. If C is
            not 3, each channel is treated as a gray image, and the result is
            the mean of r, g and b.

    Returns:
        [H, W, C] float32.
    """
    matrix = _product(matrices[::-1])[:3]
    if image.shape[-1] != 3:
        gain, offset = matrix[:, :3].sum() / 3, matrix[:, 3].sum() / 3
        return gain * image + offset
    return sum(
        image[..., n:n + 1] * matrix[:, n] for n in range(3)
    ) + matrix[:, 3]


def _linear(a, b, c, d):
    """Return the 3x3 matrix of x' = a x + b y, y' = c x + d y."""
    return jnp.array([[a, b, 0], [c, d, 0], [0, 0, 1]], jnp.float32)


def _rotation(cosine, sine):
    """Return the 3x3 matrix of a rotation."""
    return _linear(cosine, -sine, sine, cosine)


def _shift(offset):
    """Return the 3x3 matrix that adds an offset (x, y)."""
    return jnp.eye(3).at[:2, 2].set(offset)


def _affine(linear, offset=0):
    """Return the 4x4 matrix of a linear map [3, 3] and a scalar offset."""
    return jnp.eye(4).at[:3, :3].set(linear).at[:3, 3].set(offset)


def _select(key, probabilities, matrices):
    """Replace each matrix [n, m, m] by the identity unless it is drawn."""
    chances = jax.random.uniform(key, probabilities.shape, jnp.float32)
    drawn = (chances < probabilities)[:, None, None]
    return jnp.where(drawn, matrices, jnp.eye(matrices.shape[-1]))


def _product(matrices):
    """Multiply matrices [n, m, m], the first at the left."""
    return functools.reduce(
        functools.partial(jnp.matmul, precision=_HIGHEST), list(matrices)
    )


def _sources(matrix, axes):
    """Map a grid of positions; axes is (ys, xs). Return (x, y), [ys, xs]."""
    y, x = axes[0][:, None], axes[1][None]
    return [row[0] * x + row[1] * y + row[2] for row in matrix[:2]]


def _copy(image, matrix):
    """Copy pixels by a map of pixels to pixels, reflected at the edges."""
    height, width, channels = image.shape
    sides = (height, width)
    x, y = _sources(matrix, [np.arange(n) - (n - 1) / 2 for n in sides])
    rows, columns = (
        _reflect(jnp.round(place + (n - 1) / 2).astype(jnp.int32), n)
        for place, n in zip((y, x), sides)
    )
    pixels = image.reshape(height * width, channels)
    return pixels.at[rows * width + columns].get(mode='promise_in_bounds')


def _reflect(index, size):
    """Return an index reflected once at both ends, then clipped."""
    last = size - 1
    return jnp.clip(last - abs(last - abs(index)), 0, last)


def _resample(image, along_y, along_x):
    """Apply a matrix [new, old] along each axis of an image [H, W, C]."""
    # On CPU, sums of shifted slices have gradients 10 times as slow.
    rows = jnp.einsum('ij,jkc->ikc', along_y, image, precision=_HIGHEST)
    return jnp.einsum('kj,ijc->ikc', along_x, rows, precision=_HIGHEST)


def _interpolate(image, y, x):
    """Return the image at places [...] by bilinear interpolation, [..., C].

    The first row and column and the last two must be 0: places further out get
    0.
    """
    height, width, channels = image.shape
    y, x = jnp.clip(y, 0, height - 2), jnp.clip(x, 0, width - 2)
    row, column = (jnp.floor(place).astype(jnp.int32) for place in (y, x))
    y, x = (y - row)[..., None, None], (x - column)[..., None]
    pixels, places = image.reshape(-1, channels), row * width + column
    pairs = jax.lax.GatherDimensionNumbers(
        offset_dims=(places.ndim, places.ndim + 1), collapsed_slice_dims=(),
        start_index_map=(0,),
    )
    above, below = (
        jax.lax.gather(
            pixels, (places + offset)[..., None], pairs, (2, channels),
            mode='promise_in_bounds',
        ) for offset in (0, width)
    )
    pair = (1 - y) * above + y * below  # [..., 2, C]
    return (1 - x) * pair[..., 0, :] + x * pair[..., 1, :]


def _upsampling(size):
    """Return the matrix that pads by reflection and upsamples by 2 with sym6.

    Returns:
        float32 [2 (3 size - 2) + 3, size]; the first and the last two rows are
        0.
    """
    padded = np.pad(np.eye(size), ((size - 1,) * 2, (0, 0)), mode='reflect')
    spread = np.zeros((2 * len(padded), size))
    spread[::2] = padded
    taps = 2 * SYM6 / SYM6.sum()
    filtered = [np.convolve(column, taps)[5:-6] for column in spread.T]
    return np.pad(np.stack(filtered, 1), ((1, 2), (0, 0))).astype(np.float32)


def _downsampling(size):
    """Return the matrix that downsamples by 2 with sym6, without padding.

    Returns:
        float32 [size, 2 size + 10].
    """
    taps = SYM6 / SYM6.sum()
    return np.stack([
        np.pad(taps, (2 * n, 2 * (size - 1 - n))) for n in range(size)
    ]).astype(np.float32)
