"""The kernel distance against double loops."""

import inspect

import numpy as np
import pytest

from gan_jax.core import errors
from gan_jax.metrics import kernel


def features(count, dimension=5, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, (count, dimension))


def by_loops(real, fake):
    def k(x, y):
        return (sum(a * b for a, b in zip(x, y)) / len(x) + 1) ** 3

    def within(values):
        pairs = [
            k(x, y) for i, x in enumerate(values)
            for j, y in enumerate(values) if i != j
        ]
        return sum(pairs) / len(pairs)

    collectives = [k(x, y) for x in real for y in fake]
    return within(real) + within(fake) - 2 * sum(collectives) / len(collectives)


@pytest.mark.parametrize('counts', [(12, 9), (2, 2), (3, 20)])
def test_mmd_is_its_double_loop(counts):
    real, fake = features(counts[0]), features(counts[1], shift=0.3, seed=1)
    np.testing.assert_allclose(
        kernel.polynomial_mmd(real, fake), by_loops(real, fake), rtol=1e-10
    )


def test_whole_sets_are_one_subset():
    real, fake = features(30), features(30, shift=1, seed=1)
    found = kernel.kernel_distance(real, fake, num_subsets=4)
    np.testing.assert_allclose(found.mean, by_loops(real, fake), rtol=1e-10)
    np.testing.assert_allclose(found.std, 0, atol=1e-10)
    assert found.subset_size == 30


def test_subsets_are_limited_to_the_smaller_set():
    found = kernel.kernel_distance(features(50), features(20), num_subsets=3)
    assert found.subset_size == 20 and found.std > 0


def test_mean_and_scatter_are_those_of_subsets_drawn_from_the_seed():
    real, fake = features(40), features(60, shift=0.5, seed=1)
    random = np.random.default_rng(7)
    drawn = []
    for _ in range(6):
        mine = real[random.permutation(40)[:10]]
        drawn.append(by_loops(mine, fake[random.permutation(60)[:10]]))
    found = [
        kernel.kernel_distance(
            real, fake, num_subsets=400, subset_size=10, seed=seed
        ) for seed in (7, 7, 8)
    ]
    assert found[0] == found[1] != found[2]
    # Other draws of the same law: the means meet within their own errors.
    error = found[0].std / np.sqrt(len(drawn))
    assert abs(found[0].mean - np.mean(drawn)) < 3 * error
    np.testing.assert_allclose(found[0].std, found[2].std, rtol=0.2)


def test_defaults_are_100_subsets_of_1000():
    # As in torch-fidelity and in NVIDIA's metrics.
    defaults = inspect.signature(kernel.kernel_distance).parameters
    assert defaults['num_subsets'].default == 100
    assert defaults['subset_size'].default == 1000


def test_it_is_unbiased():
    found = [
        kernel.polynomial_mmd(features(8, seed=i), features(8, seed=1000 + i))
        for i in range(1000)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert min(found) < 0 and abs(np.mean(found)) < 4 * error


def test_it_grows_with_distance():
    near, far = (
        kernel.kernel_distance(
            features(300), features(300, shift=shift, seed=1),
            num_subsets=5, subset_size=100,
        ).mean for shift in (0.1, 1.0)
    )
    assert far > 10 * near


def test_float16_features_are_multiplied_in_float64():
    real = features(50, 64, shift=60).astype(np.float16)
    fake = features(50, 64, shift=62, seed=1).astype(np.float16)
    np.testing.assert_allclose(
        kernel.polynomial_mmd(real, fake),
        kernel.polynomial_mmd(real.astype(float), fake.astype(float)),
    )


def test_two_rows_are_enough():
    assert kernel.kernel_distance(features(2), features(2)).subset_size == 2


def test_bad_sets_are_refused():
    with pytest.raises(errors.DataError, match='real features: 1 are too few'):
        kernel.kernel_distance(features(1), features(9))
    with pytest.raises(errors.NonFiniteError):
        kernel.polynomial_mmd(features(9), features(9) * np.nan)
