"""The resampler [1, 3, 3, 1]: values by hand, its transpose, constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import convolutions
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


def spread(x):
    """Insert zeros between the pixels: [B, H, W, C] to [B, 2H - 1, …]."""
    y = np.zeros((len(x), 2 * x.shape[1] - 1, 2 * x.shape[2] - 1, x.shape[3]))
    y[:, ::2, ::2] = x
    return y


def windows(x, kernel, stride=1):
    """Sum over windows without padding; kernel: [k, k, C, F]."""
    size = len(kernel)
    return np.stack([np.stack([
        np.einsum('bijc,ijcf->bf', x[:, i:i + size, j:j + size], kernel)
        for j in range(0, x.shape[2] - size + 1, stride)
    ], 1) for i in range(0, x.shape[1] - size + 1, stride)], 1)


def padded(x, size):
    return np.pad(x, [(0, 0), (size, size), (size, size), (0, 0)])


def filtered(x, scale):
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * scale
    return windows(x, taps[..., None, None] * np.eye(x.shape[-1]))


def numpy_conv_up(x, kernel):
    y = windows(padded(spread(x), 2), kernel[::-1, ::-1])
    return filtered(padded(y, 1), 4)


def numpy_conv_down(x, kernel):
    return windows(filtered(padded(x, 2), 1), kernel, 2)


@pytest.mark.parametrize('on_cpu', [True, False])
@pytest.mark.parametrize('convolve, expected, shape', [
    (fir.conv_up, numpy_conv_up, (2, 3, 5, 2)),
    (fir.conv_down, numpy_conv_down, (2, 6, 10, 2)),
])
def test_convolution_with_a_filter_equals_numpy(
    convolve, expected, shape, on_cpu, monkeypatch
):
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: on_cpu)
    rng = np.random.RandomState(0)
    x, kernel = rng.randn(*shape), rng.randn(3, 3, 2, 3)
    np.testing.assert_allclose(
        jax.jit(lambda *a: convolve(*a))(jnp.float32(x), jnp.float32(kernel)),
        expected(x, kernel), rtol=1e-4, atol=1e-4,
    )


def test_convolution_after_upsampling_is_the_same_inside():
    rng = np.random.RandomState(0)
    x = rng.randn(1, 8, 8, 2).astype(np.float32)
    kernel = rng.randn(3, 3, 2, 3).astype(np.float32)
    expected = windows(padded(fir.upsample(x), 1), kernel[::-1, ::-1])
    actual = fir.conv_up(x, kernel)
    np.testing.assert_allclose(
        actual[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-4
    )
