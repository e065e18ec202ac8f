"""Shrunk recipes, stopped and continued at each step, equal to the bit.

Every recipe gets extra features, so that some event is due at nearly each step:
lazy penalties, snapshots, learning rate schedules, the end of the EMA's
warm-up, epochs that end with a step and within one.
"""

import concurrent.futures
import multiprocessing
import pathlib
import tempfile

import jax

import conftest  # noqa: F401  finds test_recipes
import survival_tools as tools
import test_recipes
from gan_jax.config import defaults
from gan_jax.config import recipes
from gan_jax.config import unused_keys
from gan_jax.core import errors
from gan_jax.runtime import checkpoint
from gan_jax.training import train

STEPS = 12
LAZY, SNAPSHOT, BURST, EVAL = 4, 3, 6, 4  # cadences
WARM, EMA, NOISE, FALL = 2, 5, 8, 10  # steps at which a schedule ends
# An EMA warms up while (1 + step) / (10 + step) is below its decay.
EMA_DECAY = (1 + EMA) / (10 + EMA)


def prepared(path):
    """Return a shrunk recipe with many events within `STEPS`."""
    config = test_recipes.shrink(recipes.load(path))
    config.num_steps = config.keep_checkpoints = STEPS
    config.log_every = config.checkpoint_every = 1
    config.sample_every = 0
    config.ema_decay = EMA_DECAY
    config.snapshots.count, config.snapshots.every = 2, SNAPSHOT
    if config.schedule.name == 'wgan':
        config.schedule.burst_every = BURST
    for name in defaults.active_penalties(config):
        config.penalties[name].every = LAZY
    for optimizer, kind in (
        (config.g_optimizer, 'linear'), (config.d_optimizer, 'cosine')
    ):
        optimizer.schedule, optimizer.schedule_steps = kind, FALL
        optimizer.warmup_steps = WARM
    if config.instance_noise.std:
        config.instance_noise.decay_steps = NOISE
    if config.eval_every:
        config.eval_every = EVAL
    if not defaults.has_mixture(config):
        draws = max(config.d_steps, config.g_steps)
        # 2.5 steps per epoch, fewer with bursts.
        config.data.limit = (
            defaults.images_per_batch(config) * draws * 5 // 2
        )
    unused_keys.leave_out(config)
    return config


def events(config, positions):
    """List the events around each step at which a run may end.

    Args:
        config: of `prepared`.
        positions: {step: number of batches before it}.

    Returns:
        {step: [event, ...]} of the steps 1 to `STEPS` - 1.
    """
    happens = {
        'the EMA is warm': [EMA], 'rates are warm': [WARM],
        'rates are 0': [FALL], 'a snapshot': range(SNAPSHOT, STEPS, SNAPSHOT),
    }
    if defaults.active_penalties(config):
        happens['a lazy penalty'] = range(LAZY, STEPS, LAZY)
    if config.schedule.name == 'wgan':
        happens['a burst'] = [config.schedule.burst_first - 1, BURST]
    if config.instance_noise.std:
        happens['noise is 0'] = [NOISE]
    if config.eval_every:
        happens['measured'] = range(EVAL, STEPS, EVAL)
    due = {1: ['first step']}
    for event, steps in happens.items():
        for step in steps:
            for offset, word in ((-1, 'before'), (0, 'at'), (1, 'after')):
                if 0 < step + offset < STEPS:
                    due.setdefault(step + offset, []).append(f'{word} {event}')
    if not defaults.has_mixture(config):
        batch = defaults.images_per_batch(config)
        for step in range(1, STEPS):
            inside = positions[step] * batch % config.data.limit
            due.setdefault(step, []).append(
                'mid-epoch' if inside else 'end of an epoch'
            )
    return dict(sorted(due.items()))


def states_of(folder, like):
    """Load every saved state of a run, {step: state}."""
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like
    )
    checkpoints = checkpoint.Checkpoints(folder / 'checkpoints', read_only=True)
    try:
        return {
            step: checkpoints.restore(step, abstract)
            for step in checkpoints.steps()
        }
    finally:
        checkpoints.close()


def trained(config, folder, steps):
    """Train up to a step; returns the state."""
    config = config.copy_and_resolve_references()
    config.num_steps = steps
    with tools.quiet():
        return train.train(config, folder).state


def check(path, folder, steps=None):
    """Train a recipe at once and in two parts; returns `tools.Case`s.

    Args:
        path: of the recipe.
        folder: an empty folder.
        steps: at which the first part ends; by default all of `events`.
    """
    config = prepared(path)
    try:
        end = trained(config, folder / 'whole', STEPS)
    except errors.DataError as error:
        return [tools.Case(path.stem, skipped=str(error))]
    states = states_of(folder / 'whole', end)
    lines = tools.lines_of(folder / 'whole')
    due = events(config, {k: int(s.position) for k, s in states.items()})
    results = []
    for step in steps or due:
        part = folder / str(step)
        ended = trained(config, part, step)
        resumed = trained(config, part, STEPS)
        results.append(tools.Case(
            f'{path.stem} at {step}: {", ".join(due[step])}',
            tools.states_difference(ended, states[step])
            or tools.states_difference(resumed, end)
            or tools.metrics_difference(tools.lines_of(part), lines),
        ))
        if step % 4 == 0:
            jax.clear_caches()
    jax.clear_caches()
    return results


def check_apart(path):
    """Check a recipe in a temporary folder, for a process pool."""
    with tempfile.TemporaryDirectory() as folder:
        return check(path, pathlib.Path(folder))


def cases(options, folder):
    """Yield a `tools.Case` for each recipe and step."""
    del folder
    with concurrent.futures.ProcessPoolExecutor(
        options.jobs, mp_context=multiprocessing.get_context('spawn'),
        initializer=tools.hush,
    ) as pool:
        for results in pool.map(check_apart, test_recipes.RECIPES):
            yield from results
