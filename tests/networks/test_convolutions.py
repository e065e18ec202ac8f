"""Convolutions: values and gradients of every order, parts."""

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import convolutions
from gan_jax.networks import narrow
from gan_jax.networks import winograd

SIZES = [(2, 2), (3, 3), (4, 4), (5, 5), (4, 3)]


def plain(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), 'SAME', dimension_numbers=convolutions.DIMENSIONS
    )


def draw(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes)]


def close(actual, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max())
    ), actual, expected)


@pytest.fixture(name='always_sub_pixel')
def fixture_always_sub_pixel(monkeypatch):
    monkeypatch.setattr(convolutions, 'LARGE', 1)


@pytest.fixture(name='always_winograd')
def fixture_always_winograd(monkeypatch):
    monkeypatch.setattr(convolutions, 'WIDE', 1)
    monkeypatch.setattr(convolutions, 'LEAST_3X3', 1)


def gradients(convolve, x, kernel, dy):
    def both(x, kernel, dy):
        value, back = jax.vjp(convolve, x, kernel)
        return value, back(dy)

    return jax.jit(both)(x, kernel, dy)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('sides', [(8, 8), (6, 10)])
def test_strided_has_the_value_and_gradients_of_xla(
    size, sides, always_sub_pixel
):
    x, kernel, dy = draw(
        (4, *sides, 3), (*size, 3, 5), (4, sides[0] // 2, sides[1] // 2, 5)
    )
    close(
        gradients(convolutions.strided, x, kernel, dy),
        gradients(plain, x, kernel, dy),
    )


@pytest.mark.parametrize('size', [(4, 4), (3, 3)])
@pytest.mark.parametrize('form', ['sub_pixel', 'winograd'])
def test_second_and_third_order_gradients_are_those_of_xla(size, form, request):
    request.getfixturevalue(f'always_{form}')
    x, kernel = draw((4, 8, 8, 2), (*size, 2, 3))

    def third(convolve):
        def score(x, kernel):
            return jnp.sum(jnp.tanh(convolve(x, kernel)))

        def slope(x, kernel):
            return jnp.sum(jnp.sin(jax.grad(score)(x, kernel)))

        def activation(x, kernel):
            return sum(
                jnp.sum(jnp.cos(g))
                for g in jax.grad(slope, (0, 1))(x, kernel)
            )

        return jax.jit(lambda *inputs: (
            jax.grad(slope, (0, 1))(*inputs),
            jax.grad(activation, (0, 1))(*inputs),
        ))(x, kernel)

    close(third(convolutions.strided), third(plain))


@pytest.mark.integration
@pytest.mark.parametrize('sides', [
    (4, 4), (8, 16), (12, 4), (6, 8), (14, 8), (18, 14),
])
def test_winograd_has_the_value_and_gradients_of_xla(
    sides, always_winograd
):
    x, kernel, dy = draw(
        (3, *sides, 2), (4, 4, 2, 5), (3, sides[0] // 2, sides[1] // 2, 5)
    )
    close(
        gradients(convolutions.strided, x, kernel, dy),
        gradients(plain, x, kernel, dy),
    )
    close(
        gradients(convolutions.transposed, dy, kernel, x),
        gradients(
            lambda y, kernel: jax.vjp(lambda x: plain(x, kernel), x)[1](y)[0],
            dy, kernel, x,
        ),
    )


@pytest.mark.integration
def test_winograd_rounds_like_the_plain_sum(always_winograd):
    """Compare both with float64; allow five times the plain sum's error."""
    x, kernel, dy = draw((2, 8, 8, 96), (4, 4, 96, 80), (2, 4, 4, 80))
    with jax.enable_x64():
        exact = gradients(plain, *(
            jnp.asarray(a, jnp.float64) for a in (x, kernel, dy)
        ))

    def errors(convolve):
        actual = gradients(convolve, x, kernel, dy)
        return np.array([
            np.abs(np.asarray(a, np.float64) - np.asarray(b)).max()
            for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(exact))
        ])

    assert (errors(convolutions.strided) <= 5 * errors(plain)).all()


def test_only_wide_kernels_on_cpu_use_winograd(monkeypatch):
    monkeypatch.setattr(winograd, 'strided', lambda x, kernel: 'winograd')

    def form(side=8, channels=64, dtype=jnp.float32, size=4):
        x = jnp.zeros((1, side, side, channels), dtype)
        kernel = jnp.zeros((size, size, channels, 64), dtype)
        actual = convolutions.strided.__wrapped__(x, kernel)
        return actual if isinstance(actual, str) else 'plain'

    assert form() == form(side=14) == 'winograd'
    assert form(side=6) == form(channels=63) == form(size=3) == 'plain'
    assert form(dtype=jnp.bfloat16) == 'plain'
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    assert form() == 'plain'


@pytest.mark.parametrize('which', ['transposed', 'kernel_gradient'])
def test_the_transposes_have_correct_gradients(which):
    x, kernel, y = draw((4, 8, 8, 2), (4, 4, 2, 3), (4, 4, 4, 3))
    through = {
        'transposed': (
            lambda y, kernel: convolutions.transposed(y, kernel),
            lambda y, kernel: jax.vjp(lambda x: plain(x, kernel), x)[1](y)[0],
            (y, kernel),
        ),
        'kernel_gradient': (
            lambda x, y: convolutions.kernel_gradient(x, y, (4, 4)),
            lambda x, y: jax.vjp(lambda w: plain(x, w), kernel)[1](y)[0],
            (x, y),
        ),
    }
    ours, xlas, arguments = through[which]

    def penalty(function):
        return jax.grad(
            lambda *args: jnp.sum(jnp.sin(function(*args))), (0, 1)
        )(*arguments)

    close(ours(*arguments), xlas(*arguments))
    close(penalty(ours), penalty(xlas))


@pytest.mark.parametrize('fields', [
    {'strides': 2}, {'strides': 1}, {'strides': 2, 'padding': 'VALID'},
    {'strides': 2, 'kernel_size': (1, 1)},
    {'strides': 2, 'feature_group_count': 2},
    {'strides': 1, 'kernel_dilation': 2}, {'padding': 1, 'input_dilation': 2},
    {'strides': 2, 'padding': 1}, {'strides': 2, 'padding': ((0, 2), (2, 0))},
    {'strides': 2, 'padding': 1, 'kernel_size': (3, 3)},
    {'strides': 2, 'padding': 1, 'kernel_dilation': 2},
])
@pytest.mark.parametrize('side', [8, 7])
def test_linen_convolutions_are_unchanged(fields, side):
    fields = {'features': 4, 'kernel_size': (4, 4), **fields}
    ours = nn.Conv(
        **fields, conv_general_dilated=convolutions.conv_general_dilated
    )
    x, = draw((2, side, side, 2))
    variables = nn.Conv(**fields).init(jax.random.key(1), x)
    close(ours.apply(variables, x), nn.Conv(**fields).apply(variables, x))


@pytest.mark.parametrize('padding, size, side, fast', [
    ('SAME', 4, 8, True), (((1, 1), (1, 1)), 4, 8, True),
    (((1, 1), (1, 1)), 4, 7, False), (((1, 1), (1, 1)), 3, 8, False),
    ('VALID', 4, 8, False),
])
def test_padding_of_same_is_recognised(padding, size, side, fast, monkeypatch):
    calls = []

    def strided(x, kernel):
        calls.append(kernel.shape)
        return plain(x, kernel)

    monkeypatch.setattr(convolutions, 'strided', strided)
    layer = nn.Conv(
        3, (size, size), 2, padding=padding,
        conv_general_dilated=convolutions.conv_general_dilated,
    )
    jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, side, side, 2)))
    assert bool(calls) == fast


