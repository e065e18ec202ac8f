"""Detection of NaN and infinite values, and tracing to their origin.

A compiled program keeps the last finite state by itself. Here the host detects
that, one call later, and repeats the whole step, even if only a part of it
failed, to name the first bad value.
"""

import math

import jax
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import nan_trace
from gan_jax.core import errors
from gan_jax.runtime import parallel


def check_metrics(metrics, state, dispatcher, checkpoints, *, keep):
    """Wait for a call and check that all of its values were finite.

    Args:
        metrics: of the call; None before the first call.
        state: replicated, after that call or the next one. Donated if this
            raises.
        dispatcher: the `dispatch.Dispatch` that made the call.
        checkpoints: `checkpoint.Checkpoints`.
        keep: whether to save the last finite state.

    Raises:
        errors.NonFiniteError: naming the first bad value.
    """
    if metrics is None or parallel.is_true(metrics[algorithm.ALIVE]):
        return
    before = parallel.unreplicate(state)
    step = int(before.step)
    values = dispatcher.trace(state, step, int(before.position))
    bad = [(name, value) for name, value in values if not math.isfinite(value)]
    names = [name for name, _ in bad if name.startswith(nan_trace.PARAMETER)]
    reason = 'a value that is finite when the step is repeated was not'
    if bad:
        reason = f'{bad[0][0]} is {bad[0][1]}'
    reason += f' at step {step + 1}'
    if names and names[0] != bad[0][0]:
        reason += f', and with it {names[0]}'
    if keep and not first_bad(before) and step not in checkpoints.steps():
        checkpoints.save(step, before.replace(alive=np.True_))
    raise _error(reason, checkpoints)


def check_state(state, checkpoints):
    """Check that all values of a state are finite before it is saved.

    Args:
        state: `algorithm.TrainState` of NumPy arrays.
        checkpoints: `checkpoint.Checkpoints`.

    Raises:
        errors.NonFiniteError: naming the first array.
    """
    name = first_bad(state)
    if name:
        raise _error(
            f'{name} is not finite at step {int(state.step)}', checkpoints
        )


def first_bad(state):
    """Return the name of the first array with a non-finite value, or ''.

    Args:
        state: pytree of NumPy arrays.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not np.isfinite(leaf).all():
            return jax.tree_util.keystr(path, simple=True, separator='/')
    return ''


def _error(reason, checkpoints):
    """Return the error, which names the last saved step."""
    steps = checkpoints.steps()
    last = f'step {steps[-1]} is' if steps else 'no step is'
    return errors.NonFiniteError(
        f'{reason}; {last} saved. Try a lower learning rate or another loss'
    )
