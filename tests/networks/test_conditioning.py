"""Class conditions of networks, by hand; off by default."""

import functools
import re

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import networks
from gan_jax.networks import conditioning
from gan_jax.networks import convolutions
from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import mlp

NAMES = [
    'dcgan', 'dcgan_autoencoder', 'mlp', 'mlp_autoencoder', 'resnet', 'tiny'
]
CLASSES = 3
LABELS = np.array([0, 2, 1, 2], np.int32)


def conditions_of(name, player):
    """Return the conditions that a network supports."""
    if player == 'generator':
        return conditioning.GENERATOR_CONDITIONS
    if 'autoencoder' in name:
        return conditioning.AUTOENCODER_CONDITIONS
    return conditioning.DISCRIMINATOR_CONDITIONS


PLAYERS = [
    (name, player)
    for name in NAMES for player in ('generator', 'discriminator')
    if getattr(networks.NETWORKS[name], player) is not None
]
ALL = [
    (*pair, condition) for pair in PLAYERS for condition in conditions_of(*pair)
]
LABELLED = [row for row in ALL if row[2] in conditioning.NEED_LABELS]
WITH_SLOPE = [pair for pair in PLAYERS if pair[0] != 'resnet']


def make(name, player, condition='none', **fields):
    """Return a tiny module and four samples for it."""
    fields.setdefault(
        'norm', 'batch' if condition == 'batch_norm' else 'none'
    )
    if player == 'generator':
        fields['image_shape'] = (8, 8, 1)
    shape = {'generator': (4, 5), 'discriminator': (4, 8, 8, 1)}[player]
    module = getattr(networks.NETWORKS[name], player)(
        width=2, condition=condition, num_classes=CLASSES, **fields
    )
    return module, jax.random.normal(jax.random.key(0), shape)


def init(module, inputs, labels=LABELS):
    """Return `fill` of the variables of a module."""
    return fill(shapes(module, inputs, labels))


def fill(variables):
    """Draw all parameters from N(0, 1/4), so that no scale is 1, no bias 0.

    Other collections are the same for all modules. Nothing is compiled.

    Args:
        variables: arrays or their shapes.
    """
    random = np.random.RandomState(1)
    values = {
        'params': lambda leaf: random.randn(*leaf.shape) / 2,
        'batch_stats': lambda leaf: np.ones(leaf.shape),
        'spectral': lambda leaf: np.full(leaf.shape, leaf.size**-0.5),
    }
    return {
        name: jax.tree.map(lambda x: np.float32(values[name](x)), tree)
        for name, tree in variables.items()
    }


def check_r1(module, images):
    """Check that R1's gradients are finite and reach every kernel."""
    variables = init(module, images, None)
    params = variables.pop('params')

    @jax.jit
    @jax.grad
    def penalty(params):
        slopes = jax.grad(lambda images: module.apply(
            {'params': params, **variables}, images, train=True
        ).logits.sum())(images)
        return 0.5 * jnp.sum(jnp.square(slopes)) / len(images)

    for grads in jax.tree.leaves(penalty(params)):
        assert np.isfinite(grads).all()
        assert grads.ndim < 2 or np.abs(grads).max() > 0


def shapes(module, inputs, labels=LABELS):
    """Return the shapes of the variables."""
    return dict(jax.eval_shape(
        functools.partial(module.init, train=False),
        jax.random.key(1), inputs, labels,
    ))


def operations(module, variables, *arguments, **options):
    """Return the computation of a module as text."""
    collections = list(set(variables) - {'params'})
    jaxpr = jax.make_jaxpr(lambda variables: module.apply(
        variables, *arguments, mutable=collections, **options
    ))(variables)
    return re.sub('0x[0-9a-f]+', '', str(jaxpr))


@functools.partial(jax.jit, static_argnums=0, static_argnames='train')
def apply(module, variables, inputs, labels=LABELS, *, train=False, keys=None):
    """Return only the output; new statistics are discarded."""
    return module.apply(
        variables, inputs, labels, train=train, keys=keys,
        mutable=['batch_stats', 'spectral'],
    )[0]


def sample_keys(count, seed=5):
    return jax.random.split(jax.random.key(seed), count)


def value(output):
    """Return images of a generator, logits of a discriminator."""
    return np.asarray(getattr(output, 'logits', output))


class FormerDCGANGenerator(nn.Module):
    """A plain network, without conditions and dropout: 8x8x1, width 2."""

    @nn.compact
    def __call__(self, z, *, train):
        x = nn.Dense(32, use_bias=False, kernel_init=layers.dcgan_init)(z)
        x = x.reshape(-1, 4, 4, 2)
        x = layers.Norm('batch')(x, train=train)
        x = nn.relu(x)
        x = layers.ConvTranspose(1, (4, 4))(x)
        return jnp.tanh(x.astype(jnp.float32))