@pytest.mark.parametrize('on_cpu', [True, False])
def test_centred_transpose_has_the_values_and_gradients_of_xla(
    on_cpu, monkeypatch
):
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: on_cpu)
    y, kernel, dx = draw((2, 3, 4, 5), (3, 3, 5, 2), (2, 6, 8, 2))
    close(
        gradients(convolutions.centred_transpose, y, kernel, dx),
        gradients(lambda y, kernel: lax.conv_transpose(
            y, kernel, (2, 2), ((1, 2), (1, 2)),
            dimension_numbers=convolutions.DIMENSIONS,
        ), y, kernel, dx),
    )


def test_centred_transpose_is_centred():
    pixel = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2].set(1)
    kernel, = draw((3, 3, 1, 1))
    expected = np.zeros((8, 8))
    expected[1:4, 3:6] = kernel[::-1, ::-1, 0, 0]
    np.testing.assert_allclose(
        convolutions.centred_transpose(pixel, kernel)[0, ..., 0], expected,
        atol=1e-6,
    )


def mirrored(x, kernel):
    """Pad by reflection and convolve, by XLA alone."""
    edge = len(kernel) // 2
    rows, columns = (
        np.pad(np.arange(side), edge, mode='reflect') for side in x.shape[1:3]
    )
    return lax.conv_general_dilated(
        x[:, rows][:, :, columns], kernel, (1, 1), 'VALID',
        dimension_numbers=convolutions.DIMENSIONS,
    )


