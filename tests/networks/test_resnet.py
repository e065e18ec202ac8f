"""Residual networks: the paper's layers, counts, and blocks by hand."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import resnet


def shapes_of(module, inputs):
    """Return the shapes of all parameters without drawing them."""
    variables = jax.eval_shape(
        lambda x: module.init(jax.random.key(0), x, train=False),
        jnp.zeros(inputs),
    )
    return jax.tree.map(jnp.shape, variables['params'])


def count(module, inputs):
    return sum(
        math.prod(shape) for shape in jax.tree.leaves(
            shapes_of(module, inputs), is_leaf=lambda x: isinstance(x, tuple)
        )
    )


def test_generator_has_the_papers_parameter_count_for_cifar_10():
    # Table 3: dense to 4 x 4 x 256, three blocks up with 256 channels, BN,
    # ReLU, a 3 x 3 convolution to 3. z has 128 entries.
    dense = 128 * 4 * 4 * 256 + 4 * 4 * 256
    conv = 3 * 3 * 256 * 256 + 256
    shortcut = 256 * 256 + 256
    norm = 2 * 256
    last = 3 * 3 * 256 * 3 + 3
    expected = dense + 3 * (2 * norm + 2 * conv + shortcut) + norm + last
    assert expected == 4_276_739
    generator = resnet.Generator(image_shape=(32, 32, 3), width=256)
    assert count(generator, (1, 128)) == expected


def test_discriminator_has_the_papers_parameter_count_for_cifar_10():
    # Table 3: two blocks down and two that keep the side, 128 channels each,
    # ReLU, a sum over pixels, dense to 1. Blocks that halve have a shortcut
    # with weights, the others none.
    conv = 3 * 3 * 128 * 128 + 128
    first = (3 * 3 * 3 * 128 + 128) + conv + (3 * 128 + 128)
    second = 2 * conv + (128 * 128 + 128)
    expected = first + second + 2 * (2 * conv) + (128 + 1)
    assert expected == 1_053_825
    assert count(resnet.Discriminator(width=128), (1, 32, 32, 3)) == expected


@pytest.mark.parametrize('shape, start, outputs', [
    # Table 5, whose first row has 1024 channels, and the authors' networks for
    # 64 x 64; table 4.
    ((128, 128, 3), (4, 4, 16), [16, 8, 4, 2, 1]),
    ((64, 64, 3), (4, 4, 16), [8, 4, 2, 1]),
    ((48, 48, 3), (6, 6, 8), [4, 2, 1]),
    ((48, 80, 4), (6, 10, 8), [4, 2, 1]),
    ((28, 28, 1), (7, 7, 1), [1, 1]),
])
def test_generator_has_the_channels_of_the_tables(shape, start, outputs):
    params = shapes_of(resnet.Generator(image_shape=shape, width=4), (1, 6))
    first = start[-1] * 4
    assert params['Dense_0']['kernel'] == (6, start[0] * start[1] * first)
    inputs = first
    for block, times in enumerate(outputs):
        convs = [params[f'Conv_{3 * block + k}']['kernel'] for k in range(3)]
        assert convs == [
            (3, 3, inputs, 4 * times),
            (3, 3, 4 * times, 4 * times),
            (1, 1, inputs, 4 * times),
        ]
        inputs = 4 * times
    assert params[f'Conv_{3 * len(outputs)}']['kernel'] == (3, 3, 4, shape[-1])
    norms = [name for name in params if name.startswith('Norm_')]
    assert len(norms) == 2 * len(outputs) + 1


@pytest.mark.parametrize('shape, expected', [
    ((128, 128, 3), [(1, True), (2, True), (4, True), (8, True), (16, True),
                     (16, False)]),
    ((64, 64, 3), [(1, True), (2, True), (4, True), (8, True), (16, False)]),
    ((32, 32, 3), [(1, True), (1, True), (1, False), (1, False)]),
    ((28, 28, 1), [(1, True), (1, True), (1, False), (1, False)]),
    ((8, 8, 1), [(1, True), (1, False), (1, False)]),
])
def test_discriminator_has_the_channels_of_the_tables(shape, expected):
    assert resnet.discriminator_channels(shape, 64) == [
        (64 * times, halves) for times, halves in expected
    ]
    kernels = [
        layer['kernel'] for layer in shapes_of(
            resnet.Discriminator(width=64), (1, *shape)
        ).values()
    ]
    shortcuts = [kernel for kernel in kernels if kernel[:2] == (1, 1)]
    assert len(shortcuts) == sum(
        halves or times != before
        for (times, halves), (before, _) in zip(
            expected, [(0, True), *expected]
        )
    )
    assert kernels[:2] == [(3, 3, shape[-1], 64), (3, 3, 64, 64)]


class Layers:
    """Parameters by their order, for networks built from single layers."""

    def __init__(self, params):
        self.params, self.next = params, 0

    def conv(self, x):
        params = self.params[f'Conv_{self.next}']
        self.next += 1
        kernel, (_, height, width, _) = np.asarray(params['kernel']), x.shape
        edge = len(kernel) // 2
        x = np.pad(x, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
        return params['bias'] + sum(
            x[:, i:i + height, j:j + width] @ kernel[i, j]
            for i, j in np.ndindex(kernel.shape[:2])
        )

    def dense(self, x):
        params = self.params['Dense_0']
        return np.asarray(x @ params['kernel'] + params['bias'])


@functools.partial(jax.jit, static_argnums=0)
def apply(module, variables, inputs):
    return module.apply(variables, inputs, train=False)


def draw_variables(module, inputs):
    """Draw variables in NumPy, which has nothing to compile."""
    random = np.random.RandomState(0)
    shapes = jax.eval_shape(
        lambda x: module.init(jax.random.key(0), x, train=False), inputs
    )
    return jax.tree.map(
        lambda leaf: jnp.float32(0.4 * random.standard_normal(leaf.shape)),
        shapes,
    )


def relu(x):
    return np.maximum(x, 0)


def up(x):
    return np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)


def down(x):
    return sum(x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4


def test_generator_equals_the_authors_layers():
    module = resnet.Generator(image_shape=(16, 24, 2), width=3, norm='none')
    z = jax.random.normal(jax.random.key(1), (2, 5))
    variables = draw_variables(module, z)
    by_hand = Layers(variables['params'])
    x = by_hand.dense(z).reshape(2, 4, 6, 3)
    for _ in range(2):
        y = by_hand.conv(up(relu(x)))
        y = by_hand.conv(relu(y))
        x = y + by_hand.conv(up(x))
    expected = np.tanh(by_hand.conv(relu(x)))
    actual = apply(module, variables, z)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert 0.1 < np.std(actual) < 1


def test_generator_normalises_before_every_relu():
    module = resnet.Generator(image_shape=(8, 8, 1), width=3, norm='instance')
    z = jax.random.normal(jax.random.key(1), (2, 5))
    variables = draw_variables(module, z)
    by_hand, norm = Layers(variables['params']), [-1]

    def activate(x):
        norm[0] += 1
        params = variables['params'][f'Norm_{norm[0]}']['GroupNorm_0']
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(
            x.var((1, 2), keepdims=True) + 1e-6
        )
        return relu(x * params['scale'] + params['bias'])

    x = by_hand.dense(z).reshape(2, 4, 4, 3)
    y = by_hand.conv(activate(by_hand.conv(up(activate(x)))))
    x = y + by_hand.conv(up(x))
    np.testing.assert_allclose(
        apply(module, variables, z),
        np.tanh(by_hand.conv(activate(x))), rtol=1e-3, atol=2e-3,
    )


@pytest.mark.parametrize('small, halvings, keeping', [(32, 1, 2), (4, 1, 1)])
def test_discriminator_equals_the_authors_layers(
    small, halvings, keeping, monkeypatch
):
    monkeypatch.setattr(resnet, 'SMALL', small)  # else the large one is slow
    module = resnet.Discriminator(width=3)
    images = jax.random.normal(jax.random.key(1), (2, 16, 8, 2))
    variables = draw_variables(module, images)
    by_hand = Layers(variables['params'])
    x = np.asarray(images)
    for block in range(halvings):
        y = by_hand.conv(relu(x) if block else x)
        y = down(by_hand.conv(relu(y)))
        x = y + down(by_hand.conv(x))
    for _ in range(keeping):
        y = by_hand.conv(relu(by_hand.conv(relu(x))))
        x = y + (by_hand.conv(x) if small < 8 else x)
    features = relu(x).sum((1, 2))
    output = apply(module, variables, images)
    np.testing.assert_allclose(output.features, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        output.logits, by_hand.dense(features)[:, 0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize('gain', [1, 2**0.5])
def test_weights_are_uniform_with_glorots_scale(gain):
    weights = resnet._initializer(gain)(jax.random.key(0), (3, 3, 40, 80))
    edge = gain * np.sqrt(6 / (9 * 40 + 9 * 80))
    np.testing.assert_allclose(np.abs(weights).max(), edge, rtol=1e-3)
    np.testing.assert_allclose(np.std(weights), edge / 3**0.5, rtol=0.02)


@pytest.mark.parametrize('module, inputs, gains', [
    (resnet.Generator(image_shape=(8, 8, 1)), (1, 5), '1 221 1'),
    (resnet.Discriminator(), (1, 8, 8, 1), '221 22 22 1'),
])
def test_gains_are_those_of_the_authors(module, inputs, gains, monkeypatch):
    squares = []

    def initializer(gain):
        squares.append(round(gain**2))
        return nn.initializers.zeros

    monkeypatch.setattr(resnet, '_initializer', initializer)
    shapes_of(module, inputs)
    assert squares == [int(gain) for gain in gains.replace(' ', '')]


@pytest.mark.integration
@pytest.mark.parametrize('fields', [
    {'spectral_norm': True, 'attention': 4, 'norm': 'layer'},
    {'dtype': jnp.bfloat16},
], ids=str)
def test_r1_has_finite_gradients_that_reach_the_kernels(fields):
    module = resnet.Discriminator(width=8, **fields)
    images = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))
    variables = draw_variables(module, images)
    params = variables.pop('params')

    @jax.jit
    @jax.grad
    def penalty(params):
        def total(images):
            return module.apply(
                {'params': params, **variables}, images, train=True
            ).logits.sum()

        grads = jax.grad(total)(images)
        return 0.5 * jnp.sum(jnp.square(grads)) / len(images)

    for grads in jax.tree.leaves(penalty(params)):
        assert np.isfinite(grads).all()
        assert grads.ndim < 2 or np.abs(grads).max() > 0


def watch(module, inputs):
    """List the shapes of the inputs of self-attention in a forward pass."""
    met = []

    def intercept(call, args, kwargs, context):
        if type(context.module).__name__ == 'SelfAttention':
            met.append(args[0].shape[1:])
            assert context.module.spectral_norm == module.spectral_norm
            assert context.module.dtype == module.dtype
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        jax.eval_shape(
            lambda x: module.init(jax.random.key(0), x, train=True), inputs
        )
    return met


@pytest.mark.parametrize('shape, side, g_map, d_map', [
    ((32, 32, 3), 16, (16, 16, 8), (16, 16, 8)),
    ((32, 32, 3), 8, (8, 8, 8), (8, 8, 8)),
    ((28, 28, 1), 14, (14, 14, 8), (14, 14, 8)),
    ((48, 80, 4), 12, (12, 20, 32), (12, 20, 16)),
    ((64, 64, 3), 32, (32, 32, 16), (32, 32, 8)),
])
def test_attention_is_applied_once_at_its_side(shape, side, g_map, d_map):
    for fields in ({}, {'spectral_norm': True, 'dtype': jnp.bfloat16}):
        fields = {'width': 8, 'attention': side, **fields}
        generator = resnet.Generator(image_shape=shape, **fields)
        assert watch(generator, jnp.zeros((1, 5))) == [g_map]
        discriminator = resnet.Discriminator(**fields)
        assert watch(discriminator, jnp.zeros((1, *shape))) == [d_map]


def test_attention_is_off_by_default():
    generator = resnet.Generator(image_shape=(32, 32, 3), width=2)
    assert not watch(generator, jnp.zeros((1, 5)))


def test_attention_changes_nothing_at_first():
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    with_it = resnet.Discriminator(width=8, attention=4)
    variables = draw_variables(with_it, images)
    variables['params']['SelfAttention_0']['weight'] = jnp.float32(0)
    logits = [
        apply(module, variables, images).logits
        for module in (with_it, resnet.Discriminator(width=8))
    ]
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize('module, inputs, sides', [
    (resnet.Generator(image_shape=(32, 32, 3), attention=4), (1, 5),
     r'\[8, 16, 32\]'),
    (resnet.Discriminator(attention=32), (1, 32, 32, 3), r'\[8, 16\]'),
    (resnet.Discriminator(attention=8), (1, 28, 28, 1), r'\[7, 14\]'),
])
def test_attention_at_an_unknown_side_is_rejected(module, inputs, sides):
    with pytest.raises(ValueError, match=sides):
        shapes_of(module, inputs)


@pytest.mark.parametrize('module, inputs', [
    (resnet.Generator(image_shape=(8, 8, 1), width=2), (2, 5)),
    (resnet.Discriminator(width=2), (2, 8, 8, 1)),
])
def test_labels_and_keys_are_accepted_and_unused(module, inputs):
    x = jnp.zeros(inputs)
    variables = draw_variables(module, x)

    def traced(**arguments):
        return str(jax.make_jaxpr(
            lambda x: module.apply(variables, x, train=False, **arguments)
        )(x))

    keys = jax.random.split(jax.random.key(2), 2)
    assert traced(labels=jnp.array([0, 1]), keys=keys) == traced()


@pytest.mark.parametrize('shape', [(4, 4, 1), (30, 30, 1), (32, 33, 3)])
def test_sizes_that_cannot_be_halved_are_rejected(shape):
    with pytest.raises(ValueError, match=f'{shape[0]}x{shape[1]}'):
        shapes_of(resnet.Generator(image_shape=shape), (1, 5))
