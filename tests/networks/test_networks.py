"""Layers and networks: values, shapes, ranges, parameters, gradients."""

import functools

import flax.linen as nn
import jax
from jax import lax
from jax.test_util import check_grads
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax import networks
from gan_jax.networks import autoencoder
from gan_jax.networks import convolutions
from gan_jax.networks import dcgan
from gan_jax.networks import layers

KERNELS = [(2, 2), (3, 3), (4, 4), (5, 5), (4, 3)]
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (48, 80, 4), (64, 64, 3)]
# One case of second order below will do.
SLOW = ('biggan', 'r3gan', 'resnet', 'stylegan2', 'tiny')
GENERATORS = [
    name for name, pair in networks.NETWORKS.items()
    if pair.generator is not None
]


def plain_conv_transpose(images, kernel):
    return lax.conv_transpose(
        images, kernel, (2, 2), 'SAME',
        dimension_numbers=convolutions.DIMENSIONS,
    )


def draw(kernel_size, shape=(2, 3, 5, 3), features=4):
    keys = jax.random.split(jax.random.key(0))
    images = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (*kernel_size, shape[-1], features))
    return images, kernel


@pytest.mark.parametrize('kernel_size', KERNELS)
def test_conv_transpose_has_the_value_and_gradients_of_xla(
    kernel_size,
):
    arguments = draw(kernel_size)

    def through(function):
        return jax.value_and_grad(
            lambda *a: jnp.sum(jnp.sin(function(*a))), argnums=(0, 1)
        )(*arguments)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4),
        through(convolutions.conv_transpose),
        through(plain_conv_transpose),
    )


@pytest.mark.integration
@pytest.mark.parametrize('kernel_size', [(3, 3), (4, 4), (5, 5)])
def test_conv_transpose_has_the_second_order_gradients_of_xla(kernel_size):
    arguments = draw(kernel_size)

    def penalty(function):
        def first(images, kernel):
            grads = jax.grad(
                lambda *a: jnp.sum(jnp.tanh(function(*a))), argnums=(0, 1)
            )(images, kernel)
            return sum(jnp.sum(jnp.square(grad)) for grad in grads)

        return jax.grad(first, argnums=(0, 1))(*arguments)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3),
        penalty(convolutions.conv_transpose),
        penalty(plain_conv_transpose),
    )


def test_conv_transpose_agrees_with_finite_differences():
    check_grads(
        convolutions.conv_transpose, draw((4, 4)), order=2, modes=['rev'],
        rtol=0.05,
    )


@pytest.mark.parametrize('use_bias', [True, False])
def test_conv_transpose_layer_has_the_parameters_of_linen(use_bias):
    images, _ = draw((4, 4))
    ours = layers.ConvTranspose(6, (4, 4), use_bias=use_bias)
    linens = nn.ConvTranspose(6, (4, 4), (2, 2), use_bias=use_bias)
    variables = linens.init(jax.random.key(1), images)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, ours.init(jax.random.key(1), images)
    )
    np.testing.assert_allclose(
        ours.apply(variables, images),
        linens.apply(variables, images),
        rtol=1e-5, atol=1e-5,
    )


@pytest.mark.parametrize('kind', layers.NORMS)
def test_norms_are_their_closed_form(kind):
    # Means and scales differ in each sample, row and channel.
    offsets = jnp.arange(16 * 5 * 64).reshape(16, 5, 1, 64) / 1000
    x = jax.random.normal(jax.random.key(0), (16, 5, 5, 64)) * 3 + offsets
    y, _ = layers.Norm(kind).init_with_output(jax.random.key(1), x, train=True)
    if kind == 'none':
        np.testing.assert_array_equal(y, x)
        return
    axes = {'batch': (0, 1, 2), 'instance': (1, 2), 'layer': (1, 2, 3)}
    if kind == 'group':  # 32 groups of 2 channels
        x, y = (a.reshape(16, 5, 5, 32, 2) for a in (x, y))
        axes['group'] = (1, 2, 4)
    mean = x.mean(axes[kind], keepdims=True)
    std = x.std(axes[kind], keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / std, atol=1e-4)


