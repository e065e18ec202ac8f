"""ADA's augmentations: matrices, resampling, colors, and how often they come.

The matrices and the resampling are written again here, in plain NumPy.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.ops import ada
from gan_jax.ops import augment

SHAPES = [(8, 8, 3), (8, 13, 1), (6, 5, 4), (1, 7, 3), (9, 2, 2)]


def picture(shape, seed=0):
    """Return a random image, float32 in [-1, 1]."""
    values = np.random.RandomState(seed).uniform(-1, 1, shape)
    return jnp.asarray(values, jnp.float32)


def alone(name, matrix):
    """Return 8 matrices that are the identity, but for one."""
    matrices = np.stack([np.eye(3)] * len(ada.GEOMETRY))
    matrices[ada.GEOMETRY.index(name)] = matrix
    return jnp.asarray(matrices, jnp.float32)


def turned(angle):
    """Return the matrix of a rotation."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


FLIP = alone('flip', np.diag([-1, 1, 1]))


# -- Nothing drawn


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('shape', SHAPES)
def test_probability_0_is_exactly_the_identity(shape, dtype):
    images = jnp.stack([picture(shape, n) for n in range(4)]).astype(dtype)
    for p in 0.0, 1.0:
        changed = jax.jit(augment.apply, static_argnums=3)(
            images, jax.random.key(0), jnp.arange(4), ('bgc',), p
        )
        assert changed.dtype == dtype
        assert np.isfinite(np.asarray(changed, np.float32)).all()
        assert (np.asarray(changed) == np.asarray(images)).all() == (p == 0)


def test_probabilities_above_1_are_as_1():
    for n in range(8):
        at_1, above = (
            ada.geometry_matrices(jax.random.key(n), p, (8, 8))
            for p in (1.0, 1.5)
        )
        np.testing.assert_array_equal(at_1, above)
        assert (above[4] != jnp.eye(3)).any()  # rotated


def test_resampling_by_the_identity_is_the_identity():
    image = picture((12, 7, 3))
    np.testing.assert_allclose(ada.warp(image, jnp.eye(3)), image, atol=2e-6)


# -- Pixels to pixels


def test_a_flip_mirrors_and_twice_is_the_identity():
    image = picture((6, 9, 3))
    once = ada.transform(image, FLIP)
    np.testing.assert_array_equal(once, image[:, ::-1])
    np.testing.assert_array_equal(ada.transform(once, FLIP), image)


@pytest.mark.parametrize('quarters', range(4))
def test_quarter_turns_are_exact(quarters):
    matrix = np.round(turned(quarters * np.pi / 2))
    image = picture((9, 9, 3))
    np.testing.assert_array_equal(
        ada.transform(image, alone('quarter_turn', matrix)),
        np.rot90(image, quarters),
    )
    if quarters % 2 == 0:
        wide = picture((6, 9, 1))
        np.testing.assert_array_equal(
            ada.transform(wide, alone('quarter_turn', matrix)),
            np.rot90(wide, quarters),
        )


def test_a_quarter_turn_keeps_the_size_of_a_wide_image():
    # Rows and columns about the center turn; the rest is filled by reflection.
    image = picture((8, 12, 1))
    smooth = jnp.broadcast_to(jnp.linspace(-1, 1, 12)[:, None], (8, 12, 1))
    assert ada.transform(
        image, alone('quarter_turn', np.round(turned(np.pi / 2)))
    ).shape == image.shape
    down = ada.transform(
        smooth, alone('quarter_turn', np.round(turned(np.pi / 2)))
    )
    # A gradient from left to right becomes one from bottom to top.
    steps = np.diff(np.asarray(down)[..., 0], axis=0)
    np.testing.assert_allclose(steps[1:-1], -2 / 11, atol=0.02)


def test_a_shift_by_pixels_is_padded_by_reflection():
    image = picture((16, 24, 3))
    shift = np.eye(3)
    shift[:2, 2] = 3, -2  # to the left by 3, down by 2
    padded = np.pad(image, ((2, 2), (3, 3), (0, 0)), mode='reflect')
    np.testing.assert_array_equal(
        ada.transform(image, alone('shift', shift)), padded[:16, 6:]
    )


# -- Resampling


