"""Schedules of the GAN: which player is updated when in a step.

A schedule is a function of the updates of both players, which it calls in its
order. It knows neither networks nor losses.
"""

import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.algorithms.game import D
from gan_jax.core import options

MAX_UPDATES = 100  # of a player in a step: each is compiled separately


def alternating(gan, hyperparams, state, update_d, update_g):
    """Update D `d_steps` times, then G `g_steps` times against the new D.

    Args:
        gan: an `Adversarial`.
        hyperparams: a `game.Hyperparams`.
        state: an `algorithm.TrainState`.
        update_d, update_g: (state, index of the update) -> (state, metrics).

    Returns:
        (state, metrics); the metrics of each player are of its last update.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, algorithm 1.
    """
    del hyperparams
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    return state, {**d_metrics, **g_metrics}


def simultaneous(gan, hyperparams, state, update_d, update_g):
    """Update each player against the other's parameters before the step.

    With one update per player, both gradients are taken at the same point.

    Args, returns: as `alternating`.

    References:
        Mescheder et al., The Numerics of GANs,
        https://arxiv.org/abs/1705.10461, 2017.
    """
    del hyperparams
    start = state.players[D]
    for number in range(gan.d_steps):
        state, d_metrics = update_d(state, number)
    end = state.players[D]
    state = algorithm.replace_player(state, D, start)
    for number in range(gan.g_steps):
        state, g_metrics = update_g(state, number)
    state = algorithm.replace_player(state, D, end)
    return state, {**d_metrics, **g_metrics}


def adaptive(gan, hyperparams, state, update_d, update_g):
    """Update each player while its loss is above its threshold.

    D is updated at most `d_steps` times, then G at most `g_steps` times. If D
    is not updated, G is updated at least once, so that training continues. NaN
    counts as above, so that it is detected. Skipped updates are computed and
    discarded. Where control flow is slow, training does not use this function:
    the host calls the updates one by one and ends at the first one discarded,
    see `Adversarial.plan`.

    Args, returns: as `alternating`; the metrics also hold the number of updates
    of each player, `d/updates` and `g/updates`.
    """
    state, d_metrics, d_updates = _update_while_above(
        update_d, state, gan.d_steps,
        lambda metrics, number: is_above(
            metrics['d/loss'], hyperparams.d_threshold
        ),
    )
    state, g_metrics, g_updates = _update_while_above(
        update_g, state, gan.g_steps,
        lambda metrics, number: (
            is_above(metrics['g/loss'], hyperparams.g_threshold)
            | ((number == 0) & (d_updates == 0))
        ),
    )
    counts = {'d/updates': d_updates, 'g/updates': g_updates}
    return state, {**d_metrics, **g_metrics, **counts}


def is_above(loss, threshold):
    """Return whether a loss exceeds a threshold; True for NaN."""
    return ~(loss <= threshold)


def _update_while_above(update, state, count, above):
    """Apply updates up to the first one whose loss is not above.

    Returns:
        (state, metrics of the last update applied, or of the first one if none
        was; number of updates applied).
    """
    active, applied, kept = True, jnp.float32(0), None
    for number in range(count):
        new, metrics = update(state, number)
        active &= above(metrics, number)
        state = algorithm.select(active, new, state)
        if kept is None:
            kept = metrics
        else:
            kept = algorithm.select(active, metrics, kept)
        applied += active
    return state, kept, applied


# 'unrolled' is 'simultaneous' with `Adversarial.unroll_steps`: both players
# start from the same D. 'wgan' is 'alternating' with additional critic updates
# at some steps, which the plan adds as calls of `CRITIC`.
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
         "differentiates through D's optimizer, and the norm of a gradient is "
         'not differentiable at 0'),
    )
)
OPTIONS = {  # of the group schedule
    'adaptive': (
        options.Option('d_threshold', 0.0, 'D is updated above this loss',
                       options.FINITE),
        options.Option('g_threshold', 0.0, 'G is updated above this loss',
                       options.FINITE),
    ),
    'unrolled': (options.Option(
        'unroll_steps', 5, "updates of D that G's gradient passes through",
        options.count(most=MAX_UPDATES),
    ),),
    'wgan': (
        options.Option(
            'burst_steps', 100, 'updates of D in a burst, instead of d_steps',
            options.COUNT,
        ),
        options.Option(
            'burst_first', 25, 'number of first steps that are bursts',
            options.STEPS,
        ),
        options.Option(
            'burst_every', 500, 'steps between later bursts; 0 for none',
            options.STEPS,
        ),
    ),
}


def is_burst(step, first, every):
    """Return whether D gets additional updates in a step of schedule 'wgan'.

    Args:
        step: int, number of completed steps.
        first: number of initial steps that are bursts.
        every: steps between later bursts; 0 for none.
    """
    return step < first or (every > 0 and step % every == 0)
