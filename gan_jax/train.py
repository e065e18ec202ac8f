"""The training loop: from a config and a folder to a trained GAN.

Public: `train` and the `Run` that it returns.
"""

import contextlib
import errno
import functools
import math
import signal
import time
from typing import NamedTuple

from etils import epath
import jax
import numpy as np

from gan_jax import build
from gan_jax import checks
from gan_jax import config as config_lib
from gan_jax import diagnosing
from gan_jax import errors
from gan_jax import evaluating
from gan_jax import non_finite
from gan_jax import programs as programs_lib
from gan_jax import reporting
from gan_jax import run_folder
from gan_jax import sampling
from gan_jax import watch as watch_lib
from gan_jax.data import sources
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import parallel
from gan_jax.runtime import stopping
from gan_jax.runtime import writer as writer_lib
from gan_jax.steps import adversarial
from gan_jax.steps import game

# Of a full disk, a quota, a limit of size, a disk that became read-only.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
MAX_ROLLBACKS = 3  # in a run, before a number that is not finite stops it
NUM_IMAGES, NUM_POINTS = 100, 2500  # samples in a picture


class Run(NamedTuple):
    """A trained GAN.

    Attributes:
        workdir: folder of the run.
        gan: `game.GAN`, the static parts.
        state: `game.GANState` of NumPy arrays.
    """

    workdir: epath.Path
    gan: game.GAN
    state: game.GANState

    def sample(self, seeds, *, labels=None, weights='ema'):
        """Give float32 images [len(seeds), H, W, C] in [-1, 1].

        Args, raises: as `sampling.sample`.
        """
        return sampling.sample(
            self.gan, self.state, seeds, labels=labels, weights=weights
        )


