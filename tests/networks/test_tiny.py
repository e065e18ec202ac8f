"""The tiny networks, compared with the layers of the paper."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers

from conftest import ROOT
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.config import builders
from gan_jax.config import recipes
from gan_jax.networks import convolutions
from gan_jax.networks import tiny

SHAPE = (28, 28, 3)


def of_recipe(argument='quarter', packing=1):
    config = recipes.load(ROOT / 'configs' / 'stacked_mnist.py', argument)
    config.packing = packing
    return config


def shapes(params):
    return {
        f'{name}.{key}': leaf.shape
        for name, layer in params.items() for key, leaf in layer.items()
        if 'Norm' not in name
    }


def same(images, kernel, stride=2):
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), 'SAME',
        dimension_numbers=convolutions.DIMENSIONS,
    )


def transposed(x, kernel, size):
    """Transpose the SAME convolution from [size, size] to x's sides."""
    images = jnp.zeros((len(x), size, size, kernel.shape[-1]))
    # The kernel of a transposed convolution lies flipped, its ends swapped.
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    (y,) = jax.linear_transpose(lambda y: same(y, flipped), images)(x)
    return y


def normed(x, axes=(0, 1, 2)):
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)


@pytest.mark.parametrize('shape, expected', [
    (SHAPE, [(4, 4), (7, 7), (14, 14), (28, 28)]),
    ((32, 48, 1), [(4, 6), (8, 12), (16, 24), (32, 48)]),
    ((5, 9, 1), [(1, 2), (2, 3), (3, 5), (5, 9)]),
])
def test_sides_are_halved_and_rounded_up(shape, expected):
    assert tiny.sides(shape) == expected


def test_generator_has_the_papers_layers():
    state = helpers.abstract_state(of_recipe(), SHAPE)
    params = state.players[G].params
    assert shapes(params) == {
        'Dense_0.kernel': (256, 4 * 4 * 64),
        'ConvTranspose_0.kernel': (3, 3, 64, 32),
        'ConvTranspose_1.kernel': (3, 3, 32, 16),
        'ConvTranspose_2.kernel': (3, 3, 16, 8),
        'Conv_0.kernel': (3, 3, 8, 3), 'Conv_0.bias': (3,),
    }
    assert sum('Norm' in name for name in params) == 4


@pytest.mark.parametrize('argument, packing, width, count', [
    ('quarter', 1, 2, 571), ('half', 1, 4, 1861),
    ('quarter', 4, 2, 571 + 9 * 9 * 2),
])
def test_discriminator_has_the_papers_layers(argument, packing, width, count):
    config = of_recipe(argument, packing)
    params = helpers.abstract_state(config, SHAPE).players[D].params
    assert shapes(params) == {
        'Conv_0.kernel': (3, 3, 3 * packing, width),
        'Conv_1.kernel': (3, 3, width, 2 * width),
        'Conv_2.kernel': (3, 3, 2 * width, 4 * width),
        'Dense_0.kernel': (4 * 4 * 4 * width, 1), 'Dense_0.bias': (1,),
    }
    assert sum('Norm' in name for name in params) == 3
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    gan = builders.algorithm(config, builders.single_source_specs(SHAPE))
    assert gan.discriminator.negative_slope == 0.3


def test_generator_equals_its_layers():
    module = tiny.Generator(image_shape=(11, 11, 2), width=2)
    z = jax.random.normal(jax.random.key(0), (6, 5))
    images, variables = module.init_with_output(
        jax.random.key(1), z, train=True
    )
    params = variables['params']
    x = normed((z @ params['Dense_0']['kernel']).reshape(6, 2, 2, 16))
    for block, size in enumerate((3, 6, 11)):
        kernel = params[f'ConvTranspose_{block}']['kernel']
        x = normed(transposed(jax.nn.relu(x), kernel, size))
    x = same(jax.nn.relu(x), params['Conv_0']['kernel'], stride=1)
    assert np.abs(images).max() > 0.01
    np.testing.assert_allclose(images, np.tanh(x), rtol=1e-3, atol=1e-5)


def test_discriminator_equals_its_layers():
    module = tiny.Discriminator(width=3)
    images = jax.random.normal(jax.random.key(0), (6, 11, 11, 2))
    output, variables = module.init_with_output(
        jax.random.key(1), images, train=True
    )
    params, x = variables['params'], images
    for block in range(3):
        x = normed(same(x, params[f'Conv_{block}']['kernel']))
        x = jax.nn.leaky_relu(x, 0.3)
    features = x.reshape(6, -1)
    np.testing.assert_allclose(output.features, features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        output.logits, (features @ params['Dense_0']['kernel'])[:, 0],
        rtol=1e-3, atol=1e-4,
    )


def test_points_are_rejected():
    with pytest.raises(ValueError, match='the mlp network takes any'):
        tiny.Generator(image_shape=(2,)).init(
            jax.random.key(0), jnp.zeros((1, 3)), train=False
        )


@pytest.mark.integration
def test_a_step_of_four_packed_samples_of_three_channels():
    config = of_recipe(packing=4)
    config.batch_size, shape = 2, (8, 8, 3)
    gan = builders.algorithm(config, builders.single_source_specs(shape))
    state = game.init(gan, jax.random.key(0), shape)
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (1, 8, *shape)).astype(np.uint8)
    new, metrics = jax.jit(
        lambda state: adversarial.train_step(
            gan, builders.hyperparams(config), state,
            helpers.real_batch(jnp.asarray(images)),
            jax.random.key(1),
        )
    )(state)
    assert new.players[D].params['Conv_0']['kernel'].shape[2] == 12
    assert all(np.isfinite(value) for value in metrics.values())
    assert bool(new.alive) and int(new.step) == 1
    for before, after in (
        (state.players[G], new.players[G]),
        (state.players[D], new.players[D]),
    ):
        kernels = (p.params['Conv_0']['kernel'] for p in (before, after))
        assert not np.array_equal(*kernels)
