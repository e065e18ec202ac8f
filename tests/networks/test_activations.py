"""Activation functions and dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import test_conditioning as players
from gan_jax import networks
from gan_jax.networks import activations

WITH_SLOPE = [  # a resnet always has ReLU
    pair for pair in players.PLAYERS if pair[0] != 'resnet'
]


def test_dropout_depends_only_on_the_key_of_the_sample():
    x = np.random.RandomState(0).randn(3, 4, 5).astype(np.float32)
    keys = players.sample_keys(3)
    y = activations.dropout(x, 0.25, keys, 7, train=True)
    for row, key, dropped in zip(x, keys, y):
        keep = jax.random.bernoulli(jax.random.fold_in(key, 7), 0.75, (4, 5))
        np.testing.assert_allclose(
            dropped, np.where(keep, row / 0.75, 0), rtol=1e-6
        )


def test_dropout_keeps_the_mean_and_drops_the_given_share():
    rate = 0.3
    x = jnp.ones((40, 1000), jnp.bfloat16)
    y = activations.dropout(x, rate, players.sample_keys(40), 0, train=True)
    assert y.dtype == jnp.bfloat16
    # The share of 40,000 units has a standard deviation of 0.0023.
    np.testing.assert_allclose(np.mean(y == 0), rate, atol=0.01)
    np.testing.assert_allclose(np.asarray(y, np.float64).mean(), 1, atol=0.02)


def test_dropout_masks_differ_between_keys_and_layers():
    x = jnp.ones((2, 200))
    keys = players.sample_keys(1)[jnp.array([0, 0])]
    first = activations.dropout(x, 0.5, keys, 0, train=True)
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(
        first, activations.dropout(x, 0.5, keys, 0, train=True)
    )
    for other in (
        activations.dropout(x, 0.5, keys, 1, train=True),
        activations.dropout(x, 0.5, players.sample_keys(2, 6), 0, train=True),
    ):
        assert 0.3 < np.mean(first != other) < 0.7


@pytest.mark.parametrize('name, player', WITH_SLOPE)
def test_dropout_of_a_network_follows_the_sample(name, player):
    module, inputs = players.make(name, player, dropout=0.5)
    variables, keys = players.init(module, inputs), players.sample_keys(4)
    forward = functools.partial(players.apply, module, variables, labels=None)
    y = players.value(forward(inputs, train=True, keys=keys))
    order = np.array([2, 0, 3, 1])
    moved = players.value(forward(inputs[order], train=True, keys=keys[order]))
    np.testing.assert_allclose(moved, y[order], rtol=1e-5, atol=1e-6)
    others = players.sample_keys(4, 6)
    other = players.value(forward(inputs, train=True, keys=others))
    assert np.abs(other - y).max() > 1e-4


@pytest.mark.parametrize('name, player', WITH_SLOPE)
def test_dropout_is_off_in_evaluation(name, player):
    module, inputs = players.make(name, player, dropout=0.5)
    plain, _ = players.make(name, player)
    variables = players.init(module, inputs)
    assert players.operations(
        module, variables, inputs, train=False, keys=players.sample_keys(4)
    ) == players.operations(plain, variables, inputs, train=False)


@pytest.mark.parametrize('keys', [None, players.sample_keys(1)])
def test_dropout_in_training_needs_one_key_per_sample(keys):
    module, inputs = players.make('mlp', 'discriminator', dropout=0.5)
    with pytest.raises(ValueError, match='dropout=0.5 in training needs keys'):
        module.init(jax.random.key(0), inputs, train=True, keys=keys)


def num_hidden(name, player):
    """Count the hidden layers of the modules of `players.make`."""
    if name == 'tiny':
        return {'generator': 4, 'discriminator': 3}[player]
    hidden = {'dcgan': 1, 'mlp': 2}[name.removesuffix('_autoencoder')]
    return 2 * hidden if 'autoencoder' in name else hidden


@pytest.mark.parametrize('name, player', WITH_SLOPE)
def test_every_hidden_layer_has_a_mask_of_its_own(name, player, monkeypatch):
    numbers = []

    def count(x, rate, keys, number, *, train):
        assert rate == 0.5 and train and keys is not None
        numbers.append(number)
        return x

    monkeypatch.setattr(activations, 'dropout', count)
    module, inputs = players.make(name, player, dropout=0.5)
    jax.eval_shape(lambda: module.init(
        jax.random.key(0), inputs, train=True, keys=players.sample_keys(4)
    ))
    assert sorted(numbers) == list(range(num_hidden(name, player)))


def test_prelu_is_its_closed_form_with_a_slope_for_each_channel():
    x = np.random.RandomState(0).randn(4, 3, 2).astype(np.float32)
    module = activations.PReLU()
    variables = module.init(jax.random.key(0), x)
    np.testing.assert_array_equal(variables['params']['slope'], [0.25, 0.25])
    slope = np.array([0.5, -2], np.float32)
    y, vjp = jax.vjp(
        lambda slope: module.apply({'params': {'slope': slope}}, x), slope
    )
    np.testing.assert_allclose(
        y, np.maximum(x, 0) + slope * np.minimum(x, 0), rtol=1e-6
    )
    np.testing.assert_allclose(
        vjp(jnp.ones_like(y))[0], np.minimum(x, 0).sum((0, 1)), rtol=1e-5
    )


@pytest.mark.parametrize('negative_slope', [0.0, 0.2, 0.7])
@pytest.mark.parametrize('player', ['generator', 'discriminator'])
def test_negative_slope_is_the_slope_below_0(player, negative_slope):
    x = np.random.RandomState(0).randn(4, 3).astype(np.float32)
    fields = {'width': 6, 'depth': 1, 'negative_slope': negative_slope}
    if player == 'generator':
        fields['image_shape'] = (2,)
    module = getattr(networks.NETWORKS['mlp'], player)(**fields)
    variables = players.init(module, x)
    first, second = (variables['params'][f'Dense_{n}'] for n in (0, 1))
    hidden = np.asarray(x @ first['kernel'] + first['bias'])
    hidden = np.where(hidden > 0, hidden, negative_slope * hidden)
    expected = hidden @ second['kernel'] + second['bias']
    actual = players.apply(module, variables, x)
    if player == 'discriminator':
        actual = players.value(actual).reshape(expected.shape)
    np.testing.assert_allclose(
        actual, expected, rtol=1e-4, atol=1e-5,
    )


@pytest.mark.parametrize('name, player', WITH_SLOPE)
def test_prelu_is_in_every_hidden_layer(name, player):
    module, inputs = players.make(name, player, prelu=True)
    plain, _ = players.make(name, player)
    params, before = (
        players.shapes(m, inputs)['params'] for m in (module, plain)
    )
    assert set(params) - set(before) == {
        f'PReLU_{n}' for n in range(num_hidden(name, player))
    }
    assert all(params[key] == before[key] for key in before)


def test_prelu_and_dropout_have_a_finite_second_order():
    module, images = players.make(
        'mlp_autoencoder', 'discriminator', 'concat', prelu=True, dropout=0.5
    )
    variables, keys = players.init(module, images), players.sample_keys(4)

    @jax.jit
    @jax.grad
    def penalty(params):
        slopes = jax.grad(lambda images: module.apply(
            {**variables, 'params': params}, images, players.LABELS, train=True,
            keys=keys,
        ).logits.sum())(images)
        return jnp.sum(jnp.square(slopes))

    grads = penalty(variables['params'])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    assert np.abs(grads['PReLU_0']['slope']).max() > 0