def train(
    config, workdir, *, images=None, labels=None, callback=None,
    restart=False, override_config=False,
):
    """Train a GAN, or go on from the newest checkpoint in `workdir`.

    On CPU it changes the process for good: memory that is freed stays with it,
    and JAX calls programs in the caller's thread (`runtime/heap.py`).

    Args:
        config: ConfigDict, from `config.default_config()` or a recipe.
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
    checks.validate(config, parallel.device_count())
    if config.population > 1:
        raise errors.ConfigError(
            f'population={config.population} is of sweeping.train; train.train '
            'makes one GAN'
        )
    workdir = run_folder.at(workdir)
    first = parallel.is_first_host()
    try:
        with run_folder.made(workdir), lock.held(workdir, first), (
                stopping.on_signals()) as stopper:
            if restart and first:
                run_folder.set_aside(workdir)
            return _beginning_anew(
                config, workdir, lambda config: _train(
                    config, workdir, images, labels, callback,
                    override_config, stopper,
                )
            )
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not parallel.is_parting(error):
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
        dataset = build.dataset(config)
    else:
        dataset = sources.from_arrays(
            images, labels, request=build.request(config)
        )
    points = dataset.images.ndim == 2
    checks.validate(config, parallel.device_count(), points)
    watch_lib.check(config, dataset)
    image_shape = dataset.images.shape[1:]
    gan = build.gan(
        config, image_shape, len(dataset.classes), len(dataset.images),
        parallel.memory(),
    )

    checkpoints = run_folder.open_checkpoints(
        workdir, config, dataset, override
    )
    try:
        state = checkpoints.restore_newest(
            build.abstract_state(gan, image_shape)
        )
    except errors.CheckpointError:
        checkpoints.close()
        raise
    if state is None:
        state = _initial_state(gan, config, image_shape)
    start = int(state.step)

    writer = writer_lib.Writer(
        workdir,
        enabled=parallel.is_first_host(),
        start=start,
        total=config.num_steps,
    )
    try:
        if start >= config.num_steps:
            writer.say(
                f'The run in {workdir} is complete: {start} of '
                f'{config.num_steps} steps. Set a larger --config.num_steps '
                'to go on, or another --workdir to start anew.'
            )
        else:
            complaints = _complaints(config, gan, state, dataset)
            began, position = time.monotonic(), int(state.position)
            with contextlib.closing(build.feed(config, dataset)) as feed:
                _describe(
                    writer, workdir, config, dataset, feed, state, complaints
                )
                state = _rolling_back(
                    config, dataset, feed, gan, state, checkpoints, writer,
                    callback, stopper, workdir,
                )
            seconds = time.monotonic() - began
            batches = int(state.position) - position
            images = batches * config_lib.images_per_batch(config)
            _summarize(writer, workdir, start, config, seconds, images)
            if config.report and parallel.is_first_host():
                reporting.leave(workdir, gan, state, dataset, writer.say)
    finally:
        checkpoints.close()
        writer.close()
    return Run(workdir, gan, state)


def _initial_state(gan, config, image_shape):
    """Draw weights; the same on every host."""
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    state = jax.jit(
        lambda key: adversarial.init(
            gan, key, image_shape, config.clip_weights
        )
    )(key)
    return jax.tree.map(np.asarray, state)


def _complaints(config, gan, state, dataset):
    """List why the setup cannot work; refuse it where that is not allowed.

    A batch of the first samples is looked at where the names are in order; it
    is by seed, as the grids are, and draws nothing from the run's own keys.
    """
    complaints = checks.complaints(config, dataset.images.ndim == 2)
    if not complaints and not int(state.step):
        complaints = checks.complaints_of_batch(
            config,
            game.to_unit_range(_some(dataset)),
            sampling.sample(gan, state, range(sampling.BATCH)),
        )
        checks.refuse(config, complaints)
    return complaints


def _describe(writer, workdir, config, dataset, feed, state, complaints):
    """Show the banner, and leave environment.json and the real images."""
    count, *shape = dataset.images.shape
    devices = parallel.device_count()
    endless = config_lib.has_mixture(config)
    size = f'{count:,} images of {"x".join(map(str, shape))}'
    if dataset.images.ndim == 2:
        many = 'endless' if endless else f'{count:,}'
        size = f'{many} points in {shape[0]} dimensions'

    def parameters(player):
        return sum(leaf.size for leaf in jax.tree.leaves(player.params))

    writer.say(
        f'Run       {workdir}\n'
        f'Device    {devices} x {jax.devices()[0].device_kind} '
        f'({jax.default_backend()}), {jax.process_count()} process(es)\n'
        f'Data      {dataset.name}: {size} ({feed.kind})\n'
        f'G         {config.generator.name}, '
        f'{parameters(state.generator):,} parameters\n'
        f'{_partner(config)}, {parameters(state.discriminator):,} parameters\n'
        f'Batch     {config.batch_size}{_packed(config)}, '
        f'{config.batch_size // devices} per '
        f'device; {config.num_steps} steps, each {_moves(config)}'
    )
    for complaint in complaints:
        writer.say(f'warning: {complaint}')
    batch = config_lib.images_per_batch(config)
    if count < batch and not endless:
        writer.say(
            f'warning: {count} images are fewer than a batch of '
            f'{batch}; each batch repeats some'
        )
    if parallel.is_first_host():
        described = environment.describe(config.seed)
        described['from_step'] = int(state.step)
        writer_lib.append_json(workdir / 'environment.json', described)
    if int(state.step):
        writer.say(f'Going on from step {int(state.step)}')
    else:
        writer.picture('reals', writer_lib.picture(_some(dataset)))


def _partner(config):
    network = config_lib.discriminator_name(config)
    return {
        '': f'D         {network}', 'given': 'Codes     given',
        'glo': 'Codes     one for each image',
    }.get(config.baseline.name, f'Encoder   {network}')


def _moves(config):
    if config.baseline.name:
        return f'of both ({config.baseline.name})'
    return (
        f'{config.d_steps} of D and {config.g_steps} of G '
        f'({config.schedule.name})'
    )


def _packed(config):
    return '' if config.packing == 1 else f' tuples of {config.packing}'


def _rolling_back(
    config, dataset, feed, gan, state, checkpoints, writer, callback, stopper,
    workdir,
):
    """Train as `_loop`, from the last save again where the config says so.

    Each time the data come in the same order, and z and noise are others.
    """
    past = run_folder.rollbacks(workdir)
    while True:
        try:
            return _loop(
                config, dataset, feed, gan, state, checkpoints, writer,
                callback, stopper, len(past),
            )
        except errors.NonFiniteError as error:
            if config.on_nan == 'stop':
                raise
            if len(past) >= MAX_ROLLBACKS:
                raise errors.NonFiniteError(
                    f'{error}. The run rolled back {len(past)} times'
                ) from error
            reason = str(error)
        image_shape = dataset.images.shape[1:]
        state = checkpoints.restore_newest(
            build.abstract_state(gan, image_shape)
        )
        if state is None:
            state = _initial_state(gan, config, image_shape)
        step = int(state.step)
        past.append({'to_step': step, 'reason': reason})
        run_folder.note_rollback(workdir, **past[-1])
        writer.rewind(step)
        writer.say(
            f'warning: {reason}. Rolled back to step {step}, '
            f'{len(past)} of {MAX_ROLLBACKS} times'
        )


def _key(config, rollbacks):
    """Give the key of z and noise."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return jax.random.fold_in(key, rollbacks) if rollbacks else key


