"""Training of one run: from a config and a folder to a trained state.

Public: `train`, which returns a `Run`. Prepares the run folder, data and
state; handles restarts, rollbacks and errors; leaves the steps to `loop`.
"""

import contextlib
import errno
import time

import jax

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import translation
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import setup_checks
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.data import sources
from gan_jax.evaluation import online_eval
from gan_jax import reporting
from gan_jax.runs import initialization
from gan_jax.runs import run_folder
from gan_jax.runs import sampling
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import loggers
from gan_jax.runtime import parallel
from gan_jax.runtime import signals
from gan_jax.runtime import writer as writer_lib
from gan_jax.tools import trained_run
from gan_jax.training import loop

# Errors of a full disk, a quota, a file size limit, a read-only disk.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
MAX_ROLLBACKS = 3  # of a run, before a non-finite value stops it


Run = trained_run.Run


def train(
    config, workdir, *, images=None, labels=None, callback=None,
    restart=False, override_config=False,
):
    """Train a GAN, or continue from the newest checkpoint in `workdir`.

    On CPU this changes settings of the whole process: freed memory is kept, and
    JAX runs programs in the caller's thread (see `runtime/malloc.py`).

    Args:
        config: ConfigDict, from `defaults.default_config()` or a recipe.
        workdir: folder of the run; created if missing.
        images: [N, H, W] or [N, H, W, C] uint8, or rows of a table [N, D],
            instead of config.data.name and .path.
        labels: [N] integers, or None.
        callback: called as callback(step, metrics) with {'group/name': float}
            at the multiples of log_every and the last step; not at other steps
            of sample_every or eval_every.
        restart: start again; existing files of the folder are moved to
            `before-<n>` in it.
        override_config: continue even if the config differs from that of the
            earlier start.

    Returns:
        `Run`.

    Raises:
        errors.StoppedError: after SIGTERM or SIGINT, when the state is saved.
        errors.NonFiniteError: where a value is not finite, naming the first.
        errors.CollapseError: at mode collapse, if config.on_collapse is 'stop',
            or 'restart' and there were max_restarts.
        errors.DiskError: where the disk is full.
        errors.HostError: where another process of a multi-host run is lost.
        errors.UserError: for other mistakes of the user, in one line.
    """
    environment.prepare()
    validation.validate(config, parallel.device_count())
    if config.population > 1:
        raise errors.ConfigError(
            f'population={config.population} is for sweep.train; train.train '
            'trains one GAN'
        )
    workdir = run_folder.at(workdir)
    loggers.check(defaults.loggers(config), workdir)
    first = parallel.is_first_host()
    try:
        with run_folder.created(workdir), lock.held(workdir, first), (
                signals.on_signals()) as stopper:
            if restart and first:
                run_folder.move_aside(workdir)
            run_folder.check_entries(workdir)
            return _with_restarts(
                config, workdir, lambda config: _train(
                    config, workdir, images, labels, callback,
                    override_config, stopper,
                )
            )
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not parallel.is_lost_host_error(error):
            raise
        raise errors.HostError(
            'another process of this run ended or cannot be reached; JAX '
            f'names it within {parallel.HEARTBEAT} s. Start all of them again '
            'to continue from the last checkpoint '
            f'({str(error).splitlines()[0]})'
        ) from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise errors.DiskError(
            f'{workdir} cannot be written: {error.strerror}; checkpoints are '
            'kept, repeat the command to continue'
        ) from error


def _with_restarts(config, workdir, attempt):
    """Call attempt(config), again with another seed after a mode collapse."""
    if config.on_collapse == 'restart' and jax.process_count() > 1:
        raise errors.ConfigError(
            "on_collapse='restart' is for one process; use 'stop' for several"
        )
    _check_seed(config, workdir, run_folder.restarts(workdir))
    while True:
        past = run_folder.restarts(workdir)
        seeded = config.copy_and_resolve_references()
        seeded.seed = past[-1]['seed'] if past else config.seed
        try:
            return attempt(seeded)
        except errors.CollapseError as error:
            if config.on_collapse != 'restart':
                raise
            if len(past) >= config.max_restarts:
                raise errors.CollapseError(
                    f'{error}. The run was restarted {len(past)} times'
                ) from error
            run_folder.restart(workdir, seeded.seed + 1, str(error))


def _check_seed(config, workdir, past):
    """Check that the seed is that of an attempt in the folder."""
    seeds = [record['seed'] for record in past]
    if seeds and config.seed not in (seeds[0] - 1, *seeds):  # +1 each time
        raise errors.ConfigError(
            f'seed={config.seed}: the run in {workdir} started with seed '
            f'{seeds[0] - 1} and, after collapses, continues with '
            f'{seeds[-1]}; use one of these, --restart or another --workdir'
        )


