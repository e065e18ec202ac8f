"""Minibatch features against loops."""

import jax
from jax.test_util import check_grads
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import minibatch
from gan_jax.networks import mlp


def draw(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


def make(x, features=4, dimensions=3, **fields):
    module = minibatch.MinibatchDiscrimination(features, dimensions, **fields)
    params = module.init(jax.random.key(1), x)['params']
    np.testing.assert_array_equal(params['bias'], 0)
    params['kernel'] = params['kernel'] * 5
    params['bias'] = jnp.arange(float(features))
    return module, {'params': params}


def nearness(x, params, features, dimensions):
    """Sum exp(-||M_ib - M_jb||_1) over j != i by loops."""
    kernel = np.asarray(params['kernel'], np.float64)
    kernel = kernel.reshape(-1, features, dimensions)
    total = np.zeros((len(x), features))
    for i, b in np.ndindex(total.shape):
        total[i, b] = params['bias'][b] + sum(
            np.exp(-np.abs((x[i] - x[j]) @ kernel[:, b]).sum())
            for j in range(len(x)) if j != i
        )
    return total


@pytest.mark.parametrize('num', [1, 2, 5])
def test_discrimination_is_its_closed_form(num):
    x = draw(num, 6)
    module, variables = make(x)
    y = jax.jit(module.apply)(variables, x)
    np.testing.assert_array_equal(y[:, :6], x)
    np.testing.assert_allclose(
        y[:, 6:], nearness(x, variables['params'], 4, 3), rtol=1e-4, atol=1e-6
    )


def test_equal_samples_count_each_other_but_not_themselves():
    x = np.repeat(draw(1, 6), 5, axis=0)
    module, variables = make(x)
    np.testing.assert_array_equal(
        module.apply(variables, x)[:, 6:] - np.arange(4.0), 4
    )


def test_discrimination_agrees_with_finite_differences():
    # The vectors are x's columns, and no two entries are near a kink of |.|.
    x = np.array([[0, 0.5], [1, 2], [0.3, -1]], np.float32)
    module = minibatch.MinibatchDiscrimination(features=2, dimensions=1)
    variables = {'params': {'kernel': jnp.eye(2), 'bias': jnp.ones(2)}}
    check_grads(
        jax.jit(module.apply), (variables, x), order=2, modes=['rev'],
        rtol=0.02, atol=0.02,
    )


@pytest.mark.parametrize('spectral_norm', [False, True])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_discrimination_has_the_authors_sizes_and_supports_spectral_norm(
    spectral_norm, dtype
):
    module = minibatch.MinibatchDiscrimination(dtype=dtype)
    assert (module.features, module.dimensions) == (100, 5)
    options = {}
    if spectral_norm:
        module, options = layers.SpectralNorm(module), {'train': True}
    y, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x, **options),
        jnp.zeros((3, 7)),
    )
    assert y.shape == (3, 107) and y.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
        jnp.dtype('float32')
    }
    (kernel,) = [p for p in jax.tree.leaves(variables['params']) if p.ndim > 1]
    assert kernel.shape == (7, 500)