def _loop(
    config, dataset, feed, gan, state, checkpoints, writer, callback, stopper,
    rollbacks,
):
    """Train from state.step to num_steps, or until a signal comes.

    Returns:
        The state as NumPy arrays, saved or being saved.
    """
    start, position = int(state.step), int(state.position)
    constants = parallel.constants(
        feed.resident,
        build.hyperparams(config),
        _key(config, rollbacks),
        config_lib.images_per_batch(config),
    )
    programs = programs_lib.Programs(
        config, gan, feed, constants,
        [start, config.num_steps, config.log_every, config.sample_every,
         config.checkpoint_every, config.eval_every],
    )
    check = functools.partial(
        non_finite.check_metrics, programs=programs, checkpoints=checkpoints,
        keep=config.on_nan == 'stop',
    )
    _, best = checkpoints.best()
    watch = watch_lib.Watch(config, dataset)
    diagnosis = diagnosing.Diagnosis(
        config, gan, state, dataset, writer.past(start)
    )
    pictures = functools.partial(
        _sample, config, gan, dataset, _unseen(config, gan, dataset), writer
    )
    if start == 0:
        pictures(state, 0)
    state = parallel.replicate(state)

    writer.say('Compiling (once) ...')
    began = logged_at = time.monotonic()
    step, logged_step, previous = start, start, None
    agreement = parallel.Agreement()
    while step < config.num_steps:
        before = step
        state, metrics, step, position = programs.advance(
            state, step, position
        )
        # One call may queue behind the one that runs, and no more.
        check(previous, state)
        previous = metrics
        writer.advance(step - before)
        if before == start:
            jax.block_until_ready(metrics)
            logged_at, logged_step = time.monotonic(), step
            writer.say(f'Compiled in {logged_at - began:.1f} s')

        last = step == config.num_steps
        stop = agreement.signal(stopper.number)
        log = last or _due(step, config.log_every)
        evaluate = _due(step, config.eval_every)
        save = last or stop or _due(step, config.checkpoint_every)
        draw = last or _due(step, config.sample_every)
        record = {}
        if log or save or draw or evaluate:
            check(metrics, state)
        host_state = None
        if draw or evaluate or save:
            host_state = parallel.unreplicate(state)
        if log:
            record = _fetch(metrics)
            now = time.monotonic()
            speed = _speed(step - logged_step, now - logged_at)
            logged_at, logged_step = now, step
            images = position * config_lib.images_per_batch(config)
            record['perf/steps_per_sec'] = speed
            record['perf/images_per_sec'] = speed * images / step
            if not config_lib.has_mixture(config):  # which never ends
                record['data/epoch'] = images / len(dataset.images)
        if draw:
            pictures(host_state, step)
            record |= diagnosis.probe(gan, host_state)
        if evaluate:
            record |= watch.numbers(gan, host_state)
        if record:
            writer.scalars(step, record, _line(record))
            if log and callback is not None:
                callback(step, record)
        found = diagnosis.observe(step, record)
        for finding in found:
            writer.finding(step, finding._asdict())
        collapsed = diagnosing.collapse(config, found)
        cost = watch.cost(record)
        if save or collapsed or cost < best:
            if host_state is None:  # a line alone tells of a collapse
                host_state = parallel.unreplicate(state)
            non_finite.check_state(host_state, checkpoints)
            checkpoints.save(step, host_state, cost)
            best = min(best, cost)
        if collapsed and not last:
            raise errors.CollapseError(
                f'{collapsed} at step {step}, which is saved; the same '
                'command goes on'
            )
        if stop and not last:
            raise errors.StoppedError(
                f'{signal.Signals(stop).name} came: step {step} of '
                f'{config.num_steps} is saved; the same command goes on', stop
            )
    return host_state  # the last step is saved