def spectral_norms(name):
    """Return the values of `spectral_norm` that a network has."""
    module = networks.NETWORKS[name].discriminator
    return (False, True)[:1 + hasattr(module, 'spectral_norm')]


def shapes_of(name):
    return SHAPES + ([] if networks.NETWORKS[name].convolutional else [(2,)])


@pytest.mark.integration
@pytest.mark.parametrize('name, shape, spectral_norm', [
    (name, shape, spectral_norm) for name in networks.NETWORKS
    for shape in shapes_of(name) for spectral_norm in spectral_norms(name)
])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_networks_of_a_pair_fit_and_return_float32(
    name, shape, spectral_norm, dtype
):
    pair = networks.NETWORKS[name]
    fields = {'width': 4, 'dtype': dtype}
    if spectral_norm:
        fields['spectral_norm'] = True

    def through(z):
        images, g = jnp.zeros((3, *shape)), {}
        if pair.generator is not None:
            images, g = pair.generator(
                image_shape=shape, **fields
            ).init_with_output(jax.random.key(0), z, train=True)
        output, d = pair.discriminator(**fields).init_with_output(
            jax.random.key(0), images, train=True
        )
        return images, output, g, d

    images, output, g, d = jax.eval_shape(through, jnp.zeros((3, 7)))
    assert images.shape == (3, *shape) and images.dtype == jnp.float32
    assert output.logits.shape == (3,) and output.logits.dtype == jnp.float32
    assert output.features.shape[0] == 3 and output.features.ndim == 2
    assert output.features.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves((g, d))} == {
        jnp.dtype('float32')
    }


@pytest.mark.parametrize('name', GENERATORS)
def test_generator_output_is_in_range_and_depends_on_z(name):
    module = networks.NETWORKS[name].generator(image_shape=(8, 8, 1), width=4)
    z = jax.random.normal(jax.random.key(0), (5, 7))
    init = jax.jit(functools.partial(module.init_with_output, train=True))
    images, extreme = (
        init(jax.random.key(1), scale * z)[0] for scale in (1, 100)
    )
    assert np.abs(images).max() <= 1 and np.abs(extreme).max() <= 1
    assert np.std(images, axis=0).min() > 0


def smooth(x, negative_slope=0.0):
    """Apply a smooth LeakyReLU, whose finite differences are accurate."""
    return negative_slope * x + (1 - negative_slope) * nn.softplus(x)


def settle(module, inputs, labels):
    """Return params and statistics at which finite differences are valid.

    Kernels are scaled so that every layer matters. With spectral norm, forward
    passes in training bring u and v so close to the singular vectors that the
    gradient of sigma is that of the norm, as in finite differences, which
    change u and v too.
    """
    stats = dict(jax.jit(functools.partial(module.init, train=False))(
        jax.random.key(1), inputs, labels
    ))
    params = stats.pop('params')

    @jax.jit
    def forward(stats):
        return module.apply(
            {'params': params, **stats}, inputs, labels, train=True,
            mutable=list(stats),
        )[1]

    if not getattr(module, 'spectral_norm', False):
        return jax.tree.map(
            lambda p: p / p.std() / 2 if p.ndim > 1 and p.std() else p, params
        ), stats
    for _ in range(100):
        stats = forward(stats)
    return params, stats


def check_slope_penalty(module, inputs, measure, labels=None, keys=None):
    """Differentiate 1/2 E ||grad_x measure(module(x))||^2 by the parameters.

    In training mode, along one direction, against central differences. The
    direction is random but correlated with the signs of the gradient, so that
    contributions add up.
    """
    params, stats = settle(module, inputs, labels)

    def measured(params, inputs):
        output, _ = module.apply(
            {'params': params, **stats}, inputs, labels, train=True, keys=keys,
            mutable=list(stats),
        )
        return measure(output)

    @jax.jit
    @jax.value_and_grad
    def penalty(params):
        grads = jax.grad(measured, argnums=1)(params, inputs)
        return 0.5 * jnp.sum(jnp.square(grads)) / len(inputs)

    random = np.random.RandomState(0)
    value, grads = penalty(params)
    direction = jax.tree.map(
        lambda p, g: (p.std() or 0.1) * (np.sign(g) + random.randn(*p.shape)),
        params, grads,
    )
    slope = sum(jax.tree.leaves(
        jax.tree.map(lambda g, d: np.sum(g * d), grads, direction)
    ))
    ahead, behind = [
        penalty(jax.tree.map(
            lambda p, d: jnp.asarray(p + step * d, jnp.float32),
            params, direction,
        ))[0]
        for step in (1e-3, -1e-3)
    ]
    np.testing.assert_allclose(
        slope, (ahead - behind) / 2e-3, rtol=5e-3, atol=5e-4 * float(value)
    )
    assert slope > 0.2 * value > 0  # else the lines above say nothing


