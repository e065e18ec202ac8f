"""Compiled programs of the lab: a step of the library, and a look at a state.

Each is compiled ahead, for one set of what cannot change live; numbers and
drawings are arguments. So nothing but `compiled` can ever compile.
"""

import functools
import itertools
import json
import threading
from typing import Callable, NamedTuple
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import build
from gan_jax import mixtures
from gan_jax.lab import drawing as drawing_lib
from gan_jax.lab import settings as settings_lib
from gan_jax.runtime import parallel
from gan_jax.steps import adversarial
from gan_jax.steps import game
from gan_jax.steps import latents

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
_guard, _turns = threading.Lock(), weakref.WeakValueDictionary()  # by key


class Program(NamedTuple):
    """What is compiled for one GAN.

    Attributes:
        number: of the compilation, from 1 on in this process.
        gan: `game.GAN`.
        tells: 'probability', 'target' or 'score': what D's output is.
        init: (key, clip limit) -> `game.GANState`.
        play: (state, hyperparams, table, keys, number of steps) -> (state,
            metrics of the last step); the state is donated.
        look: (g_params, g_stats, d_params, d_stats) -> dict of arrays.
    """

    number: int
    gan: game.GAN
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
        turn = _turns.setdefault(key, threading.Lock())
    with turn:
        return _compiled(key)


@functools.lru_cache(maxsize=MOST_KEPT)
def _compiled(key):
    settings = settings_lib.from_json(json.loads(key))
    (mine,), source = settings.gans, settings.source
    config = settings_lib.config(settings, mine)
    shape = (source.dimension,)
    gan = build.gan(config, shape)
    options = parallel.compiler_options(convolutional=False)
    base, limit = jax.random.key(0), jnp.float32(0)
    init = _compile(
        functools.partial(_init, gan, shape), (base, limit), options
    )
    state = jax.eval_shape(functools.partial(_init, gan, shape), base, limit)
    table = drawing_lib.table(source, settings.drawing)
    play = _compile(
        functools.partial(_play, gan, source, settings.batch_size),
        (state, build.hyperparams(config), table, (base, base), np.int32(1)),
        options, donate_argnums=0,
    )
    look = _compile(
        functools.partial(_look, gan, source), (
            *game.raw(state), state.discriminator.params,
            state.discriminator.stats,
        ), options,
    )
    tells = TELLS.get(mine.loss, 'score')
    return Program(next(_numbers), gan, tells, init, play, look)


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


def _init(gan, shape, key, clip_limit):
    return adversarial.init(gan, key, shape, clip_limit)


def _play(
    gan, source, batch_size, state, hyperparams, table, keys, num_steps
):
    """Make whole steps, as `population` does for one GAN.

    The number of steps is traced, so that a single step and a picture's worth
    are one program.
    """
    z_key, data_key = (parallel.quick(key) for key in keys)
    slots = jnp.arange(batch_size, dtype=jnp.int32)
    mixture = drawing_lib.mixture(source, table)

    def step(state):
        first = state.position.astype(jnp.uint32) * jnp.uint32(batch_size)
        draws = game.draws_per_step(gan)
        numbers = first + jnp.arange(draws * batch_size, dtype=jnp.uint32)
        points = mixtures.sample(
            mixture, data_key, numbers.reshape(draws, batch_size)
        )
        return adversarial.train_step(
            gan, hyperparams, state, game.Batch(points, None, slots), z_key,
            loop=parallel.loop(convolutional=False),
        )

    def body(number, carry):
        del number
        return step(carry[0])

    metrics = jax.tree.map(
        lambda form: jnp.zeros(form.shape), jax.eval_shape(step, state)[1]
    )
    return jax.lax.fori_loop(0, num_steps, body, (state, metrics))


def _look(gan, source, g_params, g_stats, d_params, d_stats):
    """Give what a picture shows of a state."""
    generate = functools.partial(game.generate, gan, g_params, g_stats)

    def judge(points):
        variables = {'params': d_params, **d_stats}
        return gan.discriminator.apply(variables, points, train=False).logits

    # The z that `sample --seeds=0-2047` takes.
    z = latents.draw(
        jax.random.key(0), jnp.arange(NUM_POINTS), gan.latent_size, gan.latent
    )
    seen = {'points': generate(z)}
    if source.dimension == 2:
        seen['surface'] = judge(plane(source.reach))
        seen['manifold'] = generate(_even(gan, (GRID, GRID)))
    else:
        seen['surface'] = judge(line(source.reach)[:, None])
        seen['strata'] = generate(_even(gan, (NUM_STRATA,)))[:, 0]
        seen['arrows'] = generate(_even(gan, (ARROWS,)))[:, 0]
    return seen


def plane(reach):
    """Give the points that D's map is of: [SIDE * SIDE, 2], row by row."""
    side = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    x, y = np.meshgrid(reach * side, -reach * side)  # from the top down
    return np.stack([x.ravel(), y.ravel()], 1)


def line(reach):
    """Give the points that D's curve is of: [COLUMNS]."""
    return np.linspace(-reach, reach, COLUMNS, dtype=np.float32)


def _even(gan, sides):
    """Give z even in probability along the first axes, 0 along the others."""
    counts = sides[:gan.latent_size]
    axes = [(jnp.arange(count) + 0.5) / count for count in counts]
    if gan.latent == 'uniform':
        axes = [2 * axis - 1 for axis in axes]
    else:
        axes = [jax.scipy.special.ndtri(axis) for axis in axes]
    z = jnp.stack([
        axis.ravel() for axis in jnp.meshgrid(*axes, indexing='ij')
    ], 1)
    return jnp.pad(z, ((0, 0), (0, gan.latent_size - len(axes))))