class FormerDCGANDiscriminator(nn.Module):
    """A plain network, without conditions and dropout: 16x16x1, width 2."""

    @nn.compact
    def __call__(self, images, *, train):
        conv = functools.partial(
            nn.Conv, kernel_size=(4, 4), strides=2,
            kernel_init=layers.dcgan_init,
            conv_general_dilated=convolutions.conv_general_dilated,
        )
        x = conv(2)(images)
        x = nn.leaky_relu(x, 0.2)
        x = conv(4, use_bias=False)(x)
        x = layers.Norm('batch')(x, train=train)
        x = nn.leaky_relu(x, 0.2)
        x = x.reshape(x.shape[0], -1)
        logits = nn.Dense(1, kernel_init=layers.dcgan_init)(x)
        return layers.Output(logits[:, 0].astype(jnp.float32), x)


def narrow_dense(features):
    return nn.Dense(features, **layers.dense_options(4, features))


class FormerMLPGenerator(nn.Module):
    """A plain network of points, without conditions and dropout."""

    @nn.compact
    def __call__(self, z, *, train):
        x = narrow_dense(4)(z)
        x = nn.relu(layers.Norm('batch')(x, train=train))
        return narrow_dense(2)(x).reshape(-1, 2)


class FormerMLPDiscriminator(nn.Module):
    """A plain network of points, without conditions and dropout."""

    @nn.compact
    def __call__(self, points, *, train):
        x = nn.leaky_relu(narrow_dense(4)(points), 0.2)
        x = layers.Norm('batch')(narrow_dense(4)(x), train=train)
        x = nn.leaky_relu(x, 0.2)
        return layers.Output(nn.Dense(1)(x)[:, 0], x)


BATCH_NORM = {'Norm_0/BatchNorm_0/bias', 'Norm_0/BatchNorm_0/scale'}
FORMER = {
    'dcgan generator': (
        FormerDCGANGenerator(),
        dcgan.Generator(image_shape=(8, 8, 1), width=2), (4, 5),
        BATCH_NORM | {
            'Dense_0/kernel', 'ConvTranspose_0/kernel', 'ConvTranspose_0/bias',
        },
    ),
    'dcgan discriminator': (
        FormerDCGANDiscriminator(), dcgan.Discriminator(width=2),
        (4, 16, 16, 1),
        BATCH_NORM | {
            'Conv_0/kernel', 'Conv_0/bias', 'Conv_1/kernel', 'Dense_0/kernel',
            'Dense_0/bias',
        },
    ),
    'mlp generator': (
        FormerMLPGenerator(),
        mlp.Generator(image_shape=(2,), width=4, depth=1, norm='batch'), (4, 5),
        BATCH_NORM | {
            f'Dense_{n}/{leaf}' for n in (0, 1) for leaf in ('kernel', 'bias')
        },
    ),
    'mlp discriminator': (
        FormerMLPDiscriminator(), mlp.Discriminator(width=4, norm='batch'),
        (4, 2),
        BATCH_NORM | {
            f'Dense_{n}/{leaf}'
            for n in (0, 1, 2) for leaf in ('kernel', 'bias')
        },
    ),
}


@pytest.mark.parametrize('name', FORMER)
def test_defaults_have_the_parameters_and_operations_of_plain_networks(name):
    former, module, shape, names = FORMER[name]
    inputs = jax.random.normal(jax.random.key(0), shape)
    before, now = (
        jax.jit(functools.partial(m.init, train=False))(
            jax.random.key(1), inputs
        )
        for m in (former, module)
    )
    chex.assert_trees_all_equal(before, now)
    assert names == {
        jax.tree_util.keystr(path, simple=True, separator='/')
        for path, _ in jax.tree_util.tree_leaves_with_path(now['params'])
    }
    for train in (False, True):
        assert operations(
            former, before, inputs, train=train
        ) == operations(module, before, inputs, train=train)


@pytest.mark.parametrize('name, player', PLAYERS)
def test_labels_and_keys_change_nothing_without_a_condition(name, player):
    module, inputs = make(name, player, norm='batch')
    variables = init(module, inputs)
    assert operations(module, variables, inputs, train=True) == operations(
        module, variables, inputs, LABELS, train=True, keys=sample_keys(4)
    )


