"""Who moves when: the schedules of the game, over the updates of each player.

`train_step` makes one whole step. `critic_step`, the guarded steps and
`finish_step` are parts of one, for a host that decides between them.
"""

import jax
import jax.numpy as jnp

from gan_jax import options
from gan_jax.steps import baselines
from gan_jax.steps import game
from gan_jax.steps import sights
from gan_jax.steps import updates

init = game.init
sample = game.sample

MOST_UPDATES = 100  # of a player in a step: each is compiled by itself
ALIVE = 'alive'  # the metric that is not for showing: `GANState.alive`


def alternating(gan, hyperparams, state, update_d, update_g):
    """Move D `d_steps` times, then G `g_steps` times through the new D.

    Goodfellow et al., Generative Adversarial Networks,
    https://arxiv.org/abs/1406.2661, 2014, algorithm 1.

    Args:
        gan: a `game.GAN`.
        hyperparams: a `game.Hyperparams`.
        state: a `game.GANState`.
        update_d, update_g: (state, number of the update) -> (state, metrics).

    Returns:
        (state, metrics), those of each player from its last update.
    """
    del hyperparams
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    return state, {**d_metrics, **g_metrics}


def simultaneous(gan, hyperparams, state, update_d, update_g):
    """Move each player as though the other stood still.

    G learns through D as it was before the step, so with one update of each
    both gradients are taken at the same point.

    Args, returns: as `alternating`.

    References:
        Mescheder et al., The Numerics of GANs,
        https://arxiv.org/abs/1705.10461, 2017.
    """
    del hyperparams
    start = state.discriminator
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    moved, state = state.discriminator, state.replace(discriminator=start)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    state = state.replace(discriminator=moved)
    return state, {**d_metrics, **g_metrics}


def adaptive(gan, hyperparams, state, update_d, update_g):
    """Move each player while its loss is above its threshold.

    D at most `d_steps` times, then G at most `g_steps` times. Where neither
    would move, G does once, so that the game cannot stand still. A loss that is
    no number counts as above, so that it is met. The updates that are not made
    are computed and dropped: no control flow.

    Args, returns: as `alternating`; the metrics have the number of updates
    made, `d/updates` and `g/updates`.
    """
    state, d_metrics, d_made = _while_above(
        update_d, state, gan.d_steps,
        lambda metrics, number: _above(
            metrics['d/loss'], hyperparams.d_threshold
        ),
    )
    state, g_metrics, g_made = _while_above(
        update_g, state, gan.g_steps,
        lambda metrics, number: (
            _above(metrics['g/loss'], hyperparams.g_threshold)
            | ((number == 0) & (d_made == 0))
        ),
    )
    made = {'d/updates': d_made, 'g/updates': g_made}
    return state, {**d_metrics, **g_metrics, **made}


def _above(loss, threshold):
    return ~(loss <= threshold)


def _while_above(update, state, count, above):
    """Make updates up to the first whose loss is not above.

    Returns:
        (state, metrics of the last update made or of the first, number made).
    """
    active, made, kept = True, jnp.float32(0), None
    for number in range(count):
        new, metrics = update(state, number)
        active &= above(metrics, number)
        state = _choose(active, new, state)
        kept = metrics if kept is None else _choose(active, metrics, kept)
        made += active
    return state, kept, made


def _choose(condition, first, second):
    """Take one of two pytrees."""
    return jax.tree.map(
        lambda a, b: jnp.where(condition, a, b), first, second
    )


# 'unrolled' is 'simultaneous' with `GAN.unroll_steps`: G looks ahead from the
# D that its opponent moves from. 'wgan' is 'alternating' with more critic
# updates at some steps, which the host adds by `critic_step`.
SCHEDULES = {
    'adaptive': adaptive,
    'alternating': alternating,
    'simultaneous': simultaneous,
    'unrolled': simultaneous,
    'wgan': alternating,
}
DEMANDS = tuple(  # of a schedule on other keys
    options.Demand(options.equal('unrolled'), key, bounds, reason)
    for key, bounds, reason in (
        ('num_microbatches', options.equal(1),
         "differentiates through D's updates on whole batches"),
        ('d_optimizer.clip_norm', options.equal(0),
         "differentiates through D's optimizer, and the norm that is divided "
         'by has no gradient at 0'),
    )
)
OPTIONS = {  # of the group schedule
    'adaptive': (
        options.Option('d_threshold', 0.0, 'D moves while its loss is above',
                       options.FINITE),
        options.Option('g_threshold', 0.0, 'G likewise', options.FINITE),
    ),
    'unrolled': (options.Option(
        'unroll_steps', 5, "D's updates that G foresees",
        options.count(most=MOST_UPDATES),
    ),),
    'wgan': (
        options.Option(
            'burst_steps', 100, "D's updates, in place of d_steps,",
            options.COUNT,
        ),
        options.Option(
            'burst_first', 25, '... in each of so many steps at first',
            options.STEPS,
        ),
        options.Option(
            'burst_every', 500, '... and again every so many; 0: never',
            options.STEPS,
        ),
    ),
}


def is_burst(step, first, every):
    """Say whether D makes more updates before a step of the schedule 'wgan'.

    Args:
        step: int, steps made.
        first: steps at the start that all have them.
        every: steps between later ones; 0 for none.
    """
    return step < first or (every > 0 and step % every == 0)


