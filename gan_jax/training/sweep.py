"""Train many GANs at once that differ in seeds and numbers, and compare them.

The loop around `multi_seed.Population`: looks, saves, signals, the folders of
the members and the table.
"""

import functools
import itertools
import json
import math
import re
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.evaluation import online_eval as watch_lib
from gan_jax.metrics import costs
from gan_jax.runs import run_folder
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import signals
from gan_jax.runtime import writer as writer_lib
from gan_jax.training import loop
from gan_jax.training import multi_seed as population_lib

SWEEP, LOOKS = 'sweep.json', 'looks.json'
MOST_BYTES = 64 * 2**20  # of what it leaves of itself
MOST = 256  # members of one sweep
NUM_SAMPLES = 100  # in a member's picture
# Keys that a step reads anew at each call, as part of `game.Hyperparams`.
NUMBERS = re.compile(r'''
    [dg]_optimizer\.learning_rate | ema_decay | ema_half_life
    | instance_noise\.(std|decay_steps) | loss\.(?!name$)\w+ | labels\.\w+
    | penalties\.\w+\.weight | clip_weights | history\.share
    | augment\.(probability|target|adaptive_images)
    | schedule\.[dg]_threshold | reconstruction\.(delta|beta|std|angle|scale)
''', re.VERBOSE)
# Not compared, since each member has its own: two optimizers of the same
# options are not equal.
OPTIMIZERS = ('g_tx', 'd_tx', 'g_schedule', 'd_schedule')


class Member(NamedTuple):
    """One GAN of a sweep.

    Attributes:
        name: of its folder.
        changes: {key: value}, of the grid.
        config: ConfigDict of a run of it alone.
    """

    name: str
    changes: dict
    config: Any


def parse_grid(texts, config):
    """Read ['key=value,value', …].

    Args:
        texts: list of str.
        config: ConfigDict that has the keys, with values of the right types.

    Returns:
        {key: [values]}.

    Raises:
        errors.ConfigError: where one is no key, or no number of its type.
    """
    grid, known = {}, defaults.flatten(config)
    for text in texts:
        key, _, values = text.partition('=')
        if key not in known:
            raise errors.ConfigError(
                f'--grid={text!r}: {key} is not a config key'
                f'{errors.nearest(key, known)}'
            )
        if not NUMBERS.fullmatch(key):
            raise errors.ConfigError(
                f'--grid={text!r}: only numbers that a step reads anew vary at '
                'once (learning rates, weights of penalties, options of the '
                'loss, noise, averages, limits); others are runs of their own'
            )
        kind = type(known[key])
        try:
            grid[key] = [kind(value) for value in values.split(',')]
        except ValueError as error:
            raise errors.ConfigError(
                f'--grid={text!r}: {key} is of type {kind.__name__}, and '
                f'{values!r} is not such values with commas between'
            ) from error
    return grid


def members(config, grid, num_seeds):
    """List every combination of a grid's values with each seed.

    Args:
        config: validated ConfigDict.
        grid: {key: [values]}.
        num_seeds: seeds config.seed, config.seed + 1 and so on.

    Returns:
        List of `Member`.

    Raises:
        errors.ConfigError: where one is not valid, or there are too many.
    """
    cells = [
        dict(zip(grid, values)) for values in itertools.product(*grid.values())
    ]
    count = len(cells) * num_seeds
    if not 1 <= count <= MOST:
        raise errors.ConfigError(
            f'{len(cells)} combinations of {num_seeds} seeds are {count} GANs; '
            f'1 to {MOST} are trained at once'
        )
    made = []
    for changes, seed in itertools.product(cells, range(num_seeds)):
        own = config.copy_and_resolve_references()
        own.update_from_flattened_dict(changes)
        own.seed, own.population = config.seed + seed, 1
        validation.validate(own, 1)
        made.append(Member(f'member-{len(made):03d}', changes, own))
    return made


