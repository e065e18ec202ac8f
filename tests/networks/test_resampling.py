"""Resampling against loops, inverses, and every registered layer."""

import flax.linen as nn
import jax
from jax.test_util import check_grads
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax.algorithms.game import D
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.networks import autoencoder
from gan_jax.networks import convolutions
from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import resampling

REGISTERED = [
    *resampling.UPSAMPLINGS.items(), *resampling.DOWNSAMPLINGS.items()
]


def draw(*shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


FUSED = {
    'nearest': (resampling.after_nearest, (2, 4, 6, 3)),
    'average_pool': (resampling.before_average_pool, (2, 8, 6, 3)),
}


@pytest.mark.integration
@pytest.mark.parametrize('name', FUSED)
@pytest.mark.parametrize('size', [(3, 3), (1, 1), (5, 3), (4, 4)])
def test_fused_resampling_equals_resampling_and_convolution(
    name, size, monkeypatch
):
    convolve, shape = FUSED[name]
    x, kernel = draw(*shape), draw(*size, 3, 4)

    def apply(x, kernel):
        return convolve(
            x, kernel, (1, 1), 'SAME',
            dimension_numbers=convolutions.DIMENSIONS,
        )

    def slope(x, kernel):
        score = jax.grad(lambda x: jnp.tanh(apply(x, kernel)).sum())(x)
        return jnp.sin(score).sum()

    def all_orders():
        return (
            apply(x, kernel), jax.grad(slope, (0, 1))(x, kernel),
            jax.vjp(apply, x, kernel)[1](apply(x, kernel)),
        )

    actual = all_orders()
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max())
    ), actual, all_orders())