@pytest.mark.parametrize('name, player, condition', ALL)
def test_every_condition_runs_and_returns_float32(
    name, player, condition
):
    fields = {'spectral_norm': True, 'dtype': jnp.bfloat16}
    if (name, player) in WITH_SLOPE:
        fields.update(prelu=True, dropout=0.1)
    module, inputs = make(name, player, condition, **fields)
    keys = sample_keys(4)
    output, variables = jax.eval_shape(lambda: module.init_with_output(
        jax.random.key(1), inputs, LABELS, train=True, keys=keys
    ))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
        jnp.dtype('float32')
    }
    if player == 'generator':
        assert output.shape == (4, 8, 8, 1) and output.dtype == jnp.float32
        return
    assert output.logits.shape == (4,)
    assert output.logits.dtype == jnp.float32
    assert output.features.dtype == jnp.bfloat16
    if condition == 'auxiliary':
        assert output.class_logits.shape == (4, CLASSES)
        assert output.class_logits.dtype == jnp.float32
    else:
        assert output.class_logits is None


@pytest.mark.parametrize('name, player, condition', LABELLED)
def test_a_label_affects_only_its_sample_and_an_invalid_one_is_nan(
    name, player, condition
):
    module, inputs = make(name, player, condition)
    if 'autoencoder' in name:
        module = module.clone(energy='mean_square')
    variables = init(module, inputs)
    before = value(apply(module, variables, inputs))
    after = value(apply(module, variables, inputs, LABELS + [0, 0, 1, CLASSES]))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.abs(before[2] - after[2]).max() > 1e-4
    assert np.isnan(after[3]).all()


def test_concat_is_a_dense_layer_on_z_and_the_embedding():
    z = np.random.RandomState(0).randn(4, 5).astype(np.float32)
    module = mlp.Generator(
        image_shape=(2,), depth=0, num_classes=CLASSES, condition='concat'
    )
    variables = init(module, z)
    params = variables['params']
    rows = np.asarray(params['Embed_0']['embedding'])[LABELS]
    assert rows.shape == (4, CLASSES)
    dense = params['Dense_0']
    np.testing.assert_allclose(
        apply(module, variables, z),
        np.concatenate([z, rows], 1) @ dense['kernel'] + dense['bias'],
        rtol=1e-5, atol=1e-6,
    )


def test_concat_of_many_classes_has_a_short_embedding():
    module = mlp.Generator(
        image_shape=(2,), num_classes=1000, condition='concat'
    )
    params = shapes(module, jnp.zeros((4, 5)))['params']
    assert params['Embed_0']['embedding'].shape == (1000, 128)


@pytest.mark.parametrize('name', ['dcgan', 'resnet'])
def test_convolutions_get_the_label_as_an_additional_channel(name):
    # Under spectral norm, which leaves the maps as they are.
    module, images = make(name, 'discriminator', 'concat', spectral_norm=True)
    variables = init(module, images)
    params = dict(variables['params'])
    maps = np.asarray(params.pop('Embed_0')['embedding'])
    assert maps.shape == (CLASSES, 64)
    plain, _ = make(name, 'discriminator', spectral_norm=True)
    np.testing.assert_allclose(
        apply(module, variables, images).logits,
        apply(
            plain, {**variables, 'params': params},
            np.concatenate([images, maps[LABELS].reshape(4, 8, 8, 1)], 3),
        ).logits,
        rtol=1e-5,
    )


@pytest.mark.parametrize('name, spectral_norm', [
    ('dcgan', False), ('mlp', False), ('mlp', True), ('resnet', False),
])
def test_projection_adds_the_inner_product(name, spectral_norm):
    module, images = make(
        name, 'discriminator', 'projection', spectral_norm=spectral_norm
    )
    variables = init(module, images)
    params = dict(variables['params'])
    embedding = np.asarray(params.pop('Embed_0')['embedding'], np.float64)
    stats = {k: dict(v) for k, v in variables.items() if k != 'params'}
    if spectral_norm:  # the embedding was wrapped last
        last = sorted(stats['spectral'])[-1]
        pair = stats['spectral'].pop(last)['Embed_0.embedding']
        sigma = pair['v'] @ embedding @ pair['u']
        assert sigma > 0.1
        embedding /= sigma
    plain, _ = make(name, 'discriminator', spectral_norm=spectral_norm)
    before = apply(plain, {**stats, 'params': params}, images)
    after = apply(module, variables, images)
    np.testing.assert_array_equal(before.features, after.features)
    np.testing.assert_allclose(
        after.logits - before.logits,
        np.sum(embedding[LABELS] * np.asarray(after.features), axis=1),
        rtol=1e-4, atol=1e-5,
    )


