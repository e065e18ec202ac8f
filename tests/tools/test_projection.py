"""Projection of images to z, w and w+ of a linear style-based generator."""

import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import G
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.tools import inversion
from gan_jax.tools import projection

FAST = projection.OPTIONS._replace(steps=150)


@pytest.fixture(scope='module')
def styled():
    """Return a GAN, its state, and images that no w gives exactly."""
    gan, state = helpers.styled_gan()
    random = np.random.RandomState(0)
    w = random.normal(size=(3, 3, 3)).astype(np.float32)
    images = sampling.generate(gan, state, w)
    return gan, state, writer.to_uint8(images / np.abs(images).max())


def project(styled, space, options=FAST):
    return projection.project(*styled, space, options)


def test_a_larger_space_comes_nearer(styled):
    gan, state, images = styled
    on_sphere = gan._replace(latent='sphere')  # so not every w has a z
    by_z = inversion.search(on_sphere, state, images)
    by_w, by_each = project(styled, 'w'), project(styled, 'w+')
    assert (by_w.error < by_z.error).all()
    assert by_w.error.min() > 0.01  # three numbers do not make four pixels
    assert (by_each.error < 0.1 * by_w.error).all()


def test_codes_are_styles_of_the_reconstructions(styled):
    gan, state, images = styled
    for space, spread in (('w', 0), ('w+', 0.01)):
        found = project(styled, space)
        assert found.codes.shape == (3, 3, 3)
        assert (np.ptp(found.codes, 1).max(1) >= spread).all()
        if space == 'w':
            assert not np.ptp(found.codes, 1).any()
        np.testing.assert_allclose(
            found.images, sampling.generate(gan, state, found.codes), atol=1e-5
        )
        difference = (images / 127.5 - 1 - found.images).reshape(3, -1)
        np.testing.assert_allclose(
            found.error, np.sqrt(np.square(difference).mean(1)), rtol=1e-3,
            atol=1e-5,
        )


def test_one_w_is_the_least_squares_solution(styled):
    gan, state, images = styled
    params, stats = state.averages[G]
    kernel = np.asarray(params['synthesis']).sum(0)
    noise = stats['noise']['map']
    targets = images.reshape(3, 4) / 127.5 - 1 - noise
    expected = np.linalg.lstsq(kernel.T, targets.T, rcond=None)[0].T
    found = project(styled, 'w', FAST._replace(steps=600)).codes[:, 0]
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_prior_pulls_w_to_its_mean(styled):
    pulled = project(styled, 'w+', FAST._replace(prior=1e4))
    np.testing.assert_allclose(
        pulled.codes, np.broadcast_to([0.5, -1, 2], (3, 3, 3)), atol=0.05
    )


def test_an_image_does_not_depend_on_its_neighbours(styled):
    gan, state, images = styled
    options = FAST._replace(steps=20)
    batch = project(styled, 'w+', options)
    alone = projection.project(gan, state, images[:1], 'w+', options)
    np.testing.assert_allclose(batch.codes[0], alone.codes[0], atol=1e-4)
    other = projection.project(
        gan, state, images[:1], 'w+', options._replace(seed=1)
    )
    assert np.abs(other.codes - alone.codes).max() > 1e-3  # other noise


def test_searches_do_not_depend_on_the_size_of_a_call(styled, monkeypatch):
    options = FAST._replace(steps=20, restarts=2)
    searches = (
        lambda: project(styled, 'w+', options),
        lambda: inversion.search(*styled, options=options),
    )
    whole = [search() for search in searches]
    monkeypatch.setattr(sampling, 'BATCH_PIXELS', 4 * 2 * 2)
    for first, search in zip(whole, searches):
        np.testing.assert_allclose(first.codes, search().codes, atol=1e-4)


def test_the_best_start_is_kept(styled):
    options = FAST._replace(steps=20)
    one, many = (
        project(styled, 'w', options._replace(restarts=count))
        for count in (1, 6)
    )
    assert (many.error <= one.error + 1e-6).all()
    assert (many.error < one.error - 1e-5).any()


def test_learning_rate_warms_up_and_decays():
    rates = [float(projection._learning_rate(0.1, 100, n)) for n in range(100)]
    np.testing.assert_allclose(rates[5:75], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rates[0], 0.1 * 0.1)
    assert (np.diff(rates[75:]) < 0).all() and rates[-1] < 1e-3


def test_features_of_the_discriminator_add_to_the_distance(styled):
    gan, state, images = styled
    first = inversion.to_unit_range(images)
    second = first[::-1]
    pixels = inversion.make_distance(gan, state)(first, second)
    both = inversion.make_distance(gan, state, 0.5)(first, second)
    # The features of the linear D are the pixels.
    wanted = np.square(second).mean((1, 2, 3))
    np.testing.assert_allclose(
        pixels, np.square(first - second).mean((1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(both, pixels * (1 + 0.5 / wanted), rtol=1e-4)


def test_spaces_that_do_not_exist_are_refused(styled):
    with pytest.raises(errors.ConfigError, match="space='y' is not one of"):
        project(styled, 'y')
    gan = helpers.linear_gan()
    with pytest.raises(errors.ConfigError, match='needs a style-based gen'):
        projection.project(gan, helpers.start(gan), styled[2])
