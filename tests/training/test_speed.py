"""Speed ratios with wide margins, because machines are noisy."""

import time

import jax
from jax import lax
import jax.numpy as jnp
import pytest

import helpers
from conftest import ROOT
from gan_jax.config import recipes
from gan_jax.networks import convolutions
from gan_jax.training import multi_seed

pytestmark = pytest.mark.slow  # they measure time


def fastest(function, repeats):
    """Return the seconds of the fastest of some calls, after one to compile."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.skipif(
    jax.default_backend() != 'cpu', reason='a GPU has other convolutions'
)
def test_our_transposed_convolution_is_faster_than_linens_on_cpu():
    keys = jax.random.split(jax.random.key(0), 2)
    images = jax.random.normal(keys[0], (32, 8, 8, 64))
    kernel = jax.random.normal(keys[1], (4, 4, 64, 32))

    def plain(images, kernel):  # what flax.linen.ConvTranspose calls
        return lax.conv_transpose(
            images, kernel, (2, 2), 'SAME',
            dimension_numbers=convolutions.DIMENSIONS,
        )

    def gradients(convolution):
        both = jax.jit(jax.grad(
            lambda images, kernel: convolution(images, kernel).sum(), (0, 1)
        ))
        return lambda: both(images, kernel)

    ours = fastest(gradients(convolutions.conv_transpose), 10)
    assert fastest(gradients(plain), 4) / ours > 1.5  # about 6


def test_scanned_steps_on_points_are_faster_than_single_ones():
    config = helpers.tiny(recipes.load(ROOT / 'configs' / 'mixtures.py'))
    gans = multi_seed.Population(config, (0,))
    start = jax.tree.map(jnp.array, gans.init())

    def train(size):
        def run():
            states = jax.tree.map(jnp.copy, start)
            for _ in range(128 // size):
                states, _ = gans.advance(states, size)
            return states

        return run

    assert fastest(train(1), 3) / fastest(train(64), 5) > 1.5  # about 10