def resampled(image, matrix):
    """Pad, upsample, interpolate, downsample and crop, one after another."""
    height, width, _ = image.shape
    image = np.pad(
        np.asarray(image, np.float64),
        [(height - 1,) * 2, (width - 1,) * 2, (0, 0)], mode='reflect',
    )
    taps = ada.SYM6 / ada.SYM6.sum()
    for axis in (0, 1):
        spread = np.insert(
            image, np.arange(1, image.shape[axis] + 1), 0, axis=axis
        )
        image = np.apply_along_axis(
            lambda line: np.convolve(line, 2 * taps)[5:-6], axis, spread
        )
    result = np.zeros((2 * height + 12, 2 * width + 12, image.shape[2]))
    for i, j in np.ndindex(result.shape[:2]):
        # Even places are those of pixels, before and after.
        x, y = (j - 6 - width + 1) / 2, (i - 6 - height + 1) / 2
        x, y, _ = matrix @ [x, y, 1]
        x = 2 * (x + (width - 1) / 2 + width - 1)
        y = 2 * (y + (height - 1) / 2 + height - 1)
        for row, column in np.ndindex(2, 2):
            row, column = int(np.floor(y)) + row, int(np.floor(x)) + column
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                result[i, j] += weight * image[row, column]
    for axis in (0, 1):
        result = np.apply_along_axis(
            lambda line: np.correlate(line, taps, 'valid')[1::2], axis, result
        )
    return result[:height, :width]


@pytest.mark.parametrize('shape', [(8, 8, 3), (6, 9, 1), (1, 5, 2)])
@pytest.mark.parametrize('seed', range(3))
def test_warp_pads_upsamples_interpolates_and_downsamples(shape, seed):
    random = np.random.RandomState(seed)
    matrix = turned(random.uniform(-3, 3)) @ np.diag(
        [*np.exp2(random.normal(size=2) / 2), 1]
    )
    matrix[:2, 2] = random.normal(size=2)
    image = picture(shape)
    np.testing.assert_allclose(
        ada.warp(image, jnp.asarray(matrix, jnp.float32)),
        resampled(image, matrix), atol=2e-5,
    )


def test_everything_beyond_one_reflection_is_0():
    far = np.eye(3)
    far[0, 2] = 40
    image = picture((8, 8, 3))
    np.testing.assert_array_equal(
        ada.transform(image, alone('fractional_shift', far)), 0
    )


# -- Draws


def draws(key, shapes):
    """Return the uniform and the normal numbers of a key, in [-1, 1) and N."""
    _, draw_key, normal_key = jax.random.split(key, 3)
    return (
        np.asarray(jax.random.uniform(
            draw_key, shapes, jnp.float32, -1, 1), np.float64),
        np.asarray(jax.random.normal(normal_key, shapes), np.float64),
    )


@pytest.mark.parametrize('seed', range(6))
def test_geometry_by_hand(seed):
    key, width, height = jax.random.key(seed), 40, 24
    uniform, normal = draws(key, (8, 2))
    offset = np.round(uniform[2] * [width / 8, height / 8])
    moved = normal[7] * [width / 8, height / 8]
    sx = 2 ** (0.2 * normal[5, 0])
    # What is done to the image; the matrices undo it.
    steps = [
        np.diag([-1 if uniform[0, 0] < 0 else 1, 1, 1]),
        turned(-np.floor(2 * uniform[1, 0] + 2) * np.pi / 2),
        np.array([[1, 0, offset[0]], [0, 1, offset[1]], [0, 0, 1]]),
        np.diag([2 ** (0.2 * normal[3, 0])] * 2 + [1]),
        turned(-np.pi * uniform[4, 0]),
        np.diag([sx, 1 / sx, 1]),
        turned(-np.pi * uniform[6, 0]),
        np.array([[1, 0, moved[0]], [0, 1, moved[1]], [0, 0, 1]]),
    ]
    matrices = ada.geometry_matrices(key, 1.0, (height, width))
    for matrix, step in zip(matrices, steps):
        np.testing.assert_allclose(matrix, np.linalg.inv(step), atol=1e-5)
    whole = functools.reduce(lambda total, step: step @ total, steps)
    np.testing.assert_allclose(
        functools.reduce(np.matmul, np.asarray(matrices, np.float64)),
        np.linalg.inv(whole), atol=1e-4,
    )