def _train(config, workdir, images, labels, callback, override, stopper):
    """Train one attempt; arguments as of `train`."""
    if images is None:
        datasets = builders.datasets(config)
    else:
        datasets = {builders.REAL: sources.from_arrays(
            images, labels, request=builders.request(config)
        )}
    first, dataset = next(iter(datasets.items()))
    points = dataset.images.ndim == 2
    validation.validate(config, parallel.device_count(), points)
    _check_units(config, datasets)
    online_eval.check(defaults.of_source(config, first), dataset)
    specs = builders.data_specs(datasets)
    algorithm = builders.algorithm(config, specs, parallel.device_memory())
    first_state = None
    if not (workdir / 'checkpoints').exists():
        # Before any file is written, so that a refused start leaves none.
        first_state = initialization.initial_state(config, algorithm, specs)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(contextlib.closing(
            run_folder.open_checkpoints(workdir, config, datasets, override)
        ))
        state = _restored(checkpoints, config, algorithm, specs, first_state)
        del first_state
        start = int(state.step)
        writer = stack.enter_context(contextlib.closing(writer_lib.Writer(
            workdir,
            enabled=parallel.is_first_host(),
            start=start,
            total=config.num_steps,
            names=defaults.loggers(config),
            config=redact.mask_values(defaults.flatten(config)),
        )))
        parts = loop.RunComponents(
            config, datasets, {}, algorithm, checkpoints, writer, stopper,
            callback,
        )
        if start >= config.num_steps:
            writer.say(
                f'The run in {workdir} is complete: {start} of '
                f'{config.num_steps} steps. Set a larger --config.num_steps '
                'to continue, or another --workdir for a new run.'
            )
        else:
            state = _continue(workdir, parts, state)
    return Run(workdir, algorithm, state)


def _check_units(config, datasets):
    """Check that images with units are for a GAN of one source."""
    for dataset in datasets.values():
        if dataset.units is not None and len(datasets) > 1:
            raise errors.ConfigError(
                f'algorithm={config.algorithm!r} is for pictures, and '
                f'{dataset.name} holds .npy files'
            )


def _restored(checkpoints, config, algorithm, specs, first_state=None):
    """Return the newest saved state, or the initial state if none is saved.

    Args:
        checkpoints: of the run.
        config, algorithm, specs: as of `initialization.initial_state`.
        first_state: the initial state, if it is known.
    """
    state = checkpoints.restore_newest(
        builders.abstract_state(config, algorithm, specs)
    )
    if state is None:
        state = first_state
    if state is None:
        state = initialization.initial_state(config, algorithm, specs)
    return state


def _continue(workdir, parts, state):
    """Train the remaining steps of a run; returns the state."""
    config, writer = parts.config, parts.writer
    problems = _setup_problems(parts, state)
    start, position = int(state.step), int(state.position)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        feeds = builders.feeds(config, parts.datasets)
        for feed in feeds.values():
            stack.enter_context(contextlib.closing(feed))
        parts = parts._replace(feeds=feeds)
        _describe(workdir, parts, state, problems)
        state = _with_rollbacks(workdir, parts, state)
    seconds = time.monotonic() - began
    batches = int(state.position) - position
    images = batches * defaults.images_per_batch(config)
    _summarize(writer, workdir, start, config, seconds, images)
    if config.report and parallel.is_first_host():
        reporting.write_report(
            workdir, parts.algorithm, state, config, parts.datasets,
            writer.say,
        )
    return state


def _setup_problems(parts, state):
    """List problems of the setup; refuse it unless the config allows that.

    If the config has no problem, the first samples of a new run are checked.
    They use no PRNG key of the training.
    """
    config, dataset = parts.first
    if not parts.algorithm.latent_size:
        return []
    problems = setup_checks.config_problems(config, dataset.images.ndim == 2)
    if not problems and not int(state.step):
        problems = setup_checks.batch_problems(
            config,
            algorithm_lib.to_unit_range(loop.evenly_spaced(dataset)),
            sampling.sample(parts.algorithm, state, range(sampling.BATCH)),
        )
        setup_checks.raise_first(config, problems)
    return problems


