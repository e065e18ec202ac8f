"""Where the first number that is not finite comes from: a step made again."""

import jax
import jax.numpy as jnp

from gan_jax.steps import adversarial
from gan_jax.steps import game

# The order in which metrics of an update follow from each other; others lie
# between.
FIRST, LAST = ['real_logits', 'fake_logits', 'loss'], ['grad_norm']

PARAMETER = 'parameter '  # how the names of parameters begin


def look(gan, hyperparams, state, batch, key, number, **options):
    """Make a step as `adversarial.train_step` does and note all it gives.

    Args:
        gan, hyperparams, state, batch, key, options: as `train_step`, of the
            state before the step.
        number: unused, as the step's updates are numbered from 0.

    Returns:
        (state, notes): {'0000 name': float32 scalar, ...} in the order in
        which one thing follows from another, each with its own value where it
        is a metric, else 0 or NaN where some of an array is not finite.
    """
    del number
    notes = [('the data', _flag(game.to_unit_range(batch.images)))]
    for player in ('discriminator', 'generator'):
        notes += _parameters(player, getattr(state, player).params)

    def note(player, number, before, after, metrics):
        del before
        for name in sorted(metrics, key=_rank):
            notes.append((f'{name} in update {number + 1}', metrics[name]))
        notes.extend(_parameters(player, getattr(after, player).params))

    state, _ = adversarial.play(
        gan, hyperparams, state, batch, key, note=note, **options
    )
    mean = options.get('mean', lambda tree: tree)
    return state, mean({
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
    """Give 0 where all of an array is finite, else NaN."""
    return jnp.where(jnp.isfinite(array).all(), 0.0, jnp.nan)
