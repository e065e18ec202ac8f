"""Trace of the first value of a step that is not finite.

The step is run again with all its values recorded in the order of computation,
so that the host can name the first NaN or infinity.
"""

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm

# The metrics of an update that are computed first and last; others come between
# them.
FIRST, LAST = ['real_logits', 'fake_logits', 'loss'], ['grad_norm']

PARAMETER = 'parameter '  # prefix of the names of parameters


def trace(state, batch, collectives, play):
    """Run a step and record all its values in the order of computation.

    Args:
        state: `algorithm.TrainState` before the step.
        batch: its `algorithm.Batch`.
        collectives: `algorithm.Collectives`.
        play: (note) -> the state after the step. It calls note(player, index of
            the update, state after the update, metrics) after each update.

    Returns:
        (state, notes): {'0000 name': float32 scalar, ...} in the order of
        computation. A metric has its value; an array has 0 if all of it is
        finite, else NaN.
    """
    notes = [
        ('the data' if len(batch.sources) == 1 else f'the data {name}',
         _flag(algorithm.to_unit_range(source.images)))
        for name, source in batch.sources.items()
    ]
    for player in sorted(state.players):
        notes += _parameters(player, state.players[player].params)

    def note(player, number, after, metrics):
        for name in sorted(metrics, key=_rank):
            notes.append((f'{name} in update {number + 1}', metrics[name]))
        notes.extend(_parameters(player, after.players[player].params))

    state = play(note)
    return state, collectives.mean({
        f'{place:04} {name}': jnp.float32(value)
        for place, (name, value) in enumerate(notes)
    })


def _rank(name):
    """Return the sort key of a metric: its place in the computation."""
    name = name.partition('/')[2]
    first = FIRST.index(name) if name in FIRST else len(FIRST)
    return name in LAST, first, name


def _parameters(player, params):
    """Yield (name, flag) of each parameter array of a player."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        yield f'{PARAMETER}{player}/{name}', _flag(leaf)


def _flag(array):
    """Return 0 if all of an array is finite, else NaN."""
    return jnp.where(jnp.isfinite(array).all(), 0.0, jnp.nan)
