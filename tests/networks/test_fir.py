"""The resampler [1, 3, 3, 1]: values by hand, its transpose, constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import fir

X = jnp.arange(16.0).reshape(1, 4, 4, 1)


def test_upsampling_equals_stylegan2s():
    y = fir.upsample(X)
    np.testing.assert_allclose(y[0, 0, :, 0], [
        0, 0.1875, 0.5625, 0.9375, 1.3125, 1.6875, 2.0625, 1.6875
    ])
    assert y.shape == (1, 8, 8, 1) and y.sum() == 421.875


def test_downsampling_equals_stylegan2s():
    np.testing.assert_allclose(
        fir.downsample(X)[0, :, :, 0], [[2.734375, 3.9375], [7.546875, 8.75]]
    )


def test_upsampling_is_the_filter_on_an_image_with_zeros_between():
    x = np.random.RandomState(0).randn(1, 3, 5, 2).astype(np.float32)
    spread = np.zeros((1, 6, 10, 2), np.float32)
    spread[:, ::2, ::2] = x
    padded = np.pad(spread, [(0, 0), (2, 1), (2, 1), (0, 0)])
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    expected = sum(
        taps[i, j] * padded[:, i:i + 6, j:j + 10]
        for i in range(4) for j in range(4)
    )
    np.testing.assert_allclose(
        fir.upsample(x), expected, rtol=1e-5, atol=1e-6
    )


def test_constants_are_kept_except_at_the_edges():
    ones = jnp.ones((1, 8, 6, 2))
    up, down = fir.upsample(ones), fir.downsample(ones)
    assert (up[0, 1:-1, 1:-1] == 1).all() and (up[0, 0, 1:-1] == 0.75).all()
    assert (up[0, 0, 0] == 0.5625).all()
    assert (down[0, 1:-1, 1:-1] == 1).all()
    assert (down[0, 0, 1:-1] == 0.875).all()
    assert (down[0, 0, 0] == 0.765625).all()


def test_upsampling_is_four_times_the_transpose_of_downsampling():
    keys = jax.random.split(jax.random.key(0))
    a = jax.random.normal(keys[0], (2, 8, 6, 3))
    c = jax.random.normal(keys[1], (2, 4, 3, 3))
    np.testing.assert_allclose(
        4 * (fir.downsample(a) * c).sum(), (a * fir.upsample(c)).sum(),
        rtol=1e-5,
    )


@pytest.mark.parametrize('resample', [fir.upsample, fir.downsample])
def test_samples_and_channels_are_not_mixed(resample):
    y = resample(jnp.zeros((2, 4, 4, 2)).at[1, :, :, 0].set(1.0))
    assert (y[0] == 0).all() and (y[1, ..., 1] == 0).all()
    assert (y[1, ..., 0] > 0).all()


@pytest.mark.parametrize('resample', [fir.upsample, fir.downsample])
def test_dtype_is_kept(resample):
    assert resample(X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_odd_sides_are_refused():
    with pytest.raises(ValueError, match='4x5'):
        fir.downsample(jnp.zeros((1, 4, 5, 1)))