def train_step(
    gan, hyperparams, state, batch, key, *,
    mean=lambda tree: tree, gather=lambda array: array,
    loop=sights.one_by_one, due=None,
):
    """Make one step of the GAN's schedule.

    The loop over updates is unrolled: on CPU a convolution inside an XLA loop
    is many times slower.

    Args:
        gan: a `game.GAN`.
        hyperparams: a `game.Hyperparams`.
        state: a `game.GANState`.
        batch: a `game.Batch`.
        key: PRNG key of the run; the step is folded in here.
        mean, gather: over devices, see `sights.Turn`.
        loop, due: see `sights.Turn`.

    Returns:
        (state, metrics): `step` is one higher, `position` by the batches
        drawn; metrics are float32 scalars. Where one is not finite, the state
        is as it was, and no longer `alive`, which the metrics tell too.
    """
    new, metrics = play(
        gan, hyperparams, state, batch, key, mean=mean, gather=gather,
        loop=loop, due=due,
    )
    return _while_finite(state, finish_step(gan, new), metrics)


def play(
    gan, hyperparams, state, batch, key, *,
    note=lambda player, number, before, after, metrics: None, **options,
):
    """Make the updates of one step, whatever numbers come of them.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        note: called after each update with the player's name, the update's
            number, the states before and after it, and its metrics.

    Returns:
        (state, metrics); no step is counted.
    """
    turn = _turns(gan, hyperparams, key, **options)
    if gan.baseline:
        new, metrics = baselines.update(
            turn(state, 0), batch.images[0], batch.slots,
            None if batch.labels is None else batch.labels[0],
            None if batch.numbers is None else batch.numbers[0],
        )
        note('generator', 0, state, new, metrics)
        return new, metrics
    if gan.share_fakes:
        _, slots, labels = _real(batch, 0)
        fakes = sights.make_fakes(turn(state, 0), slots, labels)
        turn = _turns(gan, hyperparams, key, fakes=fakes, **options)

    def update_d(state, number):
        new, metrics = updates.discriminator_update(
            turn(state, number), *_real(batch, number)
        )
        note('discriminator', number, state, new, metrics)
        return new, metrics

    def update_g(state, number):
        new, metrics = updates.generator_update(
            turn(state, gan.d_steps + number),
            *_real(batch, number - gan.g_steps),
        )
        note('generator', number, state, new, metrics)
        return new, metrics

    return SCHEDULES[gan.schedule](
        gan, hyperparams, state, update_d, update_g
    )


def _while_finite(state, new, metrics):
    """Take the new state where all metrics are finite; else end its life.

    Losses, penalties and norms of gradients are metrics, so nothing that is not
    finite enters a state unseen.
    """
    alive = state.alive & jnp.isfinite(jnp.stack([*metrics.values()])).all()
    kept = _choose(alive, new, state).replace(alive=alive)
    return kept, {**metrics, ALIVE: jnp.float32(alive)}


def _real(batch, number):
    """Take one real batch of a step: (images, slots, labels)."""
    labels = None if batch.labels is None else batch.labels[number]
    return batch.images[number], batch.slots, labels


def finish_step(gan, state):
    """Count a step whose updates are made; keep G where a snapshot is due.

    Of a state that is not alive nothing changes.
    """
    new = state.replace(
        step=state.step + 1, position=state.position + game.draws_per_step(gan)
    )
    new = game.take_snapshot(gan, new) if gan.snapshots else new
    return _choose(state.alive, new, state)


def critic_step(gan, hyperparams, state, batch, key, number, **options):
    """Move D once for each real batch, and no G: more critic for this step.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`.
        number: int32, of the first of these updates among those of the step;
            their keys follow from it.

    Returns:
        (state, metrics of the last update): `position` counts the batches,
        `step` is as before.
    """
    turn, start = _turns(gan, hyperparams, key, **options), state
    for place in range(len(batch.images)):
        state, metrics = updates.discriminator_update(
            turn(state, number + place), *_real(batch, place)
        )
    position = state.position + len(batch.images)
    return _while_finite(start, state.replace(position=position), metrics)


def guarded_discriminator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Make one update of D of the adaptive schedule, where its loss is above.

    Args, returns: as `critic_step`, of one batch; `d/updates` is 1 where D
    moved. `position` is as before: `finish_step` counts the whole step.
    """
    turn = _turns(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'd', hyperparams.d_threshold, *(
        updates.discriminator_update(turn, *_real(batch, 0))
    ))


def guarded_generator_step(
    gan, hyperparams, state, batch, key, number, **options
):
    """Make one update of G of the adaptive schedule, where its loss is above.

    Args, returns: as `guarded_discriminator_step`.
    """
    turn = _turns(gan, hyperparams, key, **options)(state, number)
    return _guarded(state, 'g', hyperparams.g_threshold, *(
        updates.generator_update(turn, *_real(batch, 0))
    ))


def _guarded(state, player, threshold, new, metrics):
    active = _above(metrics[f'{player}/loss'], threshold)
    made = {f'{player}/updates': active.astype(jnp.float32)}
    return _while_finite(
        state, _choose(active, new, state), {**metrics, **made}
    )


def _turns(gan, hyperparams, key, **options):
    """Make (state, number of the update in its step) -> `sights.Turn`."""

    def turn(state, number):
        update_key = jax.random.fold_in(
            jax.random.fold_in(key, state.step), number
        )
        return sights.Turn(gan, hyperparams, state, update_key, **options)

    return turn
