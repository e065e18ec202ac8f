"""One training: from a config and a folder to a trained run.

Public: `train` and the `Run` that it returns.
"""

import contextlib
import errno
import time
from typing import Any, NamedTuple

from etils import epath
import jax

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.data import sources
from gan_jax.evaluation import online_eval as watch_lib
from gan_jax import reporting
from gan_jax.runs import run_folder
from gan_jax.runs import sampling
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import parallel
from gan_jax.runtime import signals
from gan_jax.runtime import writer as writer_lib
from gan_jax.training import loop

# Of a full disk, a quota, a limit of size, a disk that became read-only.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
MAX_ROLLBACKS = 3  # in a run, before a number that is not finite stops it


class Run(NamedTuple):
    """A training that ended.

    Attributes:
        workdir: folder of the run.
        algorithm: the static value that trained, see `algorithm.Algorithm`.
        state: `algorithm.TrainState` of NumPy arrays.
    """

    workdir: epath.Path
    algorithm: Any
    state: algorithm_lib.TrainState

    def sample(self, seeds, *, labels=None, weights='ema'):
        """Give float32 images [len(seeds), H, W, C] in [-1, 1].

        Args, raises: as `sampling.sample`.
        """
        return sampling.sample(
            self.algorithm, self.state, seeds, labels=labels, weights=weights
        )


