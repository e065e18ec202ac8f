"""PatchGAN: published counts, receptive fields, NumPy, conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import test_translators as layers_of
from gan_jax import networks
from gan_jax.algorithms import algorithm
from gan_jax.networks import patchgan
from gan_jax.objectives import losses

KEY = jax.random.key(0)
# (depth, width, channels of the input, norm): parameters.
COUNTS = {
    (3, 64, 3, 'instance'): 2_764_737, (3, 64, 6, 'batch'): 2_768_705,
    (3, 16, 3, 'instance'): 175_089, (2, 16, 3, 'instance'): 42_865,
}
FIELDS = {1: 16, 2: 34, 3: 70, 4: 142, 5: 286}


@pytest.mark.parametrize('setting', COUNTS, ids=str)
def test_parameters_are_as_many_as_the_authors(setting):
    depth, width, channels, norm = setting
    module = patchgan.Discriminator(depth=depth, width=width, norm=norm)
    images = jnp.zeros((1, 64, 64, channels))
    assert layers_of.count(module, images) == COUNTS[setting]


@pytest.mark.parametrize('shape, depth, sides', [
    ((256, 256), 3, (30, 30)), ((64, 64), 3, (6, 6)), ((32, 32), 2, (6, 6)),
    ((28, 28), 3, (1, 1)), ((45, 70), 2, (9, 15)), ((96, 128), 5, (1, 2)),
])
@pytest.mark.parametrize('fields', [
    {}, {'dtype': jnp.bfloat16}, {'spectral_norm': True, 'norm': 'none'},
], ids=str)
def test_output_is_a_map_of_float32_logits(shape, depth, sides, fields):
    module = patchgan.Discriminator(depth=depth, width=2, **fields)
    output, _ = layers_of.shapes(module, jnp.zeros((3, *shape, 1)))
    assert output.logits.shape == (3, *sides)
    assert output.logits.dtype == jnp.float32
    assert output.features.shape == (3, 2 * min(2**depth, 8))
    assert output.features.dtype == fields.get('dtype', jnp.float32)
    assert output.class_logits is None


def positive(module, images):
    """Return variables whose kernels are all 0.1, so that nothing cancels."""
    _, variables = layers_of.shapes(module, images)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), variables)


@pytest.mark.parametrize('depth', FIELDS)
def test_logit_depends_on_exactly_its_square(depth):
    module = patchgan.Discriminator(depth=depth, width=1, norm='none')
    side = 10 * 2**depth
    images = jnp.ones((1, side, side, 1))
    variables = positive(module, images)

    @jax.jit
    @jax.grad
    def reach(images):
        return module.apply(variables, images, train=True).logits[0, 3, 3]

    # All padding together has 3 * 2^depth - 1 pixels, three steps one more.
    expected = np.zeros((side, side), bool)
    expected[1:1 + FIELDS[depth], 1:1 + FIELDS[depth]] = True
    np.testing.assert_array_equal(reach(images)[0, ..., 0] != 0, expected)


def test_inner_logits_move_with_the_image():
    module = patchgan.Discriminator(width=2, norm='none')
    images = layers_of.images_of(128, 1, count=1)
    variables, _ = layers_of.drawn(module, images)
    logits, moved = (
        layers_of.run(module, variables, x).logits[0]
        for x in (images, np.roll(images, (8, 16), (1, 2)))
    )
    # Logits 4 to 9 of 14 are of squares within the image, before and after.
    assert np.std(logits[4:10, 4:9]) > 1e-3
    np.testing.assert_allclose(
        moved[5:11, 6:11], logits[4:10, 4:9], rtol=1e-3, atol=1e-4
    )


def test_discriminator_equals_its_layers_in_numpy():
    module = patchgan.Discriminator(depth=2, width=3)
    images = layers_of.images_of(14, 2)
    variables, params = layers_of.drawn(module, images)

    def layer(x, number, stride):
        one = params[f'Conv_{number}']
        return layers_of.convolve(x, one['kernel'], stride, 1) + one['bias']

    x = layers_of.relu(layer(images, 0, 2), 0.2)
    for number, stride in ((1, 2), (2, 1)):
        x = layers_of.normalize(layer(x, number, stride))
        x = layers_of.relu(x, 0.2)
    assert x.shape == (2, 2, 2, 12)
    output = layers_of.run(module, variables, images)
    np.testing.assert_allclose(
        output.features, x.mean((1, 2)), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        output.logits, layer(x, 3, 1)[..., 0], rtol=1e-3, atol=1e-4
    )


def test_condition_precedes_the_images_and_matters():
    module = patchgan.Discriminator(depth=1, width=2, norm='batch')
    condition, images = layers_of.images_of(8, 3), layers_of.images_of(8, 1)
    joined = np.concatenate([condition, images], -1)
    variables, _ = layers_of.drawn(module, joined)
    weights = algorithm.Weights(variables.pop('params'), variables)

    @jax.jit
    def logits(images, condition=None):
        inputs = algorithm.Inputs(images, condition=condition)
        return algorithm.forward(module, weights, inputs)[0].logits

    value = logits(images, condition)
    np.testing.assert_allclose(value, logits(joined), rtol=1e-4, atol=1e-5)
    for other in (condition[::-1], -condition):
        assert np.abs(value - logits(images, other)).max() > 1e-2


def test_loss_is_the_mean_over_all_patches():
    module = patchgan.Discriminator(depth=1, width=2)
    images = layers_of.images_of(8, 1)
    variables, _ = layers_of.drawn(module, images)
    logits = layers_of.run(module, variables, images).logits
    assert logits.shape == (2, 2, 2)
    loss = losses.LOSSES['least_squares'].generator(
        None, logits, a=0.0, b=1.0, c=1.0
    )
    np.testing.assert_allclose(
        loss, 0.5 * np.mean((np.ravel(logits) - 1) ** 2), rtol=1e-5
    )


@pytest.mark.parametrize('fields', [
    {}, {'norm': 'none', 'spectral_norm': True}, {'dtype': jnp.bfloat16},
], ids=str)
def test_gradient_penalties_reach_all_kernels(fields):
    module = patchgan.Discriminator(depth=1, width=2, **fields)
    images = layers_of.images_of(8, 1)
    variables, _ = layers_of.drawn(module, images)
    params = variables.pop('params')

    @jax.jit
    @jax.grad
    def penalty(params):
        slopes = jax.grad(lambda x: module.apply(
            {'params': params, **variables}, x, train=True
        ).logits.sum())(images)
        return jnp.sum(jnp.square(slopes))

    for grads in jax.tree.leaves(penalty(params)):
        assert np.isfinite(grads).all()
        assert grads.ndim < 2 or np.abs(grads).max() > 0


def test_weights_and_biases_start_as_the_authors():
    module = networks.TRANSLATORS['patchgan'].discriminator(width=16)
    params = jax.jit(lambda: module.init(
        KEY, jnp.zeros((1, 32, 32, 3)), train=False
    ))()['params']
    for layer in params.values():
        np.testing.assert_allclose(np.std(layer['kernel']), 0.02, rtol=0.1)
        assert (layer['bias'] == 0).all()


@pytest.mark.parametrize('depth, shape, condition, match', [
    (3, (2, 23, 64, 1), None, '23x64 does not fit .* depth 3: .* at least 24'),
    (0, (2, 64, 64, 1), None, 'depth 0: .* at least 1'),
    (3, (2, 7), None, r'needs images, .* \[7\]'),
    (1, (2, 8, 8, 1), (2, 8, 16, 1), r'condition of shape \[2, 8, 16, 1\]'),
    (1, (2, 8, 8, 1), (1, 8, 8, 1), r'condition of shape \[1, 8, 8, 1\]'),
])
def test_invalid_shapes_are_reported_in_one_line(
    depth, shape, condition, match
):
    module = patchgan.Discriminator(depth=depth)
    if condition is not None:
        condition = jnp.zeros(condition)
    with pytest.raises(ValueError, match=match) as raised:
        layers_of.shapes(module, jnp.zeros(shape), condition=condition)
    assert '\n' not in str(raised.value)