def spread(x, size):
    """Average the deviations of groups i, i + N / G, ... by loops."""
    num = len(x)
    result = np.zeros(num)
    for i in range(num):
        group = [x[j] for j in range(num) if (j - i) % (num // size) == 0]
        assert len(group) == size
        result[i] = np.sqrt(np.var(group, axis=0) + 1e-8).mean()
    return result


@pytest.mark.parametrize('num, size', [
    (1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (10, 2),
    (12, 4),
])
@pytest.mark.parametrize('sides', [(), (2, 3)])
def test_stddev_is_its_closed_form(num, size, sides):
    x = draw(num, *sides, 5)
    y = jax.jit(minibatch.minibatch_stddev)(x)
    assert y.shape == (num, *sides, 6)
    np.testing.assert_array_equal(y[..., :5], x)
    expected = np.broadcast_to(
        spread(x.astype(np.float64), size).reshape(-1, *[1] * len(sides)),
        (num, *sides),
    )
    np.testing.assert_allclose(y[..., 5], expected, rtol=1e-5)


@pytest.mark.parametrize('group, size', [(1, 1), (2, 2), (5, 4), (6, 6)])
def test_stddev_uses_the_largest_group_that_divides_the_batch(group, size):
    x = draw(12, 2, 2, 3)
    np.testing.assert_allclose(
        minibatch.minibatch_stddev(x, group=group)[:, 0, 0, 3],
        spread(x.astype(np.float64), size), rtol=1e-5,
    )


def test_stddev_of_equal_samples_is_the_root_of_epsilon_with_gradient_0():
    x = np.repeat(draw(1, 2, 2, 3), 4, axis=0)

    def total(x):
        return minibatch.minibatch_stddev(x)[..., 3].sum()

    np.testing.assert_allclose(total(x) / 16, 1e-4, rtol=1e-4)
    # Samples differ from their mean by rounding, which the root magnifies.
    np.testing.assert_allclose(jax.grad(total)(x), 0, atol=2e-3)


def test_stddev_agrees_with_finite_differences():
    check_grads(
        minibatch.minibatch_stddev, (draw(4, 2, 2, 3),), order=2, modes=['rev'],
        rtol=0.02, atol=0.02,
    )


def test_stddev_keeps_bfloat16():
    x = jnp.asarray(draw(8, 2, 2, 3), jnp.bfloat16)
    y = minibatch.minibatch_stddev(x)
    assert y.dtype == jnp.bfloat16
    expected = spread(np.asarray(x, np.float64), 4)
    np.testing.assert_allclose(
        y[:, 0, 0, 3].astype(jnp.float32), expected, rtol=2**-8
    )


PLAYERS = {
    'dcgan': (dcgan.Discriminator(width=4, norm='none'), 'Dense_0'),
    'mlp': (mlp.Discriminator(width=6), 'Dense_2'),
}


@pytest.mark.integration
@pytest.mark.parametrize('name', PLAYERS)
def test_discrimination_is_between_the_features_and_the_logits(name):
    module, last = PLAYERS[name]
    images = draw(4, 8, 8, 2)
    output, variables = module.clone(minibatch_features=3).init_with_output(
        jax.random.key(1), images, train=False
    )
    params = variables['params']
    plain = module.init(jax.random.key(1), images, train=False)['params']
    before = module.apply(
        {'params': {**params, last: plain[last]}}, images, train=False
    ).features
    np.testing.assert_array_equal(output.features[:, :-3], before)
    np.testing.assert_allclose(
        output.features[:, -3:],
        nearness(
            np.asarray(before), params['MinibatchDiscrimination_0'], 3, 5
        ),
        rtol=1e-4, atol=1e-5,
    )
    dense = params[last]
    np.testing.assert_allclose(
        output.logits,
        (output.features @ dense['kernel'] + dense['bias'])[:, 0],
        rtol=1e-4, atol=1e-5,
    )


@pytest.mark.parametrize('name', PLAYERS)
def test_discrimination_has_the_spectral_norm_of_its_network(name):
    module, _ = PLAYERS[name]
    shapes = [
        jax.eval_shape(lambda: module.clone(**fields).init(
            jax.random.key(1), draw(4, 8, 8, 2), train=True
        )) for fields in (
            {'minibatch_features': 3},
            {'minibatch_features': 3, 'spectral_norm': True},
        )
    ]
    plain, wrapped = (jax.tree.map(jnp.shape, s['params']) for s in shapes)
    assert plain == wrapped
    kernels = [leaf for leaf in jax.tree.leaves(shapes[1]['params'])
               if leaf.ndim > 1]
    assert len(shapes[1]['spectral']) == len(kernels)


def test_stddev_is_appended_to_the_last_feature_map_of_dcgan():
    module, _ = PLAYERS['dcgan']
    images = draw(4, 8, 16, 2)
    output, variables = module.clone(minibatch_stddev=True).init_with_output(
        jax.random.key(1), images, train=False
    )
    plain = module.init(jax.random.key(1), images, train=False)['params']
    params = {**variables['params'], 'Dense_0': plain['Dense_0']}
    before = module.apply({'params': params}, images, train=False).features
    expected = minibatch.minibatch_stddev(before.reshape(4, 4, 8, 4))
    np.testing.assert_allclose(
        output.features, expected.reshape(4, -1), rtol=1e-6
    )
    assert output.features.shape == (4, 4 * 8 * 5)


@pytest.mark.integration
@pytest.mark.parametrize('fields', [
    {}, {'minibatch_stddev': True}, {'minibatch_features': 3},
], ids=str)
def test_samples_affect_each_other_only_through_minibatch_features(fields):
    module, _ = PLAYERS['dcgan']
    module = module.clone(**fields)
    images = draw(4, 8, 8, 2)
    variables = module.init(jax.random.key(1), images, train=False)

    def total(images):
        # Of the logits of all but the first.
        return module.apply(variables, images, train=True).logits[1:].sum()

    moved = np.abs(jax.grad(total)(images)[0]).max() > 0
    assert moved == bool(fields)
