"""StyleGAN2's networks: published counts, golden values, NumPy, invariances."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks import equalised
from gan_jax.networks import fir
from gan_jax.networks import stylegan2

KEY = jax.random.key(0)
# (side, channels, z, full side, width, classes, layers of the mapping, skip
# connections in D): parameters of G, of its mapping, and of D. The first rows
# are the authors' configurations.
COUNTS = {
    (32, 3, 512, 64, 512, 10, 2, False): (20_215_315, 793_088, 23_089_664),
    (32, 3, 512, 64, 512, 0, 2, False): (19_947_539, 525_312, 20_720_641),
    (64, 3, 512, 32, 512, 0, 2, True): (22_243_608, 525_312, 23_407_361),
    (128, 3, 512, 32, 512, 0, 2, True): (22_949_277, 525_312, 23_882_369),
    (256, 3, 512, 32, 512, 0, 2, True): (23_191_522, 525_312, 24_001_089),
    (256, 3, 512, 32, 512, 0, 8, True): (24_767_458, 2_101_248, 24_001_089),
    (1024, 3, 512, 64, 512, 0, 8, True): (30_370_060, 2_101_248, 29_012_513),
    (32, 1, 64, 16, 64, 0, 2, True): (263_531, 8_320, 288_929),
    (32, 3, 64, 32, 64, 0, 2, True): (314_387, 8_320, 337_281),
    (32, 3, 128, 32, 128, 0, 2, True): (1_251_347, 33_024, 1_346_305),
    (32, 3, 256, 32, 256, 0, 2, True): (4_993_043, 131_584, 5_379_585),
    (64, 3, 128, 32, 128, 0, 2, True): (1_395_288, 33_024, 1_465_025),
    (64, 3, 256, 32, 256, 0, 2, True): (5_567_640, 131_584, 5_854_593),
}


def count(params):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def shapes(module, *arguments):
    return jax.eval_shape(
        lambda *a: module.init(KEY, *a, train=False), *arguments
    )['params']


@pytest.mark.parametrize('setting', COUNTS, ids=str)
def test_parameters_are_as_many_as_published(setting):
    side, channels, size, full_side, width, classes, layers, skip = setting
    labels = jnp.zeros(2, jnp.int32) if classes else None
    fields = {'width': width, 'full_side': full_side, 'num_classes': classes}
    generator = shapes(stylegan2.Generator(
        image_shape=(side, side, channels), mapping_layers=layers,
        condition='concat' if classes else 'none', **fields,
    ), jnp.zeros((2, size)), labels)
    discriminator = shapes(stylegan2.Discriminator(
        residual=skip, condition='projection' if classes else 'none', **fields,
    ), jnp.zeros((2, side, side, channels)), labels)
    assert COUNTS[setting] == (
        count(generator), count(generator['mapping']), count(discriminator)
    )


@pytest.mark.parametrize('side, number', [
    (32, 8), (64, 10), (256, 14), (1024, 18),
])
def test_there_are_two_styles_for_each_resolution(side, number):
    generator = stylegan2.Generator(image_shape=(side, side, 3))
    assert generator.num_styles == number


def style_layer(size):
    """Return the parameters of an affine layer that is the identity."""
    return {'kernel': math.sqrt(size) * jnp.eye(size), 'bias': jnp.zeros(size)}


def test_modulated_convolution_has_the_golden_values():
    x = (np.arange(54) / 10 - 2).reshape(2, 3, 3, 3).transpose(0, 2, 3, 1)
    kernel = ((np.arange(54) % 7) / 7 - 0.4).reshape(2, 3, 3, 3)
    style = jnp.array([[1, 0.5, 2], [-1, 1.5, 0.25]])
    params = {
        'kernel': jnp.float32(kernel.transpose(2, 3, 1, 0)),
        'style': style_layer(3),
    }
    y = stylegan2.ModulatedConv(2).apply(
        {'params': params}, jnp.float32(x), style
    )
    np.testing.assert_allclose(
        y[:, 1, 1], [[0.49722, -0.23463], [0.651105, -0.423463]], atol=2e-6
    )
    np.testing.assert_allclose(y.sum(), 7.116857, atol=2e-5)
    np.testing.assert_allclose(jnp.abs(y).sum(), 19.80499, atol=2e-5)


@pytest.mark.parametrize('dtype, tolerance', [
    (jnp.float32, 1e-5), (jnp.bfloat16, 0.05),
])
@pytest.mark.parametrize('up', [False, True])
def test_scales_of_styles_and_of_kernels_cancel(up, dtype, tolerance):
    module = stylegan2.ModulatedConv(3, up=up, dtype=dtype)
    keys = jax.random.split(KEY, 3)
    x = jax.random.normal(keys[0], (2, 4, 4, 5))
    style = jax.random.normal(keys[1], (2, 5))
    kernel = jax.random.normal(keys[2], (3, 3, 5, 3))

    def apply(style, kernel):
        return module.apply({
            'params': {'kernel': kernel, 'style': style_layer(5)}
        }, x, style).astype(jnp.float32)

    expected = apply(style, kernel)
    assert float(jnp.abs(expected).mean()) > 0.1
    np.testing.assert_allclose(
        apply(7 * style, kernel * jnp.array([1.0, 2.0, 0.5])), expected,
        atol=tolerance,
    )


def test_modulation_scales_the_kernel_of_each_sample():
    module = stylegan2.ModulatedConv(2)
    keys = jax.random.split(KEY, 3)
    x = jax.random.normal(keys[0], (2, 6, 4, 3))
    style = jax.random.normal(keys[1], (2, 3))
    kernel = jax.random.normal(keys[2], (3, 3, 3, 2))
    actual = module.apply({
        'params': {'kernel': kernel, 'style': style_layer(3)}
    }, x, style)
    for sample, scale, result in zip(x, style, actual):
        own = kernel * scale[:, None]
        own = own / jnp.sqrt(jnp.square(own).sum((0, 1, 2)) + 1e-8)
        np.testing.assert_allclose(
            result, equalised.convolve(sample[None], own)[0], atol=1e-5
        )


SMALL = {'width': 8, 'full_side': 8}


def small(**fields):
    """Return a generator of 16 x 16 images and its variables.

    Biases and strengths of the noise, which start at 0, are random.
    """
    module = stylegan2.Generator(
        image_shape=(16, 16, 2), output='linear', **SMALL, **fields
    )
    labels = jnp.zeros(2, jnp.int32) if module.num_classes else None
    variables = jax.jit(
        lambda z: module.init(KEY, z, labels, train=False)
    )(jnp.zeros((2, 6)))
    leaves, tree = jax.tree.flatten(variables['params'])
    keys = jax.random.split(KEY, len(leaves))
    params = jax.tree.unflatten(tree, [
        leaf + 0.5 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves)
    ])
    mean = {STYLES: {'mean': {'mean': jnp.arange(6.0) / 6}}}
    return module, {**variables, 'params': params, **mean}


STYLES, NOISE = stylegan2.STYLES, stylegan2.NOISE
Z = jax.random.normal(jax.random.key(3), (4, 6))


def call(module, variables, *arguments, method=None, **options):
    return jax.jit(lambda *a: module.apply(
        variables, *a, method=method, **options
    ))(*arguments)


def test_generator_equals_numpy():
    module, variables = small()
    actual = call(module, variables, Z, train=False)
    params = jax.tree.map(np.float64, variables['params'])
    noise = jax.tree.map(np.float64, variables[NOISE])['synthesis']
    x = np.float64(Z)
    x = x / np.sqrt(np.square(x).mean(1, keepdims=True) + 1e-8)

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)

    for layer in ('dense_0', 'dense_1'):
        p = params['mapping'][layer]
        x = leaky(x @ p['kernel'] * 0.01 / np.sqrt(6) + p['bias'] * 0.01)
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16

    def correlate(x, kernel):
        """Sum over windows; x: [H, W, C], kernel: [k, k, C, F]."""
        size = len(kernel)
        return np.array([[
            np.einsum('ijc,ijcf->f', x[i:i + size, j:j + size], kernel)
            for j in range(x.shape[1] - size + 1)
        ] for i in range(x.shape[0] - size + 1)])

    def filtered(x, before, after):
        x = np.pad(x, [(before, after), (before, after), (0, 0)])
        return np.stack([
            correlate(x[..., c:c + 1], taps[..., None, None])[..., 0]
            for c in range(x.shape[2])
        ], -1)

    def spread(x):
        y = np.zeros((2 * x.shape[0] - 1, 2 * x.shape[1] - 1, x.shape[2]))
        y[::2, ::2] = x
        return y

    def modulated(x, w, p, up=False, demodulate=True):
        style = w @ p['style']['kernel'] / np.sqrt(6) + p['style']['bias']
        kernel = p['kernel'] * style[:, None]
        if demodulate:
            kernel = kernel / np.sqrt(np.square(kernel).sum((0, 1, 2)) + 1e-8)
        else:
            kernel = kernel / np.sqrt(len(style))
        if up:
            x = np.pad(spread(x), [(2, 2), (2, 2), (0, 0)])
            return filtered(correlate(x, kernel[::-1, ::-1]), 1, 1)
        edge = len(kernel) // 2
        return correlate(
            np.pad(x, [(edge, edge), (edge, edge), (0, 0)]), kernel
        )

    def layer(x, w, p, noise, up=False):
        x = modulated(x, w, p['modulated'], up)
        x = x + p['noise_strength'] * noise['noise'][..., None] + p['bias']
        return leaky(x)

    stages = params['synthesis']
    for w, result in zip(x, actual):
        x, image = stages['constant'], 0
        for number in range(3):
            p, maps = stages[f'stage_{number}'], noise[f'stage_{number}']
            if number:
                x = layer(x, w, p['conv_up'], maps['conv_up'], up=True)
                image = filtered(
                    np.pad(spread(image), [(0, 1), (0, 1), (0, 0)]), 2, 1
                )
            x = layer(x, w, p['conv'], maps['conv'])
            rgb = p['to_rgb']
            image = image + rgb['bias'] + modulated(
                x, w, rgb['modulated'], demodulate=False
            )
        np.testing.assert_allclose(result, image, rtol=2e-4, atol=2e-3)


def test_length_of_z_changes_nothing_and_classes_change_w():
    module, variables = small(num_classes=3, condition='concat')
    labels = jnp.array([0, 1, 2, 0])
    styles = call(module, variables, Z, labels, method='map')
    np.testing.assert_allclose(
        call(module, variables, 5 * Z, labels, method='map'), styles,
        rtol=1e-4, atol=1e-5,
    )
    other = call(module, variables, Z, labels[::-1], method='map')
    assert float(jnp.abs(other - styles).max()) > 1e-3


def test_truncation_moves_w_to_its_mean():
    module, variables = small()
    mean = variables[STYLES]['mean']['mean']
    styles = call(module, variables, Z, method='map')
    assert styles.shape == (4, 6, 6)
    np.testing.assert_array_equal(styles[:, 0], styles[:, 5])
    half = call(module, variables, Z, method='map', truncation=0.5)
    np.testing.assert_allclose(half, (styles + mean) / 2, rtol=1e-5, atol=1e-6)
    part = call(
        module, variables, Z, method='map', truncation=0.0, truncated_styles=2
    )
    np.testing.assert_array_equal(part[:, 2:], styles[:, 2:])
    np.testing.assert_allclose(part[:, :2] - mean, 0, atol=1e-6)
    images = call(module, variables, Z, train=False, truncation=0.0)
    np.testing.assert_allclose(images, images[:1].repeat(4, 0), atol=1e-5)
    np.testing.assert_allclose(
        call(module, variables, Z, train=False, truncation=1.0),
        call(module, variables, Z, train=False), rtol=1e-3, atol=1e-3,
    )


def test_mean_of_w_follows_training_only():
    module, variables = small()
    mean = variables[STYLES]['mean']['mean']

    @jax.jit
    def train(z, keys):
        return module.apply(
            variables, z, train=True, keys=keys, mutable=[STYLES, NOISE]
        )

    _, new = train(Z, jax.random.split(KEY, 4))
    w = call(module, variables, Z, method='map')[:, 0]
    np.testing.assert_allclose(  # of the first z alone, whatever was mixed
        new[STYLES]['mean']['mean'], 0.995 * mean + 0.005 * w.mean(0),
        rtol=1e-4,
    )
    jax.tree.map(np.testing.assert_array_equal, new[NOISE], variables[NOISE])
    _, kept = jax.jit(lambda z: module.apply(
        variables, z, train=False, mutable=[STYLES, NOISE]
    ))(Z)
    np.testing.assert_array_equal(kept[STYLES]['mean']['mean'], mean)


def test_mixing_replaces_the_styles_behind_a_random_layer():
    module, variables = small(style_mixing=0.75)
    z, keys = jnp.ones((400, 6)), jax.random.split(KEY, 400)
    own = call(module, variables, z, method='map')
    mixed = call(module, variables, z, None, keys, method='map', train=True)
    equal = np.isclose(mixed, own, atol=1e-5).all(-1)
    number = equal.sum(1)
    np.testing.assert_array_equal(equal, np.arange(6) < number[:, None])
    shares = np.bincount(number, minlength=7) / 400
    assert shares[0] == 0  # the first style is never replaced
    np.testing.assert_allclose(shares[6], 0.25, atol=0.06)
    np.testing.assert_allclose(shares[1:6], 0.15, atol=0.06)
    np.testing.assert_allclose(  # of each sample alone, and not in use
        call(module, variables, z[:3], None, keys[:3], method='map',
             train=True), mixed[:3], atol=1e-5,
    )
    np.testing.assert_allclose(
        call(module, variables, z, None, keys, method='map'), own, atol=1e-5
    )


def test_noise_is_fixed_or_of_the_sample():
    module, variables = small()
    keys = jax.random.split(KEY, 4)
    fixed = call(module, variables, Z, train=False)
    drawn = call(module, variables, Z, None, train=False, keys=keys)
    assert float(jnp.abs(drawn - fixed).max()) > 0.1
    np.testing.assert_allclose(
        call(module, variables, Z[:2], None, train=False, keys=keys[:2]),
        drawn[:2], rtol=1e-4, atol=1e-4,
    )
    z = Z[:1].repeat(4, 0)
    same_z = call(module, variables, z, None, train=False, keys=keys)
    assert float(jnp.abs(same_z[0] - same_z[1]).max()) > 0.1
    same_noise = call(
        module, variables, Z, None, train=False, keys=keys[jnp.zeros(4, int)]
    )
    assert float(jnp.abs(same_noise[0] - same_noise[1]).max()) > 0.1


def test_noise_changes_nothing_at_the_start():
    module = stylegan2.Generator(image_shape=(16, 16, 2), **SMALL)

    @jax.jit
    def both(z, keys):
        variables = module.init(KEY, z, train=False)
        return (
            module.apply(variables, z, train=False),
            module.apply(variables, z, train=False, keys=keys),
        )

    np.testing.assert_array_equal(*both(Z, jax.random.split(KEY, 4)))


def test_activations_keep_their_mean_square():
    x = jax.random.normal(KEY, (4096, 128))
    layer = equalised.Dense(256)
    params = {'params': {
        'kernel': jax.random.normal(jax.random.key(1), (128, 256)),
        'bias': jnp.zeros(256),
    }}
    y = equalised.leaky_relu(layer.apply(params, x))
    # E (sqrt(2) a(x))^2 = 1 + 0.2^2 for x of N(0, 1)
    np.testing.assert_allclose(jnp.square(y).mean(), 1.04, rtol=0.02)


def test_rate_of_a_layer_changes_its_gradient_and_not_its_first_values():
    x = jnp.ones((2, 8))
    plain, slow = equalised.Dense(4), equalised.Dense(4, rate=0.01)
    params = plain.init(KEY, x)['params']
    slow_params = slow.init(KEY, x)['params']
    np.testing.assert_allclose(
        slow_params['kernel'], 100 * params['kernel'], rtol=1e-5
    )
    np.testing.assert_allclose(
        slow.apply({'params': slow_params}, x),
        plain.apply({'params': params}, x), rtol=1e-5,
    )
    biased = equalised.Dense(4, rate=0.01, first_bias=1.0).init(KEY, x)
    np.testing.assert_allclose(biased['params']['bias'], 100)


def test_values_in_bfloat16_are_limited():
    x = jnp.array([-1e4, 3.0, 1e4])
    np.testing.assert_allclose(
        equalised.leaky_relu(x.astype(jnp.bfloat16), 0.5).astype(jnp.float32),
        [-128, 1.5 * math.sqrt(2), 128], rtol=0.01,
    )
    assert float(equalised.leaky_relu(x)[2]) > 1e4


@pytest.mark.parametrize('make', [
    lambda dtype: (stylegan2.Generator(
        image_shape=(32, 32, 3), output='linear', **SMALL, dtype=dtype
    ), (4, 6)),
    lambda dtype: (
        stylegan2.Discriminator(**SMALL, dtype=dtype), (4, 32, 32, 3)
    ),
])
def test_bfloat16_is_near_float32(make):
    module, shape = make(jnp.float32)
    x = jax.random.normal(KEY, shape)

    def values(module, variables):
        out = jax.jit(lambda x: module.apply(variables, x, train=False))(x)
        return getattr(out, 'logits', out)

    variables = jax.jit(lambda x: module.init(KEY, x, train=False))(x)
    full, low = values(module, variables), values(
        make(jnp.bfloat16)[0], variables
    )
    assert low.dtype == jnp.float32
    error = jnp.abs(full - low).max() / jnp.abs(full).max()
    assert 0 < float(error) < 0.05


def test_smallest_maps_and_all_but_four_resolutions_are_float32():
    low, full = jnp.bfloat16, jnp.float32
    assert stylegan2.stage_dtypes(3, low) == [full, low, low]
    assert stylegan2.stage_dtypes(7, low) == [full] * 3 + [low] * 4


@pytest.mark.parametrize('residual', [True, False])
def test_discriminator_judges_groups_that_are_permuted_alike(residual):
    module = stylegan2.Discriminator(**SMALL, residual=residual)
    x = jax.random.normal(KEY, (8, 16, 16, 3))
    variables = jax.jit(lambda x: module.init(KEY, x, train=False))(x)
    apply = jax.jit(lambda x: module.apply(variables, x, train=False).logits)
    logits = apply(x)
    assert ('skip' in variables['params']['stage_0']) == residual
    order = np.array([2, 1, 4, 7, 0, 3, 6, 5])  # groups: even, odd samples
    np.testing.assert_allclose(apply(x[order]), logits[order], atol=1e-4)
    alone = stylegan2.Discriminator(
        **SMALL, residual=residual, stddev_group=0
    )
    small_params = {**variables['params'], 'conv': {
        **variables['params']['conv'],
        'kernel': variables['params']['conv']['kernel'][:, :, :-1],
    }}
    first, both = (
        jax.jit(lambda x: alone.apply(
            {'params': small_params}, x, train=False
        ).logits)(images) for images in (x[:1], x[:2])
    )
    np.testing.assert_allclose(first, both[:1], atol=1e-4)


def test_skip_connection_is_added_with_half_of_the_variance():
    stage = stylegan2.Halving(4, residual=True)
    x = jax.random.normal(KEY, (2, 8, 8, 3))
    params = stage.init(KEY, x)['params']
    zero = jax.tree.map(jnp.zeros_like, params)
    skip = stage.apply({'params': {**zero, 'skip': params['skip']}}, x)
    kernel = params['skip']['kernel'][0, 0] / math.sqrt(3)
    means = fir.downsample(x)
    np.testing.assert_allclose(
        skip, means @ kernel * math.sqrt(0.5), atol=1e-5
    )


@pytest.mark.parametrize('layers', [8, 1, 0])
def test_logit_is_a_product_with_the_class(layers):
    fields = {'mapping_layers': layers} if layers != 8 else {}  # the default
    module = stylegan2.Discriminator(
        **SMALL, num_classes=3, condition='projection', **fields
    )
    x = jax.random.normal(KEY, (4, 16, 16, 3)).at[1:].set(0)
    labels = jnp.array([0, 1, 2, 1])
    variables = jax.jit(
        lambda x: module.init(KEY, x, labels, train=False)
    )(x)
    params = variables['params']
    apply = jax.jit(
        lambda x, labels: module.apply(variables, x, labels, train=False)
    )
    output = apply(x, labels)
    product = output.features @ params['output']['kernel'] / math.sqrt(8)
    w = stylegan2.Mapping(layers, 3, 8).apply(
        {'params': params['mapping']}, None, labels
    )
    assert len(params['mapping']) == layers + 1  # and the embedding
    np.testing.assert_allclose(
        output.logits, (product * w).sum(1) / math.sqrt(8), rtol=1e-4,
        atol=1e-5,
    )


def test_sides_need_not_be_equal():
    module = stylegan2.Generator(image_shape=(24, 40, 1), **SMALL)
    z = jnp.ones((2, 6))
    variables = jax.eval_shape(lambda: module.init(KEY, z, train=False))
    assert variables['params']['synthesis']['constant'].shape == (6, 10, 8)
    images = jax.eval_shape(
        lambda variables: module.apply(variables, z, train=False), variables
    )
    assert images.shape == (2, 24, 40, 1)


def test_labels_are_checked():
    module = stylegan2.Generator(
        image_shape=(16, 16, 1), condition='batch_norm', num_classes=2
    )
    with pytest.raises(ValueError, match='batch_norm'):
        module.init(KEY, Z, jnp.zeros(4, jnp.int32), train=False)