def tiny(name, player, **fields):
    """Return a small module, and the shape of its samples."""
    pair = networks.NETWORKS[name]
    shape = (16, 16, 1) if pair.convolutional else (3,)
    if name == 'resnet':
        shape = (8, 8, 1)  # it has layers enough
    if not pair.convolutional:
        fields.update(width=4, depth=1)
    if player == 'generator':
        fields['image_shape'] = shape
    return getattr(pair, player)(**{'width': 2, **fields}), shape


@pytest.mark.integration
@pytest.mark.parametrize('spectral_norm', helpers.cases([False, True], False))
@pytest.mark.parametrize(
    'name', [n for n in networks.NETWORKS if n not in SLOW]
)
def test_second_order_through_every_discriminator(
    name, spectral_norm, monkeypatch
):
    monkeypatch.setattr(nn, 'leaky_relu', smooth)
    monkeypatch.setattr(nn, 'relu', smooth)
    module, shape = tiny(name, 'discriminator', spectral_norm=spectral_norm)
    images = jax.random.normal(jax.random.key(0), (4, *shape))
    check_slope_penalty(module, images, lambda output: output.logits.sum())


@pytest.mark.integration
@pytest.mark.parametrize('spectral_norm', helpers.cases([False, True], False))
@pytest.mark.parametrize('name', [n for n in GENERATORS if n not in SLOW])
def test_second_order_through_every_generator(name, spectral_norm, monkeypatch):
    monkeypatch.setattr(nn, 'relu', smooth)
    module, shape = tiny(name, 'generator', spectral_norm=spectral_norm)
    z_key, weight_key = jax.random.split(jax.random.key(0))
    weights = jax.random.normal(weight_key, (4, *shape))
    check_slope_penalty(
        module,
        jax.random.normal(z_key, (4, 6)),
        lambda images: jnp.sum(images * weights),
    )


@pytest.mark.integration
@pytest.mark.parametrize('name, player, fields', [
    ('mlp', 'generator', {'condition': 'concat', 'dropout': 0.3}),
    ('dcgan', 'generator', {'condition': 'batch_norm'}),
    ('mlp', 'discriminator', {'condition': 'concat', 'negative_slope': 0.5}),
    ('mlp', 'discriminator', {
        'condition': 'projection', 'spectral_norm': True,
    }),
    ('mlp', 'discriminator', {'condition': 'concat', 'maxout': 3}),
    ('dcgan', 'discriminator', {'condition': 'projection', 'dropout': 0.3}),
    ('mlp_autoencoder', 'discriminator', {'condition': 'auxiliary'}),
    ('resnet', 'discriminator', {'condition': 'projection'}),
    ('stylegan2', 'generator', {'condition': 'concat'}),
    ('stylegan2', 'discriminator', {'condition': 'projection'}),
    ('tiny', 'generator', {'condition': 'concat'}),
    ('dcgan', 'discriminator', {
        'downsampling': 'average_pool', 'minibatch_stddev': True,
        'minibatch_features': 2,
    }),
])
def test_second_order_through_conditions_and_further_parts(
    name, player, fields, monkeypatch
):
    monkeypatch.setattr(nn, 'leaky_relu', smooth)
    monkeypatch.setattr(nn, 'relu', smooth)
    module, shape = tiny(name, player, num_classes=3, **fields)
    if player == 'generator':
        weights = jax.random.normal(jax.random.key(3), (4, *shape))
        shape = (6,)

    def measure(output):
        if player == 'generator':
            return jnp.sum(output * weights)
        if output.class_logits is not None:
            return jnp.sum(jnp.tanh(output.class_logits[:, 0]))
        return output.logits.sum()

    check_slope_penalty(
        module,
        jax.random.normal(jax.random.key(0), (4, *shape)),
        measure,
        labels=jnp.array([0, 2, 1, 2]),
        keys=jax.random.split(jax.random.key(5), 4),
    )


