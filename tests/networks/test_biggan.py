"""BigGAN's networks: published counts, conditional norms, blocks by hand."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import test_conditioning as players
import test_resnet as resnets
from gan_jax.networks import biggan
from gan_jax.networks import layers

LABELS = players.LABELS
CLASSES = players.CLASSES
KEY = jax.random.key(0)


def generator(side, **fields):
    """Return a conditional G for square images of 3 channels."""
    fields = {'num_classes': 10, 'condition': 'batch_norm', **fields}
    return biggan.Generator(image_shape=(side, side, 3), **fields)


def discriminator(**fields):
    """Return a D with projection."""
    fields = {'num_classes': 10, 'condition': 'projection', **fields}
    return biggan.Discriminator(**fields)


def count(module, *shape):
    """Count the parameters of a module without drawing them."""
    leaves = jax.tree.leaves(players.shapes(
        module, jnp.zeros((4, *shape)), LABELS
    )['params'])
    return sum(math.prod(leaf.shape) for leaf in leaves)


# (side, length of z, fields of G): the number of its parameters.
G_COUNTS = [
    (128, 120, {'width': 96, 'num_classes': 1000, 'attention': 64}, 70_433_988),
    (256, 140, {'width': 96, 'num_classes': 1000, 'attention': 128},
     82_097_604),
    (32, 80, {'width': 96, 'attention': 16}, 9_416_196),
    # The authors' script for CIFAR-10.
    (32, 128, {'width': 64, 'hierarchical_latent': False,
               'shared_embedding': 0}, 4_304_387),
    (32, 80, {'width': 64, 'attention': 16}, 4_369_156),
    (32, 40, {'width': 32, 'attention': 16, 'shared_embedding': 64},
     1_096_068),
    (32, 32, {'width': 16, 'attention': 16, 'shared_embedding': 32}, 281_284),
    (64, 100, {'width': 32, 'attention': 32}, 8_374_660),
]


def attention_size(channels):
    """Count the parameters of self-attention."""
    return 2 * channels * (channels // 8 + channels // 2) + 1


# (side, fields of D): the number of its parameters. At 32 x 32 the authors'
# code has attention after all four blocks, which it lists as 16 x 16; three are
# 8 x 8 and have none here.
D_COUNTS = [
    (128, {'width': 96, 'num_classes': 1000, 'attention': 64}, 87_982_370),
    # compare_gan's has no shortcut of size 1 where channels stay the same.
    (256, {'width': 96, 'num_classes': 1000, 'attention': 64},
     98_635_298 + (8 * 96) ** 2 + 8 * 96),
    (32, {'width': 96, 'attention': 16, 'small_factor': 2},
     2_553_413 - 3 * attention_size(192)),
    (32, {'width': 96, 'attention': 16}, 10_194_053 - 3 * attention_size(384)),
    (32, {'width': 64}, 4_207_361),  # the authors' script for CIFAR-10
    (32, {'width': 64, 'attention': 16, 'small_factor': 2},
     1_137_029 - 3 * attention_size(128)),
    (32, {'width': 32, 'attention': 16, 'small_factor': 2},
     285_893 - 3 * attention_size(64)),
    (32, {'width': 16, 'attention': 16, 'small_factor': 2},
     72_293 - 3 * attention_size(32)),
    (64, {'width': 32, 'attention': 32}, 4_894_306),
]


@pytest.mark.parametrize('side, size, fields, expected', G_COUNTS, ids=str)
def test_generator_has_the_published_number_of_parameters(
    side, size, fields, expected
):
    assert count(generator(side, **fields), size) == expected


@pytest.mark.parametrize('side, fields, expected', D_COUNTS, ids=str)
def test_discriminator_has_the_published_number_of_parameters(
    side, fields, expected
):
    assert count(discriminator(**fields), side, side, 3) == expected


@pytest.mark.parametrize('shape, up, down', [
    ((8, 8, 1), [4, 4], [(4, True), (4, False), (4, False)]),
    ((28, 28, 1), [4] * 3, [(4, True)] * 2 + [(4, False)] * 2),
    ((32, 32, 3), [4] * 4, [(4, True)] * 2 + [(4, False)] * 2),
    ((64, 96, 3), [16, 16, 8, 4, 2],
     [(1, True), (2, True), (4, True), (8, True), (16, False)]),
    ((128, 128, 3), [16, 16, 8, 4, 2, 1],
     [(1, True), (2, True), (4, True), (8, True), (16, True), (16, False)]),
    ((256, 256, 3), [16, 16, 8, 8, 4, 2, 1],
     [(1, True), (2, True), (4, True), (8, True), (8, True), (16, True),
      (16, False)]),
])
def test_channels_are_those_of_the_authors(shape, up, down):
    assert biggan.generator_channels(shape, 3) == [3 * unit for unit in up]
    assert biggan.discriminator_channels(shape, 3, 4) == [
        (3 * unit, halves) for unit, halves in down
    ]


def test_chunks_cover_z_and_are_equal_if_they_can_be():
    z = jnp.arange(12.0).reshape(1, 12)
    for size, lengths in ((12, [3] * 4), (11, [3, 3, 3, 2]), (4, [1] * 4)):
        chunks = biggan.split_latents(z[:, :size], 4)
        assert [chunk.shape[1] for chunk in chunks] == lengths
        np.testing.assert_array_equal(
            jnp.concatenate(chunks, 1), z[:, :size]
        )


@pytest.mark.parametrize('number', [1, 2])
def test_a_chunk_changes_nothing_before_its_block(number):
    module = generator(16, width=1, num_classes=CLASSES, shared_embedding=3)
    z = np.random.RandomState(0).randn(4, 6).astype(np.float32)
    variables = players.init(module, z)
    other = z.copy()
    other[:, 2 * number:2 * number + 2] += 1
    before, after = (
        module.apply(
            variables, x, LABELS, train=False, capture_intermediates=True,
            mutable=['intermediates'],
        )[1]['intermediates']
        for x in (z, other)
    )
    changed = {
        name for name in before.keys() - {'__call__'}
        if not np.array_equal(*(
            state[name]['__call__'][0] for state in (before, after)
        ))
    }
    assert {name for name in changed if name.startswith('Conv')} == {
        f'Conv_{layer}' for layer in range(3 * (number - 1), 7)
        # The block's own shortcut has no norm.
        if layer != 3 * number - 1
    }
    assert {name for name in changed if name.startswith('Modul')} == {
        f'ModulatedNorm_{layer}' for layer in range(2 * (number - 1), 4)
    }


def modulated(x, vector, *, train=True, params=None, **fields):
    """Apply a `ModulatedNorm` with given or random parameters."""
    module = biggan.ModulatedNorm(**{
        'kind': 'batch', 'spectral_norm': False,
        'kernel_init': jax.nn.initializers.normal(1.0), **fields,
    })
    variables = module.init(KEY, x, vector, train=train)
    if params:
        variables = {**variables, 'params': params}
    return module.apply(
        variables, x, vector, train=train, mutable=['batch_stats', 'spectral']
    )[0]


X = np.random.RandomState(0).randn(4, 3, 5, 2).astype(np.float32) * 3 + 2


@pytest.mark.parametrize('kind', layers.NORMS)
def test_modulated_norm_with_a_vector_of_zeros_is_the_norm(kind):
    expected, _ = layers.Norm(kind).init_with_output(KEY, X, train=True)
    np.testing.assert_allclose(
        modulated(X, jnp.zeros((4, 3)), kind=kind), expected, rtol=1e-5,
        atol=1e-5,
    )


def test_modulated_norm_is_its_closed_form():
    random = np.random.RandomState(1)
    vector = random.randn(4, 3).astype(np.float32)
    scale, bias = random.randn(2, 3, 2).astype(np.float32)
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    normed = (X - mean) / np.sqrt(variance + 1e-5)
    expected = normed * (1 + vector @ scale)[:, None, None] + (
        vector @ bias)[:, None, None]
    params = {'scale': {'kernel': scale}, 'bias': {'kernel': bias}}
    np.testing.assert_allclose(
        modulated(X, vector, params=params), expected, rtol=1e-4, atol=1e-4
    )
    low = modulated(X, vector, params=params, dtype=jnp.bfloat16)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        low.astype(np.float32), expected, rtol=2**-7, atol=1e-4
    )


def normalise(x):
    """Apply BatchNorm with the statistics of `players.init`: mean 1, var 1."""
    return (x - 1) / np.sqrt(1 + 1e-5)


def test_generator_equals_the_authors_layers():
    module = generator(16, width=1, num_classes=CLASSES, shared_embedding=3)
    z = np.random.RandomState(0).randn(4, 6).astype(np.float32)
    variables = players.init(module, z)
    params = variables['params']
    params['Norm_0']['BatchNorm_0']['bias'] += 1  # else few pass its ReLU
    by_hand = resnets.Layers(params)
    embedded = params['Embed_0']['embedding'][LABELS]
    assert embedded.shape == (4, 3)

    def activate(x, number, chunk):
        vector = np.concatenate([embedded, chunk], 1)
        norm = params[f'ModulatedNorm_{number}']
        scale, bias = (
            (vector @ norm[name]['kernel'])[:, None, None]
            for name in ('scale', 'bias')
        )
        return resnets.relu(normalise(x) * (1 + scale) + bias)

    x = by_hand.dense(z[:, :2]).reshape(4, 4, 4, 4)
    for block in range(2):
        chunk = z[:, 2 * block + 2:2 * block + 4]
        y = by_hand.conv(resnets.up(activate(x, 2 * block, chunk)))
        y = by_hand.conv(activate(y, 2 * block + 1, chunk))
        x = y + by_hand.conv(resnets.up(x))
    norm = params['Norm_0']['BatchNorm_0']
    x = resnets.relu(normalise(x) * norm['scale'] + norm['bias'])
    expected = by_hand.conv(x)
    actual = players.apply(module.clone(output='linear'), variables, z)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(
        actual, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
    )


@pytest.mark.parametrize('units', [None, (1, 2, 2)])
def test_discriminator_equals_the_authors_layers(units, monkeypatch):
    if units:  # as in the larger networks, which are slow
        monkeypatch.setitem(biggan.DISCRIMINATOR, 2, units)
    module = biggan.Discriminator(width=3, small_factor=2)
    images = np.random.RandomState(0).randn(2, 16, 16, 2).astype(np.float32)
    variables = resnets.draw_variables(module, images)
    by_hand = resnets.Layers(variables['params'])
    x = images
    for block in range(2):
        y = by_hand.conv(resnets.relu(x) if block else x)
        assert y.shape[-1] == (3 * units[block] if units else 6)
        y = resnets.down(by_hand.conv(resnets.relu(y)))
        x = y + resnets.down(by_hand.conv(x))
    for _ in range(1 if units else 2):
        x = x + by_hand.conv(resnets.relu(by_hand.conv(resnets.relu(x))))
    features = resnets.relu(x).sum((1, 2))
    output = resnets.apply(module, variables, images)
    np.testing.assert_allclose(output.features, features, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        output.logits, by_hand.dense(features)[:, 0], rtol=1e-4, atol=1e-2
    )


def test_logits_of_two_classes_differ_by_the_product_of_embeddings():
    module = discriminator(width=1, num_classes=CLASSES)
    images = np.random.RandomState(0).randn(4, 8, 8, 1).astype(np.float32)
    variables = players.init(module, images)
    embedding = variables['params']['Embed_0']['embedding']
    first, second = (
        players.apply(module, variables, images, labels)
        for labels in (LABELS, (LABELS + 1) % CLASSES)
    )
    np.testing.assert_array_equal(first.features, second.features)
    expected = np.sum(first.features * (
        embedding[LABELS] - embedding[(LABELS + 1) % CLASSES]
    ), 1)
    np.testing.assert_allclose(
        first.logits - second.logits, expected, rtol=1e-3,
        atol=1e-4 * np.abs(expected).max(),
    )


def test_features_of_an_image_tiled_twice_are_doubled():
    module = biggan.Discriminator(width=1)
    image = np.random.RandomState(0).randn(1, 8, 8, 1).astype(np.float32)
    variables = players.init(module, image)

    def pointwise(kernel):  # nothing crosses the seam
        if kernel.shape[:2] != (3, 3):
            return kernel
        middle = np.zeros_like(kernel)
        middle[1, 1] = kernel[1, 1]
        return middle

    variables = {'params': jax.tree.map(pointwise, variables['params'])}
    single, double = (
        players.apply(module, variables, x, None).features
        for x in (image, np.concatenate([image, image], 2))
    )
    assert np.max(single) > 0
    np.testing.assert_allclose(double, 2 * single, rtol=1e-5)


@pytest.mark.parametrize('shape, side, g_map, d_map', [
    ((32, 32, 3), 16, (16, 16, 8), (16, 16, 8)),
    ((32, 32, 3), 8, (8, 8, 8), (8, 8, 8)),
    ((64, 64, 3), 32, (32, 32, 8), (32, 32, 2)),
    ((128, 128, 3), 64, (64, 64, 4), (64, 64, 2)),
])
def test_attention_is_applied_once_at_its_side(shape, side, g_map, d_map):
    fields = {'width': 2, 'attention': side, 'spectral_norm': True}
    module = biggan.Generator(image_shape=shape, **fields)
    assert resnets.watch(module, jnp.zeros((1, 6))) == [g_map]
    module = biggan.Discriminator(**fields)
    assert resnets.watch(module, jnp.zeros((1, *shape))) == [d_map]


@pytest.mark.parametrize('player', ['generator', 'discriminator'])
def test_attention_changes_nothing_at_first(player):
    make = {
        'generator': functools.partial(
            biggan.Generator, image_shape=(16, 16, 1)
        ),
        'discriminator': biggan.Discriminator,
    }[player]
    shape = {'generator': (3, 6), 'discriminator': (3, 16, 16, 1)}[player]
    x = np.random.RandomState(0).randn(*shape).astype(np.float32)
    module = make(width=2, attention=8)
    variables = players.init(module, x, None)
    variables['params']['SelfAttention_0']['weight'] = np.float32(0)
    np.testing.assert_array_equal(*(
        players.value(players.apply(network, variables, x, None))
        for network in (module, make(width=2))
    ))


def normed_kernels(tree):
    """List the (rows, columns) of kernels that have spectral vectors."""
    if set(tree) == {'u', 'v'}:
        return [(tree['v'].size, tree['u'].size)]
    return sorted(sum(map(normed_kernels, tree.values()), []))


@pytest.mark.parametrize('player', ['generator', 'discriminator'])
def test_spectral_norm_excludes_only_the_shared_embedding(player):
    fields = {
        'width': 2, 'attention': 8, 'num_classes': 7, 'spectral_norm': True,
    }
    module, shape = {
        'generator': (generator(16, shared_embedding=5, **fields), (4, 6)),
        'discriminator': (discriminator(**fields), (4, 16, 16, 3)),
    }[player]
    variables = players.shapes(module, jnp.zeros(shape))
    matrices = sorted(
        (leaf.size // leaf.shape[-1], leaf.shape[-1])
        for leaf in jax.tree.leaves(variables['params']) if leaf.ndim > 1
    )
    if player == 'generator':
        matrices.remove((7, 5))
    else:
        assert (7, 8) in matrices
    assert normed_kernels(variables['spectral']) == matrices


def test_norms_are_those_of_the_settings():
    def norms(**fields):
        module = generator(
            8, width=1, num_classes=CLASSES, norm='batch', **fields
        )
        params = players.shapes(module, jnp.zeros((4, 6)))['params']
        return [name for name in params if 'Norm' in name], params

    last = ['Norm_0']
    names, params = norms()
    assert names == ['ModulatedNorm_0', 'ModulatedNorm_1', *last]
    assert params['ModulatedNorm_0']['scale']['kernel'].shape == (128 + 3, 4)
    names, params = norms(condition='none')
    assert names == ['ModulatedNorm_0', 'ModulatedNorm_1', *last]
    assert params['ModulatedNorm_0']['scale']['kernel'].shape == (3, 4)
    names, params = norms(hierarchical_latent=False)
    assert names == ['ModulatedNorm_0', 'ModulatedNorm_1', *last]
    assert params['ModulatedNorm_0']['scale']['kernel'].shape == (128, 4)
    assert params['Dense_0']['kernel'].shape == (6, 64)
    names, _ = norms(hierarchical_latent=False, shared_embedding=0)
    assert names == [
        'ConditionalBatchNorm_0', 'ConditionalBatchNorm_1', *last
    ]
    names, _ = norms(hierarchical_latent=False, condition='none')
    assert names == ['Norm_0', 'Norm_1', 'Norm_2']


@pytest.mark.parametrize('fields', [
    {}, {'hierarchical_latent': False, 'shared_embedding': 0},
    {'hierarchical_latent': False, 'condition': 'none'},
], ids=str)
def test_training_updates_the_statistics_of_every_norm(fields):
    module = generator(8, width=1, num_classes=CLASSES, **fields)
    z = np.random.RandomState(0).randn(4, 6).astype(np.float32)
    variables = players.init(module, z)
    for training in (False, True):
        _, changed = module.apply(
            variables, z, LABELS, train=training, mutable=['batch_stats']
        )
        leaves = zip(*(
            jax.tree.leaves(tree['batch_stats'])
            for tree in (variables, changed)
        ))
        moved = [not np.array_equal(*pair) for pair in leaves]
        assert moved == 6 * [training]  # a mean and a variance for each norm


@pytest.mark.parametrize('fields', [
    {}, {'hierarchical_latent': False},
    {'hierarchical_latent': False, 'shared_embedding': 0},
    {'condition': 'concat'},
], ids=str)
def test_a_label_affects_only_its_sample_and_an_invalid_one_is_nan(fields):
    module = generator(8, width=1, num_classes=CLASSES, **fields)
    z = np.random.RandomState(0).randn(4, 6).astype(np.float32)
    variables = players.init(module, z)
    before, after = (
        np.asarray(players.apply(module, variables, z, labels))
        for labels in (LABELS, LABELS + np.array([0, 0, 1, CLASSES]))
    )
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.abs(before[2] - after[2]).max() > 1e-4
    assert np.isnan(after[3]).all()


@pytest.mark.parametrize('module, shape', [
    (generator(8, width=2), (4, 6)),
    (discriminator(width=2), (4, 8, 8, 3)),
])
def test_conditional_networks_return_float32_in_bfloat16(module, shape):
    module = module.clone(
        dtype=jnp.bfloat16, spectral_norm=True, attention=4 if (
            len(shape) == 4) else 8,
    )
    output, variables = jax.eval_shape(lambda: module.init_with_output(
        KEY, jnp.zeros(shape), LABELS, train=True
    ))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
        jnp.dtype('float32')
    }
    assert getattr(output, 'logits', output).dtype == jnp.float32
    assert getattr(output, 'features', output).dtype == (
        jnp.float32 if len(shape) == 2 else jnp.bfloat16
    )


@pytest.mark.parametrize('init_std', [0.0, 0.02])
def test_kernels_start_orthogonal_or_normal(init_std):
    module = generator(
        8, width=8, num_classes=40, shared_embedding=16, init_std=init_std
    )
    params = jax.jit(lambda z: module.init(KEY, z, LABELS, train=True))(
        jnp.zeros((4, 12))
    )['params']
    assert params['Dense_0']['kernel'].shape == (6, 512)
    assert params['ModulatedNorm_1']['scale']['kernel'].shape == (22, 32)
    matrices = [
        leaf.reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(params)
        if leaf.ndim > 1
    ]
    assert len(matrices) == 1 + 4 + 4 + 1
    for matrix in matrices:
        if init_std:
            np.testing.assert_allclose(np.std(matrix), init_std, rtol=0.15)
            continue
        if len(matrix) < len(matrix.T):
            matrix = matrix.T
        np.testing.assert_allclose(
            matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5
        )


@pytest.mark.parametrize('fields', [
    {'spectral_norm': True, 'attention': 4, 'norm': 'layer'},
    {'dtype': jnp.bfloat16},
], ids=str)
def test_r1_has_finite_gradients_that_reach_the_kernels(fields):
    module = biggan.Discriminator(width=2, **fields)
    images = np.random.RandomState(0).randn(3, 8, 8, 1).astype(np.float32)
    players.check_r1(module, images)


@pytest.mark.parametrize('module, shape, match', [
    (generator(32), (4, 3), 'latent of length 3 .* 4 chunks'),
    (generator(32, shared_embedding=0), (4, 8), 'hierarchical_latent=False'),
    (generator(32, norm='layer'), (4, 8), "needs norm='batch', not 'layer'"),
    (generator(32, attention=4), (4, 8), r'\[8, 16, 32\]'),
    (discriminator(attention=32), (4, 32, 32, 3), r'\[8, 16\]'),
    (generator(512), (4, 20), 'image size 512x512 is too large'),
    (discriminator(), (4, 512, 512, 3), 'image size 512x512 is too large'),
    (discriminator(condition='batch_norm'), (4, 8, 8, 1), 'is not one of'),
])
def test_invalid_fields_are_reported_in_one_line(module, shape, match):
    with pytest.raises(ValueError, match=match) as raised:
        players.shapes(module, jnp.zeros(shape))
    assert '\n' not in str(raised.value)