@pytest.mark.parametrize('name', ['dcgan', 'mlp_autoencoder', 'resnet'])
def test_auxiliary_is_a_linear_layer_on_the_features(name):
    module, images = make(name, 'discriminator', 'auxiliary')
    variables = init(module, images)
    params = dict(variables['params'])
    output = apply(module, variables, images, None)
    last = sorted(key for key in params if key.startswith('Dense'))[-1]
    dense = params.pop(last)
    np.testing.assert_allclose(
        output.class_logits,
        output.features @ dense['kernel'] + dense['bias'],
        rtol=1e-4, atol=1e-5,
    )
    plain, _ = make(name, 'discriminator')
    np.testing.assert_array_equal(
        output.logits, apply(plain, {'params': params}, images).logits
    )


@pytest.mark.parametrize('shape', [(4, 6), (4, 3, 2, 6)])
def test_conditional_batch_norm_is_its_closed_form(shape):
    random = np.random.RandomState(0)
    x = (random.randn(*shape) * 3 + 2).astype(np.float32)
    scale, bias = random.randn(2, CLASSES, 6).astype(np.float32)
    module = conditioning.ConditionalBatchNorm(CLASSES)
    variables = module.init(jax.random.key(0), x, LABELS, train=False)
    variables = {**variables, 'params': {'scale': scale, 'bias': bias}}
    axes, rows = tuple(range(len(shape) - 1)), (4, *[1] * (len(shape) - 2), 6)
    mean, var = x.mean(axes), x.var(axes)

    def expected(mean, var):
        normal = (x - mean) / np.sqrt(var + 1e-5)
        return (
            normal * scale[LABELS].reshape(rows) + bias[LABELS].reshape(rows)
        )

    y, changed = module.apply(
        variables, x, LABELS, train=True, mutable=['batch_stats']
    )
    np.testing.assert_allclose(y, expected(mean, var), rtol=1e-4, atol=1e-4)
    stats = changed['batch_stats']['BatchNorm_0']
    np.testing.assert_allclose(stats['mean'], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats['var'], 0.9 + 0.1 * var, rtol=1e-5)
    np.testing.assert_allclose(
        module.apply({**variables, **changed}, x, LABELS, train=False),
        expected(stats['mean'], stats['var']), rtol=1e-4, atol=1e-4,
    )


def test_conditional_batch_norm_starts_as_batch_norm():
    x = jax.random.normal(jax.random.key(0), (4, 3, 3, 2)) * 3 + 2
    y, variables = conditioning.ConditionalBatchNorm(
        CLASSES
    ).init_with_output(jax.random.key(1), x, LABELS, train=True)
    assert jax.tree.map(jnp.shape, variables['params']) == {
        'scale': (CLASSES, 2), 'bias': (CLASSES, 2)
    }
    plain, _ = layers.Norm('batch').init_with_output(
        jax.random.key(1), x, train=True
    )
    np.testing.assert_allclose(y, plain, rtol=1e-6)


@pytest.mark.parametrize('name', ['dcgan', 'mlp', 'resnet'])
def test_conditional_batch_norm_replaces_every_norm_of_the_generator(name):
    module, z = make(name, 'generator', 'batch_norm')
    plain, _ = make(name, 'generator', norm='batch')
    conditional, before = (
        shapes(m, z)['params'] for m in (module, plain)
    )
    norms = {key for key in conditional if 'Norm' in key}
    assert norms == {
        key.replace('Norm', 'ConditionalBatchNorm')
        for key in before if 'Norm' in key
    }


ERRORS = [
    ('mlp', 'generator', {'condition': 'projection'}, 'is not one of'),
    ('dcgan', 'discriminator', {'condition': 'batch_norm'}, 'is not one of'),
    ('mlp_autoencoder', 'discriminator', {'condition': 'projection'},
     'is not one of'),
    ('resnet', 'discriminator', {'condition': 'batch_norm'}, 'is not one of'),
    ('dcgan', 'generator', {'condition': 'batch_norm', 'norm': 'group'},
     "needs norm='batch', not 'group'"),
    ('mlp', 'discriminator', {'condition': 'concat', 'num_classes': 0},
     'needs num_classes >= 1, not 0'),
    ('mlp', 'discriminator', {'dropout': 1.0}, r'dropout=1.0 is not in'),
]


@pytest.mark.parametrize('name, player, fields, line', ERRORS)
def test_invalid_fields_are_reported_in_one_line(name, player, fields, line):
    module, inputs = make(name, player)
    with pytest.raises(ValueError, match=line) as raised:
        module.clone(**fields).init(
            jax.random.key(0), inputs, LABELS, train=False
        )
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('name, player, condition', LABELLED)
@pytest.mark.parametrize('labels', [None, LABELS[:1]])
def test_missing_labels_are_reported(name, player, condition, labels):
    module, inputs = make(name, player, condition)
    line = f"condition='{condition}' of the .* needs labels"
    with pytest.raises(ValueError, match=line):
        module.init(jax.random.key(0), inputs, labels, train=False)
