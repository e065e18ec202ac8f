"""Compiled programs of the lab: training steps, and the view of a state.

A program is compiled ahead of time for the settings that cannot change live.
Live settings and drawings are its arguments, so that only `compiled` compiles.
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
from gan_jax.objectives import losses
from gan_jax.ops import mixtures
from gan_jax.runtime import parallel

MOST_KEPT = 24  # compiled programs
NUM_POINTS = 2048  # generated for each view, to count modes
NUM_REAL = 500  # points in a picture
SIDE = 40  # of D's map in 2-D
COLUMNS = 161  # of D's curve in 1-D
NUM_STRATA = 8192  # evenly spaced z, for the density in 1-D
GRID = 15  # lines of z in each direction whose image is drawn
ARROWS = 41  # lines from z to x

# How D's output is drawn, by the `kind` of its loss. Others are an unbounded
# score without an optimum in closed form. Least squares with a = 0, b = 1 has
# the optimum of 'probability': Mao et al., https://arxiv.org/abs/1611.04076,
# 2016.
OUTPUT_KINDS = {'probability': 'probability', 'square': 'target'}

_numbers = itertools.count(1)
_guard, _locks = threading.Lock(), weakref.WeakValueDictionary()  # by key


class Program(NamedTuple):
    """Compiled functions of one GAN.

    Attributes:
        number: number of the compilation in this process, from 1.
        algorithm: as from `builders.algorithm`.
        output_kind: meaning of D's output: 'probability', 'target' or 'score'.
        init: (key, hyperparams) -> `algorithm.TrainState`.
        train: (state, hyperparams, table, keys, number of steps) -> (state,
            metrics of the last step); the state is donated.
        view: (weights, judge's weights) -> dict of arrays.
    """

    number: int
    algorithm: Any
    output_kind: str
    init: Callable
    train: Callable
    view: Callable


def key_of(settings, gan):
    """Return the key of the program that a GAN of these settings needs."""
    return json.dumps(settings_lib.to_json(settings_lib.blank(settings, gan)))


def compiled_count():
    """Count the compilations of this process so far."""
    return _compiled.cache_info().misses


def compiled(key):
    """Compile the program of a key, which takes seconds, or return a kept one.

    Threads that need the same program wait for the first of them. Threads that
    need other programs do not wait.

    Args:
        key: str of `key_of`.

    Returns:
        `Program`.
    """
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        return _compiled(key)


@functools.lru_cache(maxsize=MOST_KEPT)
def _compiled(key):
    settings = settings_lib.from_json(json.loads(key))
    (gan,), source = settings.gans, settings.source
    config = settings_lib.config(settings, gan)
    shape = (source.dimension,)
    specs = builders.single_source_specs(shape)
    algorithm = builders.algorithm(config, specs)
    options = parallel.compiler_options(convolutional=False)
    init_key, hyperparams = jax.random.key(0), builders.hyperparams(config)
    init = functools.partial(_init, algorithm, builders.shapes(specs))
    state = jax.eval_shape(init, init_key, hyperparams)
    init = _compile(init, (init_key, hyperparams), options)
    table = drawing_lib.table(source, settings.drawing)
    train = _compile(
        functools.partial(_train, algorithm, source, settings.batch_size),
        (state, hyperparams, table, (init_key, init_key), np.int32(1)),
        options, donate_argnums=0,
    )
    view = _compile(
        functools.partial(_view, algorithm, source),
        view_arguments(algorithm, state, 'raw'), options,
    )
    return Program(
        next(_numbers), algorithm, output_kind(gan.loss), init, train, view
    )


def output_kind(loss):
    """Return how D's output is drawn under a loss, by its name."""
    return OUTPUT_KINDS.get(losses.LOSSES[loss].kind, 'score')


def view_arguments(algorithm, state, weights):
    """Return the arguments of `Program.view`."""
    return (
        algorithm.weights(state, weights),
        algorithm.monitors.discriminator_weights(state),
    )


@functools.lru_cache(maxsize=None)
def real_sampler(data):
    """Compile the function that samples the real points of a picture.

    Args:
        data: name in `drawing.SOURCES`.

    Returns:
        Function of (key, table) that returns [NUM_REAL, dimension].
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
    """Feed that samples points from a table instead of reading a data set."""

    source: Any
    kind = 'drawn'

    def select(self, resident, fed):
        """Sample (points, None) by their numbers, of any shape."""
        table, key = resident
        mixture = drawing_lib.mixture(self.source, table)
        return mixtures.sample(mixture, key, fed), None


def _train(
    algorithm, source, batch_size, state, hyperparams, table, keys, num_steps
):
    """Run training steps, the same as those of `gan_jax.main`.

    The number of steps is traced, so that one program serves any number.
    """
    z_key, data_key = (parallel.fast_key(key) for key in keys)
    bound = builders.step(
        algorithm, {builders.REAL: _Drawn(source)}, algorithm_lib.Variant(),
        parallel.scan_or_none(convolutional=False),
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
        return bound(state, constants, fed, z_key, algorithm_lib.SINGLE_DEVICE)

    return parallel.repeat(step, state, num_steps)


def _view(algorithm, source, weights, discriminator_weights):
    """Compute the arrays that a picture shows of a state."""

    def generate(z):
        return algorithm.apply(weights, algorithm_lib.Inputs(z))

    judge = functools.partial(algorithm.monitors.logits, discriminator_weights)
    # The same z as `sample --seeds=0-2047` takes.
    z = latents.draw(
        jax.random.key(0), jnp.arange(NUM_POINTS), algorithm.latent_size,
        algorithm.latent,
    )
    view = {'points': generate(z)}
    if source.dimension == 2:
        view['surface'] = judge(plane(source.reach))
        view['manifold'] = generate(_even(algorithm, (GRID, GRID)))
    else:
        view['surface'] = judge(line(source.reach)[:, None])
        view['strata'] = generate(_even(algorithm, (NUM_STRATA,)))[:, 0]
        view['arrows'] = generate(_even(algorithm, (ARROWS,)))[:, 0]
    return view


def plane(reach):
    """Return the points of D's map, [SIDE * SIDE, 2], row by row."""
    side = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(reach * side, -reach * side)  # rows go downwards
    return np.stack([x.ravel(), y.ravel()], 1)


def line(reach):
    """Return the points of D's curve, [COLUMNS]."""
    return np.linspace(-reach, reach, COLUMNS, dtype=np.float32)


def _even(algorithm, sides):
    """Return z at even quantiles of the first coordinates; others are 0."""
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
