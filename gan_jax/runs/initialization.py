"""First state of a run: new networks, or those of a release or another run."""

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.features import weights as weight_files
from gan_jax.runs import hub
from gan_jax.runs import release_files
from gan_jax.runs import release_tensors
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint


def initial_state(config, algorithm, specs):
    """Return the state that a new run starts from.

    Without `init_from` it is `builders.initial_state`. With `init_resume` it is
    the whole state of the other run, so that training goes on as there.
    Otherwise the chosen players get the parameters, statistics and averages of
    the other run; counters, optimizers and memory start anew.

    Args:
        config: validated ConfigDict.
        algorithm: `algorithm.Algorithm` of it.
        specs: as of `builders.data_specs`.

    Returns:
        `algorithm.TrainState` of NumPy arrays.

    Raises:
        errors.ConfigError: for a player that does not exist.
        errors.CheckpointError: where the other run cannot be loaded, has other
            networks, or lacks optimizers and memory for `init_resume`.
    """
    if not config.init_from:
        return builders.initial_state(config, algorithm, specs)
    chosen = defaults.init_players(config) or tuple(algorithm.players)
    for name in chosen:
        if name not in algorithm.players:
            raise errors.ConfigError(
                errors.unknown_name('init_players', name, algorithm.players)
            )
    folder = hub.local(config.init_from)
    if config.init_resume and release_files.is_release(folder) and (
            release_files.TRAINING not in release_files.read_sums(folder)):
        raise errors.ReleaseError(
            f'init_from={config.init_from} holds no optimizers and memory, '
            'which init_resume=True needs; release the run with --training'
        )
    _, other = sampling.load(folder)
    if config.init_resume:
        _check(folder, other, builders.abstract_state(config, algorithm, specs))
        return other
    state = builders.initial_state(config, algorithm, specs)
    for name in chosen:
        _check(folder, _parts(other, name), _parts(state, name))
    memory = {
        name: _renewed(state, other, chosen, own)
        for name, own in state.memory.items()
    }
    return state.replace(
        players={**state.players, **{
            name: state.players[name].replace(**algorithm_lib.weights_of(
                other.players[name]
            )._asdict()) for name in chosen
        }},
        averages={**state.averages, **{
            name: other.averages[name] for name in chosen
            if name in state.averages
        }},
        memory={**memory, **{
            name: other.memory[name] for name in release_tensors.CODES
            if name in memory and set(chosen) == set(algorithm.players)
            and _form(other.memory[name]) == _form(memory[name])
        }},
    )


def _parts(state, name):
    """Return what a player takes from another state, as a dict of pytrees."""
    return {name: {
        key: value for key, value in (
            ('weights', name in state.players
             and algorithm_lib.weights_of(state.players[name])),
            ('average', state.averages.get(name)),
        ) if value
    }}


def _renewed(state, other, chosen, memory):
    """Return a part of the memory of step 0, for the players' new parameters.

    Copies of a player's first parameters, as of historical averaging, become
    copies of those that it takes.
    """
    for name in chosen:
        own = state.players[name].params
        if jax.tree.structure(memory) == jax.tree.structure(own) and all(
                np.array_equal(leaf, first) for leaf, first in
                zip(jax.tree.leaves(memory), jax.tree.leaves(own))):
            return other.players[name].params
    if isinstance(memory, dict):
        return {
            key: _renewed(state, other, chosen, value)
            for key, value in memory.items()
        }
    return memory


def _form(tree):
    """Return {name: (dtype, shape)} of the arrays of a pytree."""
    return {
        name: (dtype, tuple(shape))
        for name, (shape, dtype) in checkpoint.form(tree).items()
    }


def _check(folder, other, own):
    """Check that arrays of another state have the names and shapes of ours.

    Raises:
        errors.CheckpointError: naming the first differences.
    """
    found, expected = _form(other), _form(own)
    try:
        weight_files.check_tensors(folder, found, expected)
    except errors.DamagedError as error:
        # A name without a slash would be that of a recipe.
        path = folder if '/' in str(folder) else f'./{folder}'
        raise release_files.error_type(folder)(
            f'init_from: {error}; set the networks of its config, such as by '
            f'--config={path}'
        ) from error
