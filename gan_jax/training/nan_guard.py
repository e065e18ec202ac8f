"""A number that is not finite: found, traced to what it came from, told.

The step itself keeps the state from before such a number; here the host learns
of it, one call later.
"""

import math

import jax
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import nan_trace
from gan_jax.core import errors
from gan_jax.runtime import parallel


def check_metrics(metrics, state, programs, checkpoints, *, keep):
    """Wait for a call; stop where one of its numbers was not finite.

    Args:
        metrics: of the call; None before the first.
        state: replicated, after that call or after one more. Used up where
            this raises.
        programs: the `dispatch.Dispatch` that made it.
        checkpoints: `checkpoint.Checkpoints`.
        keep: whether to save the state from before that number.

    Raises:
        errors.NonFiniteError: naming the first such number.
    """
    if metrics is None or parallel.is_true(metrics[algorithm.ALIVE]):
        return
    before = parallel.unreplicate(state)
    step = int(before.step)
    notes = programs.look_again(state, step, int(before.position))
    bad = [(name, value) for name, value in notes if not math.isfinite(value)]
    names = [name for name, _ in bad if name.startswith(nan_trace.PARAMETER)]
    what = 'a number that is finite when the step is made again was not'
    if bad:
        what = f'{bad[0][0]} is {bad[0][1]}'
    what += f' at step {step + 1}'
    if names and names[0] != bad[0][0]:
        what += f', and with it {names[0]}'
    if keep and not first_bad(before) and step not in checkpoints.steps():
        checkpoints.save(step, before.replace(alive=np.True_))
    raise _error(what, checkpoints)


def check_state(state, checkpoints):
    """Refuse to save a state with a value that is not finite.

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
    """Name the first array with a value that is not finite; '' if none has.

    Args:
        state: pytree of NumPy arrays.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if not np.isfinite(leaf).all():
            return jax.tree_util.keystr(path, simple=True, separator='/')
    return ''


def _error(what, checkpoints):
    saved = checkpoints.steps()
    kept = f'step {saved[-1]} is' if saved else 'no step is'
    return errors.NonFiniteError(
        f'{what}; {kept} saved. Try a lower learning rate or another loss'
    )
