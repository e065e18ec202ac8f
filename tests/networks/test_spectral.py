"""Spectral normalisation against NumPy's singular values."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from gan_jax import networks
from gan_jax.networks import layers
from gan_jax.networks import mlp

LAYERS = {
    'dense': (nn.Dense(5, use_bias=False), (2, 7)),
    'conv': (nn.Conv(6, (3, 3), strides=2), (2, 8, 8, 3)),
    'conv_transpose': (layers.ConvTranspose(4, (4, 4)), (2, 3, 3, 5)),
}


class Kernel(nn.Module):
    """Return the kernel, so that a test sees what a layer would use."""

    shape: tuple = (3, 3, 2, 5)

    @nn.compact
    def __call__(self, x):
        del x
        return self.param('kernel', nn.initializers.normal(0.3), self.shape)


@functools.partial(jax.jit, static_argnums=0)
def init(module, inputs):
    return jax.jit(functools.partial(module.init, train=False))(
        jax.random.key(1), inputs
    )


def make(layer, shape=(1,)):
    module = layers.SpectralNorm(layer)
    inputs = jax.random.normal(jax.random.key(0), shape)
    return module, inputs, init(module, inputs)


def train(module, variables, inputs, times=1):
    """Run forward passes in training; return (last output, variables)."""
    @jax.jit
    def forward(variables):
        output, changed = module.apply(
            variables, inputs, train=True, mutable=['spectral']
        )
        return output, {**variables, **changed}

    for _ in range(times):
        output, variables = forward(variables)
    return output, variables


def matrix_of(variables):
    kernel = np.asarray(variables['params']['layer']['kernel'], np.float64)
    return kernel.reshape(-1, kernel.shape[-1])


def vectors_of(variables):
    pair = variables['spectral']['layer.kernel']
    return np.asarray(pair['u']), np.asarray(pair['v'])


def iterate(matrix, u):
    """One power iteration, as in the paper's algorithm 1."""
    v = matrix @ u
    v /= np.linalg.norm(v)
    u = matrix.T @ v
    return u / np.linalg.norm(u), v


@pytest.mark.parametrize('name', LAYERS)
def test_sigma_converges_to_the_largest_singular_value(name):
    module, inputs, variables = make(*LAYERS[name])
    output, variables = train(module, variables, inputs, 200)
    largest = np.linalg.svd(matrix_of(variables))[1][0]
    u, v = vectors_of(variables)
    np.testing.assert_allclose(v @ matrix_of(variables) @ u, largest, rtol=1e-4)
    params = dict(variables['params']['layer'])
    params['kernel'] = params['kernel'] / largest
    np.testing.assert_allclose(
        output, LAYERS[name][0].apply({'params': params}, inputs),
        rtol=1e-3, atol=1e-5,
    )


@pytest.mark.parametrize('shape', [(7, 5), (5, 7), (3, 3, 2, 5), (4, 4, 1, 1)])
def test_normalised_kernel_has_largest_singular_value_1(shape):
    module, inputs, variables = make(Kernel(shape))
    kernel, _ = train(module, variables, inputs, 200)
    assert kernel.shape == shape
    largest = np.linalg.svd(kernel.reshape(-1, shape[-1]))[1][0]
    np.testing.assert_allclose(largest, 1, rtol=1e-3)


def test_forward_in_training_is_one_power_iteration():
    module, inputs, variables = make(Kernel())
    matrix = matrix_of(variables)
    u, v = iterate(matrix, vectors_of(variables)[0])
    kernel, variables = train(module, variables, inputs)
    for actual, expected in zip(vectors_of(variables), (u, v)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        kernel.reshape(matrix.shape), matrix / (v @ matrix @ u), rtol=1e-5
    )
    # One, not two: the second is far from the first here.
    assert np.abs(iterate(matrix, u)[0] - u).max() > 1e-2


