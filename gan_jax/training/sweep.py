"""Sweeps: training and comparison of many GANs at once.

The members differ in seeds and numerical options. `multi_seed.Population`
trains them; this module logs, evaluates and saves, writes a run folder for each
member and ranks them in a table.
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

from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import run_identity
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.evaluation import online_eval
from gan_jax.metrics import catalog
from gan_jax.runs import run_folder
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import signals
from gan_jax.runtime import writer as writer_lib
from gan_jax.training import loop
from gan_jax.training import multi_seed

SWEEP, HISTORY = 'sweep.json', 'looks.json'
MAX_BYTES = 64 * 2**20  # of a JSON file of the sweep
MAX_MEMBERS = 256  # members of one sweep
NUM_SAMPLES = 100  # in the picture of a member
# Keys that may vary: fields of `game.Hyperparams`, an argument of the step.
NUMBERS = re.compile(r'''
    [dg]_optimizer\.learning_rate | ema_(decay|half_life|ramp) | anneal\.\w+
    | instance_noise\.(std|decay_steps) | loss\.(?!name$)\w+ | labels\.\w+
    | penalties\.\w+\.weight | clip_weights | history\.share
    | augment\.(probability|target|adaptive_images)
    | schedule\.[dg]_threshold | reconstruction\.(delta|beta|std|angle|scale)
''', re.VERBOSE)
# Fields that are not compared between members, because two optimizers with the
# same options are not equal.
OPTIMIZERS = ('g_tx', 'd_tx', 'g_schedule', 'd_schedule')


class Member(NamedTuple):
    """One GAN of a sweep.

    Attributes:
        name: of its folder.
        changes: {key: value} of the grid.
        config: ConfigDict of a single run of it.
    """

    name: str
    changes: dict
    config: Any


def parse_grid(texts, config):
    """Parse ['key=value,value', …].

    Args:
        texts: list of str.
        config: ConfigDict that has the keys, with values of the right types.

    Returns:
        {key: [values]}.

    Raises:
        errors.ConfigError: for a key that is unknown or may not vary, or a
            value of another type.
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
                f'--grid={text!r}: only learning rates, weights of penalties, '
                'options of the loss, noise, averages and limits may vary; use '
                'separate runs for other keys'
            )
        kind = type(known[key])
        try:
            grid[key] = [kind(value) for value in values.split(',')]
        except ValueError as error:
            raise errors.ConfigError(
                f'--grid={text!r}: {key} is of type {kind.__name__}, and '
                f'{values!r} is not a list of such values, such as 1,2'
            ) from error
    return grid


def members(config, grid, num_seeds):
    """List every combination of a grid's values with each seed.

    Args:
        config: validated ConfigDict.
        grid: {key: [values]}.
        num_seeds: number of seeds, from config.seed on.

    Returns:
        List of `Member`.

    Raises:
        errors.ConfigError: where one is not valid, there are too many, or they
            would make no samples to compare.
    """
    if config.algorithm in translation.KINDS:
        raise errors.ConfigError(
            f'algorithm={config.algorithm!r} makes no samples from seeds, by '
            'which the runs of a sweep are compared; use separate runs'
        )
    combinations = [
        dict(zip(grid, values)) for values in itertools.product(*grid.values())
    ]
    count = len(combinations) * num_seeds
    if not 1 <= count <= MAX_MEMBERS:
        raise errors.ConfigError(
            f'{len(combinations)} combinations of {num_seeds} seeds are '
            f'{count} GANs; a sweep has 1 to {MAX_MEMBERS}'
        )
    result = []
    for changes, seed in itertools.product(combinations, range(num_seeds)):
        member = config.copy_and_resolve_references()
        member.update_from_flattened_dict(changes)
        member.seed, member.population = config.seed + seed, 1
        validation.validate(member, 1)
        result.append(Member(f'member-{len(result):03d}', changes, member))
    return result