@pytest.mark.parametrize('seed', range(4))
def test_colors_by_hand(seed):
    key, image = jax.random.key(seed), picture((4, 5, 3))
    uniform, normal = draws(key, (5,))
    pixels = np.asarray(image, np.float64) + 0.2 * normal[0]
    pixels = pixels * 2 ** (0.5 * normal[1])
    if uniform[2] < 0:
        pixels = pixels - 2 * pixels.mean(-1, keepdims=True)
    # Rodrigues' rotation about the gray axis.
    axis, angle = np.ones(3) / np.sqrt(3), np.pi * uniform[3]
    pixels = (
        pixels * np.cos(angle) + np.cross(axis, pixels) * np.sin(angle)
        + (1 - np.cos(angle)) * (pixels @ axis)[..., None] * axis
    )
    gray = pixels.mean(-1, keepdims=True)
    pixels = gray + 2 ** normal[4] * (pixels - gray)
    np.testing.assert_allclose(
        ada.recolor(image, ada.color_matrices(key, 1.0)), pixels, atol=1e-5
    )


@pytest.mark.parametrize('seed', range(4))
def test_a_gray_image_gets_the_mean_of_its_colors(seed):
    gray = picture((4, 5, 1))
    matrices = ada.color_matrices(jax.random.key(seed), 1.0)
    colored = ada.recolor(jnp.broadcast_to(gray, (4, 5, 3)), matrices)
    # Each color matrix maps gray to gray, so hue and saturation do nothing.
    np.testing.assert_allclose(np.ptp(colored, axis=-1), 0, atol=1e-6)
    for several in matrices, matrices[:3]:
        np.testing.assert_allclose(
            ada.recolor(gray, several)[..., 0], colored.mean(-1), atol=1e-6
        )


@pytest.mark.parametrize('name', ['luma_flip', 'hue'])
def test_a_luma_flip_or_half_a_turn_of_hue_twice_is_the_identity(name):
    gray, image = np.full((3, 3), 1 / 3), picture((4, 5, 3))
    linear = np.eye(3) - 2 * gray if name == 'luma_flip' else (
        2 * gray - np.eye(3)  # half a turn about the gray axis
    )
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    once = ada.recolor(image, jnp.asarray(matrix, jnp.float32)[None])
    twice = ada.recolor(image, jnp.asarray([matrix] * 2, jnp.float32))
    assert abs(np.asarray(once - image)).max() > 0.5
    np.testing.assert_allclose(twice, image, atol=1e-6)
    # The library draws this matrix: hue with an angle near pi, any luma flip.
    number = ada.COLORS.index(name)
    drawn = jax.vmap(lambda key: ada.color_matrices(key, 1.0)[number])(
        jax.random.split(jax.random.key(0), 2000)
    )
    nearest = abs(np.asarray(drawn) - matrix).max((1, 2)).min()
    assert nearest < (1e-6 if name == 'luma_flip' else 5e-3)


@pytest.mark.integration
@pytest.mark.parametrize('p', [0.0, 0.3, 1.0])
def test_changes_come_as_often_as_their_probability(p):
    keys = jax.random.split(jax.random.key(1), 4000)
    kinds = (
        (ada.GEOMETRY, jax.vmap(
            lambda key: ada.geometry_matrices(key, p, (32, 64)))(keys)),
        (ada.COLORS, jax.vmap(lambda key: ada.color_matrices(key, p))(keys)),
    )
    once = 1 - np.sqrt(1 - p)
    rates = dict.fromkeys((*ada.GEOMETRY, *ada.COLORS), p) | {
        'flip': p / 2, 'quarter_turn': 0.75 * p, 'luma_flip': p / 2,
        'shift': p * (1 - 1 / 8 / 16),  # less than half a pixel along both
        'rotation': once, 'second_rotation': once,
    }
    for names, matrices in kinds:
        size = matrices.shape[-1]
        drawn = (np.asarray(matrices) != np.eye(size)).any((2, 3))
        for name, share in zip(names, drawn.mean(0)):
            np.testing.assert_allclose(share, rates[name], atol=0.025)
        if names is ada.GEOMETRY:
            pair = [names.index('rotation'), names.index('second_rotation')]
            np.testing.assert_allclose(
                drawn[:, pair].any(1).mean(), p, atol=0.025
            )


