"""One update of one player, against updates computed by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from helpers import (
    SHAPE, batch, images_of, leaves_equal, mlp_gan, start, step,
)
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms import game
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import latents
from gan_jax.algorithms import updates
from gan_jax.networks import mlp
from gan_jax.objectives import losses
from gan_jax.objectives import penalties
from gan_jax.objectives import targets
from gan_jax.ops import schedules


def test_d_update_is_gradient_descent_and_does_not_change_g():
    gan = helpers.linear_gan()
    state = start(gan)
    images = images_of(batch())
    sample_index, key = jnp.arange(6), jax.random.key(3)
    ctx = discriminator_inputs.UpdateContext(
        gan, helpers.hyperparams(), state, key
    )
    after, metrics = updates.discriminator_update(ctx, images, sample_index)
    z = latents.draw(jax.random.split(key, 3)[0], sample_index, 3)
    params = state.players[D].params['Dense_0']
    x = np.asarray(images, np.float32).reshape(6, 4) / 127.5 - 1
    g = state.players[G].params['Dense_0']
    fakes = z @ g['kernel'] + g['bias']

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    real_logits = x @ params['kernel'] + params['bias']
    fake_logits = fakes @ params['kernel'] + params['bias']
    # d softplus(-r) = -sigmoid(-r) dr, d softplus(f) = sigmoid(f) df
    d_real, d_fake = -sigmoid(-real_logits) / 6, sigmoid(fake_logits) / 6
    kernel = params['kernel'] - 0.1 * (x.T @ d_real + fakes.T @ d_fake)
    bias = params['bias'] - 0.1 * (d_real.sum() + d_fake.sum())
    new = after.players[D].params['Dense_0']
    np.testing.assert_allclose(new['kernel'], kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new['bias'], bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        metrics['d/loss'],
        np.log1p(np.exp(-real_logits)).mean()
        + np.log1p(np.exp(fake_logits)).mean(),
        rtol=1e-5,
    )
    assert leaves_equal(after.players[G], state.players[G])
    assert leaves_equal(after.averages[G].params, state.averages[G].params)


def test_g_update_is_gradient_descent_through_d_and_does_not_change_d():
    gan = helpers.linear_gan()
    state = start(gan)
    sample_index, key = jnp.arange(6), jax.random.key(3)
    ctx = discriminator_inputs.UpdateContext(
        gan, helpers.hyperparams(), state, key
    )
    after, _ = updates.generator_update(ctx, images_of(batch()), sample_index)
    z = latents.draw(jax.random.split(key, 3)[0], sample_index, 3)
    d, g = (
        player.params['Dense_0']
        for player in (state.players[D], state.players[G])
    )
    logits = (z @ g['kernel'] + g['bias']) @ d['kernel'] + d['bias']
    d_logits = -1 / (1 + np.exp(logits)) / 6  # of softplus(-logit)
    d_images = d_logits @ d['kernel'].T
    np.testing.assert_allclose(
        after.players[G].params['Dense_0']['kernel'],
        g['kernel'] - 0.1 * z.T @ d_images,
        rtol=1e-5, atol=1e-6,
    )
    assert leaves_equal(after.players[D], state.players[D])


def with_batch_norm(**changes):
    return mlp_gan(
        generator=mlp.Generator(
            image_shape=SHAPE, width=4, depth=2, norm='batch'
        ),
        **changes,
    )


def with_penalties(**changes):
    return mlp_gan(
        penalties=('feature_matching', 'g_orthogonal'), **changes
    )


@pytest.mark.parametrize('make', [mlp_gan, with_batch_norm, with_penalties])
@pytest.mark.parametrize('schedule', ['alternating', 'simultaneous'])
def test_reused_fakes_are_equal_for_both_players(make, schedule):
    gan = make(schedule=schedule)
    state, data, key = start(gan), batch(), jax.random.key(5)
    hyperparams = helpers.hyperparams(penalty_weights={
        name: jnp.float32(2.0) for name in gan.penalties
    })

    def ctx(state):  # of one number: the same z for both updates
        update_key = jax.random.fold_in(jax.random.fold_in(key, 0), 0)
        return discriminator_inputs.UpdateContext(
            gan, hyperparams, state, update_key
        )

    images, sample_index = images_of(data), data.sample_index
    moved, d_metrics = updates.discriminator_update(
        ctx(state), images, sample_index
    )
    opponent = moved if schedule == 'alternating' else state
    expected, g_metrics = updates.generator_update(
        ctx(opponent), images, sample_index
    )
    after, metrics = adversarial.train_step(
        gan._replace(reuse_fakes=True), hyperparams, state, data, key
    )
    for name, value in {**d_metrics, **g_metrics}.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)
    for actual, reference in (
        (after.players[D], moved.players[D]),
        (after.players[G], expected.players[G]),
        (after.averages[G].params, expected.averages[G].params),
        (after.averages[G].stats, expected.averages[G].stats),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-4, atol=1e-6
        ), actual, reference)
    apart, _ = adversarial.train_step(gan, hyperparams, state, data, key)
    assert leaves_equal(apart.players[D], after.players[D])
    assert not leaves_equal(apart.players[G], after.players[G])


def test_ema_starts_as_a_copy_and_follows_g():
    gan = helpers.linear_gan()
    state = start(gan)
    assert leaves_equal(state.averages[G].params, state.players[G].params)
    after, _ = step(gan, state, batch())
    # At step 0 the warm-up's decay is 0.1.
    expected = jax.tree.map(
        lambda a, n: 0.1 * a + 0.9 * n,
        state.averages[G].params, after.players[G].params,
    )
    chex.assert_trees_all_close(after.averages[G].params, expected, rtol=1e-5)


def test_ema_warm_up_counts_steps_and_not_updates_of_g():
    gan, moves = helpers.linear_gan(g_steps=2), []
    state = start(gan).replace(step=jnp.int32(8))
    after, _ = adversarial.run_updates(
        gan, helpers.hyperparams(ema_decay=jnp.float32(0.9)), state, batch(2),
        jax.random.key(2), note=lambda player, number, after, metrics:
        moves.append(after.players[G].params['Dense_0']['bias']),
    )
    expected = state.averages[G].params['Dense_0']['bias']
    for new in moves[1:]:  # after D's; (1 + 8) / (10 + 8) = 1 / 2 for both
        expected = (expected + new) / 2
    np.testing.assert_allclose(
        after.averages[G].params['Dense_0']['bias'], expected, rtol=1e-5
    )


def loss_options(name):
    return {
        option.name: jnp.float32(option.default)
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
    assert not leaves_equal(state.players[G], before.players[G])
    assert not leaves_equal(state.players[D], before.players[D])


BEGAN = {'gamma': jnp.float32(0.5), 'k_rate': jnp.float32(0.1)}


def balanced(k=0.5, **changes):
    """Return a BEGAN of linear networks and its state with that k."""
    gan = helpers.linear_gan(
        loss=losses.LOSSES['boundary_equilibrium'], **changes
    )
    state = start(gan)
    assert state.memory['loss'] == {'k': 0}
    loss = {'k': jnp.float32(k)}
    return gan, state.replace(memory={**state.memory, 'loss': loss})


@pytest.mark.parametrize('schedule', ['alternating', 'simultaneous'])
@pytest.mark.parametrize('d_steps', [1, 3])
def test_began_updates_k_from_the_fakes_of_gs_update(d_steps, schedule):
    # The paper: k <- k + lambda_k (gamma L(x) - L(G(z_G))), once in a step,
    # and L(G(z_G)) is G's loss. D's fakes are of other latents, z_D.
    gan, state = balanced(d_steps=d_steps, schedule=schedule)
    after, metrics = step(gan, state, batch(d_steps), loss_options=BEGAN)
    balance = 0.5 * metrics['d/real_logits'] - metrics['g/loss']
    assert abs(metrics['d/fake_logits'] - metrics['g/loss']) > 0.01
    k = after.memory['loss']['k']
    np.testing.assert_allclose(k, 0.5 + 0.1 * balance, rtol=1e-5)
    assert metrics['d/k'] == k
    np.testing.assert_allclose(
        metrics['d/convergence'],
        metrics['d/real_logits'] + abs(balance), rtol=1e-5,
    )


def test_began_updates_k_in_each_update_of_g_only():
    gan, state = balanced(d_steps=2, g_steps=2)
    seen = []
    adversarial.run_updates(
        gan, helpers.hyperparams(loss_options=BEGAN), state, batch(2),
        jax.random.key(2), note=lambda player, number, after, metrics:
        seen.append((
            player, after.memory['loss']['k'], metrics.get('d/real_logits'),
            metrics.get('g/loss'),
        )),
    )
    real = seen[1][2]  # of D's last update
    assert [entry[0][0] for entry in seen] == ['d', 'd', 'g', 'g']
    before = state.memory['loss']['k']
    for player, after, _, fake in seen:
        moved = 0.1 * (0.5 * real - fake) if player == G else 0
        np.testing.assert_allclose(after, before + moved, rtol=1e-5)
        before = after
    after, _ = adversarial.critic_step(
        gan, helpers.hyperparams(loss_options=BEGAN), state, batch(2),
        jax.random.key(2), 4,
    )
    assert after.memory['loss']['k'] == 0.5


def conditional_gan(condition, **changes):
    """Return a GAN of 3 classes."""
    return mlp_gan(
        generator=mlp.Generator(
            image_shape=SHAPE, width=4, depth=1, num_classes=3,
            condition='concat',
        ),
        discriminator=mlp.Discriminator(
            width=4, depth=1, num_classes=3, condition=condition
        ), num_classes=3,
    )._replace(**changes)


@pytest.mark.parametrize('name', penalties.PENALTIES)
def test_penalty_is_added_only_to_the_loss_of_its_player(name):
    gan = mlp_gan(penalties=(name,))
    data = batch()
    if penalties.PENALTIES[name].styles:
        gan = helpers.linear_gan(
            generator=helpers.StyledGenerator(), penalties=(name,)
        )
    if penalties.PENALTIES[name].classes:
        gan = conditional_gan('auxiliary', penalties=(name,))
        data = helpers.real_batch(
            data.sources['real'].images, jnp.arange(6)[None] % 3
        )

    def steep():  # one-sided penalties are 0 on gentle slopes
        state = start(gan)
        params = jax.tree.map(lambda p: 3 * p, state.players[D].params)
        return algorithm.replace_player(
            state, D, state.players[D].replace(params=params)
        )

    def train(weight):
        state, weights = steep(), {name: jnp.float32(weight)}
        for _ in range(2):  # historical averaging is 0 at first
            before = state
            state, metrics = step(
                gan, state, data, penalty_weights=weights
            )
        return before, state, metrics

    _, without, _ = train(0)
    before, within, metrics = train(0.1)
    player = penalties.PENALTIES[name].player
    assert np.isfinite(metrics[f'{player[0]}/{name}'])
    assert not leaves_equal(
        within.players[player].params, without.players[player].params
    )
    if player == 'generator':
        first, _ = step(gan, start(gan), data, penalty_weights={name: 0.1})
        other, _ = step(gan, start(gan), data, penalty_weights={name: 0.0})
        assert leaves_equal(first.players[D], other.players[D])
    if penalties.PENALTIES[name].init:
        assert not leaves_equal(within.memory[name], before.memory[name])


def test_penalty_is_weighted_and_not_part_of_the_loss_metric():
    gan = helpers.linear_gan(penalties=('r1',))
    state = start(gan)
    w = np.asarray(state.players[D].params['Dense_0']['kernel'])
    plain, plain_metrics = step(helpers.linear_gan(), state, batch())
    after, metrics = step(gan, state, batch(), penalty_weights={'r1': 3.0})
    np.testing.assert_allclose(metrics['d/r1'], (w**2).sum() / 2, rtol=1e-5)
    assert metrics['d/loss'] == plain_metrics['d/loss']
    np.testing.assert_allclose(  # the gradient of 3/2 ||w||^2 is 3 w
        after.players[D].params['Dense_0']['kernel'],
        plain.players[D].params['Dense_0']['kernel'] - 0.1 * 3 * w,
        rtol=1e-4, atol=1e-6,
    )


def test_clipped_critic_starts_and_stays_within_the_limit():
    gan = helpers.linear_gan(
        loss=losses.LOSSES['wasserstein'], clip_weights=True, d_steps=2
    )
    limit = jnp.float32(0.05)
    state = game.init(gan, jax.random.key(1), SHAPE, limit)

    def largest(params):
        return max(np.abs(leaf).max() for leaf in jax.tree.leaves(params))

    assert largest(state.players[D].params) == limit
    for _ in range(3):
        state, _ = step(gan, state, batch(2), clip_limit=limit)
        assert largest(state.players[D].params) <= limit
    assert largest(state.players[G].params) > limit


def test_drawn_targets_reach_the_discriminator():
    gan = helpers.linear_gan(treat_labels=True)
    state = start(gan)
    plain, _ = step(helpers.linear_gan(), state, batch())
    hard, _ = step(gan, state, batch())
    chex.assert_trees_all_close(hard, plain, rtol=1e-5, atol=1e-7)
    smooth, _ = step(
        gan, state, batch(),
        label_treatment=targets.Treatment(real_low=0.9, real_high=0.9),
    )
    assert not leaves_equal(smooth.players[D], plain.players[D])


def test_mean_over_devices_reaches_gradients_and_metrics():
    gan = helpers.linear_gan()

    def halve(tree):
        return jax.tree.map(lambda leaf: leaf / 2, tree)

    arguments = (start(gan), batch(), jax.random.key(2))
    one, metrics = adversarial.train_step(
        gan, helpers.hyperparams(), *arguments,
        collectives=algorithm.Collectives(mean=halve),
    )
    # Halved gradients move D half as far.
    two, _ = adversarial.train_step(
        gan, helpers.hyperparams(d_learning_rate=0.05), *arguments
    )
    chex.assert_trees_all_close(
        one.players[D].params, two.players[D].params, rtol=1e-5, atol=1e-7
    )


def test_instance_noise_changes_training_until_it_has_decayed():
    plain, noisy = helpers.linear_gan(), helpers.linear_gan(instance_noise=True)
    state = start(plain)
    without, _ = step(plain, state, batch())
    changes = {'noise_std': jnp.float32(0.5), 'noise_steps': jnp.float32(10)}
    within, _ = step(noisy, state, batch(), **changes)
    assert not leaves_equal(without.players[D], within.players[D])
    assert not leaves_equal(without.players[G], within.players[G])
    late = state.replace(step=jnp.int32(10))
    without, _ = step(plain, late, batch())
    within, _ = step(noisy, late, batch(), **changes)
    chex.assert_trees_all_close(without, within, rtol=1e-6)


@pytest.mark.parametrize('d_steps, g_steps', [(2, 1), (1, 2)])
def test_schedules_scale_each_players_rate_by_the_step(d_steps, g_steps):
    half = schedules.make('linear', 10, 0)
    counts = {'d_steps': d_steps, 'g_steps': g_steps}
    gan = helpers.linear_gan(d_schedule=half, g_schedule=half, **counts)
    plain = helpers.linear_gan(**counts)
    state = start(plain).replace(step=jnp.int32(5))
    within, _ = step(gan, state, batch(2))
    halved = {
        'd_learning_rate': jnp.float32(0.05),
        'g_learning_rate': jnp.float32(0.05),
    }
    without, _ = step(plain, state, batch(2), **halved)
    chex.assert_trees_all_close(within, without, rtol=1e-5, atol=1e-7)


def by_hand(d, images, fakes, count, rate):
    """Update a linear D by gradient descent on the cross-entropy, in NumPy."""
    kernel, bias = d
    for _ in range(count):
        real, fake = images @ kernel + bias, fakes @ kernel + bias
        d_real = -1 / (1 + jnp.exp(real)) / len(images)
        d_fake = 1 / (1 + jnp.exp(-fake)) / len(fakes)
        kernel = kernel - rate * (images.T @ d_real + fakes.T @ d_fake)
        bias = bias - rate * (d_real.sum(0) + d_fake.sum(0))
    return kernel, bias


@pytest.mark.parametrize('unroll_steps', [1, 3])
def test_unrolled_g_differentiates_through_the_updates_of_d(unroll_steps):
    gan = helpers.linear_gan(unroll_steps=unroll_steps)
    state, data, key = start(gan), batch(), jax.random.key(3)
    ctx = discriminator_inputs.UpdateContext(
        gan, helpers.hyperparams(), state, key
    )
    after, metrics = updates.generator_update(
        ctx, images_of(data), data.sample_index
    )
    z = latents.draw(jax.random.split(key, 3)[0], data.sample_index, 3)
    images = np.asarray(images_of(data), np.float32)
    images = images.reshape(6, 4) / 127.5 - 1
    d = state.players[D].params['Dense_0']
    g = state.players[G].params['Dense_0']

    def loss(g_kernel, stop=lambda x: x):
        fakes = z @ g_kernel + g['bias']
        kernel, bias = stop(by_hand(
            (d['kernel'], d['bias']), images, fakes, unroll_steps, 0.1
        ))
        return jax.nn.softplus(-(fakes @ kernel + bias)).mean()

    np.testing.assert_allclose(metrics['g/loss'], loss(g['kernel']), rtol=1e-5)
    new = after.players[G].params['Dense_0']['kernel']
    np.testing.assert_allclose(
        new, g['kernel'] - 0.1 * jax.grad(loss)(g['kernel']),
        rtol=1e-5, atol=1e-6,
    )
    stopped = jax.grad(lambda k: loss(k, jax.lax.stop_gradient))(g['kernel'])
    difference = np.abs(new - (g['kernel'] - 0.1 * stopped)).max()
    assert difference > 1e-5  # the common mistake would be seen


def test_unrolling_passes_through_adam():
    import optax

    gan = mlp_gan(d_tx=optax.scale_by_adam(b1=0.5), unroll_steps=2)
    state, data = start(gan), batch()
    gentle = helpers.hyperparams(d_learning_rate=jnp.float32(0.01))
    for _ in range(2):
        state, _ = step(gan, state, data)

    def loss(scale):
        """G's loss where its last bias is moved."""
        params = dict(state.players[G].params)
        params['Dense_1'] = {
            **params['Dense_1'], 'bias': params['Dense_1']['bias'] + scale
        }
        moved = algorithm.replace_player(
            state, G, state.players[G].replace(params=params)
        )
        ctx = discriminator_inputs.UpdateContext(
            gan, gentle, moved, jax.random.key(3)
        )
        _, metrics = updates.generator_update(
            ctx, images_of(data), data.sample_index
        )
        return metrics['g/loss']

    ctx = discriminator_inputs.UpdateContext(
        gan, gentle, state, jax.random.key(3)
    )
    after, _ = updates.generator_update(
        ctx, images_of(data), data.sample_index
    )
    grads = (
        state.players[G].params['Dense_1']['bias']
        - after.players[G].params['Dense_1']['bias']
    ) / 0.1
    step_size = 1e-3
    slope = (loss(step_size) - loss(-step_size)) / (2 * step_size)
    np.testing.assert_allclose(grads.sum(), slope, rtol=0.02)


