"""Samples with BatchNorm's standing statistics, against NumPy."""

import flax.linen as nn
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import G
from gan_jax.core import errors
from gan_jax.networks import layers
from gan_jax.runs import sampling

TRUNCATION = 0.5


class NormedGenerator(nn.Module):
    """One dense layer and BatchNorm, from z to 2x2 images."""

    @nn.compact
    def __call__(self, z, *, train):
        x = layers.Norm('batch')(nn.Dense(4)(z), train=train)
        return x.reshape(-1, 2, 2, 1)


def test_standing_statistics_are_the_mean_over_batches_of_samples():
    gan = helpers.linear_gan(generator=NormedGenerator())
    state = helpers.start(gan)
    dense = state.averages[G].params['Dense_0']

    def hidden(seeds):
        z = gan.inputs(seeds, truncation=TRUNCATION).main
        return z @ dense['kernel'] + dense['bias']

    first = sampling.STANDING_SEED
    batches = [
        hidden(range(start, start + sampling.BATCH))
        for start in (first, first + sampling.BATCH)
    ]
    mean = np.mean([batch.mean(0) for batch in batches], 0)
    variance = np.mean([batch.var(0) for batch in batches], 0)
    samples = sampling.sample(
        gan, state, range(5), truncation=TRUNCATION, standing=2
    )
    np.testing.assert_allclose(
        samples.reshape(5, 4),
        (hidden(range(5)) - mean) / np.sqrt(variance + 1e-5), rtol=1e-4,
        atol=1e-5,
    )
    running = sampling.sample(gan, state, range(5), truncation=TRUNCATION)
    np.testing.assert_allclose(  # mean 0 and variance 1 before training
        running.reshape(5, 4), hidden(range(5)) / np.sqrt(1 + 1e-5), rtol=1e-4,
        atol=1e-5,
    )


def test_a_generator_without_batch_norm_has_no_standing_statistics():
    gan = helpers.linear_gan()
    with pytest.raises(errors.ConfigError, match='standing=3 .* has none'):
        sampling.sample(gan, helpers.start(gan), range(2), standing=3)