@pytest.mark.parametrize('factor', [2, 3])
def test_pixel_shuffle_moves_each_channel_to_its_pixel(factor):
    x = draw(2, 3, 4, factor**2 * 5)
    y = resampling.pixel_shuffle(x, factor)
    assert y.shape == (2, 3 * factor, 4 * factor, 5)
    for b, h, w, c in np.ndindex(y.shape):
        group = factor * (h % factor) + w % factor
        assert y[b, h, w, c] == x[b, h // factor, w // factor, 5 * group + c]


@pytest.mark.parametrize('factor', [2, 3])
def test_pixel_shuffle_and_unshuffle_are_inverse(factor):
    x = draw(2, 3, 4, factor**2 * 5)
    y = draw(2, 3 * factor, 4 * factor, 5)
    shuffle, unshuffle = resampling.pixel_shuffle, resampling.pixel_unshuffle
    np.testing.assert_array_equal(unshuffle(shuffle(x, factor), factor), x)
    np.testing.assert_array_equal(shuffle(unshuffle(y, factor), factor), y)


def test_nearest_repeats_each_pixel():
    x = draw(2, 3, 4, 5)
    np.testing.assert_array_equal(
        resampling.nearest(x), x.repeat(2, axis=1).repeat(2, axis=2)
    )


def test_average_pool_is_the_mean_of_four_pixels():
    x = draw(2, 6, 4, 5)
    y = resampling.average_pool(x)
    assert y.shape == (2, 3, 2, 5)
    for b, h, w, c in np.ndindex(y.shape):
        square = x[b, 2 * h:2 * h + 2, 2 * w:2 * w + 2, c]
        np.testing.assert_allclose(
            y[b, h, w, c], square.mean(), rtol=1e-5, atol=1e-6
        )


def test_average_pool_inverts_nearest():
    x = draw(2, 3, 4, 5)
    np.testing.assert_allclose(
        resampling.average_pool(resampling.nearest(x)), x, rtol=1e-6
    )


@pytest.mark.parametrize('sides', [(6, 4), (7, 5), (1, 2)])
def test_max_pool_of_odd_sides_uses_the_existing_pixels(sides):
    x = draw(2, *sides, 3) - 5  # below 0, which padding by 0 would exceed
    y = resampling.max_pool(x)
    assert y.shape == (2, *(-(-side // 2) for side in sides), 3)
    for b, h, w, c in np.ndindex(y.shape):
        assert y[b, h, w, c] == x[
            b, 2 * h:2 * h + 2, 2 * w:2 * w + 2, c
        ].max()


@pytest.mark.parametrize('sides', [(2, 2), (3, 3)])
def test_max_pool_gives_the_gradient_to_the_maximum(sides):
    x = draw(1, *sides, 2)
    grads = jax.grad(lambda x: resampling.max_pool(x).sum())(x)
    squares = (-(-sides[0] // 2)) ** 2
    assert np.sum(grads == 1) == 2 * squares
    assert np.sum(grads != 0) == 2 * squares
    np.testing.assert_array_equal(
        np.sort(x[grads == 1]), np.sort(resampling.max_pool(x).ravel())
    )


@pytest.mark.integration
@pytest.mark.parametrize('function, shape', [
    (resampling.pixel_shuffle, (1, 2, 3, 8)),
    (resampling.pixel_unshuffle, (1, 4, 2, 3)),
    (resampling.nearest, (1, 2, 3, 2)),
    (resampling.average_pool, (1, 4, 2, 2)),
    (resampling.max_pool, (1, 3, 4, 2)),
])
def test_second_order_agrees_with_finite_differences(function, shape):
    check_grads(
        lambda x: jnp.sin(function(x)), (draw(*shape),), order=2,
        modes=['rev'], rtol=0.02, atol=0.02,
    )


@pytest.mark.parametrize('function, shape', [
    (resampling.average_pool, (1, 3, 4, 2)),
    (resampling.pixel_shuffle, (1, 4, 4, 6)),
    (resampling.pixel_unshuffle, (1, 4, 3, 2)),
])
def test_indivisible_sizes_are_rejected(function, shape):
    with pytest.raises(ValueError, match='3x4|6 channels|4x3'):
        function(jnp.zeros(shape))


class Layer(nn.Module):
    """One registered layer, in a compact method as networks have it."""

    apply_layer: object
    spectral_norm: bool = False
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, *, train=False):
        wrap = layers.wrapper(self.spectral_norm, train=train)
        return self.apply_layer(x, 6, (3, 3), wrap=wrap, dtype=self.dtype)


@pytest.mark.parametrize('name, function', REGISTERED)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('spectral_norm', [False, True])
def test_registered_layer_has_its_size_and_spectral_norm(
    name, function, dtype, spectral_norm
):
    module = Layer(function, spectral_norm, dtype)
    y, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x),
        jnp.zeros((2, 8, 4, 3)),
    )
    sides = (16, 8) if name in resampling.UPSAMPLINGS else (4, 2)
    assert y.shape == (2, *sides, 6) and y.dtype == dtype
    (layer,) = variables['params'].values()
    features = 24 if name == 'pixel_shuffle' else 6
    assert layer['kernel'].shape == (3, 3, 3, features)
    assert layer['kernel'].dtype == jnp.float32
    assert layer['bias'].shape == (features,)
    assert ('spectral' in variables) == spectral_norm


@pytest.mark.parametrize('name, function', REGISTERED)
def test_registered_layers_have_the_same_initialisation(name, function):
    variables = Layer(function).init(
        jax.random.key(0), jnp.zeros((1, 4, 4, 50))
    )
    (layer,) = variables['params'].values()
    np.testing.assert_allclose(np.std(layer['kernel']), 0.02, rtol=0.05)


def padded_sums(x, kernel):
    """Convolve with stride 1 and padding SAME for kernels of 3, by loops."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    _, height, width, _ = x.shape
    return sum(
        padded[:, i:i + height, j:j + width] @ kernel[i, j]
        for i in range(3) for j in range(3)
    )


GOLDEN = {
    'nearest': lambda x, kernel: padded_sums(
        x.repeat(2, axis=1).repeat(2, axis=2), kernel
    ),
    'pixel_shuffle': lambda x, kernel: np.asarray(
        resampling.pixel_shuffle(padded_sums(x, kernel))
    ),
    'average_pool': lambda x, kernel: sum(
        padded_sums(x, kernel)[:, i::2, j::2] for i in (0, 1) for j in (0, 1)
    ) / 4,
    # SAME pads by 1 on the far side alone where the stride is 2.
    'strided': lambda x, kernel: padded_sums(x, kernel)[:, 1::2, 1::2],
}


@pytest.mark.parametrize('name', GOLDEN)
def test_registered_layer_is_its_closed_form(name):
    x = draw(2, 4, 6, 3)
    module = Layer(dict(REGISTERED)[name])
    variables = module.init(jax.random.key(0), x)
    ((layer, params),) = variables['params'].items()
    bias = np.zeros_like(params['bias']) + 2
    kernel = np.asarray(params['kernel']) * 50
    y = module.apply({'params': {layer: {'kernel': kernel, 'bias': bias}}}, x)
    np.testing.assert_allclose(
        y, GOLDEN[name](x, kernel) + 2, rtol=1e-4, atol=1e-4
    )


def test_transposed_is_the_layer_of_dcgan():
    x = draw(2, 4, 6, 3)
    module = Layer(resampling.UPSAMPLINGS['transposed'])
    variables = module.init(jax.random.key(0), x)
    assert list(variables['params']) == ['ConvTranspose_0']
    params = variables['params']['ConvTranspose_0']
    np.testing.assert_array_equal(
        module.apply(variables, x),
        layers.ConvTranspose(6, (3, 3)).apply({'params': params}, x),
    )


DCGAN_KERNELS = {  # from 8 channels to 4, and from 4 to 1
    'nearest': ('Conv', (3, 3, 8, 4), (3, 3, 4, 1)),
    'pixel_shuffle': ('Conv', (3, 3, 8, 16), (3, 3, 4, 4)),
    'transposed': ('ConvTranspose', (3, 3, 8, 4), (3, 3, 4, 1)),
}


@pytest.mark.parametrize('name', resampling.UPSAMPLINGS)
def test_dcgan_generator_upsamples_by_name(name):
    module = dcgan.Generator(
        image_shape=(16, 24, 1), width=4, kernel_size=3, norm='none',
        upsampling=name,
    )
    images, variables = jax.eval_shape(lambda z: module.init_with_output(
        jax.random.key(0), z, train=False
    ), jnp.zeros((2, 5)))
    assert images.shape == (2, 16, 24, 1)
    layer, *kernels = DCGAN_KERNELS[name]
    assert kernels == [
        variables['params'][f'{layer}_{n}']['kernel'].shape for n in (0, 1)
    ]


@pytest.mark.parametrize('name', resampling.DOWNSAMPLINGS)
def test_dcgan_discriminator_downsamples_by_name(name):
    images = jax.random.normal(jax.random.key(0), (2, 8, 12, 2))
    module = dcgan.Discriminator(
        width=4, kernel_size=3, norm='none', downsampling=name
    )
    output, variables = module.init_with_output(
        jax.random.key(1), images, train=False
    )
    strides = {'average_pool': 1, 'strided': 2}[name]
    params = variables['params']['Conv_0']
    x = nn.Conv(4, (3, 3), strides=strides).apply({'params': params}, images)
    if name == 'average_pool':
        x = resampling.average_pool(x)
    np.testing.assert_allclose(
        output.features, nn.leaky_relu(x, 0.2).reshape(2, -1), rtol=1e-5,
        atol=1e-7,
    )


def test_dcgan_generator_with_nearest_equals_its_layers():
    module = dcgan.Generator(
        image_shape=(8, 8, 1), width=4, kernel_size=3, norm='none',
        upsampling='nearest',
    )
    z = jax.random.normal(jax.random.key(0), (2, 5)) * 100
    images, variables = module.init_with_output(
        jax.random.key(1), z, train=False
    )
    params = variables['params']
    x = nn.relu(z @ params['Dense_0']['kernel']).reshape(2, 4, 4, 4)
    x = nn.Conv(1, (3, 3)).apply(
        {'params': params['Conv_0']}, resampling.nearest(x)
    )
    np.testing.assert_allclose(images, np.tanh(x), rtol=1e-4, atol=1e-6)


def test_every_downsampling_has_a_mirror():
    assert set(resampling.MIRRORS) == set(resampling.DOWNSAMPLINGS)
    assert set(resampling.MIRRORS.values()) <= set(resampling.UPSAMPLINGS)


def test_dcgan_autoencoder_with_average_pool_equals_its_layers():
    images = jax.random.normal(jax.random.key(0), (2, 8, 12, 2))
    module = autoencoder.DCGANDiscriminator(
        width=4, kernel_size=3, norm='none', code_size=5,
        downsampling='average_pool',
    )
    output, variables = module.init_with_output(
        jax.random.key(1), images, train=False
    )
    params = variables['params']

    def layer(module, name, x):
        return module.apply({'params': params[name]}, x)

    x = resampling.average_pool(layer(nn.Conv(4, (3, 3)), 'Conv_0', images))
    x = nn.leaky_relu(x, 0.2).reshape(2, -1)
    code = layer(nn.Dense(5), 'Dense_0', x)
    np.testing.assert_allclose(output.features, code, rtol=1e-5, atol=1e-7)
    x = layer(nn.Dense(4 * 6 * 4), 'Dense_1', code)
    x = resampling.nearest(nn.relu(x).reshape(2, 4, 6, 4))
    x = layer(nn.Conv(2, (3, 3)), 'Conv_1', x)
    assert np.abs(x).max() > 0
    np.testing.assert_allclose(
        output.logits, autoencoder.euclidean(images, x), rtol=1e-5
    )


@pytest.mark.parametrize('downsampling, layers_and_sides', [
    ('average_pool', {'Conv_2': (3, 3), 'Conv_3': (3, 3)}),
    ('strided', {'ConvTranspose_0': (4, 4), 'ConvTranspose_1': (4, 4)}),
])
@pytest.mark.parametrize('loss', ['boundary_equilibrium', 'energy_based'])
def test_decoder_of_a_configured_autoencoder_follows_the_encoder(
    loss, downsampling, layers_and_sides
):
    config = defaults.default_config()
    config.loss.name = loss
    config.discriminator.downsampling = downsampling
    config.discriminator.kernel_size = 3
    validation.validate(config)
    shape = (16, 24, 1)
    state = helpers.abstract_state(config, shape)
    sides = {
        name: layer['kernel'].shape[:2]
        for name, layer in state.players[D].params.items()
        if name.startswith('Conv')
    }
    assert sides == {'Conv_0': (3, 3), 'Conv_1': (3, 3), **layers_and_sides}