def train(config, workdir, grid=None, *, restart=False, say=redact.say):
    """Train a population, or go on with it.

    Each member's folder is that of a run, written at the end.

    Args:
        config: ConfigDict; `population` seeds of each combination are trained.
        workdir: folder of the sweep.
        grid: {key: [values]}, of `NUMBERS`.
        restart: begin anew; what the folder holds is set aside in it.
        say: takes a line.

    Returns:
        [{'name', 'changes', 'seed', 'numbers': {name: float}, 'alive': bool}],
        as in `sweep.json`, the best first.

    Raises:
        errors.StoppedError: after SIGTERM or SIGINT, when the states are saved.
        errors.UserError: one line that says what to mend.
    """
    environment.prepare()
    validation.validate(config, 1)
    everyone = members(config, grid or {}, config.population)
    workdir = run_folder.at(workdir)
    with run_folder.made(workdir), lock.held(workdir), (
            signals.on_signals()) as stopper:
        if restart:
            run_folder.set_aside(workdir)
        run_folder.check_entries(workdir, (
            *run_folder.FOLDERS, *(member.name for member in everyone)
        ))
        _keep(workdir, everyone)
        dataset = builders.dataset(config)
        watch_lib.check(config, dataset)
        population = _population(config, everyone, dataset)
        began = time.monotonic()
        states, looks = _advance(
            config, workdir, population, dataset, stopper, say
        )
        say(f'{config.num_steps} steps of {len(everyone)} GANs; '
            f'{time.monotonic() - began:.0f} s')
        told = []
        for index, member in enumerate(everyone):
            state = _row(states, index)
            _leave(workdir / member.name, member.config, population.algorithm,
                   state, dataset, looks, index)
            told.append({
                'name': member.name, 'changes': member.changes,
                'seed': member.config.seed, 'alive': bool(state.alive),
                'numbers': looks[-1]['members'][index] if looks else {},
            })
        told = ranked(config, told)
        writer_lib.write_json(workdir / SWEEP, told)
        return told


def _population(config, everyone, dataset):
    """Make the population; refuse members that are not one program."""
    rows = [builders.hyperparams(member.config) for member in everyone]
    forms = builders.forms({builders.REAL: dataset})
    first, *others = (
        builders.algorithm(member.config, forms) for member in everyone
    )
    for member, algorithm in zip(everyone[1:], others):
        if _static(algorithm) != _static(first):
            raise errors.ConfigError(
                f'--grid of {", ".join(sorted(member.changes))}: what is off '
                'in one (0) and on in another is not one program; give all or '
                'none a value above 0'
            )
    hyperparams = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    return population_lib.Population(
        everyone[0].config, [member.config.seed for member in everyone],
        hyperparams=hyperparams,
        dataset=None if defaults.has_mixture(config) else dataset,
    )


def _static(algorithm):
    """Give what is compiled into a step, but for the optimizers."""
    return {
        name: value for name, value in algorithm._asdict().items()
        if name not in OPTIMIZERS
    }


def _keep(workdir, everyone):
    """Leave what the members are; refuse the folder of another sweep."""
    path = workdir / 'members.json'
    mine = [defaults.flatten(member.config) for member in everyone]
    if path.exists():
        stored = _read(path, lambda member: isinstance(member, dict))
        changed = sorted({
            key for old, new in itertools.zip_longest(
                stored, mine, fillvalue={}
            ) for key in old.keys() | new.keys()
            if old.get(key) != new.get(key)
            and not run_identity.is_free(key)
        })
        if changed:
            raise errors.CheckpointError(
                f'{workdir} holds a sweep with other {", ".join(changed[:5])}; '
                'choose another --workdir'
            )
    writer_lib.write_json(path, mine)


def _read(path, fits):
    """Read a JSON list of what fits, as a sweep leaves it."""
    try:
        found = files.read_json(path, MOST_BYTES)
        if not isinstance(found, list) or not all(map(fits, found)):
            raise ValueError('is no list of a sweep')
        return found
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{path} cannot be read ({error}); --restart begins anew'
        ) from error


def _is_look(count, look):
    return isinstance(look, dict) and type(look.get('step')) is int and (
        isinstance(look.get('members'), list)
        and len(look['members']) == count
        and all(isinstance(member, dict) for member in look['members'])
    )


def _advance(config, workdir, population, dataset, stopper, say):
    """Train from the newest save to the end, with looks on the way.

    Returns:
        (states, [{'step', 'members': [{name: number}]}]).
    """
    watch = watch_lib.Watch(config, dataset)
    checkpoints = checkpoint.Checkpoints(
        workdir / 'checkpoints', keep=config.keep_checkpoints
    )
    path, looks = workdir / LOOKS, []
    try:
        states = checkpoints.restore_newest(population.abstract())
        if states is None:
            states = population.init()
        elif path.exists():
            looks = _read(path, functools.partial(
                _is_look, len(population.seeds)
            ))
        step = int(np.max(states.step))
        looks = [look for look in looks if look['step'] <= step]
        while step < config.num_steps and np.any(states.alive):
            size = _next(config, step) - step
            states, metrics = population.advance(states, size)
            step += size
            states = jax.tree.map(np.array, states)
            stop, now = stopper.number, loop.due(config, step)
            record = [
                {name: float(values[index]) for name, values in metrics.items()
                 if name != 'alive'}
                for index in range(len(population.seeds))
            ]
            if now.last or now.evaluate:
                for index, own in enumerate(record):
                    own |= watch.numbers(
                        population.algorithm, _row(states, index)
                    )
            looks.append({'step': step, 'members': record})
            say(_line(step, record))
            if stop or now.save:
                writer_lib.write_json(path, looks)
                checkpoints.save(step, states)
            if stop and not now.last:
                raise loop.stopped(stop, config, step)
    finally:
        checkpoints.close()
    return states, looks