def test_what_is_upright_stays_the_most_frequent_until_p_is_1():
    # An augmentation leaks if G cannot tell the images from changed ones.
    corner = jnp.zeros((8, 8, 1)).at[0, 0].set(1)
    keys = jax.random.split(jax.random.key(2), 4000)

    def corners(p):
        """Return the share of each corner that flips and turns put it in."""
        def place(key):
            matrices = ada.geometry_matrices(key, p, (8, 8))
            return ada.transform(
                corner, matrices.at[2:].set(jnp.eye(3))
            )[jnp.array([0, 0, 7, 7]), jnp.array([0, 7, 0, 7]), 0]
        return jax.jit(jax.vmap(place))(keys).mean(0)

    half, whole = corners(0.5), corners(1.0)
    # Not mirrored, not turned: 3/4 of 5/8. Both: 1/4 of 1/8 each.
    np.testing.assert_allclose(half[0], 1 / 2, atol=0.025)
    np.testing.assert_allclose(
        np.sort(half[1:]), [1 / 8, 1 / 8, 1 / 4], atol=0.025
    )
    np.testing.assert_allclose(whole, 0.25, atol=0.025)


# -- Gradients


def test_the_transpose_of_a_warp_is_exact():
    image, other = picture((7, 9, 2)), picture((7, 9, 2), 1)
    matrix = jnp.asarray(turned(0.7), jnp.float32).at[0, 2].set(1.3)
    warped, transpose = jax.vjp(lambda x: ada.warp(x, matrix), image)
    np.testing.assert_allclose(
        jnp.vdot(warped, other), jnp.vdot(image, transpose(other)[0]),
        rtol=1e-5,
    )


@pytest.mark.integration
@pytest.mark.parametrize('channels', [1, 3])
def test_second_derivatives_agree_with_differences(channels):
    # R1 of D(x) = sum of sin(w T(x)), with respect to w.
    shape = (4, 6, 6, channels)
    images, weight = picture(shape), 1 + picture(shape[1:], 1)
    direction = picture(shape[1:], 2)

    @jax.jit
    def r1(weight):
        def judge(x):
            changed = augment.apply(
                x, jax.random.key(3), jnp.arange(4), ('bgc',), 0.7
            )
            return jnp.sin(weight * changed).sum()
        return jnp.square(jax.grad(judge)(images)).sum()

    slope = jnp.vdot(jax.grad(r1)(weight), direction)
    difference = (
        r1(weight + 0.01 * direction) - r1(weight - 0.01 * direction)
    ) / 0.02
    assert abs(slope) > 1
    np.testing.assert_allclose(slope, difference, rtol=0.01)


# -- The probability


def test_probability_rises_from_0_to_1_in_500000_images():
    config = defaults.default_config()
    config.augment.adaptive = True
    validation.validate(config)
    speed = builders.hyperparams(config).augment_speed
    updates = 500_000 / config.batch_size

    def rise(count, sign):
        return jax.lax.fori_loop(
            0, int(count), lambda _, p: augment.adapt(p, sign, 0.6, speed),
            jnp.float32(0),
        )

    np.testing.assert_allclose(rise(updates / 2, 0.9), 0.5, rtol=1e-3)
    np.testing.assert_allclose(rise(updates, 0.9), 1, rtol=1e-3)
    assert rise(2 * updates, 0.9) == 1 and rise(9, 0.5) == 0


@pytest.mark.parametrize('changes, names', [
    ({'adaptive': True}, ('bgc',)), ({'bgc': True}, ('bgc',)),
    ({'adaptive': True, 'color': True}, ('color',)), ({}, ()),
])
def test_adaptive_alone_means_bgc(changes, names):
    config = defaults.default_config()
    config.augment.update(changes)
    validation.validate(config)
    specs = builders.single_source_specs((32, 32, 1))
    gan = builders.algorithm(config, specs)
    assert gan.augmentations == names
    assert gan.adaptive_augmentation == changes.get('adaptive', False)
