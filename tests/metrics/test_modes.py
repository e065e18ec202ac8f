"""Classes that samples recover, against closed forms."""

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import modes


def even(num_classes, times):
    return np.arange(num_classes * times) % num_classes


@pytest.mark.parametrize('found', [1, 8, 1000])
def test_uniform_samples_of_some_classes_have_a_closed_form(found):
    result = modes.recovered_classes(even(found, 26))
    assert result['modes'] == found
    np.testing.assert_allclose(
        result['reverse_kl'], np.log(1000 / found), atol=1e-12
    )
    np.testing.assert_allclose(
        result['smallest_mode'], 1 / 1000 if found == 1000 else 0
    )


def test_divergence_of_uneven_samples_is_its_definition():
    classes = np.repeat([0, 1, 3], [5, 3, 2])
    result = modes.recovered_classes(classes, 4)
    p = np.array([0.5, 0.3, 0.2])
    assert result['modes'] == 3 and result['smallest_mode'] == 0
    np.testing.assert_allclose(
        result['reverse_kl'], (p * np.log(4 * p)).sum(), rtol=1e-12
    )


def test_uniform_generator_has_the_stated_divergence():
    random = np.random.default_rng(0)
    found = [
        modes.recovered_classes(random.integers(0, 1000, 26_000))
        for _ in range(20)
    ]
    assert all(result['modes'] == 1000 for result in found)
    np.testing.assert_allclose(
        np.mean([result['reverse_kl'] for result in found]),
        999 / 52_000, rtol=0.03,
    )


def test_counts_of_classes():
    counts = modes.class_counts(np.array([2, 0, 2], np.int32), 4)
    np.testing.assert_array_equal(counts, [1, 0, 2, 0])


def test_stacked_triples_are_numbered_as_the_data_are():
    digits = np.array([[0, 0, 0], [1, 2, 3], [9, 9, 9], [0, 1, 0]])
    np.testing.assert_array_equal(
        modes.stacked_classes(digits), [0, 123, 999, 10]
    )
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3), -1).reshape(-1, 3)
    result = modes.recovered_classes(modes.stacked_classes(every))
    assert result['modes'] == 1000 and result['reverse_kl'] < 1e-12


@pytest.mark.parametrize('classes, message', [
    ([], r'shape \[0\]'), ([[1, 2]], r'shape \[1, 2\]'),
    ([0.5], 'float64'), ([-1, 3], '-1 to 3'), ([1000], '0 to 999'),
])
def test_numbers_that_are_not_classes_are_refused(classes, message):
    with pytest.raises(errors.DataError, match=message):
        modes.recovered_classes(np.asarray(classes))