def reflected(x, kernel):
    return convolutions.reflected(
        x, kernel, (1, 1), 'VALID', dimension_numbers=convolutions.DIMENSIONS
    )


@pytest.mark.parametrize('on_cpu', [True, False])
@pytest.mark.parametrize('size', [3, 7])
def test_reflected_pads_by_reflection(on_cpu, size, monkeypatch):
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: on_cpu)
    x, kernel, dy = draw((2, 5, 6, 2), (size, size, 2, 3), (2, 5, 6, 3))

    def layer(x, kernel):
        return nn.Conv(
            3, (size, size), padding='VALID', use_bias=False,
            conv_general_dilated=convolutions.reflected,
        ).apply({'params': {'kernel': kernel}}, x)

    close(gradients(layer, x, kernel, dy), gradients(mirrored, x, kernel, dy))


@pytest.mark.parametrize('sides', [(4, 6), (2, 8)])
def test_winograd_of_3x3_has_the_value_and_gradients_of_xla(
    sides, always_winograd, monkeypatch
):
    x, kernel, dy = draw((2, *sides, 3), (3, 3, 3, 4), (2, *sides, 4))
    expected = gradients(mirrored, x, kernel, dy)
    monkeypatch.setattr(  # it must not be called
        convolutions.lax, 'conv_general_dilated', None
    )
    close(gradients(reflected, x, kernel, dy), expected)


def test_winograd_of_3x3_has_second_order_gradients(always_winograd):
    x, kernel = draw((1, 4, 4, 2), (3, 3, 2, 3))

    def penalty(convolve):
        def squared_slope(x, kernel):
            slope = jax.grad(lambda x: jnp.tanh(convolve(x, kernel)).sum())(x)
            return jnp.square(slope).sum()

        return jax.jit(jax.grad(squared_slope, (0, 1)))(x, kernel)

    close(penalty(reflected), penalty(mirrored))


@pytest.mark.integration
def test_winograd_of_3x3_rounds_like_the_plain_sum(always_winograd):
    """Compare both with float64; allow five times the plain sum's error."""
    x, kernel, dy = draw((2, 8, 8, 96), (3, 3, 96, 80), (2, 8, 8, 80))
    with jax.enable_x64():
        exact = gradients(mirrored, *(
            jnp.asarray(a, jnp.float64) for a in (x, kernel, dy)
        ))

    def errors(convolve):
        actual = gradients(convolve, x, kernel, dy)
        return np.array([
            np.abs(np.asarray(a, np.float64) - np.asarray(b)).max()
            for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(exact))
        ])

    assert (errors(reflected) <= 5 * errors(mirrored)).all()


def test_only_large_products_on_cpu_use_winograd_of_3x3(monkeypatch):
    monkeypatch.setattr(winograd, 'valid', lambda x, kernel: 'winograd')
    monkeypatch.setattr(
        convolutions, '_valid', convolutions._valid.__wrapped__
    )

    def form(batch=1, side=16, channels=256, dtype=jnp.float32, size=3):
        x = jnp.zeros((batch, side, side, channels), dtype)
        kernel = jnp.zeros((size, size, channels, 256), dtype)
        actual = reflected(x, kernel)
        return actual if isinstance(actual, str) else 'plain'

    assert form(side=24) == form(batch=8, channels=64) == 'winograd'
    assert form() == form(side=25) == form(batch=3, channels=128) == 'plain'
    assert form(batch=17, channels=32) == form(side=24, size=7) == 'plain'
    assert form(side=24, dtype=jnp.bfloat16) == 'plain'
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    assert form(side=24) == 'plain'


