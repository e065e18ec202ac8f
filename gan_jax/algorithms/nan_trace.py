"""Where the first number that is not finite comes from: a step made again."""

import jax
import jax.numpy as jnp

from gan_jax.algorithms import algorithm

# The order in which metrics of an update follow from each other; others lie
# between.
FIRST, LAST = ['real_logits', 'fake_logits', 'loss'], ['grad_norm']

PARAMETER = 'parameter '  # how the names of parameters begin


def trace(state, batch, across, play):
    """Make a step and note all that it gives.

    Args:
        state: `algorithm.TrainState` before the step.
        batch: its `algorithm.Batch`.
        across: `algorithm.Across`.
        play: (note) -> the state after the step; note(player, number, state
            after the update, metrics) is called after each update.

    Returns:
        (state, notes): {'0000 name': float32 scalar, ...} in the order in
        which one thing follows from another, each with its own value where it
        is a metric, else 0 or NaN where some of an array is not finite.
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
    return state, across.mean({
        f'{place:04} {name}': jnp.float32(value)
        for place, (name, value) in enumerate(notes)
    })


def _rank(name):
    own = name.partition('/')[2]
    first = FIRST.index(own) if own in FIRST else len(FIRST)
    return own in LAST, first, own


def _parameters(player, params):
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator='/')
        yield f'{PARAMETER}{player}/{name}', _flag(leaf)


def _flag(array):
    """Return 0 where all of an array is finite, else NaN."""
    return jnp.where(jnp.isfinite(array).all(), 0.0, jnp.nan)
