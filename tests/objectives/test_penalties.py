"""Penalties against closed forms on linear and quadratic discriminators."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from gan_jax.objectives import gradient_penalties
from gan_jax.objectives import output_penalties
from gan_jax.objectives import penalties
from gan_jax.objectives.penalties import PENALTIES

# Those of styles are in test_path_length.py.
NAMES = [name for name, penalty in PENALTIES.items() if not penalty.styles]
W = np.array([0.6, -0.8, 1.2])  # norm 1.562
NORM = np.linalg.norm(W)
RANDOM = np.random.RandomState(0)
REAL = RANDOM.randn(5, 3).astype(np.float32)
FAKE = RANDOM.randn(5, 3).astype(np.float32) + 1
KEY = jax.random.key(7)


class Output(NamedTuple):
    logits: Any
    features: Any = None

    @property
    def class_logits(self):
        return self.features.reshape(len(self.features), -1)[:, :3]


def linear(images):
    return Output(images @ W.astype(np.float32), images)


def quadratic(images):
    return Output(0.5 * jnp.sum(jnp.square(images), -1), images)


def mlp(images):
    return Output(jnp.sum(jnp.tanh(images @ MATRIX), -1), images)


MATRIX = RANDOM.randn(3, 4).astype(np.float32)


def generate(z):
    return jnp.tanh(z @ MATRIX[:2, :3])


def context(discriminator_fn=linear, **changes):
    ctx = penalties.Context(
        params={'w': jnp.asarray(W)},
        discriminator_fn=discriminator_fn,
        generator_fn=generate,
        real_images=jnp.asarray(REAL),
        fake_images=jnp.asarray(FAKE),
        z=jnp.asarray(np.random.RandomState(1).randn(5, 2), jnp.float32),
        sample_index=jnp.arange(5),
        labels=jnp.array([0, 2, 1, 1, 0]),
    )._replace(**changes)
    outputs = {}
    for side, images in (('real', ctx.real_images),
                         ('fake', ctx.fake_images)):
        if side not in changes:
            outputs[side] = discriminator_fn(images)
    return ctx._replace(**outputs)


def penalty(name, ctx, memory=None):
    return PENALTIES[name].fn(ctx, memory, KEY)


# Of a linear D with weights W the slope is W everywhere.
LINEAR = {
    'gradient_penalty': (NORM - 1) ** 2,
    'gradient_penalty_one_sided': (NORM - 1) ** 2,
    'dragan': (NORM - 1) ** 2,
    'zero_centered': NORM**2,
    'r1': NORM**2 / 2,
    'r2': NORM**2 / 2,
}


@pytest.mark.parametrize('name', LINEAR)
def test_gradient_penalty_of_a_linear_d_is_its_closed_form(name):
    np.testing.assert_allclose(
        penalty(name, context()), LINEAR[name], rtol=1e-5
    )


def test_every_gradient_penalty_has_a_closed_form_here():
    assert set(LINEAR) == {
        name for name, r in PENALTIES.items() if r.input_gradient
    }


def test_gradient_penalties_of_a_quadratic_d_depend_on_the_points():
    # D(x) = ||x||^2 / 2 has slope x.
    ctx = context(quadratic)
    np.testing.assert_allclose(
        penalty('r1', ctx), (REAL**2).sum(1).mean() / 2, rtol=1e-5
    )
    np.testing.assert_allclose(
        penalty('r2', ctx), (FAKE**2).sum(1).mean() / 2, rtol=1e-5
    )
    share = np.array([
        float(jax.random.uniform(jax.random.fold_in(KEY, index), (1,))[0])
        for index in range(5)
    ])[:, None]
    norms = np.linalg.norm(share * REAL + (1 - share) * FAKE, axis=1)
    np.testing.assert_allclose(
        penalty('gradient_penalty', ctx), ((norms - 1) ** 2).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        penalty('gradient_penalty_one_sided', ctx),
        (np.maximum(norms - 1, 0) ** 2).mean(), rtol=1e-5,
    )
    np.testing.assert_allclose(
        penalty('zero_centered', ctx), (norms**2).mean(), rtol=1e-5
    )


def test_r1_and_r2_pass_through_augmentation_and_packing():
    # Of D(T(x)) = w . (m x), the gradient is m w; D judges two images as one,
    # so its norm is over both.
    masks = {False: np.array([1.0, 0, 2]), True: np.array([0, 0.5, 1])}
    ctx = context(
        lambda x: Output(x.reshape(-1, 2, 3).sum(1) @ W.astype(np.float32)),
        real_images=jnp.full((5, 6), jnp.nan),  # not these
        fake_images=jnp.full((5, 6), jnp.nan),
        raw_real_images=jnp.ones((10, 3)), raw_fake_images=jnp.ones((10, 3)),
        preprocess_fn=lambda x, fake: (x * masks[fake]).reshape(5, 6),
        augmented=True,
    )
    for name, fake in ('r1', False), ('r2', True):
        np.testing.assert_allclose(
            penalty(name, ctx), 2 * ((masks[fake] * W) ** 2).sum() / 2,
            rtol=1e-5,
        )


@pytest.mark.parametrize('deviation', [1.0, 3.0])
def test_dragan_shifts_each_image_by_up_to_half_a_deviation(deviation):
    # D(x) = ||x - X||^2 / 2 has the displacement from X as its slope. In the
    # notebook that is alpha 0.5 std u, with alpha ~ U[0, 1) for each image and
    # u ~ U[0, 1) for each value, so in N dimensions its norm is alpha r, with
    # r = 0.5 std sqrt(N / 3); and E (alpha r - 1)^2 = r^2 / 3 - r + 1.
    count, size = 4000, 300
    signs = np.where(np.arange(count) % 2, 1, -1)[:, None]
    real = jnp.asarray(deviation * signs * np.ones(size), jnp.float32)
    ctx = context(
        lambda x: Output(0.5 * jnp.sum(jnp.square(x - real), -1)),
        real_images=real, fake_images=real, sample_index=jnp.arange(count),
    )
    reach = 0.5 * deviation * np.sqrt(size / 3)
    np.testing.assert_allclose(
        penalty('dragan', ctx), reach**2 / 3 - reach + 1, rtol=0.05
    )


def test_one_sided_penalty_ignores_small_slopes():
    gentle = context(lambda x: Output(0.1 * x[:, 0]))
    assert penalty('gradient_penalty_one_sided', gentle) == 0
    assert penalty('gradient_penalty', gentle) > 0.5


@pytest.mark.parametrize('name', LINEAR)
def test_flat_d_gives_finite_gradients(name):
    def value(scale):
        def flat(images):
            return Output(scale * images.sum(-1))

        return penalty(name, context(flat))

    assert np.isfinite(jax.grad(value)(0.0))


@pytest.mark.parametrize('name', LINEAR)
def test_gradient_of_the_penalty_agrees_with_finite_differences(name):
    def value(matrix):
        def network(images):
            return Output(jnp.sum(jnp.tanh(images @ matrix), -1))

        return penalty(name, context(network))

    check_grads(value, (jnp.asarray(MATRIX),), 1, ['rev'], rtol=0.02, atol=0.02)


@pytest.mark.parametrize('name', LINEAR)
def test_images_of_any_rank_are_one_sample_each(name):
    shape = (5, 3, 1, 1)
    images = context(
        lambda x: linear(x.reshape(-1, 3)),
        real_images=jnp.asarray(REAL.reshape(shape)),
        fake_images=jnp.asarray(FAKE.reshape(shape)),
    )
    np.testing.assert_allclose(penalty(name, images), LINEAR[name], rtol=1e-5)


def test_epsilon_is_one_per_sample():
    # Between all 1 and all 0, every value of an interpolate is its epsilon.
    ctx = context(
        real_images=jnp.ones((5, 3)), fake_images=jnp.zeros((5, 3))
    )
    points = gradient_penalties._interpolates(ctx, KEY)
    assert (np.ptp(points, axis=1) == 0).all()
    assert len(np.unique(points[:, 0])) == 5


def test_pulling_away_is_1_for_one_direction_and_0_for_right_angles():
    same = context(fake=Output(None, jnp.array([[1., 2], [2, 4], [-3, -6]])))
    np.testing.assert_allclose(penalty('pulling_away', same), 1, rtol=1e-5)
    apart = context(fake=Output(None, jnp.eye(3) * 5))
    np.testing.assert_allclose(penalty('pulling_away', apart), 0, atol=1e-6)
    features = RANDOM.randn(4, 3)
    cos = [
        (features[i] @ features[j]) ** 2
        / (features[i] @ features[i]) / (features[j] @ features[j])
        for i in range(4) for j in range(4) if i != j
    ]
    mixed = context(fake=Output(None, jnp.asarray(features, jnp.float32)))
    np.testing.assert_allclose(
        penalty('pulling_away', mixed), np.mean(cos), rtol=1e-5
    )


def test_drift_is_the_mean_square_of_the_real_outputs():
    np.testing.assert_allclose(
        penalty('drift', context()), ((REAL @ W) ** 2).mean(), rtol=1e-5
    )


def test_lecam_is_the_distance_to_the_other_sides_average():
    memory = {'real': jnp.float32(0.7), 'fake': jnp.float32(-0.2)}
    expected = ((REAL @ W + 0.2) ** 2).mean() + ((FAKE @ W - 0.7) ** 2).mean()
    np.testing.assert_allclose(
        penalty('lecam', context(), memory), expected, rtol=1e-5
    )
    new = PENALTIES['lecam'].update(
        memory, None, {'d/real_logits': 1.7, 'd/fake_logits': -1.2}
    )
    np.testing.assert_allclose(new['real'], 0.71, rtol=1e-5)
    np.testing.assert_allclose(new['fake'], -0.21, rtol=1e-5)


def test_lecam_is_the_papers_and_documents_how_the_code_differs():
    memory = {'real': jnp.float32(0.7), 'fake': jnp.float32(-0.2)}
    # D(x) - a_F is 1.2 and -0.8, D(G(z)) - a_R is -0.7 and 1.3. The ReLUs of
    # google/lecam-gan would leave 1.2^2 / 2 + 0.7^2 / 2.
    ctx = context(
        real=Output(jnp.array([1.0, -1.0])), fake=Output(jnp.array([0.0, 2.0]))
    )
    paper = (1.2**2 + 0.8**2) / 2 + (0.7**2 + 1.3**2) / 2
    np.testing.assert_allclose(
        penalty('lecam', ctx, memory), paper, rtol=1e-5
    )
    words = ' '.join(penalties.lecam.__doc__.split())
    assert "The authors' code has a ReLU inside each square" in words
    assert 'https://github.com/google/lecam-gan' in words


@pytest.mark.parametrize('name', ['d_orthogonal', 'g_orthogonal'])
def test_orthogonal_sums_squares_of_different_filters_products(name):
    kernel = RANDOM.randn(4, 5, 3, 2).astype(np.float32)
    params = {'conv': {'kernel': jnp.asarray(kernel), 'bias': jnp.ones(2)}}
    product = kernel[..., 0].ravel() @ kernel[..., 1].ravel()
    np.testing.assert_allclose(
        penalty(name, context(params=params)), 2 * product**2, rtol=1e-5
    )
    assert penalty(name, context(params={'kernel': jnp.eye(3) * 9})) == 0
    scales = {'scale': jnp.ones((3, 4)), 'embedding': jnp.ones((3, 4))}
    assert penalty(name, context(params=scales)) == 0


def test_orthogonal_has_its_closed_gradient_and_ignores_lengths():
    def value(matrix):
        return penalty('g_orthogonal', context(params={'kernel': matrix}))

    matrix = np.random.RandomState(2).randn(5, 3).astype(np.float32)
    gram = matrix.T @ matrix
    np.testing.assert_allclose(
        jax.grad(value)(jnp.asarray(matrix)),
        4 * matrix @ (gram * (1 - np.eye(3))), rtol=1e-4, atol=1e-4,
    )
    columns = np.linalg.qr(matrix)[0] * np.array([1, 2, 3])
    np.testing.assert_allclose(value(jnp.asarray(columns)), 0, atol=1e-9)


@pytest.mark.parametrize('name', LINEAR)
def test_a_nan_is_not_hidden(name):
    broken = context(lambda x: Output(jnp.sum(x, -1) * jnp.nan))
    assert np.isnan(penalty(name, broken))


def test_feature_matching_is_the_square_distance_of_means():
    expected = ((REAL.mean(0) - FAKE.mean(0)) ** 2).sum()
    np.testing.assert_allclose(
        penalty('feature_matching', context()), expected, rtol=1e-5
    )


@pytest.mark.parametrize(
    'name', ['d_historical_averaging', 'g_historical_averaging']
)
def test_historical_averaging_is_the_distance_to_the_past_mean(name):
    entry = PENALTIES[name]
    path = [np.array([1.0, 2.0]), np.array([3.0, 2.0]), np.array([5.0, 8.0])]
    memory = entry.init({'w': jnp.asarray(path[0])})
    assert penalty(name, context(params={'w': path[0]}), memory) == 0
    for point in path[1:]:
        memory = entry.update(memory, {'w': jnp.asarray(point)}, {})
    mean = np.mean(path, axis=0)
    np.testing.assert_allclose(memory['mean']['w'], mean, rtol=1e-6)
    now = np.array([0.0, 1.0])
    np.testing.assert_allclose(
        penalty(name, context(params={'w': jnp.asarray(now)}), memory),
        ((now - mean) ** 2).sum(), rtol=1e-5,
    )


def image_context(discriminator_fn):
    random = np.random.RandomState(2)
    images = jnp.asarray(random.randn(5, 8, 8, 2), jnp.float32)
    return context(
        discriminator_fn, real_images=images, fake_images=images + 1
    )


@pytest.mark.parametrize('name', ['consistency', 'consistency_fake'])
def test_consistency_is_0_for_a_shift_invariant_d(name):
    constant = image_context(lambda x: Output(0 * x.sum((1, 2, 3)) + 3))
    assert penalty(name, constant) == 0
    corner = image_context(lambda x: Output(x[:, 0, 0, 0]))
    assert penalty(name, corner) > 0.1


def test_latent_consistency_perturbs_z():
    d = context(lambda x: Output(x[:, 0]))
    d = d._replace(fake=Output(generate(d.z)[:, 0]))
    noise = np.array([
        np.asarray(jax.random.normal(jax.random.fold_in(KEY, index), (2,)))
        for index in range(5)
    ])
    moved = np.asarray(generate(d.z + output_penalties.LATENT_NOISE * noise))
    difference = moved - np.asarray(generate(d.z))
    np.testing.assert_allclose(
        penalty('latent_consistency_discriminator', d),
        (difference[:, 0] ** 2).mean(), rtol=1e-3,
    )
    np.testing.assert_allclose(
        penalty('latent_consistency_generator', d),
        -(difference**2).sum(1).mean(), rtol=1e-3,
    )


def test_classification_is_the_cross_entropy_of_the_label():
    ctx = context()
    labels = np.asarray(ctx.labels)

    def expected(features):
        shares = np.exp(features) / np.exp(features).sum(1, keepdims=True)
        return -np.log(shares[np.arange(5), labels]).mean()

    np.testing.assert_allclose(
        penalty('g_classification', ctx), expected(FAKE), rtol=1e-5
    )
    np.testing.assert_allclose(
        penalty('d_classification', ctx), expected(REAL) + expected(FAKE),
        rtol=1e-5,
    )
    flat = Output(None, jnp.full((5, 3), 7.0))
    np.testing.assert_allclose(
        penalty('g_classification', ctx._replace(fake=flat)), np.log(3),
        rtol=1e-6,
    )


def memory_of(name, ctx):
    init = PENALTIES[name].init
    return init(ctx.params) if init else None


@pytest.mark.parametrize('name', NAMES)
def test_penalty_is_a_float32_scalar_and_equal_under_jit(name):
    ctx = image_context(lambda x: Output(x.sum((1, 2, 3)), x))
    if PENALTIES[name].player == 'generator' or 'latent' in name:
        ctx = context(mlp)
    memory = memory_of(name, ctx)
    value = penalty(name, ctx, memory)
    assert value.shape == () and value.dtype == jnp.float32
    jitted = jax.jit(lambda images: penalty(
        name, ctx._replace(real_images=images), memory
    ))(ctx.real_images)
    np.testing.assert_allclose(jitted, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
def test_float64_agrees(name):
    def value(dtype):
        ctx = context(mlp)
        if name.startswith('consistency'):
            ctx = image_context(lambda x: Output(x[:, 0, :, 0].sum(-1), x))
        memory = memory_of(name, ctx)
        return penalty(name, *jax.tree.map(
            lambda leaf: leaf.astype(dtype)
            if getattr(leaf, 'dtype', None) == jnp.float32 else leaf,
            (ctx, memory),
        ))

    single = value(jnp.float32)
    with jax.enable_x64(True):
        double = value(jnp.float64)
    np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('name', NAMES)
def test_joint_permutation_of_samples_and_indices_changes_nothing(name):
    order = np.array([3, 1, 4, 0, 2])
    ctx = context(mlp)
    if name.startswith('consistency'):
        ctx = image_context(lambda x: Output(x[:, 0, :, 0].sum(-1), x))

    def shuffled(value):
        return value[order]

    moved = ctx._replace(
        real_images=shuffled(ctx.real_images),
        fake_images=shuffled(ctx.fake_images),
        real=jax.tree.map(shuffled, ctx.real),
        fake=jax.tree.map(shuffled, ctx.fake),
        z=shuffled(ctx.z), sample_index=shuffled(ctx.sample_index),
        labels=shuffled(ctx.labels),
    )
    memory = memory_of(name, ctx)
    np.testing.assert_allclose(
        penalty(name, moved, memory), penalty(name, ctx, memory),
        rtol=1e-4, atol=1e-6,
    )
