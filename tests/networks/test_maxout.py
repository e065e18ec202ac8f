"""Maxout by hand, in the mlp and its autoencoder, with norms and dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import D, G
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax import networks
from gan_jax.networks import activations
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.training import train

PLAYERS = [
    ('mlp', 'generator'), ('mlp', 'discriminator'),
    ('mlp_autoencoder', 'discriminator'),
]
LABELS = np.array([0, 2, 1, 2], np.int32)


def draw(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


def make(name, player, **fields):
    """Return a module of width 3 with 4 pieces, and four samples for it."""
    if player == 'generator':
        fields['image_shape'] = (2,)
    fields = {'width': 3, 'maxout': 4, **fields}
    return getattr(networks.NETWORKS[name], player)(**fields), draw(4, 5)


def init(module, inputs):
    """Draw all variables from N(0, 1), without compiling anything."""
    shapes = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(1), inputs
    )
    random = np.random.RandomState(1)
    return jax.tree.map(
        lambda leaf: random.randn(*leaf.shape).astype(np.float32), shapes
    )


def value(output):
    """Return images of a generator, logits of a discriminator."""
    return getattr(output, 'logits', output)


def dense(params, number, x):
    layer = params[f'Dense_{number}']
    return np.asarray(x @ layer['kernel'] + layer['bias'])


def largest(x, pieces=4):
    """Compute maxima of groups of neighbours by loops."""
    return np.array([
        [max(row[i:i + pieces]) for i in range(0, len(row), pieces)]
        for row in x
    ])


@pytest.mark.parametrize('shape', [(2, 6), (2, 3, 5, 6)])
@pytest.mark.parametrize('pieces', [2, 3])
def test_maxout_is_the_maximum_of_neighbours(shape, pieces):
    x = draw(*shape)
    y = jax.jit(activations.maxout, static_argnums=1)(x, pieces)
    assert y.shape == (*shape[:-1], 6 // pieces)
    for index in np.ndindex(y.shape):
        *place, i = index
        piece = [x[(*place, pieces * i + j)] for j in range(pieces)]
        assert y[index] == max(piece)


def test_units_are_maxima_of_linear_functions():
    module, x = make('mlp', 'discriminator')
    params = init(module, x)['params']
    assert {k: v['kernel'].shape for k, v in params.items()} == {
        'Dense_0': (5, 12), 'Dense_1': (3, 12), 'Dense_2': (3, 1),
    }
    hidden = largest(dense(params, 1, largest(dense(params, 0, x))))
    output = module.apply({'params': params}, x, train=False)
    np.testing.assert_allclose(output.features, hidden, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        output.logits, dense(params, 2, hidden)[:, 0], rtol=1e-5, atol=1e-5
    )


def test_generator_has_maxout_before_its_last_layer():
    module, z = make('mlp', 'generator', depth=1)
    variables = init(module, z)
    params = variables['params']
    np.testing.assert_allclose(
        module.apply(variables, z, train=False),
        dense(params, 1, largest(dense(params, 0, z))), rtol=1e-5, atol=1e-5,
    )


def test_autoencoder_has_maxout_on_both_sides_of_its_linear_code():
    module, x = make('mlp_autoencoder', 'discriminator', depth=1, code_size=2)
    variables = init(module, x)
    params = variables['params']
    output = module.apply(variables, x, train=False)
    code = dense(params, 1, largest(dense(params, 0, x)))
    back = dense(params, 3, largest(dense(params, 2, code)))
    np.testing.assert_allclose(output.features, code, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        output.logits, np.linalg.norm(x - back, axis=1), rtol=1e-5
    )


def test_pacgans_discriminator_of_pairs_on_the_ring_has_its_parameters():
    config = defaults.default_config()
    config.data.name = 'ring'
    config.packing = 2
    for player in (config.generator, config.discriminator):
        player.name, player.norm = 'mlp', 'none'
    config.discriminator.width, config.discriminator.depth = 200, 3
    config.discriminator.maxout = 5
    validation.validate(config)
    state = helpers.abstract_state(config, (2,))
    # 4 x 1000 + 1000 of a pair's numbers; 200 x 1000 + 1000 twice; 200 + 1.
    leaves = jax.tree.leaves(state.players[D].params)
    assert sum(leaf.size for leaf in leaves) == 407_201


def test_gradient_goes_only_to_the_largest_piece():
    module, x = make('mlp', 'discriminator', depth=1)
    params = init(module, x)['params']
    x = x[:1]
    grads = jax.grad(lambda params: module.apply(
        {'params': params}, x, train=False
    ).logits.sum())(params)
    winner = dense(params, 0, x).reshape(3, 4).argmax(1)
    chosen = np.arange(4) == winner[:, None]
    # d logit / d b_ij is v_i for the piece that wins, and x times that for W.
    expected = chosen * params['Dense_1']['kernel']
    np.testing.assert_allclose(
        grads['Dense_0']['bias'].reshape(3, 4), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        grads['Dense_0']['kernel'], x.T * expected.reshape(1, 12), rtol=1e-6
    )


def test_equal_maxima_share_the_gradient():
    x = jnp.array([[2.0, 1.0, 2.0, 0.0, 0.0, 0.0]])
    grads = jax.grad(lambda x: activations.maxout(x, 3).sum())(x)
    np.testing.assert_allclose(
        grads, [[1 / 2, 0, 1 / 2, 1 / 3, 1 / 3, 1 / 3]], rtol=1e-6
    )


@pytest.mark.parametrize('kind', layers.NORMS)
def test_norm_is_applied_to_every_piece_before_the_maximum(kind):
    module, z = make('mlp', 'generator', depth=1, norm=kind)
    variables = init(module, z)
    params = variables['params']
    mutable = ['batch_stats']
    images, _ = module.apply(variables, z, train=True, mutable=mutable)
    pieces, _ = layers.Norm(kind).apply(
        {'params': params.get('Norm_0', {})}, dense(params, 0, z), train=True,
        mutable=mutable,
    )
    assert pieces.shape == (4, 12)
    np.testing.assert_allclose(
        images, dense(params, 1, largest(np.asarray(pieces))), rtol=1e-4,
        atol=1e-4,
    )


def test_batch_norm_of_pieces_is_its_closed_form():
    module, z = make('mlp', 'generator', depth=1, norm='batch')
    variables = init(module, z)
    params = variables['params']
    x = dense(params, 0, z)
    norm = params['Norm_0']['BatchNorm_0']
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    images, _ = module.apply(variables, z, train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(
        images, dense(params, 1, largest(x * norm['scale'] + norm['bias'])),
        rtol=1e-4, atol=1e-4,
    )


def test_conditional_norm_has_a_scale_for_each_class_and_piece():
    module, z = make(
        'mlp', 'generator', norm='batch', condition='batch_norm', num_classes=3
    )
    params = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(1), z,
        LABELS,
    )['params']
    assert params['ConditionalBatchNorm_1']['scale'].shape == (3, 12)


@pytest.mark.parametrize('name, player', PLAYERS)
def test_dropout_drops_whole_units(name, player, monkeypatch):
    shapes = []

    def note(x, rate, keys, number, *, train):
        assert rate == 0.5 and train
        shapes.append(x.shape)
        return x

    monkeypatch.setattr(activations, 'dropout', note)
    module, x = make(name, player, dropout=0.5)
    jax.eval_shape(
        functools.partial(module.init, train=True), jax.random.key(0), x
    )
    parts = 2 if 'autoencoder' in name else 1
    assert shapes == [(4, 3)] * 2 * parts


@pytest.mark.parametrize('name, player', PLAYERS)
def test_maxout_replaces_the_activation(name, player):
    module, x = make(name, player)
    variables = init(module, x)
    plain, bent = (
        value(m.apply(variables, x, train=False))
        for m in (module, module.clone(negative_slope=0.7, prelu=True))
    )
    np.testing.assert_array_equal(plain, bent)


@pytest.mark.parametrize('name, player', PLAYERS)
def test_maxout_networks_return_float32(name, player):
    module, x = make(
        name, player, dtype=jnp.bfloat16, spectral_norm=True, norm='batch',
        condition='concat', num_classes=3,
    )
    output, variables = jax.eval_shape(
        functools.partial(module.init_with_output, train=True),
        jax.random.key(1), x, LABELS,
    )
    outside = [variables, value(output)]
    assert {leaf.dtype for leaf in jax.tree.leaves(outside)} == {
        jnp.dtype('float32')
    }


@pytest.mark.integration
def test_spectral_norm_of_the_one_kernel_bounds_the_slope():
    # ||max_j a_j - max_j b_j|| <= ||a - b|| over all pieces of all units.
    module = mlp.Discriminator(width=6, maxout=3, spectral_norm=True)
    x = jax.random.normal(jax.random.key(0), (20, 4))
    variables = module.init(jax.random.key(1), x, train=False)
    pair, = variables['spectral']['SpectralNorm_0'].values()
    assert pair['v'].shape == (4,) and pair['u'].shape == (18,)

    @jax.jit
    def forward(stats):
        return module.apply(
            {**variables, **stats}, x, train=True, mutable=['spectral']
        )[1]

    stats = {'spectral': variables['spectral']}
    for _ in range(200):
        stats = forward(stats)
    grads = jax.grad(lambda x: module.apply(
        {**variables, **stats}, x, train=False
    ).logits.sum())(x)
    slopes = np.linalg.norm(grads, axis=1)
    assert 0 < slopes.min() and slopes.max() <= 1 + 1e-3


@pytest.mark.parametrize('pieces', [1, -2])
def test_invalid_numbers_of_pieces_are_rejected(pieces):
    with pytest.raises(ValueError, match=f'maxout={pieces} is not 0'):
        activations.maxout(draw(2, 4), pieces)


@pytest.mark.integration
@pytest.mark.parametrize('loss', ['non_saturating', 'energy_based'])
def test_maxout_trains_both_players(loss, tmp_path):
    config = helpers.tiny_mlp()
    config.loss.name = loss
    config.data.name = 'ring'
    config.generator.maxout = config.discriminator.maxout = 3
    config.sample_every = 0
    run = train.train(config, tmp_path)
    assert int(run.state.step) == 4
    for player in (run.state.players[G], run.state.players[D]):
        assert player.params['Dense_0']['kernel'].shape[1] == 12
    assert np.isfinite(run.sample(range(8))).all()