def _due(step, cadence):
    return cadence > 0 and step % cadence == 0


def _speed(steps, seconds):
    return steps / seconds if steps else 0.0


def _fetch(metrics):
    """Bring the metrics that are numbers to the host."""
    return {
        name: float(value)
        for name, value in sorted(parallel.unreplicate(metrics).items())
        if name != adversarial.ALIVE
    }


LINE = {
    'd/loss': 'd {:.3f}',
    'g/loss': 'g {:.3f}',
    'g/reconstruction': 'error {:.4f}',
    'd/kl': 'KL {:.2f}',
    'd/real_logits': 'D(real) {:+.2f}',
    'd/fake_logits': 'D(fake) {:+.2f}',
    'perf/images_per_sec': '{:.0f} images/s',
    'eval/diversity': 'diversity {:.3f}',
    'eval/nearest_real': 'nearest real {:.3f}',
    'eval/modes': '{:.0f} modes',
    'eval/high_quality': 'high quality {:.3f}',
    'eval/fid': 'fid {:.1f}',
    'eval/kid': 'kid {:.3g}',
}


def _line(record):
    """Show the metrics that one watches, those that are there."""
    return '  '.join(
        form.format(record[name]) for name, form in LINE.items()
        if name in record
    )


def _some(dataset):
    """Give evenly spaced real images or points, as many as a picture has."""
    count = len(dataset.images)
    wanted = NUM_POINTS if dataset.images.ndim == 2 else NUM_IMAGES
    return dataset.images[np.arange(wanted) * count // wanted]


def _unseen(config, gan, dataset):
    """Give images to reconstruct, held out ones where there are; or None."""
    encoded = sampling.encodes(gan) and dataset.images.ndim > 2
    if not (encoded and config.sample_every):
        return None
    held_out = evaluating.held_out_of(config, config.data.split, dataset)
    return _some(held_out or dataset)


def _sample(config, gan, dataset, unseen, writer, state, step):
    """Leave the pictures of a step; every host makes them, the first writes.

    They are of fixed z and, where there is an encoder, of fixed images.
    """
    if config.sample_every:
        real = _some(dataset)
        samples = sampling.sample(gan, state, range(len(real)))
        writer.picture(
            f'{step:06d}', writer_lib.picture(samples, real), step=step
        )
        if unseen is not None:
            writer.picture(
                f'reconstructed-{step:06d}', _pairs(gan, state, unseen)
            )


def _pairs(gan, state, images):
    """Draw images in odd rows, and under each what is made of its code."""
    columns = math.isqrt(len(images))
    images = images[:len(images) // columns * columns]
    made = writer_lib.to_uint8(sampling.reconstruct(gan, state, images))
    rows = np.stack([
        array.reshape(-1, columns, *images.shape[1:])
        for array in (images, made)
    ], axis=1)
    return writer_lib.grid(rows.reshape(-1, *images.shape[1:]), columns)


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
        f'  python -m gan_jax.sample --workdir={folder} --seeds=0-63 '
        '--out=grid.png\n'
        f'  tensorboard --logdir={folder}    (pip install tensorboard)\n'
        '  the same command with a larger --config.num_steps goes on from here'
    )