@pytest.mark.parametrize('size, features', [(7, 3), (3, 1)])
def test_narrow_has_the_value_and_gradients_of_xla(
    size, features, monkeypatch
):
    x, kernel, dy = draw(
        (2, 5, 6, 9), (size, size, 9, features), (2, 5, 6, features)
    )
    expected = gradients(mirrored, x, kernel, dy)
    monkeypatch.setattr(  # it must not be called
        convolutions.lax, 'conv_general_dilated', None
    )
    close(gradients(reflected, x, kernel, dy), expected)


def test_narrow_has_second_order_gradients():
    x, kernel = draw((1, 4, 5, 6), (3, 3, 6, 2))

    def penalty(convolve):
        def squared_slope(x, kernel):
            slope = jax.grad(lambda x: jnp.tanh(convolve(x, kernel)).sum())(x)
            return jnp.square(slope).sum()

        return jax.jit(jax.grad(squared_slope, (0, 1)))(x, kernel)

    close(penalty(reflected), penalty(mirrored))


def test_only_convolutions_to_few_channels_on_cpu_are_narrow(monkeypatch):
    monkeypatch.setattr(narrow, 'valid', lambda x, kernel: 'narrow')

    def form(channels=8, features=3, dtype=jnp.float32):
        x = jnp.zeros((1, 8, 8, channels), dtype)
        actual = reflected(x, jnp.zeros((7, 7, channels, features), dtype))
        return actual if isinstance(actual, str) else 'plain'

    assert form() == form(features=4) == form(channels=5) == 'narrow'
    assert form(features=5) == form(channels=4) == 'plain'
    assert form(dtype=jnp.bfloat16) == 'plain'
    monkeypatch.setattr(convolutions, 'MOST_SHARES', 14 * 14 * 7 * 7 * 3 - 1)
    assert form() == 'plain' and form(features=2) == 'narrow'
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    assert form(features=2) == 'plain'


# Side, kernel, padding and the function that must be called.
STRIDE_1 = [
    (4, (3, 3, 5, 6), 'SAME', 'winograd'),
    (4, (3, 3, 5, 2), 'SAME', 'narrow'),
    (6, (4, 4, 5, 1), ((1, 1), (1, 1)), 'narrow'),
    (6, (3, 3, 3, 5), 'SAME', 'products'),  # colors
    (4, (4, 4, 5, 6), ((1, 1), (1, 1)), 'products'),  # smaller than a kernel
    (6, (3, 3, 2, 5), ((2, 0), (1, 2)), 'products'),
]


def convolve_by(convolve, padding):
    return lambda x, kernel: convolve(
        x, kernel, (1, 1), padding, dimension_numbers=convolutions.DIMENSIONS
    )


@pytest.mark.parametrize('side, shape, padding, name', STRIDE_1)
def test_stride_1_has_the_gradients_of_xla(
    side, shape, padding, name, always_winograd, monkeypatch
):
    called = set()

    def watch(module, function, name):
        original = getattr(module, function)

        def watched(*args):
            called.add(name)
            return original(*args)

        monkeypatch.setattr(module, function, watched)

    watch(winograd, 'valid', 'winograd')
    watch(narrow, 'valid', 'narrow')
    watch(narrow, 'transposed', 'products')
    if name != 'winograd':
        monkeypatch.setattr(convolutions, 'WIDE', 64)
    x, kernel = draw((2, side, side, shape[2]), shape)
    ours = convolve_by(convolutions.conv_general_dilated, padding)
    xlas = convolve_by(lax.conv_general_dilated, padding)

    def slopes(convolve):
        """Return a value and its gradients of two orders."""
        def value(x, kernel):
            return jnp.tanh(convolve(x, kernel)).sum()

        def squared(x, kernel):
            return sum(
                jnp.square(slope).sum()
                for slope in jax.grad(value, (0, 1))(x, kernel)
            )

        return jax.jit(lambda *both: (
            convolve(*both), jax.grad(value, (0, 1))(*both),
            jax.grad(squared, (0, 1))(*both),
        ))(x, kernel)

    close(slopes(ours), slopes(xlas))
    assert called == {name}


