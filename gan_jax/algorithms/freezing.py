"""Layers that training does not move, chosen by patterns of their names.

A frozen layer keeps its parameters, its statistics (BatchNorm's running ones,
spectral normalisation's vectors) and its share of the moving average, whatever
the optimizer, clipping or a forward pass would do to them. In training a frozen
BatchNorm still normalizes with the statistics of the batch, as elsewhere.

References:
    Mo et al., Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs,
    https://arxiv.org/abs/2002.10964, 2020: the lower layers of D are frozen.
    There BatchNorm's running statistics move; here they do not.
"""

import fnmatch
import re

import jax
import jax.numpy as jnp

from gan_jax.core import errors

SHOWN = 20  # names in an error


def hold(patterns, player, old, new):
    """Return what an update made of a network, but for its frozen layers.

    Args:
        patterns: of the config, see `is_frozen`; () freezes nothing.
        player: name of the player.
        old, new: `algorithm.PlayerState` or `algorithm.Weights`, before and
            after the update.

    Returns:
        `new` with the frozen parameters and statistics of `old`.
    """
    if not patterns:
        return new
    kept = {
        'params': _select(patterns, player, old.params, new.params),
        'stats': {
            kind: _select(patterns, player, old.stats[kind], value)
            for kind, value in new.stats.items()
        },
    }
    return new._replace(**kept) if hasattr(new, '_replace') else (
        new.replace(**kept)
    )


def without(patterns, player, grads):
    """Return gradients that are 0 for frozen parameters.

    They count neither in the norm of the gradient nor in its clipping.

    Args:
        patterns, player: as of `hold`.
        grads: like the parameters of the player.
    """
    if not patterns:
        return grads
    return _select(patterns, player, jax.tree.map(jnp.zeros_like, grads), grads)


def is_frozen(patterns, name):
    """Return whether a variable is frozen.

    Args:
        patterns: such as 'discriminator/Conv_0' for a layer,
            'discriminator/stage_?' for several, 'generator/*/bias' for single
            parameters, 'discriminator' for a network.
        name: 'player/module/…/variable', as of `names`.
    """
    return any(
        fnmatch.fnmatchcase(name, each)
        or fnmatch.fnmatchcase(name, f'{each}/*') for each in patterns
    )


def check(patterns, state):
    """Check that each pattern is that of a parameter.

    Args:
        patterns: as of `hold`.
        state: `algorithm.TrainState`, abstract or not.

    Raises:
        errors.ConfigError: naming the first that is not.
    """
    known = [
        name for player, own in state.players.items()
        for name in _names(player, own.params)
    ]
    for pattern in patterns:
        if not any(is_frozen((pattern,), name) for name in known):
            layers = sorted({'/'.join(name.split('/')[:2]) for name in known})
            more = len(layers) - SHOWN
            raise errors.ConfigError(
                f'freeze={pattern!r} matches no parameter; there are '
                f'{", ".join(layers[:SHOWN])}'
                f'{f" and {more:,} more" if more > 0 else ""}'
            )


def _select(patterns, player, frozen, free):
    """Return one of two pytrees, leaf by leaf."""
    leaves, structure = jax.tree.flatten(free)
    return jax.tree.unflatten(structure, [
        kept if is_frozen(patterns, name) else moved
        for name, kept, moved in zip(
            _names(player, free), jax.tree.leaves(frozen), leaves
        )
    ])


def _names(player, tree):
    """Return the name of each leaf, without the wrapper of spectral norm.

    Its vectors are named 'SpectralNorm_0/Conv_0.kernel/u' and belong to
    'Conv_0/kernel'.
    """
    return [
        re.sub(r'/SpectralNorm_\d+/([^/.]+)\.', r'/\1/', (
            f'{player}/{jax.tree_util.keystr(path, simple=True, separator="/")}'
        )) for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
