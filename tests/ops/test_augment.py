"""Instance noise and its decay; cropped, mirrored, dequantised images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.ops import augment

IMAGES = jnp.zeros((40, 16, 16, 1))
INDEX = jnp.arange(40)


def test_noise_has_mean_0_and_the_given_deviation():
    noise = augment.instance_noise(IMAGES, jax.random.key(0), INDEX, 0.3)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.01)
    np.testing.assert_allclose(noise.std(), 0.3, rtol=0.02)
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_noise_depends_only_on_the_index():
    key = jax.random.key(1)
    whole = augment.instance_noise(IMAGES, key, INDEX, 1.0)
    chosen = jnp.array([30, 4])
    part = augment.instance_noise(IMAGES[:2], key, chosen, 1.0)
    np.testing.assert_array_equal(part, whole[chosen])


def test_gradients_pass_through_unchanged():
    grads = jax.grad(
        lambda x: augment.instance_noise(x, jax.random.key(0), INDEX, 0.5).sum()
    )(IMAGES)
    np.testing.assert_array_equal(grads, np.ones(IMAGES.shape))


@pytest.mark.parametrize(
    'step, num_steps, expected',
    [(0, 10, 0.4), (5, 10, 0.2), (10, 10, 0.0), (99, 10, 0.0), (99, 0, 0.4)],
)
def test_linear_decay_reaches_0_and_stays(step, num_steps, expected):
    value = jax.jit(augment.linear_decay)(step, 0.4, num_steps)
    np.testing.assert_allclose(value, expected, atol=1e-7)


def test_shift_and_flip_moves_a_dot_and_not_a_constant_image():
    flat = jnp.full((20, 16, 16, 2), 0.3)
    sample_index = jnp.arange(20)
    key = jax.random.key(0)
    np.testing.assert_array_equal(
        augment.shift_and_flip(flat, key, sample_index), flat
    )
    dot = jnp.zeros((20, 16, 16, 1)).at[:, 7, 4].set(1)
    moved = np.asarray(augment.shift_and_flip(dot, key, sample_index))[..., 0]
    places = [np.argwhere(image == 1)[0] for image in moved]
    assert all(moved.sum((1, 2)) == 1)
    rows, columns = np.array(places).T
    assert set(rows) == {5, 6, 7, 8, 9}
    left, right = {2, 3, 4, 5, 6}, {15 - x for x in (2, 3, 4, 5, 6)}
    assert set(columns) <= left | right
    assert set(columns) & left and set(columns) & right


NAMES = sorted(augment.AUGMENTATIONS)
PICTURES = jnp.asarray(
    np.random.RandomState(0).uniform(-1, 1, (40, 16, 24, 3)), jnp.float32
)


def changed(names, probability=1.0, images=PICTURES, sample_index=INDEX):
    return augment.apply(
        images, jax.random.key(3), sample_index, names, probability
    )


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.integration] * (name == 'bgc'))
    for name in NAMES
])
def test_augmentation_depends_only_on_the_index(name):
    whole = changed([name])
    chosen = jnp.array([30, 4])
    part = changed([name], images=PICTURES[chosen], sample_index=chosen)
    np.testing.assert_allclose(part, whole[chosen], atol=1e-6)
    assert not np.allclose(whole, PICTURES)


@pytest.mark.parametrize('name', ['color', 'cutout', 'translation'])
def test_probability_applies_to_each_image(name):
    np.testing.assert_array_equal(changed([name], 0.0), PICTURES)
    half = np.asarray(changed([name], 0.5) != PICTURES).any((1, 2, 3))
    assert 10 <= half.sum() <= 30
    whole = np.asarray(changed([name]))
    np.testing.assert_allclose(changed([name], 0.5)[half], whole[half],
                               atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_gradients_pass_through_augmentations(name):
    grads = jax.grad(lambda x: jnp.square(changed([name], images=x)).sum())(
        PICTURES
    )
    assert np.isfinite(grads).all() and np.abs(grads).max() > 0


def test_color_by_hand():
    key = jax.random.key(5)
    shift, saturation, contrast = np.asarray(jax.random.uniform(key, (3,)))
    image = np.asarray(PICTURES[0]) + shift - 0.5
    grey = image.mean(-1, keepdims=True)
    image = grey + 2 * saturation * (image - grey)
    image = image.mean() + (0.5 + contrast) * (image - image.mean())
    np.testing.assert_allclose(
        augment.color(PICTURES[0], key), image, atol=1e-6
    )


def test_translation_is_at_most_an_eighth_and_pads_with_0():
    ones = jnp.ones((200, 16, 24, 1))
    moved = np.asarray(changed(
        ['translation'], images=ones, sample_index=jnp.arange(200)
    ))[..., 0]
    rows = moved.max(2).sum(1)  # rows with something left
    columns = moved.max(1).sum(1)
    assert set(rows) == {14, 15, 16} and set(columns) == {21, 22, 23, 24}
    wide = jnp.ones((200, 1, 64, 1))
    moved = np.asarray(changed(
        ['translation'], images=wide, sample_index=jnp.arange(200)
    ))
    assert set(moved.sum((1, 2, 3))) == set(range(56, 65))


def test_cutout_is_a_rectangle_of_at_most_half_the_sides():
    ones = jnp.ones((200, 16, 24, 1))
    cut = np.asarray(changed(
        ['cutout'], images=ones, sample_index=jnp.arange(200)
    ))
    holes = (cut[..., 0] == 0).sum((1, 2))
    assert holes.max() == 8 * 12 and holes.min() >= 4 * 6


def test_augmentations_have_the_order_of_diffaugment():
    # https://github.com/mit-han-lab/data-efficient-gans has the policy
    # 'color,translation,cutout'. Draws do not depend on the order.
    ones = jnp.ones((200, 16, 24, 1))
    sample_index = jnp.arange(200)
    hole, edge, both = (
        np.asarray(changed(names, images=ones, sample_index=sample_index)) == 0
        for names in (['cutout'], ['translation'], ['cutout', 'translation'])
    )
    assert (hole & ~edge).any() and (edge & ~hole).any()
    # What is cut out is cut out of the shifted image: it stays where it was.
    np.testing.assert_array_equal(both, hole | edge)
    bright = np.asarray(changed(
        ['color', 'translation'], images=ones, sample_index=sample_index
    ))
    assert (bright[edge] == 0).all()  # what comes in has no brightness


def test_adapt_changes_the_probability_by_speed_within_bounds():
    np.testing.assert_allclose(augment.adapt(0.5, 0.9, 0.6, 0.01), 0.51)
    np.testing.assert_allclose(augment.adapt(0.5, 0.1, 0.6, 0.01), 0.49)
    assert augment.adapt(1.0, 0.9, 0.6, 0.01) == 1
    assert augment.adapt(0.0, -1.0, 0.6, 0.01) == 0


NOISE = np.random.RandomState(0).randint(0, 256, (40, 4, 6, 3)).astype(np.uint8)


def test_mirror_flips_about_half_of_the_images():
    mirrored = np.asarray(augment.mirror(NOISE, jax.random.key(0), INDEX))
    assert mirrored.dtype == np.uint8
    turned = (mirrored == NOISE[:, :, ::-1]).all((1, 2, 3))
    same = (mirrored == NOISE).all((1, 2, 3))
    assert (turned ^ same).all()
    assert 10 < turned.sum() < 30


PLACES = (np.arange(9)[:, None, None] * 9 + np.arange(9)[None, :, None])


def test_random_crops_are_parts_at_every_place_alike():
    images = np.broadcast_to(PLACES, (640, 9, 9, 1)).astype(np.uint8)
    cropped = np.asarray(augment.random_crop(
        images, jax.random.key(0), jnp.arange(640), (6, 8)
    ))
    assert cropped.shape == (640, 6, 8, 1) and cropped.dtype == np.uint8
    corners = cropped[:, 0, 0, 0]
    np.testing.assert_array_equal(
        cropped, corners[:, None, None, None] + PLACES[:6, :8]
    )
    # Of 4 rows and 2 columns, each with 80 images; the deviation is 8.4.
    found, counts = np.unique(corners, return_counts=True)
    np.testing.assert_array_equal(found, PLACES[:4, :2].ravel())
    assert abs(counts - 80).max() < 34


def test_pairs_are_cropped_and_mirrored_alike():
    key, size = jax.random.key(3), (3, 4)
    grey = NOISE[..., :1]
    rgb, alone = (
        augment.mirror(
            augment.random_crop(images, key, INDEX, size), key, INDEX
        ) for images in (NOISE, grey)
    )
    np.testing.assert_array_equal(rgb[..., :1], alone)


def test_crop_of_the_whole_size_is_the_image():
    np.testing.assert_array_equal(
        augment.random_crop(NOISE, jax.random.key(0), INDEX, (4, 6)), NOISE
    )


def test_crop_mirror_and_dequantize_depend_only_on_the_index():
    key, chosen = jax.random.key(1), jnp.array([30, 4])
    crop = functools.partial(augment.random_crop, size=(2, 3))
    for change in (crop, augment.mirror, augment.dequantize):
        whole = change(NOISE, key, INDEX)
        part = change(NOISE[np.array(chosen)], key, chosen)
        np.testing.assert_array_equal(part, whole[chosen])


def test_dequantized_levels_are_uniform_and_round_back():
    for level in (0, 127, 255):
        images = np.full((40, 16, 16, 1), level, np.uint8)
        spread = augment.dequantize(images, jax.random.key(2), INDEX)
        assert spread.dtype == jnp.float32
        offset = (np.asarray(spread, np.float64) + 1) * 127.5 - level
        assert abs(offset).max() <= 0.5001
        # Of a uniform width: mean 0, variance 1/12.
        np.testing.assert_allclose(offset.mean(), 0, atol=0.01)
        np.testing.assert_allclose(offset.var(), 1 / 12, rtol=0.03)


def test_pose_without_change_is_the_identity():
    images = np.random.RandomState(0).rand(2, 6, 5, 3).astype(np.float32)
    posed = augment.pose(images, jnp.zeros(2), jnp.ones(2))
    np.testing.assert_allclose(posed, images, atol=1e-6)


def test_pose_rotates_anticlockwise():
    images = np.random.RandomState(0).rand(1, 7, 7, 2).astype(np.float32)
    posed = augment.pose(images, jnp.array([np.pi / 2]), jnp.ones(1))
    np.testing.assert_allclose(posed[0], np.rot90(images[0]), atol=1e-5)


def test_pose_scales_about_the_centre():
    images = np.zeros((1, 9, 9, 1), np.float32)
    images[0, 3:6, 3:6] = 1
    larger = np.asarray(augment.pose(images, jnp.zeros(1), jnp.array([2.0])))
    expected = np.zeros(9)
    expected[2:7], expected[[1, 7]] = 1, 0.5
    np.testing.assert_allclose(larger[0, 4, :, 0], expected, atol=1e-6)