def test_gradients_by_products_are_chosen_by_shapes(monkeypatch):
    def chosen(side=4, channels=8, features=8, size=4, batch=1, dtype='f4'):
        padded = side + 2, side + 2
        kernel = jnp.zeros((size, size, channels, features), dtype)
        return convolutions._suits_products(
            (batch, side, side, channels), padded, kernel
        )

    assert chosen() and not chosen(side=5)
    assert chosen(size=3, side=2) and not chosen(size=3)
    assert chosen(side=32, size=3, channels=3)
    assert not chosen(side=32, size=3, channels=5)
    assert not chosen(side=32, size=3, channels=3, features=4)
    assert not chosen(dtype='bfloat16')
    # 3 x 3 outputs, each with a share of 4 x 4 x 8 values.
    monkeypatch.setattr(convolutions, 'MOST_SHARES', 9 * 16 * 8)
    assert chosen() and not chosen(batch=2)
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    assert not chosen()


@pytest.mark.parametrize('convolve, pad', [
    (convolutions.conv_general_dilated, 'SAME'),
    (convolutions.reflected, 'VALID'),
])
@pytest.mark.parametrize('channels, features', [(64, 64), (8, 3), (3, 8)])
def test_a_batch_of_any_size_is_exported(convolve, pad, channels, features):
    batch, = jax.export.symbolic_shape('batch')
    x = jax.ShapeDtypeStruct((batch, 8, 8, channels), jnp.float32)
    kernel = jnp.zeros((3, 3, channels, features))
    y = jax.eval_shape(convolve_by(convolve, pad), x, kernel)
    assert y.shape == (batch, 8, 8, features)


def test_winograd_of_3x3_needs_channels_for_many_pixels():
    def chosen(pixels, channels):
        return convolutions._suits_valid(
            (pixels // 16, 4, 4), jnp.zeros((3, 3, channels, channels))
        )

    assert chosen(2**14, 64) and not chosen(2**14 + 16, 64)
    assert chosen(2**15, 128) and not chosen(2**15 + 16, 128)


@pytest.mark.integration
def test_bfloat16_is_kept():
    x, kernel, dy = (
        a.astype(jnp.bfloat16)
        for a in draw((4, 8, 8, 3), (4, 4, 3, 5), (4, 4, 4, 5))
    )
    value, back = jax.vjp(convolutions.strided, x, kernel)
    actual = {value.dtype, *(gradient.dtype for gradient in back(dy))}
    assert actual == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('on_cpu', [True, False])
def test_inner_strided_has_three_orders_of_xlas_gradients(
    on_cpu, monkeypatch
):
    x, kernel, weights = draw((2, 9, 7, 3), (3, 3, 3, 4), (2, 4, 3, 4))

    def xla(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (2, 2), 'VALID',
            dimension_numbers=convolutions.DIMENSIONS,
        )

    def orders(strided):
        def value(x, kernel):
            return jnp.sum(jnp.sin(strided(x, kernel)) * weights)

        def square(x, kernel):
            grads = jax.grad(value, (0, 1))(x, kernel)
            return sum(jnp.sum(jnp.square(grad)) for grad in grads)

        return jax.jit(lambda *a: (
            strided(*a), jax.grad(value, (0, 1))(*a),
            jax.grad(square, (0, 1))(*a),
        ))(x, kernel)

    expected = orders(xla)
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: on_cpu)
    close(orders(convolutions.inner_strided), expected)


@pytest.mark.parametrize('on_cpu', [True, False])
def test_inner_transposed_is_the_transpose(on_cpu, monkeypatch):
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: on_cpu)
    x, kernel, y = draw((2, 9, 7, 3), (3, 3, 3, 4), (2, 4, 3, 4))
    there = jnp.vdot(convolutions.inner_strided(x, kernel), y)
    back = jnp.vdot(x, convolutions.inner_transposed(y, kernel))
    np.testing.assert_allclose(there, back, rtol=1e-4)
