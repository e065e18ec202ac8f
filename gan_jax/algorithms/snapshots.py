"""The last snapshots of a network, kept in a ring, and their plain average."""

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm
from gan_jax.ops import transforms


def init(count, player):
    """Return an empty ring for the last `count` snapshots of a player."""
    ring = jax.tree.map(
        lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype),
        algorithm.weights_of(player),
    )
    return {**ring._asdict(), 'taken': jnp.int32(0)}


def take(ring, player, step, every):
    """Keep a player at each `every`-th step.

    Args:
        ring: as of `init`.
        player: `algorithm.PlayerState`.
        step: int32, steps made, the present one counted.
        every: steps between snapshots.

    Returns:
        The ring, at other steps as it was.
    """
    due = step % every == 0
    new = {
        name: transforms.keep_last(
            ring[name], getattr(player, name), ring['taken'], due
        )
        for name in ('params', 'stats')
    }
    return {**new, 'taken': ring['taken'] + due}


def finish(this, alive, state, name):
    """Count a step whose updates are made; keep a player where it is due.

    Args:
        this: an algorithm with `draws`, `snapshots` and `snapshot_every`.
        alive: bool; of a state that is not alive nothing changes.
        state: `algorithm.TrainState` after the updates.
        name: of the player.

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
    """Return the `algorithm.Weights` that are the average of a ring.

    Izmailov et al. measure the statistics of BatchNorm anew on data; here they
    are averaged too, as in the EMA, and what is no average is that of the
    newest snapshot. NaN before the first one.
    """
    return algorithm.Weights(
        transforms.average(ring['params'], ring['taken']), {
            name: (
                transforms.average if name in algorithm.AVERAGED_STATS
                else transforms.newest
            )(values, ring['taken'])
            for name, values in ring['stats'].items()
        },
    )