def train(
    config, workdir, *, images=None, labels=None, callback=None,
    restart=False, override_config=False,
):
    """Train a GAN, or go on from the newest checkpoint in `workdir`.

    On CPU it changes the process for good: memory that is freed stays with it,
    and JAX calls programs in the caller's thread (`runtime/malloc.py`).

    Args:
        config: ConfigDict, from `defaults.default_config()` or a recipe.
        workdir: folder of the run; made where it does not exist.
        images: [N, H, W] or [N, H, W, C] uint8, or rows of a table [N, D],
            used in place of config.data.name and .path.
        labels: [N] integers, or None.
        callback: called as callback(step, metrics) at the steps of log_every
            and the last, with {'group/name': float}; not at others, though
            sample_every or eval_every may leave numbers of theirs.
        restart: begin anew; what the folder holds is set aside in it.
        override_config: go on though keys differ from those that the run began
            with.

    Returns:
        `Run`.

    Raises:
        errors.StoppedError: after SIGTERM or SIGINT, when the state is saved.
        errors.NonFiniteError: where a number is not finite, naming the first.
        errors.CollapseError: where modes collapse and config.on_collapse asks
            to stop, or to restart once too often.
        errors.DiskError: where the disk takes no more.
        errors.HostError: where another of several processes is lost.
        errors.UserError: one line that says what to mend.
    """
    environment.prepare()
    validation.validate(config, parallel.device_count())
    if config.population > 1:
        raise errors.ConfigError(
            f'population={config.population} is of sweep.train; train.train '
            'makes one GAN'
        )
    workdir = run_folder.at(workdir)
    first = parallel.is_first_host()
    try:
        with run_folder.made(workdir), lock.held(workdir, first), (
                signals.on_signals()) as stopper:
            if restart and first:
                run_folder.set_aside(workdir)
            run_folder.check_entries(workdir)
            return _beginning_anew(
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
            f'to go on from the last save ({str(error).splitlines()[0]})'
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise errors.DiskError(
            f'{workdir} takes no more: {error.strerror}; what is saved stays, '
            'and the same command goes on'
        ) from error


def _beginning_anew(config, workdir, attempt):
    """Call attempt(config), with another seed where modes collapsed."""
    if config.on_collapse == 'restart' and jax.process_count() > 1:
        raise errors.ConfigError(
            "on_collapse='restart' is for one process; 'stop' is for several"
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
                    f'{error}. The run began anew {len(past)} times'
                ) from error
            run_folder.begin_anew(workdir, seeded.seed + 1, str(error))


def _check_seed(config, workdir, past):
    """Refuse a seed that none of the attempts in the folder had."""
    had = [note['seed'] for note in past]
    if had and config.seed not in (had[0] - 1, *had):  # each is one more
        raise errors.ConfigError(
            f'seed={config.seed}: the run in {workdir} began with seed '
            f'{had[0] - 1} and, after collapses, goes on with {had[-1]}. Give '
            'one of these, --restart to begin anew, or another --workdir'
        )


def _train(config, workdir, images, labels, callback, override, stopper):
    if images is None:
        datasets = builders.datasets(config)
    else:
        datasets = {builders.REAL: sources.from_arrays(
            images, labels, request=builders.request(config)
        )}
    first, dataset = next(iter(datasets.items()))
    points = dataset.images.ndim == 2
    validation.validate(config, parallel.device_count(), points)
    watch_lib.check(defaults.of_source(config, first), dataset)
    forms = builders.forms(datasets)
    algorithm = builders.algorithm(config, forms, parallel.memory())
    checkpoints = run_folder.open_checkpoints(
        workdir, config, datasets, override
    )
    try:
        state = _restored(checkpoints, config, algorithm, forms)
    except errors.CheckpointError:
        checkpoints.close()
        raise
    start = int(state.step)
    writer = writer_lib.Writer(
        workdir,
        enabled=parallel.is_first_host(),
        start=start,
        total=config.num_steps,
    )
    parts = loop.Parts(
        config, datasets, {}, algorithm, checkpoints, writer, stopper,
        callback,
    )
    try:
        if start >= config.num_steps:
            writer.say(
                f'The run in {workdir} is complete: {start} of '
                f'{config.num_steps} steps. Set a larger --config.num_steps '
                'to go on, or another --workdir to start anew.'
            )
        else:
            state = _go_on(workdir, parts, state)
    finally:
        checkpoints.close()
        writer.close()
    return Run(workdir, algorithm, state)


def _restored(checkpoints, config, algorithm, forms):
    """Return the newest saved state; the first one where there is none."""
    state = checkpoints.restore_newest(
        builders.abstract_state(config, algorithm, forms)
    )
    if state is None:
        state = builders.initial_state(config, algorithm, forms)
    return state


def _go_on(workdir, parts, state):
    """Train what is left of a run; returns the state."""
    config, writer = parts.config, parts.writer
    complaints = _complaints(parts, state)
    start, position = int(state.step), int(state.position)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        feeds = builders.feeds(config, parts.datasets)
        for feed in feeds.values():
            stack.enter_context(contextlib.closing(feed))
        parts = parts._replace(feeds=feeds)
        _describe(workdir, parts, state, complaints)
        state = _rolling_back(workdir, parts, state)
    seconds = time.monotonic() - began
    batches = int(state.position) - position
    images = batches * defaults.images_per_batch(config)
    _summarize(writer, workdir, start, config, seconds, images)
    if config.report and parallel.is_first_host():
        reporting.leave(
            workdir, parts.algorithm, state, parts.first[1], writer.say
        )
    return state


def _complaints(parts, state):
    """List why the setup cannot work; refuse it where that is not allowed.

    A batch of the first samples is looked at where the names are in order; it
    is by seed, as the grids are, and draws nothing from the run's own keys.
    """
    config, dataset = parts.first
    if not parts.algorithm.latent_size:
        return []
    complaints = validation.complaints(config, dataset.images.ndim == 2)
    if not complaints and not int(state.step):
        complaints = validation.complaints_of_batch(
            config,
            algorithm_lib.to_unit_range(loop.some(dataset)),
            sampling.sample(parts.algorithm, state, range(sampling.BATCH)),
        )
        validation.refuse(config, complaints)
    return complaints


def _describe(workdir, parts, state, complaints):
    """Show the banner, and leave environment.json and the real images."""
    config, writer = parts.config, parts.writer
    devices = parallel.device_count()
    networks = ''.join(
        f'{label:10}{name}, '
        f'{algorithm_lib.size(state.players[player]):,} parameters\n'
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
    for complaint in complaints:
        writer.say(f'warning: {complaint}')
    _warn_of_few(parts)
    if parallel.is_first_host():
        described = environment.describe(config.seed)
        described['from_step'] = int(state.step)
        writer_lib.append_json(workdir / 'environment.json', described)
    if int(state.step):
        writer.say(f'Going on from step {int(state.step)}')
        return
    for name, dataset in parts.datasets.items():
        file_name = 'reals' if len(parts.datasets) == 1 else f'reals-{name}'
        writer.picture(file_name, writer_lib.picture(loop.some(dataset)))


def _described_data(parts):
    """Return a line for each source."""
    lines = []
    for name, dataset in parts.datasets.items():
        count, *shape = dataset.images.shape
        size = f'{count:,} images of {"x".join(map(str, shape))}'
        if dataset.images.ndim == 2:
            config = defaults.of_source(parts.config, name)
            many = (
                'endless' if defaults.has_mixture(config) else f'{count:,}'
            )
            size = f'{many} points in {shape[0]} dimensions'
        label = 'Data' if len(parts.datasets) == 1 else f'Data {name}'
        lines.append(
            f'{label:10}{dataset.name}: {size} ({parts.feeds[name].kind})\n'
        )
    return ''.join(lines)


def _warn_of_few(parts):
    """Warn where a batch has more images than a source."""
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


def _rolling_back(workdir, parts, state):
    """Train, from the last save again where the config says so.

    Each time the data come in the same order, and z and noise are others.
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
                    f'{error}. The run rolled back {len(past)} times'
                ) from error
            reason = str(error)
        state = _restored(
            parts.checkpoints, parts.config, parts.algorithm,
            builders.forms(parts.datasets),
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
    """Say where things are and what to try next."""
    folder = f"'{workdir}'" if ' ' in str(workdir) else str(workdir)
    steps = config.num_steps - start
    writer.say(
        f'\nDone: {steps} steps to step {config.num_steps} in {seconds:.0f} s, '
        f'{images / seconds:.0f} real images/s, compilation, samples and saves '
        'counted.\n'
        f'  samples      {workdir / "samples"}\n'
        f'  metrics      {workdir / "metrics.jsonl"}\n'
        f'  checkpoints  {workdir / "checkpoints"}\n'
        'Next:\n'
        f'  python -m gan_jax sample --workdir={folder} --seeds=0-63 '
        '--out=grid.png\n'
        f'  tensorboard --logdir={folder}    (pip install tensorboard)\n'
        '  the same command with a larger --config.num_steps goes on from here'
    )
