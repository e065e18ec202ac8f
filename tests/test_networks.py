"""Layers and networks: values, shapes, ranges, parameters, gradients."""

import flax.linen as nn
import jax
from jax import lax
from jax.test_util import check_grads
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import networks
from gan_jax.networks import dcgan
from gan_jax.networks import layers

KERNELS = [(2, 2), (3, 3), (4, 4), (5, 5), (4, 3)]
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (48, 80, 4), (64, 64, 3)]


def plain_conv_transpose(images, kernel):
    return lax.conv_transpose(
        images, kernel, (2, 2), 'SAME', dimension_numbers=layers.DIMENSIONS
    )


def draw(kernel_size, shape=(2, 3, 5, 3), features=4):
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (*kernel_size, shape[-1], features))
    return images, kernel


@pytest.mark.parametrize('kernel_size', KERNELS)
def test_conv_transpose_has_the_value_and_gradients_of_the_plain_one(
    kernel_size,
):
    arguments = draw(kernel_size)

    def through(function):
        return jax.value_and_grad(
            lambda *a: jnp.sum(jnp.sin(function(*a))), argnums=(0, 1)
        )(*arguments)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4),
        through(layers.conv_transpose),
        through(plain_conv_transpose),
    )


@pytest.mark.parametrize('kernel_size', [(3, 3), (4, 4), (5, 5)])
def test_conv_transpose_has_the_second_order_of_the_plain_one(kernel_size):
    arguments = draw(kernel_size)

    def penalty(function):
        def first(images, kernel):
            grads = jax.grad(
                lambda *a: jnp.sum(jnp.tanh(function(*a))), argnums=(0, 1)
            )(images, kernel)
            return sum(jnp.sum(jnp.square(grad)) for grad in grads)

        return jax.grad(first, argnums=(0, 1))(*arguments)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3),
        penalty(layers.conv_transpose),
        penalty(plain_conv_transpose),
    )


def test_conv_transpose_agrees_with_finite_differences():
    check_grads(
        layers.conv_transpose, draw((4, 4)), order=2, modes=['rev'], rtol=0.05
    )


@pytest.mark.parametrize('use_bias', [True, False])
def test_conv_transpose_layer_takes_linens_parameters(use_bias):
    images, _ = draw((4, 4))
    ours = layers.ConvTranspose(6, (4, 4), use_bias=use_bias)
    linens = nn.ConvTranspose(6, (4, 4), (2, 2), use_bias=use_bias)
    variables = linens.init(jax.random.key(1), images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, ours.init(jax.random.key(1), images)
    )
    np.testing.assert_allclose(
        ours.apply(variables, images),
        linens.apply(variables, images),
        rtol=1e-5, atol=1e-5,
    )


@pytest.mark.parametrize('kind', layers.NORMS)
def test_norms_bring_mean_0_and_variance_1_over_their_axes(kind):
    x = jax.random.normal(jax.random.key(0), (16, 5, 5, 64)) * 3 + 2
    y, _ = layers.Norm(kind).init_with_output(jax.random.key(1), x, train=True)
    if kind == 'none':
        np.testing.assert_array_equal(y, x)
        return
    axes = {'batch': (0, 1, 2), 'instance': (1, 2), 'layer': (1, 2, 3)}
    if kind == 'group':  # 32 groups of 2 channels
        y, axes['group'] = y.reshape(16, 5, 5, 32, 2), (1, 2, 4)
    np.testing.assert_allclose(y.mean(axes[kind]), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axes[kind]), 1, rtol=1e-3)


@pytest.mark.parametrize('name', networks.NETWORKS)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_pair_fits_itself_and_keeps_float32_outside(name, shape, dtype):
    pair = networks.NETWORKS[name]
    generator = pair.generator(image_shape=shape, width=4, dtype=dtype)
    discriminator = pair.discriminator(width=4, dtype=dtype)

    def through(z):
        images, g = generator.init_with_output(
            jax.random.key(0), z, train=True
        )
        output, d = discriminator.init_with_output(
            jax.random.key(0), images, train=True
        )
        return images, output, g, d

    images, output, g, d = jax.eval_shape(through, jnp.zeros((3, 7)))
    assert images.shape == (3, *shape) and images.dtype == jnp.float32
    assert output.logits.shape == (3,) and output.logits.dtype == jnp.float32
    assert output.features.shape[0] == 3
    assert {leaf.dtype for leaf in jax.tree.leaves((g, d))} == {
        jnp.dtype('float32')
    }


@pytest.mark.parametrize('name', networks.NETWORKS)
def test_generator_stays_in_the_range_of_the_data_and_uses_z(name):
    module = networks.NETWORKS[name].generator(image_shape=(8, 8, 1), width=4)
    z = jax.random.normal(jax.random.key(0), (5, 7)) * 100
    images, _ = module.init_with_output(jax.random.key(1), z, train=True)
    assert np.abs(images).max() <= 1
    assert np.std(images, axis=0).min() > 0


def test_dcgan_has_the_papers_layers_at_64_pixels():
    generator = dcgan.Generator((64, 64, 3), width=128, kernel_size=5)
    variables = jax.eval_shape(
        lambda z: generator.init(jax.random.key(0), z, train=False),
        jnp.zeros((1, 100)),
    )
    kernels = {
        name: layer['kernel'].shape
        for name, layer in variables['params'].items() if 'kernel' in layer
    }
    assert kernels == {  # figure 1 of the paper: 1024, 512, 256, 128, 3
        'Dense_0': (100, 4 * 4 * 1024),
        'ConvTranspose_0': (5, 5, 1024, 512),
        'ConvTranspose_1': (5, 5, 512, 256),
        'ConvTranspose_2': (5, 5, 256, 128),
        'ConvTranspose_3': (5, 5, 128, 3),
    }


def test_dcgan_draws_weights_of_the_papers_scale():
    module = dcgan.Discriminator(width=32)
    variables = module.init(
        jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False
    )
    kernel = variables['params']['Conv_2']['kernel']
    np.testing.assert_allclose(np.std(kernel), 0.02, rtol=0.02)


@pytest.mark.parametrize('shape', [(4, 4, 1), (30, 30, 1), (32, 33, 3)])
def test_dcgan_names_a_size_that_it_cannot_make(shape):
    with pytest.raises(ValueError, match=f'{shape[0]}x{shape[1]}'):
        dcgan.num_blocks(shape)


def test_evaluation_does_not_touch_the_statistics_and_training_does():
    module = dcgan.Discriminator(width=4)
    images = jax.random.normal(jax.random.key(0), (4, 16, 16, 1))
    variables = module.init(jax.random.key(1), images, train=False)
    for train in (False, True):
        _, changed = module.apply(
            variables, images, train=train, mutable=['batch_stats']
        )
        same = jax.tree.map(
            np.array_equal, changed['batch_stats'], variables['batch_stats']
        )
        assert all(jax.tree.leaves(same)) != train
