"""Style-based generators: truncation, noise, mixing and directions of w."""

import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms import latents
from gan_jax.algorithms.game import G
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.tools import latent_paths
from gan_jax.runs import styles

SEEDS = [3, 0, 70]


@pytest.fixture(scope='module')
def plain():
    return helpers.styled_gan()


@pytest.fixture(scope='module')
def conditional():
    return helpers.styled_gan(3)


def by_hand(state, w, noise=True):
    """Return the images of styles [N, 3, 3]; [N, 3] is one w for all."""
    params, stats = state.averages[G]
    w = np.broadcast_to(w[:, None], (len(w), 3, 3)) if w.ndim == 2 else w
    images = np.einsum('bld,ldp->bp', w, params['synthesis'])
    return (images + noise * stats['noise']['map']).reshape(-1, 2, 2, 1)


def w_of(gan, state, seeds=SEEDS):
    """Return w [N, 3] of seeds, and the mean."""
    params, stats = state.averages[G]
    w = sampling.latents_of(gan, seeds) @ np.asarray(params['mapping'])
    return w, np.asarray(stats['styles']['mean'])


def assert_near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('psi', [0.7, 0.0, -1.0, 2.0])
def test_truncation_moves_w_to_its_mean_and_keeps_z(plain, psi):
    gan, state = plain
    w, mean = w_of(gan, state)
    found = sampling.sample(gan, state, SEEDS, truncation=psi)
    assert_near(found, by_hand(state, mean + psi * (w - mean)))
    np.testing.assert_array_equal(
        gan.inputs(SEEDS, truncation=psi).main, gan.inputs(SEEDS).main
    )


def test_truncation_1_changes_nothing_and_0_gives_one_image(plain):
    gan, state = plain
    assert_near(
        sampling.sample(gan, state, SEEDS, truncation=1),
        sampling.sample(gan, state, SEEDS),
    )
    same = sampling.sample(gan, state, SEEDS, truncation=0)
    np.testing.assert_array_equal(same, np.repeat(same[:1], 3, 0))


def test_first_styles_alone_are_truncated(plain):
    gan, state = plain
    w, mean = w_of(gan, state)
    expected = np.repeat(w[:, None], 3, 1)
    expected[:, :2] = mean + 0.5 * (expected[:, :2] - mean)
    assert_near(sampling.sample(
        gan, state, SEEDS, truncation=0.5, truncated_styles=2
    ), by_hand(state, expected))
    assert_near(
        sampling.sample(gan, state, SEEDS, truncation=0.5, truncated_styles=3),
        sampling.sample(gan, state, SEEDS, truncation=0.5),
    )


def test_truncation_applies_to_every_batch(plain):
    gan, state = plain
    seeds = range(sampling.BATCH + 6)
    w, mean = w_of(gan, state, seeds)
    assert_near(
        sampling.sample(gan, state, seeds, truncation=0.5),
        by_hand(state, mean + 0.5 * (w - mean)),
    )


def test_random_noise_belongs_to_the_seed(plain):
    gan, state = plain
    w, _ = w_of(gan, state)
    fixed = sampling.sample(gan, state, SEEDS)
    noisy = sampling.sample(gan, state, SEEDS, noise='random')
    np.testing.assert_array_equal(fixed, sampling.sample(gan, state, SEEDS))
    np.testing.assert_array_equal(
        noisy[1:2], sampling.sample(gan, state, [0], noise='random')
    )
    noise = (noisy - by_hand(state, w, noise=False)).reshape(3, 4)
    assert np.unique(np.round(noise, 4)).size == 12 and np.ptp(noise) < 1


@pytest.mark.parametrize('options, words', [
    ({'truncation': float('nan')}, 'truncation=nan is not finite'),
    ({'truncation': float('inf')}, 'truncation=inf is not finite'),
    ({'truncation': 0.5, 'truncated_styles': 0}, 'is not from 1 to 3'),
    ({'truncation': 0.5, 'truncated_styles': 4}, 'is not from 1 to 3'),
    ({'truncated_styles': 2}, 'truncated_styles=2 needs a truncation'),
    ({'noise': 'loud'}, "noise='loud' is not one of"),
])
def test_options_out_of_range_are_refused(plain, options, words):
    gan, state = plain
    with pytest.raises(errors.ConfigError, match=words):
        sampling.sample(gan, state, SEEDS, **options)


