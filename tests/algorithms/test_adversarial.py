"""Update schedules, tested by the state after a step."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import helpers
from helpers import batch, images_of, leaves_equal, linear_gan, start, step
from gan_jax.algorithms import adversarial
from gan_jax.algorithms import update_order
from gan_jax.algorithms import algorithm
from gan_jax.algorithms import discriminator_inputs
from gan_jax.algorithms.game import D, G
from gan_jax.algorithms import updates


def select_batches(data, places):
    """Return the batches of a step at some places."""
    return helpers.real_batch(data.sources['real'].images[places])


@pytest.mark.integration
def test_g_is_updated_against_the_new_d():
    gan = linear_gan()
    state = start(gan)
    after, _ = step(gan, state, batch())
    frozen, _ = step(gan, state, batch(), d_learning_rate=jnp.float32(0))
    assert not leaves_equal(after.players[G].params, frozen.players[G].params)


@pytest.mark.parametrize('d_steps', [1, 2])
def test_simultaneous_takes_both_gradients_at_the_same_point(d_steps):
    plain = linear_gan(d_steps=d_steps)
    state, data = start(plain), batch(d_steps)
    alternating, _ = step(plain, state, data)
    simultaneous, _ = step(plain._replace(schedule='simultaneous'), state, data)
    frozen, _ = step(plain, state, data, d_learning_rate=jnp.float32(0))
    assert leaves_equal(simultaneous.players[D], alternating.players[D])
    assert leaves_equal(simultaneous.players[G], frozen.players[G])
    assert not leaves_equal(simultaneous.players[G], alternating.players[G])


@pytest.mark.parametrize('d_steps', [1, 3])
def test_each_optimizer_counts_its_own_updates(d_steps):
    import optax

    adam = optax.scale_by_adam()
    gan = linear_gan(d_steps=d_steps, g_tx=adam, d_tx=adam)
    state = start(gan)
    for _ in range(2):
        state, _ = step(gan, state, batch(d_steps))
    assert int(state.step) == 2
    assert int(state.position) == 2 * d_steps
    assert int(state.players[G].opt_state.count) == 2
    assert int(state.players[D].opt_state.count) == 2 * d_steps


def test_each_d_update_uses_its_own_images():
    gan = linear_gan(d_steps=2)
    data = batch(2)
    first, _ = step(gan, start(gan), data)
    for places in ([1, 0], [1, 1]):
        other = select_batches(data, jnp.array(places))
        second, _ = step(gan, start(gan), other)
        assert not leaves_equal(first.players[D], second.players[D])


def test_an_unconditional_gan_gets_no_labels():
    gan, data = linear_gan(), batch()  # its modules take none
    labels = jnp.arange(6)[None] % 3
    labelled = helpers.real_batch(data.sources['real'].images, labels)
    after, _ = step(gan, start(gan), labelled)
    assert leaves_equal(after, step(gan, start(gan), data)[0])


def test_noise_changes_with_the_step():
    gan = linear_gan()
    state = start(gan)
    _, first = step(gan, state, batch())
    _, second = step(gan, state.replace(step=state.step + 1), batch())
    assert first['g/loss'] != second['g/loss']


def test_step_is_deterministic_and_equal_under_jit():
    gan = linear_gan()
    state = start(gan)
    once, _ = step(gan, state, batch())
    again, _ = step(gan, state, batch())
    assert leaves_equal(once, again)
    jitted, _ = jax.jit(lambda s: step(gan, s, batch()))(state)
    chex.assert_trees_all_close(once, jitted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('schedule', update_order.SCHEDULES)
def test_counters_count_steps_and_the_batches_drawn(schedule):
    gan = linear_gan(schedule=schedule, d_steps=2, g_steps=3)
    state = start(gan)
    for _ in range(2):
        state, metrics = step(gan, state, batch(3))
    assert int(state.step) == 2
    assert int(state.position) == 2 * 3  # both players share the batches
    assert np.isfinite(list(metrics.values())).all()


def test_g_is_updated_g_steps_times_with_new_latents():
    gan = linear_gan(g_steps=2)
    state, data = start(gan), batch(2)
    both, _ = step(gan, state, data)
    # By hand: D's update, then G's updates numbered 1 and 2.
    ctx = discriminator_inputs.UpdateContext(
        gan, helpers.hyperparams(), state, None
    )
    step_key = jax.random.fold_in(jax.random.key(2), 0)
    after, _ = updates.discriminator_update(
        ctx._replace(key=jax.random.fold_in(step_key, 0)),
        images_of(data), data.sample_index,
    )
    for number in (0, 1):
        after, _ = updates.generator_update(
            ctx._replace(
                state=after, key=jax.random.fold_in(step_key, 1 + number)
            ), images_of(data, number), data.sample_index,
        )
    assert leaves_equal(both.players[G], after.players[G])
    assert leaves_equal(both.players[D], after.players[D])


def thresholds(d, g):
    return {'d_threshold': jnp.float32(d), 'g_threshold': jnp.float32(g)}


def test_adaptive_with_low_thresholds_equals_alternating():
    plain = linear_gan(d_steps=3, g_steps=2)
    gan = plain._replace(schedule='adaptive')
    state = start(gan)
    adaptive, metrics = step(gan, state, batch(3), **thresholds(-9, -9))
    alternating, _ = step(plain, state, batch(3))
    assert leaves_equal(adaptive, alternating)
    assert metrics['d/updates'] == 3 and metrics['g/updates'] == 2


def test_adaptive_with_high_thresholds_updates_g_once():
    gan = linear_gan(schedule='adaptive', d_steps=3, g_steps=2)
    state = start(gan)
    after, metrics = step(gan, state, batch(3), **thresholds(9, 9))
    assert leaves_equal(after.players[D], state.players[D])
    assert not leaves_equal(after.players[G], state.players[G])
    assert metrics['d/updates'] == 0 and metrics['g/updates'] == 1
    assert int(after.step) == 1 and int(after.position) == 3


def test_adaptive_stops_at_the_first_loss_below_the_threshold():
    gan = linear_gan(schedule='adaptive', d_steps=4)
    state = start(gan)
    losses_seen = []
    for d_steps in range(1, 5):  # D's loss before each of its updates
        plain = linear_gan(d_steps=d_steps)
        data = select_batches(batch(4), slice(d_steps))
        losses_seen.append(float(step(plain, state, data)[1]['d/loss']))
    assert losses_seen[1] < losses_seen[0]
    threshold = (losses_seen[0] + losses_seen[1]) / 2
    after, metrics = step(gan, state, batch(4), **thresholds(threshold, -9))
    assert metrics['d/updates'] == 1
    assert metrics['d/loss'] == np.float32(losses_seen[0])
    one = select_batches(batch(4), slice(1))
    single, _ = step(linear_gan(), state, one)
    assert leaves_equal(after.players[D], single.players[D])


def test_guarded_steps_together_equal_the_adaptive_step():
    gan = linear_gan(schedule='adaptive', d_steps=2, g_steps=2)
    state, data, key = start(gan), batch(2), jax.random.key(2)
    hyperparams = helpers.hyperparams(**thresholds(0.5, 0.5))
    whole, metrics = adversarial.train_step(
        gan, hyperparams, state, data, key
    )
    parts = [adversarial.guarded_discriminator_step] * 2
    parts += [adversarial.guarded_generator_step] * 2
    num_updates = 0
    for number, part in enumerate(parts):
        place = number % 2
        piece = select_batches(data, slice(place, place + 1))
        state, got = part(gan, hyperparams, state, piece, key, number)
        num_updates += got.get('d/updates', 0) + got.get('g/updates', 0)
    assert num_updates == metrics['d/updates'] + metrics['g/updates'] == 4
    assert leaves_equal(gan.train_step(
        hyperparams, state, data, key,
        variant=algorithm.Variant(adversarial.FINISH),
    )[0], whole)


def test_a_state_that_is_not_alive_does_not_change():
    gan = linear_gan(snapshots=2, snapshot_every=1)
    dead = start(gan).replace(alive=jnp.zeros((), bool))
    arguments = gan, helpers.hyperparams(), dead
    key = jax.random.key(2)
    one = batch(1)
    for after, metrics in (
        adversarial.train_step(*arguments, one, key),
        adversarial.critic_step(*arguments, one, key, 0),
        adversarial.guarded_discriminator_step(*arguments, one, key, 0),
        adversarial.guarded_generator_step(*arguments, one, key, 0),
        (adversarial.finish_step(*arguments, one, key, 0)[0], {'alive': 0}),
    ):
        assert leaves_equal(after, dead)
        assert not metrics['alive']


def test_critic_step_updates_only_d_and_counts_its_batches():
    gan = linear_gan(schedule='wgan', d_steps=2)
    state = start(gan)
    arguments = (gan, helpers.hyperparams(), state, batch(2))
    after, _ = adversarial.critic_step(*arguments, jax.random.key(2), 3)
    assert leaves_equal(after.players[G], state.players[G])
    assert not leaves_equal(after.players[D], state.players[D])
    assert int(after.step) == 0 and int(after.position) == 2
    other, _ = adversarial.critic_step(*arguments, jax.random.key(2), 5)
    assert not leaves_equal(after.players[D], other.players[D])


def test_unrolling_applies_one_update_to_d():
    plain = linear_gan(schedule='simultaneous')
    unrolled = plain._replace(schedule='unrolled', unroll_steps=3)
    state = start(plain)
    after, _ = step(unrolled, state, batch())
    expected, _ = step(plain, state, batch())
    assert leaves_equal(after.players[D], expected.players[D])
    assert not leaves_equal(after.players[G], expected.players[G])


@pytest.mark.parametrize('step, every, burst', [
    (0, 500, True), (24, 500, True), (25, 500, False), (499, 500, False),
    (500, 500, True), (501, 500, False), (24, 0, True), (25, 0, False),
    (500, 0, False),
])
def test_bursts_are_the_first_steps_and_every_later_one(step, every, burst):
    assert update_order.is_burst(step, 25, every) == burst


def test_defaults_of_schedules_are_the_authors():
    # 1701.07875's code: 100 updates in each of the first 25 steps, and in every
    # 500th; 1611.02163, the experiments with 5 unrolled updates.
    assert {
        option.name: option.default
        for name in ('unrolled', 'wgan')
        for option in update_order.OPTIONS[name]
    } == {
        'unroll_steps': 5, 'burst_steps': 100, 'burst_first': 25,
        'burst_every': 500,
    }


@pytest.mark.parametrize('loss, above', [
    (0.4, False), (0.5, False), (0.6, True), (jnp.nan, True),
])
def test_update_of_the_adaptive_schedule_is_above_the_threshold(loss, above):
    assert bool(update_order.is_above(jnp.float32(loss), 0.5)) == above