GOLDEN_ENERGIES = {
    'euclidean': lambda error: np.linalg.norm(error, axis=1),
    'mean_absolute': lambda error: np.abs(error).mean(1),
    'mean_square': lambda error: (error**2).mean(1),
}


def test_every_energy_has_a_closed_form_here():
    assert set(GOLDEN_ENERGIES) == set(autoencoder.ENERGIES)


@pytest.mark.parametrize('energy', GOLDEN_ENERGIES)
@pytest.mark.parametrize('shape', [(2,), (4, 6, 3)])
def test_energy_is_its_closed_form(energy, shape):
    random = np.random.RandomState(0)
    images, reconstruction = random.randn(2, 5, *shape).astype(np.float32)
    np.testing.assert_allclose(
        jax.jit(autoencoder.ENERGIES[energy])(images, reconstruction),
        GOLDEN_ENERGIES[energy]((images - reconstruction).reshape(5, -1)),
        rtol=1e-5,
    )


@pytest.mark.parametrize('energy', GOLDEN_ENERGIES)
def test_energy_has_gradient_0_where_the_reconstruction_is_exact(energy):
    images = jax.random.normal(jax.random.key(0), (3, 4))
    images = images.at[1].set(0)
    reconstruction = images.at[2].add(1)  # of three samples, two are exact

    def total(images, reconstruction):
        return autoencoder.ENERGIES[energy](images, reconstruction).sum()

    for grads in jax.grad(total, argnums=(0, 1))(images, reconstruction):
        np.testing.assert_array_equal(grads[:2], 0)
        assert np.abs(grads[2]).min() > 0

    def penalty(images):
        return jnp.sum(jnp.square(jax.grad(total)(images, reconstruction)))

    assert np.isfinite(jax.grad(penalty)(images)).all()


AUTOENCODERS = [name for name in networks.NETWORKS if 'autoencoder' in name]


@pytest.mark.parametrize('name', networks.NETWORKS)
def test_pairs_of_energies_are_the_autoencoders(name):
    assert networks.NETWORKS[name].energies == (name in AUTOENCODERS)


@pytest.mark.parametrize('name', AUTOENCODERS)
@pytest.mark.parametrize('energy', GOLDEN_ENERGIES)
def test_autoencoder_returns_the_error_of_its_linear_output(name, energy):
    # Parameters of 0 but for the last bias, 3: the reconstruction is 3, which
    # no tanh would let through.
    module = networks.NETWORKS[name].discriminator(
        width=2, energy=energy, code_size=5
    )
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    variables = module.init(jax.random.key(1), images, train=False)
    variables = jax.tree.map(jnp.zeros_like, variables)
    last = {'mlp_autoencoder': 'Dense_5', 'dcgan_autoencoder':
            'ConvTranspose_0'}[name]
    params = variables['params']
    params[last]['bias'] = params[last]['bias'] + 3
    output = module.apply(variables, images, train=False)
    expected = GOLDEN_ENERGIES[energy](np.asarray(images - 3).reshape(4, -1))
    np.testing.assert_allclose(output.logits, expected, rtol=1e-5)
    assert output.features.shape == (4, 5)


@pytest.mark.parametrize('energy', GOLDEN_ENERGIES)
def test_autoencoder_of_the_identity_has_energy_and_gradients_0(energy):
    module = autoencoder.MLPDiscriminator(depth=0, code_size=2, energy=energy)
    points = jax.random.normal(jax.random.key(0), (5, 2))
    variables = module.init(jax.random.key(1), points, train=False)
    identity = jax.tree.map(
        lambda leaf: jnp.eye(2) if leaf.ndim == 2 else jnp.zeros(2), variables
    )

    def total(variables, points):
        output = module.apply(variables, points, train=True)
        return output.logits.sum(), output

    (_, output), grads = jax.value_and_grad(
        total, argnums=(0, 1), has_aux=True
    )(identity, points)
    np.testing.assert_array_equal(output.logits, 0)
    np.testing.assert_array_equal(output.features, points)
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0), grads)