def train(config, workdir, grid=None, *, restart=False, say=redact.say):
    """Train a sweep, or continue it.

    The folder of each member is a run folder, written at the end.

    Args:
        config: ConfigDict; `population` seeds of each combination are trained.
        workdir: folder of the sweep.
        grid: {key: [values]} of keys that match `NUMBERS`.
        restart: start again; existing files of the folder are moved to
            `before-<n>` in it.
        say: function that prints a line.

    Returns:
        [{'name', 'changes', 'seed', 'numbers': {name: float}, 'alive': bool}],
        the content of `sweep.json`, best member first.

    Raises:
        errors.StoppedError: after SIGTERM or SIGINT, when the states are saved.
        errors.UserError: for mistakes of the user, in one line.
    """
    environment.prepare()
    validation.validate(config, 1)
    if config.init_from:
        raise errors.ConfigError(
            f'init_from={config.init_from} starts a single GAN, not a sweep'
        )
    all_members = members(config, grid or {}, config.population)
    workdir = run_folder.at(workdir)
    with run_folder.created(workdir), lock.held(workdir), (
            signals.on_signals()) as stopper:
        if restart:
            run_folder.move_aside(workdir)
        run_folder.check_entries(workdir, (
            *run_folder.FOLDERS, *(member.name for member in all_members)
        ))
        _write_members(workdir, all_members)
        dataset = builders.dataset(config)
        online_eval.check(config, dataset)
        population = _population(config, all_members, dataset)
        began = time.monotonic()
        states, history = _advance(
            config, workdir, population, dataset, stopper, say
        )
        say(f'{config.num_steps} steps of {len(all_members)} GANs; '
            f'{time.monotonic() - began:.0f} s')
        results = []
        for index, member in enumerate(all_members):
            state = _row(states, index)
            _write_run(
                workdir / member.name, member.config, population.algorithm,
                state, dataset, history, index,
            )
            results.append({
                'name': member.name, 'changes': member.changes,
                'seed': member.config.seed, 'alive': bool(state.alive),
                'numbers': history[-1]['members'][index] if history else {},
            })
        results = ranked(config, results)
        writer_lib.write_json(workdir / SWEEP, results)
        return results


def _population(config, all_members, dataset):
    """Build the `Population`; all members must share one compiled program."""
    rows = [builders.hyperparams(member.config) for member in all_members]
    specs = builders.data_specs({builders.REAL: dataset})
    first, *others = (
        builders.algorithm(member.config, specs) for member in all_members
    )
    for member, algorithm in zip(all_members[1:], others):
        if _static(algorithm) != _static(first):
            raise errors.ConfigError(
                f'--grid of {", ".join(sorted(member.changes))}: a key that is '
                '0 (off) in one member and on in another needs another '
                'program; give all or none a value above 0'
            )
    hyperparams = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    return multi_seed.Population(
        all_members[0].config, [member.config.seed for member in all_members],
        hyperparams=hyperparams,
        dataset=None if defaults.has_mixture(config) else dataset,
    )


def _static(algorithm):
    """Return the static fields of an algorithm without the optimizers."""
    return {
        name: value for name, value in algorithm._asdict().items()
        if name not in OPTIMIZERS
    }


def _write_members(workdir, all_members):
    """Write the members' configs; refuse the folder of another sweep."""
    path = workdir / 'members.json'
    configs = [defaults.flatten(member.config) for member in all_members]
    if path.exists():
        stored = _read(path, lambda member: isinstance(member, dict))
        changed = sorted({
            key for old, new in itertools.zip_longest(
                stored, configs, fillvalue={}
            ) for key in old.keys() | new.keys()
            if old.get(key) != new.get(key)
            and not run_identity.is_free(key)
        })
        if changed:
            raise errors.CheckpointError(
                f'{workdir} holds a sweep with other {", ".join(changed[:5])}; '
                'choose another --workdir'
            )
    writer_lib.write_json(path, configs)


def _read(path, is_valid):
    """Load a JSON list of a sweep whose items are all valid."""
    try:
        items = files.read_json(path, MAX_BYTES)
        if not isinstance(items, list) or not all(map(is_valid, items)):
            raise ValueError('is not a list of a sweep')
        return items
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{path} cannot be read ({error}); --restart starts again'
        ) from error


def _is_entry(count, entry):
    """Return whether an item of `HISTORY` has metrics of `count` members."""
    return isinstance(entry, dict) and type(entry.get('step')) is int and (
        isinstance(entry.get('members'), list)
        and len(entry['members']) == count
        and all(isinstance(member, dict) for member in entry['members'])
    )


