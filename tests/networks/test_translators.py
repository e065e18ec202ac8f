"""CycleGAN's and pix2pix's generators: published counts, NumPy, invariances."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import test_conditioning as players
from gan_jax import networks
from gan_jax.algorithms import algorithm
from gan_jax.networks import activations
from gan_jax.networks import translators

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 2)
# (blocks, width, norm): parameters for 3 channels, as the authors' networks.
RESNETS = {
    (9, 64, 'instance'): 11_378_179, (6, 64, 'instance'): 7_837_699,
    (9, 64, 'batch'): 11_383_427, (6, 32, 'instance'): 1_965_059,
    (6, 16, 'instance'): 494_083, (4, 16, 'instance'): 346_371,
}
# (side, width): parameters.
UNETS = {
    (256, 64): 54_413_955, (128, 64): 41_828_995, (64, 64): 29_244_035,
    (32, 64): 16_659_075, (64, 16): 1_830_563, (32, 16): 1_043_619,
}


def shapes(module, images, **options):
    """Return (output, variables) without computing them."""
    return jax.eval_shape(lambda x: module.init_with_output(
        KEY, x, train=True, keys=jax.random.split(KEY, len(images)), **options
    ), images)


def count(module, images):
    """Count the parameters of a module."""
    return sum(
        math.prod(leaf.shape)
        for leaf in jax.tree.leaves(shapes(module, images)[1]['params'])
    )


@pytest.mark.parametrize('setting', RESNETS, ids=str)
def test_resnet_has_as_many_parameters_as_the_authors(setting):
    blocks, width, norm = setting
    module = translators.ResNet(
        channels=3, num_blocks=blocks, width=width, norm=norm
    )
    assert count(module, jnp.zeros((1, 32, 32, 3))) == RESNETS[setting]


@pytest.mark.parametrize('setting', UNETS, ids=str)
def test_unet_has_as_many_parameters_as_the_authors(setting):
    side, width = setting
    module = translators.UNet(channels=3, width=width)
    assert count(module, jnp.zeros((1, side, side, 3))) == UNETS[setting]


GENERATORS = [
    name for name, pair in networks.TRANSLATORS.items() if pair.generator
]


@pytest.mark.parametrize('name', GENERATORS)
@pytest.mark.parametrize('fields', [
    {}, {'dtype': jnp.bfloat16}, {'spectral_norm': True, 'norm': 'group'},
], ids=str)
def test_generators_map_images_to_images_of_other_channels(name, fields):
    module = networks.TRANSLATORS[name].generator(
        channels=1, width=4, **fields
    )
    images, variables = shapes(module, jnp.zeros((2, 64, 32, 3)))
    assert images.shape == (2, 64, 32, 1) and images.dtype == jnp.float32
    params = jax.tree.leaves(variables['params'])
    assert {leaf.dtype for leaf in params} == {jnp.dtype('float32')}
    assert ('spectral' in variables) == ('spectral_norm' in fields)


def test_names_are_not_those_of_other_networks():
    assert not set(networks.TRANSLATORS) & set(networks.NETWORKS)


def convolve(x, kernel, stride, padding):
    """Convolve in NumPy; x is padded already, or by `padding` zeros."""
    x = np.pad(x, [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)])
    size = len(kernel)
    height, width = (
        (side - size) // stride + 1 for side in x.shape[1:3]
    )
    return sum(
        x[:, i:i + stride * height:stride, j:j + stride * width:stride]
        @ kernel[i, j]
        for i in range(size) for j in range(size)
    )


def double(x, kernel):
    """Apply a transposed convolution of stride 2 and padding 1, in NumPy.

    Each pixel adds a square of products, whose kernel flax stores flipped.
    """
    batch, height, width, _ = x.shape
    size = len(kernel)
    y = np.zeros((
        batch, 2 * height + size, 2 * width + size, kernel.shape[-1]
    ))
    for i in range(size):
        for j in range(size):
            y[:, i:i + 2 * height:2, j:j + 2 * width:2] += (
                x @ kernel[size - 1 - i, size - 1 - j]
            )
    return y[:, 1:1 + 2 * height, 1:1 + 2 * width]


def reflect(x, size):
    """Pad by reflection."""
    return np.pad(
        x, [(0, 0), (size,) * 2, (size,) * 2, (0, 0)], mode='reflect'
    )


def normalize(x):
    """Normalize each channel of each sample."""
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def relu(x, slope=0.0):
    return np.where(x > 0, x, slope * x)


def drawn(module, images):
    """Return variables without zeros or ones, and float64 parameters."""
    variables = players.fill(shapes(module, images)[1])
    return variables, jax.tree.map(np.float64, variables['params'])


@functools.partial(jax.jit, static_argnums=0, static_argnames='train')
def run(module, variables, images, *, train=False, keys=None):
    """Return only the output; new statistics are discarded."""
    return module.apply(
        variables, images, train=train, keys=keys,
        mutable=list(set(variables) - {'params'}),
    )[0]


def images_of(side, channels, count=2):
    return np.random.RandomState(2).randn(
        count, side, side, channels
    ).astype(np.float32)


def test_resnet_equals_its_layers_in_numpy():
    module = translators.ResNet(channels=2, width=3, num_blocks=2)
    images = images_of(8, 1)
    variables, params = drawn(module, images)

    def layer(x, name, *options):
        apply = double if 'T' in name else convolve
        return (
            apply(x, params[name]['kernel'], *options) + params[name]['bias']
        )

    x = relu(normalize(layer(reflect(images, 3), 'Conv_0', 1, 0)))
    x = relu(normalize(layer(x, 'Conv_1', 2, 1)))
    x = relu(normalize(layer(x, 'Conv_2', 2, 1)))
    for number in (3, 5):
        y = layer(reflect(x, 1), f'Conv_{number}', 1, 0)
        y = layer(
            reflect(relu(normalize(y)), 1), f'Conv_{number + 1}', 1, 0
        )
        x = x + normalize(y)
    x = relu(normalize(layer(x, 'ConvTranspose_0')))
    x = relu(normalize(layer(x, 'ConvTranspose_1')))
    x = np.tanh(layer(reflect(x, 3), 'Conv_7', 1, 0))
    np.testing.assert_allclose(
        run(module, variables, images), x, rtol=1e-3, atol=1e-4
    )


def test_unet_equals_its_layers_in_numpy():
    # 16 -> 8 -> 4 -> 2 -> 1, without dropout, in evaluation: the running
    # statistics, all 1.
    module = translators.UNet(channels=2, width=3)
    images = images_of(16, 1)
    variables, params = drawn(module, images)

    def kernel(name):
        return params[name]['kernel']

    def batch_norm(x, number):
        one = params[f'BatchNorm_{number}']
        return (x - 1) / np.sqrt(1 + 1e-5) * one['scale'] + one['bias']

    first = convolve(images, kernel('Conv_0'), 2, 1)
    second = convolve(relu(first, 0.2), kernel('Conv_1'), 2, 1)
    second = batch_norm(second, 0)
    third = convolve(relu(second, 0.2), kernel('Conv_2'), 2, 1)
    third = batch_norm(third, 1)
    x = convolve(relu(third, 0.2), kernel('Conv_3'), 2, 1)
    assert x.shape == (2, 1, 1, 24)
    for number, skip in enumerate((third, second, first)):
        x = double(relu(x), kernel(f'ConvTranspose_{number}'))
        x = np.concatenate([skip, batch_norm(x, number + 2)], -1)
    x = double(relu(x), kernel('ConvTranspose_3'))
    assert not any('bias' in p for n, p in params.items() if n[:4] == 'Conv'
                   and n != 'ConvTranspose_3')
    np.testing.assert_allclose(
        run(module, variables, images),
        np.tanh(x + params['ConvTranspose_3']['bias']), rtol=1e-3, atol=1e-4,
    )


@pytest.fixture(scope='module', name='resnet')
def fixture_resnet():
    """Return a small ResNet and its variables, with outputs of all sizes."""
    module = translators.ResNet(channels=2, width=4, num_blocks=2)
    variables, _ = drawn(module, images_of(16, 3))
    return module, variables


def test_scale_and_offsets_of_channels_do_not_change_the_result(resnet):
    module, variables = resnet
    images = images_of(16, 3)
    before, after, other = (
        run(module, variables, x) for x in (
            images, 3 * images + np.float32([2, -1, 0.5]),
            images * np.float32([3, 1, 1]),  # of one channel only
        )
    )
    assert np.std(before) > 0.1
    np.testing.assert_allclose(before, after, atol=1e-3)
    assert np.abs(before - other).max() > 0.1


def test_biases_before_a_norm_have_no_gradient(resnet):
    module, variables = resnet
    images = images_of(16, 3)
    weights = jax.random.normal(KEY, (2, 16, 16, 2))
    grads = jax.jit(jax.grad(lambda params: jnp.sum(weights * module.apply(
        {'params': params}, images, train=True
    ))))(variables['params'])
    largest = {name: np.abs(grad['bias']).max() for name, grad in grads.items()}
    assert len(largest) == 10 and largest.pop('Conv_7') > 1
    assert max(largest.values()) < 1e-3
    for grad in grads.values():
        assert np.abs(grad['kernel']).max() > 1e-2


def test_resnet_translates_other_sizes_with_the_same_parameters(resnet):
    module, variables = resnet
    wide = jax.eval_shape(
        lambda x: module.apply(variables, x, train=False),
        jnp.zeros((1, 24, 40, 3)),
    )
    assert wide.shape == (1, 24, 40, 2)


def test_samples_of_an_instance_norm_do_not_depend_on_the_batch(resnet):
    module, variables = resnet
    images = images_of(16, 3)
    both, one = (
        run(module, variables, x) for x in (images, images[:1])
    )
    np.testing.assert_allclose(both[:1], one, rtol=1e-4, atol=1e-5)


def test_initial_weights_are_the_authors():
    module = translators.ResNet(
        channels=4, width=4, num_blocks=1, norm='batch'
    )
    params = jax.jit(lambda: module.init(
        KEY, jnp.zeros((1, 8, 8, 4)), train=False
    ))()['params']
    kernels, scales = (np.concatenate([
        np.ravel(layer[name]) for layer in params.values() if name in layer
    ]) for name in ('kernel', 'scale'))
    assert len(kernels) > 6000 and len(scales) == 72
    np.testing.assert_allclose(kernels.std(), 0.02, rtol=0.05)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.3)
    np.testing.assert_allclose(scales.mean(), 1, atol=0.01)
    np.testing.assert_allclose(kernels.mean(), 0, atol=0.001)
    biases = [layer['bias'] for layer in params.values() if 'bias' in layer]
    assert len(biases) == 8 and not np.concatenate(biases).any()


@pytest.mark.parametrize('side, levels', [
    (16, []), (32, []), (64, [4]), (128, [5, 4]), (256, [6, 5, 4]),
])
def test_unet_drops_units_of_the_inner_layers_but_the_innermost(
    side, levels, monkeypatch
):
    dropped = []

    def dropout(x, rate, keys, number, *, train):
        assert rate == 0.5 and train and x.shape[1] == side >> number
        dropped.append(number)
        return x

    monkeypatch.setattr(activations, 'dropout', dropout)
    shapes(translators.UNet(channels=1, width=1), jnp.zeros((2, side, side, 1)))
    assert dropped == levels


def test_unet_drops_units_by_the_key_of_each_sample_in_training():
    module = translators.UNet(channels=1, width=1)
    assert algorithm.takes_keys(module)
    images = images_of(64, 1)
    variables, _ = drawn(module, images)
    weights = algorithm.Weights(variables.pop('params'), variables)
    others = jnp.stack([KEYS[0], KEYS[0]])

    @jax.jit
    def translate(keys):
        inputs = algorithm.Inputs(images, keys=keys)
        return (
            algorithm.forward(module, weights, inputs)[0],
            algorithm.evaluate(module, weights, inputs),
        )

    (noisy, exact), (changed, same) = translate(KEYS), translate(others)
    np.testing.assert_array_equal(exact, same)
    assert np.abs(noisy[1] - changed[1]).max() > 1e-3
    with pytest.raises(ValueError, match='needs keys'):
        jax.eval_shape(lambda: module.apply(
            {'params': weights.params, **weights.stats}, images, train=True,
            mutable=['batch_stats'],
        ))


def test_resnet_drops_units_within_its_blocks():
    module = translators.ResNet(
        channels=1, width=1, num_blocks=2, dropout=0.5
    )
    assert algorithm.takes_keys(module)
    assert not algorithm.takes_keys(translators.ResNet(channels=1))
    images = images_of(8, 1)
    variables, _ = drawn(module, images)

    one, other = (
        run(module, variables, images, train=True, keys=keys)
        for keys in (KEYS, KEYS[::-1])
    )
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - run(module, variables, images)).max() > 1e-3


@pytest.mark.parametrize('side, num_downs, smallest', [
    (32, 0, 1), (32, 3, 4), (96, 0, 3), (256, 0, 1), (256, 7, 2),
])
def test_unet_halves_the_side_down_to_1(side, num_downs, smallest):
    module = translators.UNet(channels=1, width=1, num_downs=num_downs)
    _, variables = shapes(
        module, jnp.zeros((1, side, side, 1)), capture_intermediates=True
    )
    sides = [
        value['__call__'][0].shape[1]
        for name, value in variables['intermediates'].items()
        if name.startswith('Conv_')
    ]
    halvings = int(math.log2(side / smallest))
    assert len(sides) == halvings and min(sides) == smallest


@pytest.mark.parametrize('norm', ['batch', 'instance'])
def test_innermost_map_of_one_sample_matters(norm):
    module = translators.UNet(channels=1, width=2, norm=norm)
    images = images_of(8, 1, count=1)
    variables, _ = drawn(module, images)
    stats = {k: v for k, v in variables.items() if k != 'params'}

    def total(params):
        return jnp.sum(module.apply(
            {'params': params, **stats}, images, train=True,
            mutable=list(stats),
        )[0])

    grads = jax.jit(jax.grad(total))(variables['params'])
    assert np.abs(grads['Conv_2']['kernel']).max() > 1e-4


@pytest.mark.parametrize('module', [
    translators.ResNet(channels=1, width=4, num_blocks=1),
    translators.UNet(channels=1, width=4),
], ids=lambda m: type(m).__name__)
def test_bfloat16_is_near_float32(module):
    images = images_of(16, 1)
    variables, _ = drawn(module, images)
    variables['params'] = jax.tree.map(
        lambda leaf: leaf / 4 if leaf.ndim > 1 else leaf, variables['params']
    )
    low, high = (
        run(module.clone(dtype=dtype), variables, images)
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    assert low.dtype == jnp.float32
    assert 0 < np.abs(low - high).mean() < 0.05 * np.abs(high).mean()


@pytest.mark.parametrize('output, last', [
    ('auto', jnp.tanh), ('linear', lambda x: x), ('sigmoid', nn.sigmoid),
])
def test_last_activation_is_selected_by_name(output, last):
    images = images_of(8, 1)
    linear = translators.ResNet(
        channels=1, width=1, num_blocks=0, output='linear'
    )
    variables, _ = drawn(linear, images)
    np.testing.assert_allclose(
        run(linear.clone(output=output), variables, images),
        last(run(linear, variables, images)), rtol=1e-4,
    )


@pytest.mark.parametrize('module, shape, match', [
    (translators.ResNet(channels=1), (2, 30, 32, 1),
     '30x32 does not fit the ResNet: .* multiples of 4'),
    (translators.ResNet(channels=1), (2, 4, 4, 1), '4x4 .* at least 8'),
    (translators.ResNet(channels=1), (2, 7), r'needs images, .* \[7\]'),
    (translators.UNet(channels=1), (2, 30, 30, 1), '30x30 .* multiples of 4'),
    (translators.UNet(channels=1, num_downs=5), (2, 48, 32, 1),
     '48x32 .* multiples of 32, .* num_downs=5'),
    (translators.UNet(channels=1, num_downs=1), (2, 32, 32, 1),
     'num_downs=1 '),
    (translators.UNet(channels=1), (2, 7), r'needs images, .* \[7\]'),
])
def test_invalid_sizes_are_reported_in_one_line(module, shape, match):
    with pytest.raises(ValueError, match=match) as raised:
        shapes(module, jnp.zeros(shape))
    assert '\n' not in str(raised.value)