def _next(config, step):
    """Give the next step at which something is due."""
    return min([config.num_steps] + [
        step - step % cadence + cadence for cadence in (
            config.log_every, config.eval_every, config.checkpoint_every
        ) if cadence
    ])


def _line(step, record):
    """Tell the median over members of what is shown of a run."""
    shown = {'d/loss': 'd', 'g/loss': 'g', 'eval/modes': 'modes'}
    parts = [f'step {step}']
    for name, label in shown.items():
        values = [own[name] for own in record if name in own]
        if values:
            parts.append(f'{label} {statistics.median(values):.3f}')
    return '  '.join(parts)


def _row(states, index):
    """Give the state of one member, as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), states)


def _leave(workdir, config, algorithm, state, dataset, looks, index):
    """Write one member's run folder: config, metrics, picture, state."""
    workdir.mkdir(parents=True, exist_ok=True)
    run_folder.check_entries(workdir)
    checkpoints = run_folder.open_checkpoints(
        workdir, config, {builders.REAL: dataset}, True
    )
    try:
        if int(state.step) not in checkpoints.steps():
            checkpoints.save(int(state.step), state)
    finally:
        checkpoints.close()
    lines = (
        json.dumps({'step': look['step'], **look['members'][index]})
        for look in looks
    )
    files.write(workdir / writer_lib.METRICS, '\n'.join(lines) + '\n')
    samples = sampling.sample(algorithm, state, range(NUM_SAMPLES))
    (workdir / 'samples').mkdir(exist_ok=True)
    writer_lib.save_png(
        workdir / 'samples' / f'{int(state.step):06d}.png',
        writer_lib.picture(samples, dataset.images[:NUM_SAMPLES]),
    )


def ranked_by(config, told):
    """Name the number that members are ranked by.

    `keep_best` where the config has it; else the modes recovered, and, where
    data have none, the distance to real images.
    """
    names = set().union(*(one['numbers'] for one in told))
    for name in (config.keep_best, 'eval/modes', 'eval/nearest_real'):
        if name in names:
            return name
    return None


def ranked(config, told):
    """Sort members by that number, the best first."""
    name = ranked_by(config, told)
    return sorted(told, key=lambda one: cost(one, name))


def cost(one, name):
    """Give what a member's number costs; one that failed costs most."""
    if name is None or not one['alive'] or name not in one['numbers']:
        return math.inf
    return costs.COSTS[name](one['numbers'][name])


def show(config, workdir, told, say=redact.say):
    """Say the table and which member is best."""
    name = ranked_by(config, told)
    for line in ('', *table(told, name), ''):
        say(line)
    say(f'Best by {name}: {run_folder.at(workdir) / told[0]["name"]}')


def table(told, name, shown=('eval/modes', 'eval/high_quality',
                             'eval/nearest_real', 'eval/diversity')):
    """Tell the combinations as Markdown: mean ± standard error over seeds.

    Args:
        told: as `train` returns.
        name: what they are ranked by, first of the columns.
        shown: further numbers, those that were measured.

    Returns:
        List of lines, the best combination first.
    """
    columns = [n for n in dict.fromkeys((name, *shown)) if n and any(
        n in one['numbers'] for one in told
    )]
    cells = {}
    for one in told:  # in the order of their best member
        key = json.dumps(one['changes'])
        cells.setdefault(key, []).append(one)
    lines = [
        '| combination | seeds | failed | best member | '
        + ' | '.join(columns) + ' |',
        '|---' * (4 + len(columns)) + '|',
    ]
    for own in cells.values():
        changes = ', '.join(
            f'{key}={value}' for key, value in own[0]['changes'].items()
        )
        lines.append(' | '.join([
            f'| {changes or "as configured"}', str(len(own)),
            str(sum(not one['alive'] for one in own)), own[0]['name'],
            *(_spread([one['numbers'][column] for one in own
                       if column in one['numbers']]) for column in columns),
        ]) + ' |')
    return lines


def _spread(values):
    if not values:
        return ''
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f'{mean:.3g}'
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f'{mean:.3g} ± {error:.2g}'
