"""Compiled programs of the lab: a step of the library, and a look at a state.

Each is compiled ahead, for one set of what cannot change live; numbers and
drawings are arguments. So nothing but `compiled` can ever compile.
"""

import functools
import itertools
import json
import threading
from typing import Any, Callable, NamedTuple
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.config import builders
from gan_jax.lab import drawing as drawing_lib
from gan_jax.lab import settings as settings_lib
from gan_jax.ops import mixtures
from gan_jax.runtime import parallel

MOST_KEPT = 24  # compiled programs
NUM_POINTS = 2048  # generated at each look, to count modes by
NUM_REAL = 500  # points in a picture
SIDE = 40  # of D's map in the plane
COLUMNS = 161  # of D's curve on a line
NUM_STRATA = 8192  # even z, whose images are the density on a line
GRID = 15  # lines of z each way whose image is drawn
ARROWS = 41  # lines from z to x

# How D's output is told. Of losses that are not here it has no bounds, and no
# optimum in closed form. Mao et al., https://arxiv.org/abs/1611.04076, 2016,
# show that of least squares with a = 0, b = 1 to be the same.
TELLS = {
    'minimax': 'probability', 'non_saturating': 'probability',
    'least_squares': 'target',
}

_numbers = itertools.count(1)
_guard, _contexts = threading.Lock(), weakref.WeakValueDictionary()  # by key


class Program(NamedTuple):
    """What is compiled for one GAN.

    Attributes:
        number: of the compilation, from 1 on in this process.
        algorithm: as of `builders.algorithm`.
        tells: 'probability', 'target' or 'score': what D's output is.
        init: (key, hyperparams) -> `algorithm.TrainState`.
        play: (state, hyperparams, table, keys, number of steps) -> (state,
            metrics of the last step); the state is donated.
        look: (weights, judge's weights) -> dict of arrays.
    """

    number: int
    algorithm: Any
    tells: str
    init: Callable
    play: Callable
    look: Callable


def key_of(settings, gan):
    """Name the program that a GAN of these settings needs."""
    return json.dumps(settings_lib.to_json(settings_lib.blank(settings, gan)))


def compiled_count():
    """Count the compilations of this process so far."""
    return _compiled.cache_info().misses


def compiled(key):
    """Compile what `key_of` names; takes seconds, once.

    Threads that ask for one at once wait for the first of them; those that
    ask for others do not.

    Args:
        key: str.

    Returns:
        `Program`.
    """
    with _guard:
        ctx = _contexts.setdefault(key, threading.Lock())
    with ctx:
        return _compiled(key)


@functools.lru_cache(maxsize=MOST_KEPT)
def _compiled(key):
    settings = settings_lib.from_json(json.loads(key))
    (mine,), source = settings.gans, settings.source
    config = settings_lib.config(settings, mine)
    shape = (source.dimension,)
    forms = builders.form(shape)
    algorithm = builders.algorithm(config, forms)
    options = parallel.compiler_options(convolutional=False)
    base, numbers = jax.random.key(0), builders.hyperparams(config)
    init = functools.partial(_init, algorithm, builders.shapes(forms))
    state = jax.eval_shape(init, base, numbers)
    init = _compile(init, (base, numbers), options)
    table = drawing_lib.table(source, settings.drawing)
    play = _compile(
        functools.partial(_play, algorithm, source, settings.batch_size),
        (state, numbers, table, (base, base), np.int32(1)),
        options, donate_argnums=0,
    )
    look = _compile(
        functools.partial(_look, algorithm, source),
        shown(algorithm, state, 'raw'), options,
    )
    tells = TELLS.get(mine.loss, 'score')
    return Program(next(_numbers), algorithm, tells, init, play, look)


def shown(algorithm, state, weights):
    """Return the arguments of `Program.look`."""
    return (
        algorithm.weights(state, weights),
        algorithm.monitors.judge_weights(state),
    )