def _advance(config, workdir, population, dataset, stopper, say):
    """Train from the newest checkpoint to the end.

    Returns:
        (states, [{'step', 'members': [{name: number}]}]), the latter with the
        metrics of all members at each logged step, as in `HISTORY`.
    """
    evaluator = online_eval.OnlineEvaluator(config, dataset)
    checkpoints = checkpoint.Checkpoints(
        workdir / 'checkpoints', keep=config.keep_checkpoints
    )
    path, history = workdir / HISTORY, []
    try:
        states = checkpoints.restore_newest(population.abstract())
        if states is None:
            states = population.init()
        elif path.exists():
            history = _read(path, functools.partial(
                _is_entry, len(population.seeds)
            ))
        step = int(np.max(states.step))
        history = [entry for entry in history if entry['step'] <= step]
        while step < config.num_steps and np.any(states.alive):
            size = _next(config, step) - step
            states, metrics = population.advance(states, size)
            step += size
            states = jax.tree.map(np.array, states)
            stop, now = stopper.number, loop.tasks_due(config, step)
            record = [
                {name: float(values[index]) for name, values in metrics.items()
                 if name != 'alive'}
                for index in range(len(population.seeds))
            ]
            if now.last or now.evaluate:
                for index, own in enumerate(record):
                    own |= evaluator.numbers(
                        population.algorithm, _row(states, index)
                    )
            history.append({'step': step, 'members': record})
            say(_line(step, record))
            if stop or now.save:
                writer_lib.write_json(path, history)
                checkpoints.save(step, states)
            if stop and not now.last:
                raise loop.stopped(stop, config, step)
    finally:
        checkpoints.close()
    return states, history


def _next(config, step):
    """Return the next step at which a task is due."""
    return min([config.num_steps] + [
        step - step % cadence + cadence for cadence in (
            config.log_every, config.eval_every, config.checkpoint_every
        ) if cadence
    ])


def _line(step, record):
    """Format a line of the medians over the members."""
    shown = {'d/loss': 'd', 'g/loss': 'g', 'eval/modes': 'modes'}
    parts = [f'step {step}']
    for name, label in shown.items():
        values = [own[name] for own in record if name in own]
        if values:
            parts.append(f'{label} {statistics.median(values):.3f}')
    return '  '.join(parts)


def _row(states, index):
    """Return the state of one member as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), states)


def _write_run(workdir, config, algorithm, state, dataset, history, index):
    """Write the run folder of a member: config, metrics, picture, state."""
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
        json.dumps({'step': entry['step'], **entry['members'][index]})
        for entry in history
    )
    files.write(workdir / writer_lib.METRICS, '\n'.join(lines) + '\n')
    samples = sampling.sample(algorithm, state, range(NUM_SAMPLES))
    (workdir / 'samples').mkdir(exist_ok=True)
    writer_lib.save_png(
        workdir / 'samples' / f'{int(state.step):06d}.png',
        writer_lib.picture(samples, dataset.images[:NUM_SAMPLES]),
    )


def ranked_by(config, results):
    """Return the name of the metric that ranks the members, or None.

    It is `keep_best` if the config sets it, else the number of recovered modes,
    or for data without modes the distance to real images.
    """
    names = set().union(*(result['numbers'] for result in results))
    for name in (config.keep_best, 'eval/modes', 'eval/nearest_real'):
        if name in names:
            return name
    return None


def ranked(config, results):
    """Sort the results by the metric of `ranked_by`, best first."""
    name = ranked_by(config, results)
    return sorted(results, key=lambda result: cost(result, name))


def cost(result, name):
    """Return the cost of a member's metric; inf for one that failed."""
    if name is None or not result['alive'] or name not in result['numbers']:
        return math.inf
    return catalog.cost(name, result['numbers'][name])


def show(config, workdir, results, say=redact.say):
    """Print the table and the best member."""
    name = ranked_by(config, results)
    for line in ('', *table(results, name), ''):
        say(line)
    say(f'Best by {name}: {run_folder.at(workdir) / results[0]["name"]}')


def table(results, name, shown=('eval/modes', 'eval/high_quality',
                                'eval/nearest_real', 'eval/diversity')):
    """Format the combinations as Markdown: mean ± standard error over seeds.

    Args:
        results: as `train` returns.
        name: of the metric that ranks them, the first column.
        shown: names of further metrics; those without values are left out.

    Returns:
        List of lines, the best combination first.
    """
    columns = [n for n in dict.fromkeys((name, *shown)) if n and any(
        n in result['numbers'] for result in results
    )]
    rows = {}
    for result in results:  # rows are then sorted by their best member
        key = json.dumps(result['changes'])
        rows.setdefault(key, []).append(result)
    lines = [
        '| combination | seeds | failed | best member | '
        + ' | '.join(columns) + ' |',
        '|---' * (4 + len(columns)) + '|',
    ]
    for row in rows.values():
        changes = ', '.join(
            f'{key}={value}' for key, value in row[0]['changes'].items()
        )
        lines.append(' | '.join([
            f'| {changes or "as configured"}', str(len(row)),
            str(sum(not result['alive'] for result in row)), row[0]['name'],
            *(_spread([result['numbers'][column] for result in row
                       if column in result['numbers']]) for column in columns),
        ]) + ' |')
    return lines


def _spread(values):
    """Format mean ± standard error of values."""
    if not values:
        return ''
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f'{mean:.3g}'
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f'{mean:.3g} ± {error:.2g}'
