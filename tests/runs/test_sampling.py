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


@pytest.mark.parametrize('shape, size', [
    ((2,), 64), ((32, 32, 3), 64), ((256, 256, 3), 64), ((256, 257, 1), 63),
    ((512, 512, 3), 16), ((1024, 1024, 3), 4), ((4096, 4096, 3), 1),
])
def test_large_images_are_computed_in_smaller_calls(shape, size):
    assert sampling.batch_size(shape) == size


def test_samples_do_not_depend_on_the_size_of_a_call(monkeypatch):
    counts = []

    class Counted(nn.Module):
        """One dense layer; records for how many samples it is compiled."""

        @nn.compact
        def __call__(self, z, *, train):
            counts.append(len(z))
            return nn.Dense(4)(z).reshape(-1, 2, 2, 1)

    gan = helpers.linear_gan(generator=Counted())
    state = helpers.start(gan)
    counts.clear()
    whole = sampling.sample(gan, state, range(8))
    assert counts == [sampling.BATCH]
    monkeypatch.setattr(sampling, 'BATCH_PIXELS', 3 * 2 * 2)
    parts = sampling.sample(gan, state, range(8))
    assert counts[1:] == [3]
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_a_generator_without_batch_norm_has_no_standing_statistics():
    gan = helpers.linear_gan()
    with pytest.raises(errors.ConfigError, match='standing=3 .* has none'):
        sampling.sample(gan, helpers.start(gan), range(2), standing=3)
