"""One update of the game, against updates computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from gan_jax import config as config_lib
from gan_jax import labels
from gan_jax import losses
from gan_jax import regularizers
from gan_jax import schedules
from gan_jax.networks import mlp
from gan_jax.steps import adversarial

SHAPE = (2, 2, 1)


def batch(d_steps=1, size=6, seed=0):
    images = helpers.random_images(d_steps * size, SHAPE, seed)
    return adversarial.Batch(
        jnp.asarray(images.reshape(d_steps, size, *SHAPE)),
        None,
        jnp.arange(size),
    )


def start(gan):
    return adversarial.init(gan, jax.random.key(1), SHAPE)


def step(gan, state, given, **changes):
    return adversarial.train_step(
        gan, helpers.hyperparams(**changes), state, given, jax.random.key(2)
    )


def leaves_equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_d_update_is_gradient_descent_on_its_loss_and_leaves_g():
    gan = helpers.linear_gan()
    state = start(gan)
    images = batch().images[0]
    slots, key = jnp.arange(6), jax.random.key(3)
    after, metrics = adversarial.discriminator_update(
        gan, helpers.hyperparams(), state, images, slots, key, lambda tree: tree
    )
    z = adversarial.latents(jax.random.split(key, 3)[0], slots, 3)
    params = state.discriminator.params['Dense_0']
    x = np.asarray(images, np.float32).reshape(6, 4) / 127.5 - 1
    g = state.generator.params['Dense_0']
    fakes = z @ g['kernel'] + g['bias']

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    real_logits = x @ params['kernel'] + params['bias']
    fake_logits = fakes @ params['kernel'] + params['bias']
    # d softplus(-r) = -sigmoid(-r) dr, d softplus(f) = sigmoid(f) df
    d_real, d_fake = -sigmoid(-real_logits) / 6, sigmoid(fake_logits) / 6
    kernel = params['kernel'] - 0.1 * (x.T @ d_real + fakes.T @ d_fake)
    bias = params['bias'] - 0.1 * (d_real.sum() + d_fake.sum())
    new = after.discriminator.params['Dense_0']
    np.testing.assert_allclose(new['kernel'], kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new['bias'], bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        metrics['d/loss'],
        np.log1p(np.exp(-real_logits)).mean()
        + np.log1p(np.exp(fake_logits)).mean(),
        rtol=1e-5,
    )
    assert leaves_equal(after.generator, state.generator)
    assert leaves_equal(after.ema_params, state.ema_params)


def test_g_update_is_gradient_descent_through_d_and_leaves_d():
    gan = helpers.linear_gan()
    state = start(gan)
    slots, key = jnp.arange(6), jax.random.key(3)
    after, _ = adversarial.generator_update(
        gan, helpers.hyperparams(), state, batch().images[0], slots, key,
        lambda tree: tree,
    )
    z = adversarial.latents(jax.random.split(key, 3)[0], slots, 3)
    d, g = (
        player.params['Dense_0']
        for player in (state.discriminator, state.generator)
    )
    logits = (z @ g['kernel'] + g['bias']) @ d['kernel'] + d['bias']
    d_logits = -1 / (1 + np.exp(logits)) / 6  # of softplus(-logit)
    d_images = d_logits @ d['kernel'].T
    np.testing.assert_allclose(
        after.generator.params['Dense_0']['kernel'],
        g['kernel'] - 0.1 * z.T @ d_images,
        rtol=1e-5, atol=1e-6,
    )
    assert leaves_equal(after.discriminator, state.discriminator)


def test_g_learns_through_the_d_that_was_just_updated():
    gan = helpers.linear_gan()
    state = start(gan)
    after, _ = step(gan, state, batch())
    frozen, _ = step(gan, state, batch(), d_learning_rate=jnp.float32(0))
    assert not leaves_equal(after.generator.params, frozen.generator.params)


@pytest.mark.parametrize('d_steps', [1, 2])
def test_simultaneous_takes_both_gradients_at_the_same_point(d_steps):
    plain = helpers.linear_gan(d_steps=d_steps)
    state, given = start(plain), batch(d_steps)
    alternating, _ = step(plain, state, given)
    together, _ = step(plain._replace(simultaneous=True), state, given)
    frozen, _ = step(plain, state, given, d_learning_rate=jnp.float32(0))
    assert leaves_equal(together.discriminator, alternating.discriminator)
    assert leaves_equal(together.generator, frozen.generator)
    assert not leaves_equal(together.generator, alternating.generator)


@pytest.mark.parametrize('d_steps', [1, 3])
def test_counters_and_optimizers_count_their_own_updates(d_steps):
    import optax

    adam = optax.scale_by_adam()
    gan = helpers.linear_gan(d_steps=d_steps, g_tx=adam, d_tx=adam)
    state = start(gan)
    for _ in range(2):
        state, _ = step(gan, state, batch(d_steps))
    assert int(state.step) == 2
    assert int(state.position) == 2 * d_steps
    assert int(state.generator.opt_state.count) == 2
    assert int(state.discriminator.opt_state.count) == 2 * d_steps


def test_each_d_update_sees_its_own_images():
    gan = helpers.linear_gan(d_steps=2)
    given = batch(2)
    swapped = given._replace(images=given.images[::-1])
    doubled = given._replace(images=given.images[jnp.array([1, 1])])
    first, _ = step(gan, start(gan), given)
    for other in (swapped, doubled):
        second, _ = step(gan, start(gan), other)
        assert not leaves_equal(first.discriminator, second.discriminator)


def test_ema_starts_as_a_copy_and_follows_g():
    gan = helpers.linear_gan()
    state = start(gan)
    assert leaves_equal(state.ema_params, state.generator.params)
    after, _ = step(gan, state, batch())
    # At step 0 the warm-up's decay is 0.1.
    expected = jax.tree.map(
        lambda a, n: 0.1 * a + 0.9 * n, state.ema_params, after.generator.params
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        after.ema_params, expected,
    )


def test_z_depends_on_key_and_slot_alone():
    key = jax.random.key(0)
    whole = adversarial.latents(key, jnp.arange(8), 5)
    part = adversarial.latents(key, jnp.array([6, 2]), 5)
    np.testing.assert_array_equal(part, whole[jnp.array([6, 2])])
    other = adversarial.latents(jax.random.key(1), jnp.arange(8), 5)
    assert not np.array_equal(whole, other)
    assert len(np.unique(whole)) == whole.size
    many = adversarial.latents(key, jnp.arange(4000), 5)
    np.testing.assert_allclose(many.mean(), 0, atol=0.03)
    np.testing.assert_allclose(many.std(), 1, atol=0.02)


def test_noise_changes_with_the_step():
    gan = helpers.linear_gan()
    state = start(gan)
    _, first = step(gan, state, batch())
    _, second = step(gan, state.replace(step=state.step + 1), batch())
    assert first['g/loss'] != second['g/loss']


def test_step_is_deterministic_and_equal_under_jit():
    gan = helpers.linear_gan()
    state = start(gan)
    once, _ = step(gan, state, batch())
    again, _ = step(gan, state, batch())
    assert leaves_equal(once, again)
    jitted, _ = jax.jit(lambda s: step(gan, s, batch()))(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        once, jitted,
    )


def loss_options(name):
    defaults = config_lib.default_config().loss
    return {
        option: jnp.float32(defaults[option])
        for option in losses.LOSSES[name].options
    }


@pytest.mark.parametrize('name', losses.LOSSES)
def test_every_loss_trains_both_players(name):
    gan = helpers.linear_gan(loss=losses.LOSSES[name])
    state = start(gan)
    options = loss_options(name)
    for _ in range(2):
        before = state
        state, metrics = step(gan, state, batch(), loss_options=options)
        assert np.isfinite(list(metrics.values())).all()
    assert not leaves_equal(state.generator, before.generator)
    assert not leaves_equal(state.discriminator, before.discriminator)


def test_began_remembers_k():
    name = 'boundary_equilibrium'
    gan = helpers.linear_gan(loss=losses.LOSSES[name])
    state = start(gan)
    assert state.memory['loss']['k'] == 0
    options = {'gamma': jnp.float32(0.5), 'k_rate': jnp.float32(0.1)}
    after, metrics = step(gan, state, batch(), loss_options=options)
    balance = 0.5 * metrics['d/real_logits'] - metrics['d/fake_logits']
    expected = np.clip(0.1 * balance, 0, 1)
    np.testing.assert_allclose(after.memory['loss']['k'], expected, rtol=1e-5)
    assert metrics['d/k'] == after.memory['loss']['k']


def mlp_gan(**changes):
    return helpers.linear_gan(
        generator=mlp.Generator(SHAPE, width=4, depth=1),
        discriminator=mlp.Discriminator(width=4, depth=1), **changes,
    )


@pytest.mark.parametrize('name', regularizers.REGULARIZERS)
def test_regularizer_joins_the_loss_of_its_player_alone(name):
    gan = mlp_gan(regularizers=(name,))

    def steep():  # one-sided penalties are 0 on gentle slopes
        state = start(gan)
        params = jax.tree.map(lambda p: 3 * p, state.discriminator.params)
        return state.replace(
            discriminator=state.discriminator.replace(params=params)
        )

    def train(weight):
        state, weights = steep(), {name: jnp.float32(weight)}
        for _ in range(2):  # historical averaging is 0 at first
            before = state
            state, metrics = step(
                gan, state, batch(), penalty_weights=weights
            )
        return before, state, metrics

    _, without, _ = train(0)
    before, within, metrics = train(0.1)
    player = regularizers.REGULARIZERS[name].player
    assert np.isfinite(metrics[f'{player[0]}/{name}'])
    assert not leaves_equal(
        getattr(within, player).params, getattr(without, player).params
    )
    if player == 'generator':
        first, _ = step(gan, start(gan), batch(), penalty_weights={name: 0.1})
        other, _ = step(gan, start(gan), batch(), penalty_weights={name: 0.0})
        assert leaves_equal(first.discriminator, other.discriminator)
    if regularizers.REGULARIZERS[name].init:
        assert not leaves_equal(within.memory[name], before.memory[name])


def test_penalty_is_weighted_and_the_loss_is_told_without_it():
    gan = helpers.linear_gan(regularizers=('r1',))
    state = start(gan)
    w = np.asarray(state.discriminator.params['Dense_0']['kernel'])
    plain, plain_metrics = step(helpers.linear_gan(), state, batch())
    after, metrics = step(gan, state, batch(), penalty_weights={'r1': 3.0})
    np.testing.assert_allclose(metrics['d/r1'], (w**2).sum() / 2, rtol=1e-5)
    assert metrics['d/loss'] == plain_metrics['d/loss']
    np.testing.assert_allclose(  # the gradient of 3/2 ||w||^2 is 3 w
        after.discriminator.params['Dense_0']['kernel'],
        plain.discriminator.params['Dense_0']['kernel'] - 0.1 * 3 * w,
        rtol=1e-4, atol=1e-6,
    )


def test_clipped_critic_starts_and_stays_within_the_limit():
    gan = helpers.linear_gan(
        loss=losses.LOSSES['wasserstein'], clip_weights=True, d_steps=2
    )
    limit = jnp.float32(0.05)
    state = adversarial.init(gan, jax.random.key(1), SHAPE, limit)

    def largest(params):
        return max(np.abs(leaf).max() for leaf in jax.tree.leaves(params))

    assert largest(state.discriminator.params) == limit
    for _ in range(3):
        state, _ = step(gan, state, batch(2), clip_limit=limit)
        assert largest(state.discriminator.params) <= limit
    assert largest(state.generator.params) > limit


def test_drawn_targets_reach_the_discriminator():
    gan = helpers.linear_gan(treat_labels=True)
    state = start(gan)
    plain, _ = step(helpers.linear_gan(), state, batch())
    hard, _ = step(gan, state, batch())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        hard, plain,
    )
    smooth, _ = step(
        gan, state, batch(),
        label_treatment=labels.Treatment(real_low=0.9, real_high=0.9),
    )
    assert not leaves_equal(smooth.discriminator, plain.discriminator)


def test_mean_over_devices_reaches_gradients_and_metrics():
    gan = helpers.linear_gan()

    def halve(tree):
        return jax.tree.map(lambda leaf: leaf / 2, tree)

    arguments = (start(gan), batch(), jax.random.key(2))
    one, metrics = adversarial.train_step(
        gan, helpers.hyperparams(), *arguments, mean=halve
    )
    # Halved gradients move D half as far.
    two, _ = adversarial.train_step(
        gan, helpers.hyperparams(d_learning_rate=0.05), *arguments
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        one.discriminator.params, two.discriminator.params,
    )


def test_instance_noise_changes_training_until_it_has_decayed():
    plain, noisy = helpers.linear_gan(), helpers.linear_gan(instance_noise=True)
    state = start(plain)
    without, _ = step(plain, state, batch())
    changes = {'noise_std': jnp.float32(0.5), 'noise_steps': jnp.float32(10)}
    within, _ = step(noisy, state, batch(), **changes)
    assert not leaves_equal(without.discriminator, within.discriminator)
    assert not leaves_equal(without.generator, within.generator)
    late = state.replace(step=jnp.int32(10))
    without, _ = step(plain, late, batch())
    within, _ = step(noisy, late, batch(), **changes)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        without, within,
    )


def test_schedules_scale_each_players_rate_by_the_generators_step():
    half = schedules.make('linear', 10, 0)
    gan = helpers.linear_gan(d_steps=2, d_schedule=half, g_schedule=half)
    plain = helpers.linear_gan(d_steps=2)
    state = start(plain).replace(step=jnp.int32(5))
    within, _ = step(gan, state, batch(2))
    halved = {
        'd_learning_rate': jnp.float32(0.05),
        'g_learning_rate': jnp.float32(0.05),
    }
    without, _ = step(plain, state, batch(2), **halved)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        within, without,
    )


def test_sample_uses_ema_or_raw_weights():
    gan = helpers.linear_gan()
    state, _ = step(gan, start(gan), batch())
    z = jax.random.normal(jax.random.key(0), (4, 3))
    for ema, params in ((True, state.ema_params),
                        (False, state.generator.params)):
        np.testing.assert_allclose(
            adversarial.sample(gan, state, z, ema=ema),
            gan.generator.apply({'params': params}, z, train=False),
        )


def test_unit_range_maps_the_ends_of_uint8():
    images = jnp.array([0, 255], jnp.uint8)
    np.testing.assert_array_equal(adversarial.to_unit_range(images), [-1, 1])