def test_initial_vectors_are_unit_and_v_follows_from_u():
    _, _, variables = make(Kernel())
    u, v = vectors_of(variables)
    np.testing.assert_allclose(np.linalg.norm(u), 1, rtol=1e-6)
    expected = matrix_of(variables) @ u
    np.testing.assert_allclose(
        v, expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize('name', LAYERS)
def test_evaluation_is_deterministic_and_keeps_the_vectors(name):
    module, inputs, variables = make(*LAYERS[name])
    _, variables = train(module, variables, inputs)
    first, changed = module.apply(
        variables, inputs, train=False, mutable=['spectral']
    )
    second = module.apply({**variables, **changed}, inputs, train=False)
    np.testing.assert_array_equal(first, second)
    chex.assert_trees_all_equal(changed['spectral'], variables['spectral'])


def test_evaluation_uses_the_stored_vectors():
    module, inputs, variables = make(Kernel())
    u, v = vectors_of(variables)
    matrix = matrix_of(variables)
    kernel = module.apply(variables, inputs, train=False)
    np.testing.assert_allclose(
        kernel.reshape(matrix.shape), matrix / (v @ matrix @ u), rtol=1e-5
    )


def test_forward_in_training_with_an_immutable_collection_stores_nothing():
    module, inputs, variables = make(Kernel())
    kernel = module.apply(variables, inputs, train=True)
    np.testing.assert_allclose(
        kernel, train(module, variables, inputs)[0], rtol=1e-6
    )


@pytest.mark.parametrize('training', [False, True])
def test_gradient_goes_through_the_kernel_and_not_the_vectors(training):
    # d <C, W / sigma> = <C, dW> / sigma - <C, W> v^T dW u / sigma^2.
    module, inputs, variables = make(Kernel())
    weights = np.random.RandomState(0).randn(3, 3, 2, 5)

    def value(params):
        kernel = module.apply(
            {**variables, 'params': params}, inputs, train=training
        )
        return jnp.sum(kernel * weights)

    grads = jax.grad(value)(variables['params'])['layer']['kernel']
    matrix, c = matrix_of(variables), weights.reshape(-1, 5)
    u, v = vectors_of(variables)
    if training:
        u, v = iterate(matrix, u)
    sigma = v @ matrix @ u
    expected = c / sigma - np.sum(c * matrix) / sigma**2 * np.outer(v, u)
    np.testing.assert_allclose(
        grads.reshape(-1, 5), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.integration
@pytest.mark.parametrize('name', LAYERS)
def test_gradients_agree_with_finite_differences(name):
    module, inputs, variables = make(*LAYERS[name])
    _, variables = train(module, variables, inputs, 3)

    def value(params, inputs):
        output = module.apply(
            {**variables, 'params': params}, inputs, train=False
        )
        return jnp.sum(jnp.tanh(output))

    check_grads(
        value, (variables['params'], inputs), order=2, modes=['rev'],
        rtol=0.02, atol=0.02,
    )


def test_linear_discriminator_has_r1_of_one_half():
    # D(x) = x W / sigma(W), and sigma of a column is its length: slope 1.
    module, inputs, variables = make(nn.Dense(1, use_bias=False), (3, 6))
    _, variables = train(module, variables, inputs)
    grads = jax.grad(
        lambda x: jnp.sum(module.apply(variables, x, train=True))
    )(inputs)
    penalty = 0.5 * np.mean(np.sum(np.square(grads), axis=1))
    np.testing.assert_allclose(penalty, 0.5, rtol=1e-6)


@pytest.mark.integration
def test_dense_discriminator_has_no_slope_above_1():
    module = mlp.Discriminator(width=6, spectral_norm=True)
    images = jax.random.normal(jax.random.key(0), (20, 4))
    variables = init(module, images)
    _, variables = train(module, variables, images, 200)
    grads = jax.grad(
        lambda x: module.apply(variables, x, train=False).logits.sum()
    )(images)
    slopes = np.linalg.norm(grads, axis=1)
    assert 0 < slopes.min() and slopes.max() <= 1 + 1e-3


def test_bfloat16_layer_keeps_vectors_and_sigma_in_float32():
    layer = nn.Dense(5, dtype=jnp.bfloat16)
    module, inputs, variables = make(layer, (2, 7))
    output, variables = train(module, variables, inputs)
    assert output.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
        jnp.dtype('float32')
    }
    u, v = vectors_of(variables)
    sigma = v @ matrix_of(variables) @ u
    params = dict(variables['params']['layer'])
    params['kernel'] = params['kernel'] / np.float32(sigma)
    np.testing.assert_allclose(
        output.astype(jnp.float32),
        layer.apply({'params': params}, inputs).astype(jnp.float32),
        rtol=2**-7,  # one step of bfloat16
    )


def test_zero_kernel_is_finite_and_can_recover():
    module, inputs, variables = make(Kernel())
    kernel = variables['params']['layer']['kernel']
    zeros = jax.tree.map(jnp.zeros_like, variables['params'])
    output, spent = train(module, {**variables, 'params': zeros}, inputs, 2)
    np.testing.assert_array_equal(output, 0)
    grads = jax.grad(lambda params: jnp.sum(module.apply(
        {**spent, 'params': params}, inputs, train=True
    )))(zeros)
    assert np.isfinite(grads['layer']['kernel']).all()
    params = {'layer': {'kernel': kernel}}
    output, _ = train(module, {**spent, 'params': params}, inputs, 200)
    np.testing.assert_allclose(
        np.linalg.svd(output.reshape(-1, 5))[1][0], 1, rtol=1e-3
    )


def players():
    """List the modules with spectral norm as (name, player)."""
    return [
        (name, player)
        for name, pair in networks.NETWORKS.items()
        for player in ('generator', 'discriminator')
        if hasattr(getattr(pair, player), 'spectral_norm')
    ]


def network(name, player, **fields):
    """Return a tiny module of the registry and inputs for it."""
    if player == 'generator':
        fields['image_shape'] = (16, 16, 1)
    shape = {'generator': (4, 6), 'discriminator': (4, 16, 16, 1)}[player]
    module = getattr(networks.NETWORKS[name], player)(width=2, **fields)
    return module, jax.random.normal(jax.random.key(0), shape)


def vector_pairs(tree):
    """List the {'u', 'v'} of a collection, also of nested modules."""
    if 'u' in tree:
        return [tree]
    return [pair for key in sorted(tree) for pair in vector_pairs(tree[key])]


@pytest.mark.integration
@pytest.mark.parametrize('name, player', players())
def test_networks_have_spectral_norm_on_every_kernel(name, player):
    plain, inputs = network(name, player)
    wrapped, _ = network(name, player, spectral_norm=True)
    without, variables = init(plain, inputs), init(wrapped, inputs)
    assert 'spectral' not in without
    chex.assert_trees_all_close(
        without['params'], variables['params'], rtol=1e-6
    )

    def sizes(kernel):
        return kernel.size // kernel.shape[-1], kernel.shape[-1]

    kernels = [
        sizes(leaf) for leaf in jax.tree.leaves(variables['params'])
        if leaf.ndim > 1
    ]
    assert sorted(kernels) == sorted(
        (pair['v'].size, pair['u'].size)
        for pair in vector_pairs(variables['spectral'])
    )


@pytest.mark.integration
@pytest.mark.parametrize('name, player', players())
def test_networks_pass_train_to_every_layer_with_spectral_norm(name, player):
    module, inputs = network(name, player, spectral_norm=True)
    variables = init(module, inputs)
    # The vectors of a kernel that starts at 0 would stay.
    params = jax.tree.map(lambda leaf: leaf + 0.1, variables['params'])
    for training in (False, True):
        _, changed = jax.jit(functools.partial(
            module.apply, train=training, mutable=['spectral', 'batch_stats']
        ))({**variables, 'params': params}, inputs)
        for before, after in zip(*(
            vector_pairs(tree['spectral']) for tree in (variables, changed)
        ), strict=True):
            moved = np.abs(after['u'] - before['u']).max() > 1e-6
            # A kernel of one feature has u = 1 or -1 from the start.
            assert moved == (training and before['u'].size > 1)