@pytest.mark.parametrize('call', [
    lambda gan, state: sampling.sample(
        gan, state, SEEDS, truncation=0.5, truncated_styles=1),
    lambda gan, state: sampling.sample(gan, state, SEEDS, noise='random'),
    lambda gan, state: sampling.styles_of(gan, state, SEEDS),
    lambda gan, state: sampling.interpolate(gan, state, SEEDS, 2, space='w'),
    lambda gan, state: styles.directions(gan, state),
    lambda gan, state: styles.mixing_grid(gan, state, [0], [1], [0]),
    lambda gan, state: latent_paths.pictures_of_sum(
        gan, state, latent_paths.parse_sum('1+2'), space='w'),
], ids=['truncated', 'noise', 'styles', 'path', 'directions', 'mix', 'sum'])
def test_generator_without_styles_is_refused(call):
    gan = helpers.linear_gan()
    with pytest.raises(errors.ConfigError, match='needs a style-based genera'):
        call(gan, helpers.start(gan))


@pytest.mark.parametrize('limit', [0.0, -1.0, float('nan')])
def test_limit_of_z_that_is_not_positive_is_refused(limit):
    gan = helpers.linear_gan()
    with pytest.raises(errors.ConfigError, match='at least 0.001'):
        gan.inputs(SEEDS, truncation=limit)


def test_images_of_styles_are_those_of_seeds(conditional):
    gan, state = conditional
    options = {'truncation': 0.6, 'truncated_styles': 2}
    labels = [0, 2, 1]
    found = sampling.styles_of(gan, state, SEEDS, labels, **options)
    assert found.shape == (3, 3, 3)
    assert_near(
        sampling.generate(gan, state, found),
        sampling.sample(gan, state, SEEDS, labels=labels, **options),
    )
    raw = sampling.styles_of(gan, state, SEEDS, labels, weights='raw')
    assert_near(
        sampling.generate(gan, state, raw, weights='raw'),
        sampling.sample(gan, state, SEEDS, labels=labels, weights='raw'),
    )


@pytest.mark.parametrize('call', [
    lambda *given, **options: sampling.interpolate(
        *given, SEEDS, 3, space='w', **options),
    lambda *given, **options: styles.mixing_grid(
        *given, [1], [2], [0], **options)[0],
    lambda *given, **options: latent_paths.pictures_of_sum(
        *given, latent_paths.parse_sum('1-2'), space='w', **options)[0],
    lambda *given, **options: styles.directions(*given, **options).std,
], ids=['path', 'mix', 'sum', 'directions'])
def test_the_weights_are_those_asked_for(plain, call):
    gan, state = plain
    raw = state.replace(averages={G: gan.weights(state, 'raw')})
    found = call(gan, state, weights='raw')
    np.testing.assert_allclose(found, call(gan, raw), rtol=1e-5, atol=1e-5)
    assert np.abs(found - call(gan, state)).max() > 0.01


def test_mixing_takes_the_named_styles_of_the_other():
    first, second = np.zeros((2, 4, 3)), np.ones((2, 4, 3))
    mixed = styles.mix(first, second, [1, 3])
    assert mixed[:, :, 0].tolist() == [[0, 1, 0, 1]] * 2
    np.testing.assert_array_equal(styles.mix(first, first, [0, 2]), first)
    np.testing.assert_array_equal(styles.mix(first, second, range(4)), second)


def test_mixing_grid_has_its_sources_at_the_borders(conditional):
    gan, state = conditional
    images, columns = styles.mixing_grid(
        gan, state, [4, 5], [6, 4, 7], [0, 2], labels=[0, 1, 2, 0, 1],
        truncation=0.8,
    )
    assert columns == 4
    table = images.reshape(3, 4, 2, 2, 1)
    own = sampling.sample(
        gan, state, [4, 5, 6, 4, 7], labels=[0, 1, 2, 0, 1], truncation=0.8
    )
    assert (table[0, 0] == 1).all()
    assert_near(table[1:, 0], own[:2])
    assert_near(table[0, 1:], own[2:])
    assert_near(table[1, 2], own[0])  # seed 4 with itself
    w = sampling.styles_of(
        gan, state, [5, 6], [1, 2], truncation=0.8
    )
    assert_near(
        table[2, 1], by_hand(state, np.stack([w[1, 0], w[0, 1], w[1, 2]])[None])
        [0],
    )


def test_mixing_all_styles_gives_the_columns_and_none_the_rows(plain):
    gan, state = plain
    for places, axis in (([0, 1, 2], 0), ([], 1)):
        images, _ = styles.mixing_grid(gan, state, [1, 2], [8, 9], places)
        table = images.reshape(3, 3, 4)
        expected = table[:1, 1:] if axis == 0 else table[1:, :1]
        assert_near(
            table[1:, 1:], np.broadcast_to(expected, (2, 2, 4))
        )


