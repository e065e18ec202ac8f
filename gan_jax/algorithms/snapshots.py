"""A ring buffer of the last snapshots of a network, and their average.

Stochastic weight averaging, of any player; pure.
"""

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.ops import averaging


def init(count, player):
    """Return an empty ring buffer for the last `count` snapshots of a player.
    """
    ring = jax.tree.map(
        lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype),
        algorithm.weights_of(player),
    )
    return {**ring._asdict(), 'taken': jnp.int32(0)}


def take(ring, player, step, every):
    """Add a snapshot of a player at each `every`-th step.

    Args:
        ring: as returned by `init`.
        player: `algorithm.PlayerState`.
        step: int32, number of steps including the current one.
        every: steps between snapshots.

    Returns:
        The new ring, unchanged at other steps.
    """
    due = step % every == 0
    new = {
        name: averaging.keep_last(
            ring[name], getattr(player, name), ring['taken'], due
        )
        for name in ('params', 'stats')
    }
    return {**new, 'taken': ring['taken'] + due}


def finish(this, alive, state, name):
    """Update the counters after a step, and take a snapshot if one is due.

    Args:
        this: an algorithm with `draws`, `snapshots` and `snapshot_every`.
        alive: bool; if False, the state is returned unchanged.
        state: `algorithm.TrainState` after the updates.
        name: name of the player.

    Returns:
        `algorithm.TrainState`.
    """
    new = state.replace(
        step=state.step + 1, position=state.position + this.draws
    )
    if this.snapshots:
        ring = take(
            new.memory['snapshots'], new.players[name], new.step,
            this.snapshot_every,
        )
        new = new.replace(memory={**new.memory, 'snapshots': ring})
    return algorithm.select(alive, new, state)


def average(ring):
    """Return the average of a ring as `algorithm.Weights`.

    The paper computes BatchNorm's statistics anew on data; here they are
    averaged too, as in the EMA. Other collections are those of the newest
    snapshot. NaN before the first snapshot.

    References:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better
        Generalization, https://arxiv.org/abs/1803.05407, 2018.
    """
    return algorithm.Weights(
        averaging.average(ring['params'], ring['taken']), {
            name: (
                averaging.average if name in algorithm.AVERAGED_STATS
                else averaging.newest
            )(values, ring['taken'])
            for name, values in ring['stats'].items()
        },
    )