@pytest.mark.parametrize('shape', [(28, 28, 1), (48, 80, 3)])
def test_dcgan_autoencoder_mirrors_its_encoder(shape):
    module = autoencoder.DCGANDiscriminator(width=4, code_size=6)
    variables = jax.eval_shape(
        lambda images: module.init(jax.random.key(0), images, train=False),
        jnp.zeros((1, *shape)),
    )
    kernels = {
        name: layer['kernel'].shape
        for name, layer in variables['params'].items() if 'kernel' in layer
    }
    blocks = dcgan.num_blocks(shape)
    for block in range(blocks):
        ends = (shape[-1], *[4 * 2**k for k in range(blocks)])[block:block + 2]
        assert kernels[f'Conv_{block}'] == (4, 4, *ends)
        back = kernels[f'ConvTranspose_{blocks - 1 - block}']
        assert back == (4, 4, *ends[::-1])
    assert kernels['Dense_0'] == kernels['Dense_1'][::-1]


def test_dcgan_has_the_papers_layers_at_64_pixels():
    generator = dcgan.Generator(
        image_shape=(64, 64, 3), width=128, kernel_size=5
    )
    variables = jax.eval_shape(
        lambda z: generator.init(jax.random.key(0), z, train=False),
        jnp.zeros((1, 100)),
    )
    kernels = {
        name: layer['kernel'].shape
        for name, layer in variables['params'].items() if 'kernel' in layer
    }
    assert kernels == {  # figure 1 of the paper: 1024, 512, 256, 128, 3
        'Dense_0': (100, 4 * 4 * 1024),
        'ConvTranspose_0': (5, 5, 1024, 512),
        'ConvTranspose_1': (5, 5, 512, 256),
        'ConvTranspose_2': (5, 5, 256, 128),
        'ConvTranspose_3': (5, 5, 128, 3),
    }


def test_dcgan_weights_have_the_papers_scale():
    module = dcgan.Discriminator(width=32)
    variables = module.init(
        jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False
    )
    kernel = variables['params']['Conv_2']['kernel']
    np.testing.assert_allclose(np.std(kernel), 0.02, rtol=0.02)


@pytest.mark.parametrize('shape', [(4, 4, 1), (30, 30, 1), (32, 33, 3)])
def test_dcgan_rejects_unsupported_sizes(shape):
    with pytest.raises(ValueError, match=f'{shape[0]}x{shape[1]}'):
        dcgan.num_blocks(shape)


def test_only_training_changes_the_statistics():
    module = dcgan.Discriminator(width=4)
    images = jax.random.normal(jax.random.key(0), (4, 16, 16, 1))
    variables = module.init(jax.random.key(1), images, train=False)
    for train in (False, True):
        _, changed = module.apply(
            variables, images, train=train, mutable=['batch_stats']
        )
        same = jax.tree.map(
            np.array_equal, changed['batch_stats'], variables['batch_stats']
        )
        assert all(jax.tree.leaves(same)) != train


@pytest.mark.parametrize('sizes', [(2, 16), (16, 2), (1, 16), (16, 1), (2, 2)])
def test_narrow_products_and_gradients_equal_matmul(sizes):
    inputs, features = sizes
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (8, inputs))
    kernel = jax.random.normal(keys[1], sizes)
    cotangent = jax.random.normal(keys[2], (8, features))
    assert layers.dense_options(*sizes) == {'dot_general': layers.narrow_dot}

    def pull(product):
        value, back = jax.vjp(product, x, kernel)
        return value, *back(cotangent)

    for actual, expected in zip(pull(layers.narrow_dot), pull(jnp.matmul)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    check_grads(layers.narrow_dot, (x, kernel), 2, rtol=1e-2)


def test_wide_products_use_the_default():
    assert not layers.dense_options(16, 16)