@pytest.mark.parametrize(
    'loop', [discriminator_inputs.unrolled_scan, jax.lax.scan]
)
@pytest.mark.parametrize('parts', [2, 3])
def test_microbatches_give_the_update_of_the_whole_batch(parts, loop):
    plain = mlp_gan(penalties=('r1',))
    gan = plain._replace(num_microbatches=parts)
    state = start(plain)
    arguments = (state, batch(), jax.random.key(2))
    hyperparams = helpers.hyperparams(penalty_weights={'r1': 0.3})
    expected, metrics = adversarial.train_step(plain, hyperparams, *arguments)
    got, got_metrics = adversarial.train_step(
        gan, hyperparams, *arguments, loop=loop
    )
    chex.assert_trees_all_close(
        (got, got_metrics), (expected, metrics), rtol=1e-4, atol=1e-6
    )


def test_lazy_penalty_is_applied_every_kth_step_with_k_times_the_weight():
    lazy = helpers.linear_gan(penalties=('r1',), lazy=(('r1', 4),))
    eager = helpers.linear_gan(penalties=('r1',))
    none = helpers.linear_gan()
    r1 = {'penalty_weights': {'r1': jnp.float32(0.5)}}
    state = start(lazy)
    for number in (0, 1, 3, 4, 5):
        now = state.replace(step=jnp.int32(number))
        after, metrics = step(lazy, now, batch(), **r1)
        if number % 4 == 0:
            four = {'penalty_weights': {'r1': jnp.float32(2)}}
            expected, plain = step(eager, now, batch(), **four)
            np.testing.assert_allclose(
                metrics['d/r1'], plain['d/r1'], rtol=1e-6
            )
        else:
            expected, _ = step(none, now, batch())
            assert metrics['d/r1'] == 0  # none has joined yet
        chex.assert_trees_all_close(
            after.players[D].params, expected.players[D].params, rtol=1e-6
        )


