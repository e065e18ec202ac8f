"""Errors of translations by hand."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.data import on_demand
from gan_jax.metrics import translation_errors


def test_black_and_white_are_one_apart_in_any_dtype():
    black = np.zeros((2, 3, 4, 1), np.uint8)
    for white in (np.full_like(black, 255), np.ones(black.shape, np.float32)):
        np.testing.assert_allclose(
            translation_errors.absolute_errors(black, white), [1, 1]
        )
    np.testing.assert_allclose(
        translation_errors.absolute_errors(black, black - np.float32(1)), [0, 0]
    )


def test_error_is_the_mean_of_an_image_not_of_all():
    images = np.zeros((2, 2, 2, 1), np.float32)
    others = images.copy()
    others[1, 0, 0] = 1  # half of the range, in one of four pixels
    np.testing.assert_allclose(
        translation_errors.absolute_errors(images, others), [0, 1 / 8]
    )


def test_one_image_is_compared_with_all():
    images = np.stack([
        np.full((2, 2, 3), value, np.uint8) for value in (0, 51, 255)
    ])
    np.testing.assert_allclose(
        translation_errors.absolute_errors(images, images[1:2]), [0.2, 0, 0.8]
    )


@pytest.mark.parametrize('shape', [(2, 4, 4, 3), (3, 4, 4, 1), (2, 4, 5, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(errors.DataError, match='have no error'):
        translation_errors.absolute_errors(
            np.zeros((2, 4, 4, 1)), np.zeros(shape)
        )


def test_mean_image_is_that_of_all_chunks():
    values = np.arange(600) % 256
    images = np.broadcast_to(
        values.astype(np.uint8)[:, None, None, None], (600, 2, 2, 1)
    )
    lazy = on_demand.OnDemand(images.shape, lambda indices: images[indices])
    for given in (images, lazy):
        mean = translation_errors.mean_image(given)
        assert mean.shape == (1, 2, 2, 1)
        np.testing.assert_allclose(mean, values.mean() / 127.5 - 1)


def test_summary_of_errors():
    numbers = translation_errors.true_error([0.1, 0.3], [0.4, 0.4], [0.5, 0.7])
    assert list(numbers) == [
        'true_error', 'domain_distance', 'true_error_ratio', 'mean_image_error'
    ]
    np.testing.assert_allclose(list(numbers.values()), [0.2, 0.4, 0.5, 0.6])
    equal = translation_errors.true_error([0.1], [0.0], [0.5])
    assert equal['true_error_ratio'] == np.inf


def test_share_of_kept_classes():
    logits = np.array([[1, 2, 0], [3, 1, 0], [0, 0, 9], [5, 6, 7]])
    assert translation_errors.kept(logits, [1, 0, 0, 2]) == 0.75