def test_paths_in_w_are_straight_and_lead_to_the_next_class(conditional):
    gan, state = conditional
    labels = [0, 2, 2]
    path = sampling.interpolate(
        gan, state, SEEDS, 3, space='w', labels=labels, truncation=0.5
    ).reshape(2, 3, 4)
    ends = sampling.sample(
        gan, state, SEEDS, labels=labels, truncation=0.5
    ).reshape(3, 4)
    assert_near(path[:, 0], ends[:2])
    assert_near(path[:, 2], ends[1:])
    assert_near(path[:, 1], (ends[:2] + ends[1:]) / 2)
    with pytest.raises(errors.ConfigError, match="space='y' is not one of"):
        sampling.interpolate(gan, state, SEEDS, 3, space='y')
    with pytest.raises(errors.ConfigError, match="path='slerp'"):
        sampling.interpolate(gan, state, SEEDS, 3, space='w', path='slerp')


def test_paths_in_z_are_truncated_in_w(plain):
    gan, state = plain
    path = sampling.interpolate(gan, state, SEEDS[:2], 4, truncation=0.4)
    z = np.asarray(latents.slerp(
        *sampling.latents_of(gan, SEEDS[:2]), jnp.linspace(0, 1, 4)
    ))
    w = z @ np.asarray(state.averages[G].params['mapping'])
    _, mean = w_of(gan, state)
    assert_near(path, by_hand(state, mean + 0.4 * (w - mean)))


def test_principal_directions_are_those_of_the_mapping(plain):
    gan, state = plain
    axes = styles.directions(gan, state)
    matrix = np.asarray(state.averages[G].params['mapping'], np.float64)
    values, vectors = np.linalg.eigh(matrix.T @ matrix)  # cov of A z
    np.testing.assert_allclose(
        axes.std, np.sqrt(values[::-1]), rtol=0.03
    )
    np.testing.assert_allclose(
        np.abs(axes.axes @ vectors[:, ::-1]), np.eye(3), atol=0.1
    )
    np.testing.assert_allclose(axes.mean, 0, atol=0.1)
    plainly = styles.directions(gan, state, 'coordinates')
    np.testing.assert_allclose(
        plainly.std, np.sqrt(np.square(matrix).sum(0)), rtol=0.03
    )
    np.testing.assert_array_equal(plainly.axes, np.eye(3))


def test_walks_go_between_the_ends_of_one_direction():
    random = np.random.RandomState(0)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    axes = styles.Directions(
        np.array([1.0, 2, 3]), turn, np.array([3.0, 2, 1])
    )
    starts = random.normal(size=(2, 4, 3)).astype(np.float32)
    rows = styles.traverse(starts, axes, [0, 2], 2.0, 5, places=[1, 3])
    assert rows.shape == (4, 5, 4, 3) and rows.dtype == np.float32
    along = (rows - axes.mean) @ turn.T  # [rows, frames, styles, directions]
    old = (starts - axes.mean) @ turn.T
    for place in (1, 3):
        assert_near(along[2, :, place, 0], [-6, -3, 0, 3, 6])
        assert_near(along[3, :, place, 2], [-2, -1, 0, 1, 2])
        assert_near(along[2, :, place, 1:], [old[1, place, 1:]] * 5)
    np.testing.assert_array_equal(rows[0][:, [0, 2]], [starts[0, [0, 2]]] * 5)
    with pytest.raises(errors.ConfigError, match='is not in 0 to 2'):
        styles.traverse(starts, axes, [3], 1.0, 2)


def test_sums_of_w_are_offsets_from_the_mean(plain):
    gan, state = plain
    terms = latent_paths.parse_sum('1,2-3+5')
    images, columns = latent_paths.pictures_of_sum(
        gan, state, terms, space='w', truncation=0.9
    )
    table = images.reshape(4, columns, 2, 2, 1)
    own = sampling.sample(gan, state, [1, 2, 3, 5], truncation=0.9)
    assert_near(table[0, :2], own[:2])
    assert_near(table[0, 2], own[:2].mean(0))
    assert_near(table[3, 2], own[:2].mean(0) - own[2] + own[3])
    twice, _ = latent_paths.pictures_of_sum(
        gan, state, latent_paths.parse_sum('1+2'), space='w'
    )
    w, mean = w_of(gan, state, [1, 2])
    assert_near(twice[-1:], by_hand(state, mean + (w - mean).sum(0)[None]))
    with pytest.raises(errors.ConfigError, match="space='y' is not one of"):
        latent_paths.pictures_of_sum(gan, state, terms, space='y')
    with pytest.raises(errors.ConfigError, match='rescale'):
        latent_paths.pictures_of_sum(
            gan, state, terms, space='w', rescale=True
        )