def test_metric_of_a_lazy_penalty_is_kept_between_its_steps():
    gan = helpers.linear_gan(penalties=('r1',), lazy=(('r1', 2),))
    r1 = {'penalty_weights': {'r1': jnp.float32(0.5)}}
    state, first = step(gan, start(gan), batch(), **r1)
    state, second = step(gan, state, batch(), **r1)
    state, third = step(gan, state, batch(), **r1)
    assert first['d/r1'] == second['d/r1'] != third['d/r1']


@pytest.mark.parametrize('number', [0, 1])
def test_host_and_device_agree_on_the_due_penalties(number):
    gan = helpers.linear_gan(
        penalties=('g_orthogonal', 'r1'), lazy=(('r1', 2),)
    )
    weights = {'g_orthogonal': jnp.float32(1), 'r1': jnp.float32(1)}
    state = start(gan).replace(step=jnp.int32(number))
    arguments = (
        gan, helpers.hyperparams(penalty_weights=weights), state, batch(),
        jax.random.key(2),
    )
    device, device_metrics = adversarial.train_step(*arguments)
    due = frozenset() if number else frozenset({'r1'})
    host, host_metrics = adversarial.train_step(*arguments, due=due)
    chex.assert_trees_all_close(
        (device, device_metrics), (host, host_metrics), rtol=1e-5, atol=1e-7
    )


def test_ema_copies_collections_that_are_not_averaged():
    gan = helpers.linear_gan(generator=helpers.MixedGenerator())
    state = start(gan)
    after, _ = step(gan, state, batch())
    averaged, before = after.averages[G].stats, state.averages[G].stats
    stats = after.players[G].stats
    assert set(averaged) == {'batch_stats', 'spectral'}
    assert leaves_equal(averaged['spectral'], stats['spectral'])
    assert not leaves_equal(averaged['spectral'], before['spectral'])
    assert not leaves_equal(averaged['batch_stats'], stats['batch_stats'])


def test_norm_is_the_euclidean_norm_of_all_leaves():
    tree = {'a': jnp.arange(6.0).reshape(2, 3), 'b': {'c': jnp.array([-4.0])}}
    np.testing.assert_allclose(
        updates.global_norm(tree), np.sqrt(55 + 16), rtol=1e-6
    )
    assert updates.global_norm({}) == 0