@functools.lru_cache(maxsize=None)
def real(data):
    """Compile what draws the real points of a picture.

    Args:
        data: one of `drawing.SOURCES`.

    Returns:
        Function of (key, table): [NUM_REAL, dimension].
    """
    source = drawing_lib.SOURCES[data]

    def draw(key, table):
        return mixtures.sample(
            drawing_lib.mixture(source, table), key, jnp.arange(NUM_REAL)
        )

    blank = drawing_lib.encode([(0, 0)])
    return _compile(draw, (
        jax.random.key(0), drawing_lib.table(source, blank)
    ), None)


def _compile(function, arguments, options, **more):
    jitted = jax.jit(function, compiler_options=options, **more)
    return jitted.lower(*arguments).compile()


def _init(algorithm, shapes, key, hyperparams):
    return algorithm.init(key, shapes, hyperparams)


class _Drawn(NamedTuple):
    """The feed of drawn points: what is resident is a table and a key."""

    source: Any
    kind = 'drawn'

    def select(self, resident, fed):
        """Make (points, None) of numbers of any shape."""
        table, key = resident
        mixture = drawing_lib.mixture(self.source, table)
        return mixtures.sample(mixture, key, fed), None


def _play(
    algorithm, source, batch_size, state, hyperparams, table, keys, num_steps
):
    """Make whole steps, the same as in a training.

    The number of steps is traced, so that a single step and a picture's worth
    are one program.
    """
    z_key, data_key = (parallel.quick(key) for key in keys)
    bound = builders.step(
        algorithm, {builders.REAL: _Drawn(source)}, algorithm_lib.Variant(),
        parallel.loop(convolutional=False),
    )
    constants = parallel.Constants(
        {builders.REAL: (table, data_key)}, hyperparams, None,
        jnp.arange(batch_size, dtype=jnp.int32), 0,
    )

    def step(state):
        first = state.position.astype(jnp.uint32) * jnp.uint32(batch_size)
        count = algorithm.draws * batch_size
        numbers = first + jnp.arange(count, dtype=jnp.uint32)
        fed = {builders.REAL: numbers.reshape(algorithm.draws, batch_size)}
        return bound(state, constants, fed, z_key, algorithm_lib.ALONE)

    return parallel.repeat(step, state, num_steps)


def _look(algorithm, source, weights, judge_weights):
    """Return what a picture shows of a state."""

    def generate(z):
        return algorithm.apply(weights, algorithm_lib.Inputs(z))

    judge = functools.partial(algorithm.monitors.logits, judge_weights)
    # The z that `sample --seeds=0-2047` takes.
    z = latents.draw(
        jax.random.key(0), jnp.arange(NUM_POINTS), algorithm.latent_size,
        algorithm.latent,
    )
    seen = {'points': generate(z)}
    if source.dimension == 2:
        seen['surface'] = judge(plane(source.reach))
        seen['manifold'] = generate(_even(algorithm, (GRID, GRID)))
    else:
        seen['surface'] = judge(line(source.reach)[:, None])
        seen['strata'] = generate(_even(algorithm, (NUM_STRATA,)))[:, 0]
        seen['arrows'] = generate(_even(algorithm, (ARROWS,)))[:, 0]
    return seen


def plane(reach):
    """Give the points that D's map is of: [SIDE * SIDE, 2], row by row."""
    side = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(reach * side, -reach * side)  # from the top down
    return np.stack([x.ravel(), y.ravel()], 1)


def line(reach):
    """Give the points that D's curve is of: [COLUMNS]."""
    return np.linspace(-reach, reach, COLUMNS, dtype=np.float32)


def _even(algorithm, sides):
    """Give z even in probability along the first axes, 0 along the others."""
    counts = sides[:algorithm.latent_size]
    axes = [(jnp.arange(count) + 0.5) / count for count in counts]
    if algorithm.latent == 'uniform':
        axes = [2 * axis - 1 for axis in axes]
    else:
        axes = [jax.scipy.special.ndtri(axis) for axis in axes]
    z = jnp.stack([
        axis.ravel() for axis in jnp.meshgrid(*axes, indexing='ij')
    ], 1)
    return jnp.pad(z, ((0, 0), (0, algorithm.latent_size - len(axes))))