def _describe(workdir, parts, state, problems):
    """Print the banner; write environment.json and pictures of real images."""
    config, writer = parts.config, parts.writer
    devices = parallel.device_count()
    networks = ''.join(
        f'{label:10}{name}, '
        f'{algorithm_lib.count_params(state.players[player]):,} parameters\n'
        for label, player, name in parts.algorithm.summary
    )
    writer.say(
        f'Run       {workdir}\n'
        f'Device    {devices} x {jax.devices()[0].device_kind} '
        f'({jax.default_backend()}), {jax.process_count()} process(es)\n'
        f'{_described_data(parts)}{networks}'
        f'Batch     {config.batch_size}{_packed(config)}, '
        f'{config.batch_size // devices} per '
        f'device; {config.num_steps} steps, each {parts.algorithm.moves}'
    )
    for problem in problems:
        writer.say(f'warning: {problem}')
    _warn_small_data(parts)
    if parallel.is_first_host():
        described = environment.describe(config.seed)
        described['from_step'] = int(state.step)
        writer_lib.append_json(workdir / 'environment.json', described)
    if parts.checkpoints.steps():
        writer.say(f'Continuing from step {int(state.step)}')
        return
    if config.init_from:
        players = config.init_players or 'all networks'
        writer.say(
            f'Starting at step {int(state.step)} with {players} of '
            f'{config.init_from}'
        )
    for name, dataset in parts.datasets.items():
        file_name = 'reals' if len(parts.datasets) == 1 else f'reals-{name}'
        examples = loop.evenly_spaced(dataset)
        writer.picture(
            file_name, writer_lib.picture(examples, units=dataset.units)
        )


def _described_data(parts):
    """Return the lines of the banner about the data."""
    lines = []
    for name, dataset in parts.datasets.items():
        count, *shape = dataset.images.shape
        size = f'{count:,} images of {"x".join(map(str, shape))}'
        if dataset.images.ndim == 2:
            config = defaults.of_source(parts.config, name)
            number = (
                'endless' if defaults.has_mixture(config) else f'{count:,}'
            )
            size = f'{number} points in {shape[0]} dimensions'
        label = 'Data' if len(parts.datasets) == 1 else f'Data {name}'
        lines.append(
            f'{label:10}{dataset.name}: {size} ({parts.feeds[name].kind})\n'
        )
    return ''.join(lines)


def _warn_small_data(parts):
    """Warn of a data source that is smaller than a batch."""
    batch = defaults.images_per_batch(parts.config)
    for name, dataset in parts.datasets.items():
        config = defaults.of_source(parts.config, name)
        count = len(dataset.images)
        if count < batch and not defaults.has_mixture(config):
            parts.writer.say(
                f'warning: {count} images are fewer than a batch of '
                f'{batch}; each batch repeats some'
            )


def _packed(config):
    return '' if config.packing == 1 else f' tuples of {config.packing}'


def _with_rollbacks(workdir, parts, state):
    """Train; roll back after a non-finite value where the config says so.

    A rollback restores the last checkpoint. The order of the data stays the
    same, and latents and noise change.
    """
    past = run_folder.rollbacks(workdir)
    while True:
        try:
            return loop.run(parts, state, len(past))
        except errors.NonFiniteError as error:
            if parts.config.on_nan == 'stop':
                raise
            if len(past) >= MAX_ROLLBACKS:
                raise errors.NonFiniteError(
                    f'{error}. The run was rolled back {len(past)} times'
                ) from error
            reason = str(error)
        state = _restored(
            parts.checkpoints, parts.config, parts.algorithm,
            builders.data_specs(parts.datasets),
        )
        step = int(state.step)
        past.append({'to_step': step, 'reason': reason})
        run_folder.note_rollback(workdir, **past[-1])
        parts.writer.rewind(step)
        parts.writer.say(
            f'warning: {reason}. Rolled back to step {step}, '
            f'{len(past)} of {MAX_ROLLBACKS} times'
        )


def _summarize(writer, workdir, start, config, seconds, images):
    """Print where the files are and which commands come next."""
    folder = f"'{workdir}'" if ' ' in str(workdir) else str(workdir)
    steps = config.num_steps - start
    use = f'sample --workdir={folder} --seeds=0-63 --out=grid.png'
    if config.algorithm in translation.KINDS:
        use = f'translate --workdir={folder} --input=image.png --out=out.png'
    writer.say(
        f'\nDone: {steps} steps to step {config.num_steps} in {seconds:.0f} s, '
        f'{images / seconds:.0f} real images/s, including compilation, samples '
        'and checkpoints.\n'
        f'  samples      {workdir / "samples"}\n'
        f'  metrics      {workdir / "metrics.jsonl"}\n'
        f'  checkpoints  {workdir / "checkpoints"}\n'
        'Next:\n'
        f'  python -m gan_jax {use}\n'
        f'  tensorboard --logdir={folder}    (pip install tensorboard)\n'
        '  repeat the command with a larger --config.num_steps to continue'
    )
