"""R3GAN's networks: published counts, the identity at the start, groups."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import test_conditioning as players
from gan_jax.networks import convolutions
from gan_jax.networks import r3gan

KEY = jax.random.key(0)
# (side, width, blocks of a stage, channels of a group, classes): parameters of
# G and D for images of 3 channels, z of 64. The first rows are the authors'
# networks for CIFAR-10, FFHQ and ImageNet.
COUNTS = {
    (32, 768, 2, 16, 10): (20_781_952, 21_280_512),
    (32, 768, 2, 16, 0): (20_732_160, 20_683_776),
    (64, 768, 2, 16, 0): (22_429_824, 22_381_440),
    (256, 768, 2, 16, 0): (23_057_952, 23_009_568),
    (32, 1536, 2, 32, 1000): (82_914_304, 86_548_992),
    (64, 1536, 2, 32, 1000): (103_570_432, 107_205_120),
    (32, 48, 1, 16, 0): (96_912, 93_888),
    (32, 96, 1, 16, 0): (267_552, 261_504),
    (32, 96, 2, 16, 0): (527_136, 521_088),
    (32, 192, 1, 16, 0): (830_016, 817_920),
    (32, 384, 2, 16, 0): (5_647_488, 5_623_296),
    (64, 384, 2, 16, 0): (6_127_680, 6_103_488),
}


def pair(side, width, blocks, group, classes, channels=3, **fields):
    """Return G, whose last layer is linear, and D."""
    fields.update(
        width=width, num_blocks=blocks, group_size=group, num_classes=classes,
        full_side=64 if classes == 1000 else 32,
    )
    return (
        r3gan.Generator(
            image_shape=(side, side, channels), output='linear',
            condition='concat' if classes else 'none', **fields,
        ),
        r3gan.Discriminator(
            condition='projection' if classes else 'none', **fields
        ),
    )


def count(module, shape, labels):
    """Count the parameters of a module without drawing them."""
    variables = jax.eval_shape(
        lambda x: module.init(KEY, x, labels, train=True), jnp.zeros(shape)
    )
    return sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(variables['params'])
    )


@pytest.mark.parametrize('setting', COUNTS, ids=str)
def test_parameters_are_as_many_as_published(setting, monkeypatch):
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)  # fast to trace
    side, *_, classes = setting
    labels = jnp.zeros(2, jnp.int32) if classes else None
    generator, discriminator = pair(*setting)
    assert COUNTS[setting] == (
        count(generator, (2, 64), labels),
        count(discriminator, (2, side, side, 3), labels),
    )


@pytest.mark.parametrize('shape, widths', [
    ((32, 32, 3), [768] * 4),
    ((28, 28, 1), [768] * 3),
    ((64, 64, 3), [768] * 4 + [384]),
    ((256, 256, 3), [768] * 4 + [384, 192, 96]),
    ((64, 128, 3), [768] * 4 + [384]),
])
def test_channels_are_halved_beyond_the_full_side(shape, widths):
    assert r3gan.stage_widths(shape, 768, 32) == widths


@pytest.fixture(scope='module')
def small():
    """Return (G, its variables), (D, its variables), for 16 x 16."""
    modules = pair(16, 16, 2, 16, 0, channels=1)
    inputs = jnp.ones((1, 8)), jnp.ones((1, 16, 16, 1))
    return [
        (module, jax.jit(lambda x: module.init(KEY, x, train=True))(x))
        for module, x in zip(modules, inputs)
    ]


def bound(module, variables):
    """Return images or logits as a compiled function of the inputs."""
    return jax.jit(lambda x: getattr(
        output := module.apply(variables, x, train=True), 'logits', output
    ))


@pytest.mark.parametrize('player, shape', [(0, (3, 8)), (1, (3, 16, 16, 1))])
def test_networks_are_linear_at_first(small, player, shape):
    function = bound(*small[player])
    a, b = jax.random.normal(KEY, (2, *shape))
    expected = 2 * function(a) - function(b)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(
        function(2 * a - b), expected, rtol=1e-4, atol=1e-4
    )


def test_r1_and_r2_are_equal_at_first(small):
    real, fake = jax.random.normal(KEY, (2, 3, 16, 16, 1))
    logits = bound(*small[1])
    slopes = [
        jax.grad(lambda x: logits(x).sum())(images) for images in (real, fake)
    ]
    squares = [0.5 * np.square(slope).sum((1, 2, 3)) for slope in slopes]
    np.testing.assert_allclose(squares, squares[0][0], rtol=1e-4)
    assert squares[0][0] > 0


def test_initial_deviations_are_fixups():
    width, blocks = 192, 8
    generator, discriminator = pair(32, width, 2, 16, 0)
    params, others = (
        jax.jit(lambda: module.init(KEY, inputs, train=True))()['params']
        for module, inputs in (
            (generator, jnp.zeros((1, 64))),
            (discriminator, jnp.zeros((1, 32, 32, 3))),
        )
    )
    # The first dense layer is that of z; then come those of the first block.
    from_z, first, last = (
        params[f'Dense_{number}']['kernel'] for number in range(3)
    )
    middle = params['GroupedConv_0']['kernel']
    assert first.shape == (width, 2 * width) and last.shape == first.shape[::-1]
    assert middle.shape == (3, 3, 16, 2 * width)
    assert np.count_nonzero(last) == 0
    scale = 0.82457
    np.testing.assert_allclose(scale, 1.38675 * blocks**-0.25, rtol=1e-5)
    for kernel, deviation in (
        (first, scale / width**0.5), (middle, scale / 12), (from_z, 1 / 8),
        (params['Basis_0']['kernel'], 1),
        (others['WeightedSum_0']['kernel'], 1 / 4),
        (others['GroupedConv_7']['kernel'], scale / 12),
    ):
        np.testing.assert_allclose(np.std(kernel), deviation, rtol=0.03)


def grouped(x, kernel, groups):
    """Convolve each group of channels alone, in NumPy."""
    height, width = x.shape[1:3]
    x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.concatenate([
        sum(
            part[:, i:i + height, j:j + width] @ weights[i, j]
            for i in range(3) for j in range(3)
        )
        for part, weights in zip(
            np.split(x, groups, -1), np.split(kernel, groups, -1)
        )
    ], -1)


def resample(x, matrix):
    """Apply a matrix to height and width."""
    return np.einsum('ph,qw,bhwc->bpqc', matrix, matrix, x)


UP = np.array([
    [3, 0, 0, 0], [3, 1, 0, 0], [1, 3, 0, 0], [0, 3, 1, 0],
    [0, 1, 3, 0], [0, 0, 3, 1], [0, 0, 1, 3], [0, 0, 0, 3],
]) / 4


def blocks(params, x, numbers, dense):
    """Apply blocks of 8 channels in 4 groups; `dense` is their first layer."""
    def activate(y, number):
        y = y + params[f'BiasedLeakyReLU_{number}']['bias']
        return np.where(y > 0, y, 0.2 * y)

    for place, number in enumerate(numbers):
        y = x @ params[f'Dense_{dense + 2 * place}']['kernel']
        y = activate(y, 2 * number)
        y = grouped(y, params[f'GroupedConv_{number}']['kernel'], 4)
        y = activate(y, 2 * number + 1)
        x = x + y @ params[f'Dense_{dense + 2 * place + 1}']['kernel']
    return x


def test_generator_equals_its_layers_in_numpy():
    # 4 x 4 x 8, then 4 channels at 8 x 8: groups of 4 of 16 and of 8 channels.
    module = r3gan.Generator(
        image_shape=(8, 8, 2), width=8, full_side=4, group_size=4,
        num_blocks=1, output='linear',
    )
    z = np.random.RandomState(1).randn(3, 5).astype(np.float32)
    variables = players.init(module, z, None)
    params = jax.tree.map(np.float64, variables['params'])
    kernels = [params[f'Dense_{number}']['kernel'] for number in range(7)]
    x = params['Basis_0']['kernel'] * (z @ kernels[0])[:, None, None]
    x = blocks(params, x, [0], 1)
    x = resample(x @ kernels[3], UP)
    y = x @ kernels[4]
    y += params['BiasedLeakyReLU_2']['bias']
    y = grouped(
        np.where(y > 0, y, 0.2 * y), params['GroupedConv_1']['kernel'], 2
    ) + params['BiasedLeakyReLU_3']['bias']
    x = (x + np.where(y > 0, y, 0.2 * y) @ kernels[5]) @ kernels[6]
    np.testing.assert_allclose(
        module.apply(variables, z, train=False), x, rtol=1e-4, atol=1e-4
    )


def test_discriminator_equals_its_layers_in_numpy():
    module = r3gan.Discriminator(
        width=8, full_side=8, group_size=4, num_blocks=2
    )
    images = np.random.RandomState(1).randn(3, 8, 8, 2).astype(np.float32)
    variables = players.init(module, images, None)
    params = jax.tree.map(np.float64, variables['params'])
    x = images @ params['Dense_0']['kernel']
    x = blocks(params, x, [0, 1], 1)
    x = blocks(params, resample(x, UP.T / 2), [2, 3], 5)
    features = (x * params['WeightedSum_0']['kernel']).sum((1, 2))
    output = module.apply(variables, images, train=False)
    np.testing.assert_allclose(output.features, features, rtol=1e-4)
    np.testing.assert_allclose(
        output.logits, (features @ params['Dense_9']['kernel'])[:, 0],
        rtol=1e-4,
    )


def test_groups_are_independent_and_equal_xlas(monkeypatch):
    layer = r3gan.GroupedConv(3)
    x = jax.random.normal(KEY, (2, 5, 4, 12))
    params = layer.init(KEY, x)

    def loss(params, x):
        return jnp.sum(layer.apply(params, x) ** 2)

    reach = jax.grad(lambda x: layer.apply(params, x)[..., 4:8].sum())(x)
    assert (reach[..., :4] == 0).all() and (reach[..., 8:] == 0).all()
    assert (reach[..., 4:8] != 0).any()
    split = layer.apply(params, x), jax.grad(loss, (0, 1))(params, x)
    monkeypatch.setattr(convolutions, 'on_cpu', lambda: False)
    whole = layer.apply(params, x), jax.grad(loss, (0, 1))(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-4
    ), split, whole)


LABELS = players.LABELS


@pytest.mark.parametrize('player', [0, 1])
def test_a_label_affects_only_its_sample_and_an_invalid_one_is_nan(player):
    module = pair(8, 8, 1, 4, 3, channels=1)[player]
    shape = [(4, 5), (4, 8, 8, 1)][player]
    x = np.random.RandomState(1).randn(*shape).astype(np.float32)
    variables = players.init(module, x)

    def value(labels):
        output = module.apply(variables, x, labels, train=False)
        return np.asarray(getattr(output, 'logits', output))

    before, after = value(LABELS), value(LABELS + np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.abs(before[2] - after[2]).max() > 1e-4
    assert np.isnan(after[3]).all()


def test_logits_of_two_classes_differ_by_the_product_of_embeddings():
    _, module = pair(8, 8, 1, 4, 3, channels=1)
    images = np.random.RandomState(1).randn(1, 8, 8, 1).astype(np.float32)
    variables = players.init(module, images, LABELS[:1])
    first, second = (
        module.apply(variables, images, np.array([label]), train=False)
        for label in (0, 2)
    )
    params = variables['params']
    embedding = params['Embed_0']['embedding']
    last = max(
        (key for key in params if key.startswith('Dense_')),
        key=lambda key: int(key.removeprefix('Dense_')),
    )
    np.testing.assert_allclose(
        first.logits - second.logits,
        first.features @ params[last]['kernel'] @ (embedding[0] - embedding[2]),
        rtol=1e-3, atol=1e-5,
    )


def test_embeddings_start_as_linear_layers_of_the_one_hot_label():
    modules = pair(8, 64, 1, 16, 100, channels=1)
    inputs = jnp.ones((1, 8)), jnp.ones((1, 8, 8, 1))
    for module, x, deviation in zip(modules, inputs, (0.1, 0.1 / 8)):
        embedding = module.init(KEY, x, jnp.zeros(1, int), train=True)[
            'params']['Embed_0']['embedding']
        assert embedding.shape == (100, 64)
        np.testing.assert_allclose(np.std(embedding), deviation, rtol=0.03)


@pytest.mark.parametrize('side, single', [(16, 1), (32, 1), (64, 1), (128, 2)])
def test_smallest_maps_are_float32_under_bfloat16(side, single):
    modules = pair(side, 8, 1, 4, 0, channels=1, dtype=jnp.bfloat16)
    inputs = jnp.ones((1, 8)), jnp.ones((1, side, side, 1))
    orders = []
    for module, x in zip(modules, inputs):
        output, variables = jax.eval_shape(lambda: module.init_with_output(
            KEY, x, train=True, capture_intermediates=True
        ))
        params = jax.tree.leaves(variables['params'])
        assert {leaf.dtype for leaf in params} == {jnp.dtype('float32')}
        stages = len(r3gan.stage_widths((side, side, 1), 8, 32))
        orders.append([
            variables['intermediates'][f'GroupedConv_{number}'][
                '__call__'][0].dtype for number in range(stages)
        ])
    expected = [jnp.float32] * single + [jnp.bfloat16] * (stages - single)
    assert orders == [expected, expected[::-1]]
    assert output.logits.dtype == jnp.float32


@pytest.mark.parametrize('fields', [
    {}, {'spectral_norm': True, 'norm': 'layer'}, {'dtype': jnp.bfloat16},
], ids=str)
def test_r1_has_finite_gradients_that_reach_the_kernels(fields):
    module = r3gan.Discriminator(
        width=4, group_size=4, num_blocks=1, **fields
    )
    images = jax.random.normal(KEY, (3, 8, 8, 1))
    players.check_r1(module, images)


def test_norms_precede_each_bias_and_are_off_by_default():
    def names(**fields):
        module = r3gan.Generator(
            image_shape=(8, 8, 1), width=8, num_blocks=1, num_classes=3,
            **fields,
        )
        return {
            name for name in jax.eval_shape(lambda: module.init(
                KEY, jnp.zeros((4, 5)), LABELS, train=True
            ))['params'] if 'Norm' in name
        }

    assert names() == set()
    assert names(norm='batch') == {f'Norm_{k}' for k in range(4)}
    assert names(norm='batch', condition='batch_norm') == {
        f'ConditionalBatchNorm_{k}' for k in range(4)
    }


@pytest.mark.parametrize('module, shape, match', [
    (r3gan.Generator(image_shape=(8, 8, 1), width=20), (1, 4),
     'width=20 of the Generator .* group_size=16'),
    (r3gan.Discriminator(width=20), (1, 8, 8, 1), 'width=20 .* group_size=16'),
    (r3gan.Discriminator(width=4), (1, 256, 256, 1), 'a stage of 0 channels'),
    (r3gan.Discriminator(condition='concat', num_classes=3), (4, 8, 8, 1),
     'is not one of'),
    (r3gan.Generator(image_shape=(30, 30, 1)), (1, 4), '30x30'),
])
def test_invalid_fields_are_reported_in_one_line(module, shape, match):
    with pytest.raises(ValueError, match=match) as raised:
        jax.eval_shape(lambda x: module.init(
            KEY, x, LABELS, train=True
        ), jnp.zeros(shape))
    assert '\n' not in str(raised.value)
