"""Self-attention against loops over pixels."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import attention
from gan_jax.networks import dcgan


def make(shape=(2, 4, 6, 16), weight=0.0, **fields):
    """Return a module, an input and variables, drawn in NumPy."""
    module, random = attention.SelfAttention(**fields), np.random.RandomState(0)
    x = random.randn(*shape).astype(np.float32)
    shapes = jax.eval_shape(
        lambda x: module.init(jax.random.key(1), x, train=False), x
    )
    variables = jax.tree.map(
        lambda leaf: jnp.float32(0.3 * random.standard_normal(leaf.shape)),
        shapes,
    )
    variables['params']['weight'] = jnp.float32(weight)
    return module, x, variables


def apply(module, variables, x):
    return jax.jit(lambda *a: module.apply(*a, train=True))(variables, x)


def pooled(x):
    """Compute maxima of squares of 2 x 2, as a list of vectors by row."""
    height, width, _ = x.shape
    return [
        x[i:i + 2, j:j + 2].max((0, 1))
        for i in range(0, height, 2) for j in range(0, width, 2)
    ]


def golden(x, params):
    """Apply attention by loops, for one image x: [H, W, C]."""
    f, g, h, v = (
        np.asarray(params[name]['kernel'], np.float64) for name in 'fghv'
    )
    keys, values = pooled(x @ f), pooled(x @ h)
    y = np.array(x, np.float64)
    for place in np.ndindex(x.shape[:2]):
        query = x[place] @ g
        likeness = np.exp([key @ query for key in keys])
        mean = sum(
            weight * value
            for weight, value in zip(likeness / likeness.sum(), values)
        )
        y[place] += params['weight'] * (mean @ v)
    return y


@pytest.mark.parametrize('shape', [(2, 4, 6, 16), (2, 5, 3, 3)])
def test_attention_is_its_closed_form(shape):
    module, x, variables = make(shape, weight=0.7)
    y = apply(module, variables, x)
    x = np.asarray(x, np.float64)
    expected = [golden(image, variables['params']) for image in x]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected - x).max() > 0.1


def test_attention_is_the_identity_at_first():
    module, x, _ = make()
    y, variables = jax.jit(
        lambda x: module.init_with_output(jax.random.key(0), x, train=True)
    )(x)
    np.testing.assert_array_equal(y, x)
    assert np.abs(variables['params']['v']['kernel']).max() > 0


def test_attention_can_be_trained_away_from_the_identity():
    module, x, variables = make()
    grads = jax.grad(lambda params: jnp.sum(
        apply(module, {'params': params}, x) ** 2
    ))(variables['params'])
    assert np.abs(grads['weight']) > 0


def test_attention_has_the_channels_of_the_authors_code():
    _, _, variables = make((1, 4, 4, 32))
    kernels = {
        name: layer['kernel'].shape
        for name, layer in variables['params'].items() if name != 'weight'
    }
    assert kernels == {'f': (32, 4), 'g': (32, 4), 'h': (32, 16), 'v': (16, 32)}


def test_attention_has_spectral_norm_on_every_kernel():
    module, x, variables = make(weight=1.0, spectral_norm=True)
    assert len(variables['spectral']) == 4
    forward = jax.jit(lambda variables: module.apply(
        variables, x, train=True, mutable=['spectral']
    ))
    for _ in range(100):
        y, changed = forward(variables)
        variables = {**variables, **changed}
    params = {
        name: {'kernel': layer['kernel'] / np.linalg.norm(layer['kernel'], 2)}
        for name, layer in variables['params'].items() if name != 'weight'
    }
    plain = attention.SelfAttention()
    np.testing.assert_allclose(
        y,
        apply(plain, {'params': {**params, 'weight': jnp.float32(1)}}, x),
        rtol=1e-3, atol=1e-4,
    )


def test_attention_is_finite_for_large_scores_in_bfloat16():
    module, x, variables = make(weight=1.0, dtype=jnp.bfloat16)
    y = apply(module, variables, 100 * x)
    assert y.dtype == jnp.bfloat16 and np.isfinite(y.astype(jnp.float32)).all()


def test_second_order_is_finite_and_reaches_every_parameter():
    module, x, variables = make((2, 3, 4, 8), weight=0.5)

    def penalty(params):
        grads = jax.grad(lambda x: jnp.sum(jnp.sin(
            module.apply({'params': params}, x, train=True)
        )))(x)
        return jnp.sum(jnp.square(grads))

    grads = jax.jit(jax.grad(penalty))(variables['params'])
    for grads in jax.tree.leaves(grads):
        assert np.isfinite(grads).all() and np.abs(grads).max() > 0


def met(module, inputs):
    """List the shapes of the inputs of self-attention in a forward pass."""
    shapes = []

    def intercept(call, args, kwargs, context):
        if isinstance(context.module, attention.SelfAttention):
            shapes.append(args[0].shape[1:])
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        jax.eval_shape(lambda x: module.init(
            jax.random.key(0), x, train=True
        ), jnp.zeros(inputs))
    return shapes


@pytest.mark.parametrize('shape, side, g_map, d_map', [
    ((32, 32, 3), 16, (16, 16, 8), (16, 16, 8)),
    ((32, 32, 3), 4, (4, 4, 32), (4, 4, 32)),
    ((28, 28, 1), 7, (7, 7, 16), (7, 7, 16)),
    ((48, 80, 4), 12, (12, 20, 16), (12, 20, 16)),
])
def test_dcgan_has_attention_once_at_the_given_side(
    shape, side, g_map, d_map
):
    fields = {'width': 8, 'attention': side}
    assert met(dcgan.Generator(image_shape=shape, **fields), (1, 5)) == [g_map]
    assert met(dcgan.Discriminator(**fields), (1, *shape)) == [d_map]


@pytest.mark.parametrize('module, inputs', [
    (dcgan.Generator(image_shape=(8, 8, 1), width=2), (3, 5)),
    (dcgan.Discriminator(width=2), (3, 8, 8, 1)),
])
def test_attention_of_dcgan_changes_nothing_at_first(module, inputs):
    x = jax.random.normal(jax.random.key(0), inputs)
    before, plain = module.init_with_output(jax.random.key(1), x, train=True)
    after, variables = module.clone(attention=4).init_with_output(
        jax.random.key(1), x, train=True
    )
    added = set(variables['params']) - set(plain['params'])
    assert added == {'SelfAttention_0'}
    chex.assert_trees_all_equal(before, after)


@pytest.mark.parametrize('module, inputs, sides', [
    (dcgan.Generator(image_shape=(32, 32, 3), attention=32), (1, 5),
     r'\[4, 8, 16\]'),
    (dcgan.Discriminator(attention=8), (1, 28, 28, 1), r'\[7, 14\]'),
])
def test_unknown_side_of_attention_is_rejected_with_the_sides(
    module, inputs, sides
):
    player = type(module).__name__
    line = f'attention={module.attention} of the {player} .*{sides}'
    with pytest.raises(ValueError, match=line) as raised:
        met(module, inputs)
    assert '\n' not in str(raised.value)
