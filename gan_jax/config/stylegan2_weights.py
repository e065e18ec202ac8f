"""Weights of official StyleGAN2 networks, by the names of our variables.

Their kernels are [out, in, height, width] and [out, in], ours [height, width,
in, out] and [in, out]. Numbers are the same: both store kernels as they start,
from N(0, 1), and scale them when they are used.
"""

import re

from flax import traverse_util
import jax
import numpy as np

from gan_jax.algorithms import algorithm
from gan_jax.algorithms import game
from gan_jax.features import weights as weight_files

FIRST_SIDE = 4  # of G's constant, and of D's last maps
# Patterns of our variables' names, without the collection, and what they are in
# theirs; SIDE is that of the stage. All that match are replaced.
MAPPING_NAMES = (
    (r'^mapping/dense_(\d+)/', r'mapping.fc\1.'),
    (r'^mapping/embed/', 'mapping.embed.'),
)
G_NAMES = (
    *MAPPING_NAMES,
    (r'^mean/.*', 'mapping.w_avg'),
    (r'^synthesis/constant', f'synthesis.b{FIRST_SIDE}.const'),
    (r'^synthesis/stage_\d+/conv_up/', 'synthesis.bSIDE.conv0.'),
    (r'^synthesis/stage_\d+/conv/', 'synthesis.bSIDE.conv1.'),
    (r'^synthesis/stage_\d+/to_rgb/', 'synthesis.bSIDE.torgb.'),
    (r'modulated/', ''),
    (r'style/', 'affine.'),
    (r'\.noise$', '.noise_const'),
    (r'kernel$', 'weight'),
)
D_NAMES = (
    *MAPPING_NAMES,
    (r'^from_rgb/', 'bSIDE.fromrgb.'),
    (r'^stage_\d+/conv/', 'bSIDE.conv0.'),
    (r'^stage_\d+/conv_down/', 'bSIDE.conv1.'),
    (r'^stage_\d+/skip/', 'bSIDE.skip.'),
    (r'^conv/', f'b{FIRST_SIDE}.conv.'),
    (r'^dense/', f'b{FIRST_SIDE}.fc.'),
    (r'^output/', f'b{FIRST_SIDE}.out.'),
    (r'kernel$', 'weight'),
)
UNUSED = re.compile(r'(.*\.)?resample_filter')  # constants of their layers


def convert(path, state, tensors, side, probability):
    """Return the state of step 0 that holds official networks.

    All but the networks and ADA's probability starts at 0, as in a new run of
    the recipe: moments of Adam, mean length of paths, latest penalties. A new
    state is not made for that, because compiling it takes a minute.

    Args:
        path: of their file, for messages.
        state: abstract `algorithm.TrainState` of a run with our networks.
        tensors: {'G', 'D', 'G_ema': {dotted name: array}}.
        side: of the images.
        probability: that of ADA; None without ADA.

    Returns:
        `algorithm.TrainState` of NumPy arrays.

    Raises:
        errors.DamagedError: where a tensor is missing, unexpected, not finite
            or of another shape.
    """
    weights = {
        key: _variables(path, key, tensors[key], ours, side)
        for key, ours in (
            ('G', algorithm.weights_of(state.players[game.G])),
            ('D', algorithm.weights_of(state.players[game.D])),
            ('G_ema', state.averages[game.G]),
        )
    }
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
    if probability is not None:
        state = state.replace(memory={
            **state.memory, 'augment': np.float32(probability)
        })
    return state.replace(
        alive=np.ones((), bool),
        players={
            player: state.players[player].replace(**weights[key]._asdict())
            for player, key in ((game.G, 'G'), (game.D, 'D'))
        },
        averages={**state.averages, game.G: weights['G_ema']},
    )


def _variables(path, network, tensors, ours, side):
    """Return the `algorithm.Weights` of a network's tensors, like `ours`."""
    expected = weight_files.flatten(algorithm.collections(ours))
    names = {name: _their_name(network, name, side) for name in expected}
    tensors = {
        f'{network}.{name}': value
        for name, value in tensors.items() if not UNUSED.fullmatch(name)
    }
    # Before the copies in float32; of them, the type need not be that.
    weight_files.check_tensors(
        path,
        {name: ('float32', value.shape) for name, value in tensors.items()},
        {names[name]: ('float32', _their_shape(name, value.shape))
         for name, value in expected.items()},
    )
    with np.errstate(over='ignore'):  # of float64, which is then not finite
        tensors = {
            name: np.asarray(value, np.float32)
            for name, value in tensors.items()
        }
    weight_files.check_finite(path, tensors)
    stats = traverse_util.unflatten_dict({
        name: _convert(name, tensors[names[name]]) for name in expected
    }, sep='/')
    return algorithm.Weights(stats.pop('params'), stats)


def _their_name(network, name, side):
    """Return their name of a variable 'collection/module/…/leaf'.

    Args:
        network: 'G', 'D' or 'G_ema'.
        name: of our variable.
        side: of the images.
    """
    _, _, name = name.partition('/')
    stage = re.search(r'stage_(\d+)', name)
    scale = 2**int(stage[1]) if stage else 1
    names, side = (D_NAMES, side // scale) if network == 'D' else (
        G_NAMES, FIRST_SIDE * scale
    )
    for pattern, theirs in names:
        name = re.sub(pattern, theirs.replace('SIDE', str(side)), name)
    return f'{network}.{name}'


def _their_shape(name, shape):
    """Return the shape of their tensor for one of our variables."""
    if name.endswith('/kernel') and len(shape) == 4:
        return (shape[3], shape[2], *shape[:2])
    if name.endswith('/constant'):
        return (shape[2], *shape[:2])
    return shape[::-1] if name.endswith('/kernel') else shape


def _convert(name, value):
    """Convert their tensor to our variable."""
    if name == 'params/dense/kernel':  # of D, on flattened [C, 4, 4]
        maps = value.reshape(len(value), -1, FIRST_SIDE, FIRST_SIDE)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(value))
    if name.endswith('/constant'):
        return value.transpose(1, 2, 0)
    if not name.endswith('/kernel'):
        return value
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
