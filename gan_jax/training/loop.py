"""The training loop: calls of compiled steps, and the tasks due after them.

Logs, draws samples, evaluates, diagnoses and saves by the cadences of the
config. Knows no networks; it calls the `algorithm.Algorithm` alone.
"""

import functools
import signal
import time
from typing import Any, Callable, NamedTuple, Optional

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.evaluation import online_eval
from gan_jax.evaluation import reference
from gan_jax.monitoring import monitor
from gan_jax.runs import sampling
from gan_jax.runtime import parallel
from gan_jax.runtime import writer as writer_lib
from gan_jax.training import dispatch
from gan_jax.training import nan_guard

NUM_IMAGES, NUM_POINTS = 100, 2500  # samples in a picture


class RunComponents(NamedTuple):
    """The objects that one training run consists of.

    Attributes:
        config: validated ConfigDict.
        datasets: {source: `sources.Dataset`}.
        feeds: {source: feed}.
        algorithm: as of `builders.algorithm`.
        checkpoints: `checkpoint.Checkpoints`.
        writer: `writer.Writer`.
        stopper: `signals.Stopper`.
        callback: called with (step, metrics) at each logged step, or None.
    """

    config: Any
    datasets: dict
    feeds: dict
    algorithm: Any
    checkpoints: Any
    writer: Any
    stopper: Any
    callback: Optional[Callable] = None

    @property
    def first(self):
        """Return the config and the data set of the first source."""
        name = next(iter(self.datasets))
        return defaults.of_source(self.config, name), self.datasets[name]


class Due(NamedTuple):
    """Flags of the tasks that are due after a step.

    Attributes:
        last: whether it is the last step.
        log, draw, evaluate, save: whether the task is due by its cadence; all
            but `evaluate` are also due after the last step.
    """

    last: bool
    log: bool
    draw: bool
    evaluate: bool
    save: bool


def tasks_due(config, step):
    """Return the `Due` tasks after a number of steps."""
    last = step == config.num_steps

    def every(cadence):
        return cadence > 0 and step % cadence == 0

    return Due(
        last, last or every(config.log_every),
        last or every(config.sample_every), every(config.eval_every),
        last or every(config.checkpoint_every),
    )


def cadences(config):
    """List the cadences of the tasks, in steps; 0 is off."""
    return [
        config.log_every, config.sample_every, config.checkpoint_every,
        config.eval_every,
    ]


def stopped(signal_number, config, step):
    """Return the error for a run that a signal stopped.

    Its save may still be in progress; it is complete when the caller has closed
    the checkpoints.
    """
    return errors.StoppedError(
        f'{signal.Signals(signal_number).name} received: step {step} of '
        f'{config.num_steps} is saved; repeat the command to continue',
        signal_number,
    )


def run(parts, state, rollbacks):
    """Train from state.step to num_steps, or until a signal is received.

    Args:
        parts: `RunComponents`.
        state: `algorithm.TrainState` of NumPy arrays.
        rollbacks: number of rollbacks of the run; each changes the noise.

    Returns:
        The final state as NumPy arrays; its save may still be in progress.

    Raises:
        errors.StoppedError, errors.NonFiniteError, errors.CollapseError: as of
            `train.train`.
    """
    config, start = parts.config, int(state.step)
    dispatcher = _make_dispatch(parts, state, rollbacks)
    check = functools.partial(
        nan_guard.check_metrics, dispatcher=dispatcher,
        checkpoints=parts.checkpoints, keep=config.on_nan == 'stop',
    )
    tasks = _Tasks(parts, state)
    if start == 0:
        tasks.save_pictures(state, 0)
    step, position = start, int(state.position)
    state, previous, compiled = parallel.replicate(state), None, 0.0

    # The first step's programs; any others are compiled when first called.
    parts.writer.say('Compiling (once) ...')
    began = time.monotonic()
    agreement = parallel.Agreement()
    while step < config.num_steps:
        before = step
        state, metrics, step, position = dispatcher.advance(
            state, step, position
        )
        # At most one call is queued behind the one that runs.
        check(previous, state)
        previous = metrics
        parts.writer.advance(step - before)
        if before == start:
            jax.block_until_ready(metrics)
            tasks.clock = time.monotonic(), step
            parts.writer.say(f'Compiled in {tasks.clock[0] - began:.1f} s')
        else:
            tasks.leave_out(dispatcher.compile_seconds - compiled)
        compiled = dispatcher.compile_seconds
        stop = agreement.signal(parts.stopper.number)
        now = tasks_due(config, step)
        now = now._replace(save=now.save or bool(stop))
        if any(now):
            check(metrics, state)
            host_state = tasks.run(now, step, position, state, metrics)
        if stop and not now.last:
            raise stopped(stop, config, step)
    return host_state  # set, because a save is due after the last step


def _make_dispatch(parts, state, rollbacks):
    """Build the `Dispatch` of a run."""
    config = parts.config
    constants = parallel.constants(
        {name: feed.resident for name, feed in parts.feeds.items()},
        builders.hyperparams(config), _key(config, rollbacks),
        defaults.images_per_batch(config),
    )
    return dispatch.Dispatch(
        config, parts.algorithm, parts.feeds, constants,
        [int(state.step), config.num_steps, *cadences(config)],
    )


def _key(config, rollbacks):
    """Return the PRNG key of latents and noise."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return jax.random.fold_in(key, rollbacks) if rollbacks else key


class _Tasks:
    """The tasks after a call: log, draw, evaluate, diagnose and save.

    Attributes:
        clock: (seconds, step) of the last measurement of speed.
    """

    def __init__(self, parts, state):
        self._parts, self.clock = parts, (time.monotonic(), int(state.step))
        self._config, dataset = parts.first
        self._evaluator = online_eval.OnlineEvaluator(self._config, dataset)
        self._diagnosis = monitor.Diagnosis(
            self._config, parts.algorithm, state, dataset,
            parts.writer.past(int(state.step)),
        )
        if self._config.diagnosis.on:
            parts.writer.open_diagnosis()
        self._examples = _examples(parts) if self._config.sample_every else {}
        _, self._best = parts.checkpoints.best()

    def run(self, now, step, position, state, metrics):
        """Run the tasks that are due.

        Args:
            now: `Due`.
            step, position: counters of the state, as ints.
            state: replicated.
            metrics: of the last step, on the devices.

        Returns:
            The state as NumPy arrays, or None if no task needed it.

        Raises:
            errors.CollapseError, errors.NonFiniteError: as of `train.train`.
        """
        parts, record, host_state = self._parts, {}, None
        if now.draw or now.evaluate or now.save:
            host_state = parallel.unreplicate(state)
        if now.log:
            record = _fetch(metrics) | self._speed(step, position)
        if now.draw:
            self.save_pictures(host_state, step)
            record |= self._diagnosis.probe(parts.algorithm, host_state)
        if now.evaluate:
            record |= self._evaluator.numbers(parts.algorithm, host_state)
        if record:
            parts.writer.scalars(step, record, _line(record))
            if now.log and parts.callback is not None:
                parts.callback(step, record)
        findings = self._diagnosis.observe(step, record)
        for finding in findings:
            parts.writer.finding(step, finding._asdict())
        collapsed = monitor.collapse(self._config, findings)
        cost = self._evaluator.cost(record)
        if now.save or collapsed or cost < self._best:
            if host_state is None:  # a collapse found by metrics alone
                host_state = parallel.unreplicate(state)
            self._save(step, host_state, cost)
        if collapsed and not now.last:
            raise errors.CollapseError(
                f'{collapsed} at step {step}, which is saved; repeat the '
                'command to continue'
            )
        return host_state

    def _save(self, step, host_state, cost):
        """Save a finite state."""
        nan_guard.check_state(host_state, self._parts.checkpoints)
        self._parts.checkpoints.save(step, host_state, cost)
        self._best = min(self._best, cost)

    def leave_out(self, seconds):
        """Shift the clock by a compilation, which no speed includes."""
        last_time, last_step = self.clock
        self.clock = last_time + seconds, last_step

    def _speed(self, step, position):
        """Return the speed since the last log, and the epochs of the data."""
        now, (last_time, last_step) = time.monotonic(), self.clock
        self.clock = now, step
        steps = step - last_step
        speed = steps / (now - last_time) if steps else 0.0
        images = position * defaults.images_per_batch(self._config)
        metrics = {
            'perf/steps_per_sec': speed,
            'perf/images_per_sec': speed * images / step,
        }
        if not defaults.has_mixture(self._config):  # has no epochs
            _, dataset = self._parts.first
            metrics['data/epoch'] = images / len(dataset.images)
        return metrics

    def save_pictures(self, state, step):
        """Save the pictures of a step; all hosts compute them, one writes."""
        if not self._examples:
            return
        parts = self._parts
        pictures = parts.algorithm.pictures(
            state, self._examples, sampling.apply
        )
        for name, picture in pictures.items():
            file_name = f'{name}-{step:06d}' if name else f'{step:06d}'
            parts.writer.picture(
                file_name, _render(
                    picture, self._examples, parts.first[1].units
                ),
                step=None if name else step,
            )


def _render(picture, examples, units):
    """Render a grid of images, or a plot of points over real ones."""
    if picture.images.ndim > 2:
        return writer_lib.grid(picture.images, picture.columns, units=units)
    return writer_lib.picture(picture.images, next(iter(examples.values())))


def _examples(parts):
    """Return {source: real samples for pictures}, and some held-out ones.

    The entry 'held_out' exists for algorithms with an encoder alone. It has
    training samples if no others are available.
    """
    examples = {
        name: evenly_spaced(dataset) for name, dataset in parts.datasets.items()
    }
    if parts.algorithm.encodes:
        config, dataset = parts.first
        held_out = reference.held_out_of(config, config.data.split, dataset)
        examples['held_out'] = evenly_spaced(held_out or dataset)
    return examples


def evenly_spaced(dataset):
    """Return evenly spaced images or points, as many as fit in a picture."""
    count = len(dataset.images)
    size = NUM_POINTS if dataset.images.ndim == 2 else NUM_IMAGES
    return dataset.centered(np.arange(size) * count // size)


def _fetch(metrics):
    """Return metrics of the devices as floats."""
    return {
        name: float(value)
        for name, value in sorted(parallel.unreplicate(metrics).items())
        if name != algorithm_lib.ALIVE
    }


LINE = {  # metric: its format in a line of the terminal
    'd/loss': 'd {:.3f}',
    'g/loss': 'g {:.3f}',
    'g/reconstruction': 'error {:.4f}',
    'd/kl': 'KL {:.2f}',
    'codes/kl': 'KL {:.2f}',
    'codes/perplexity': 'perplexity {:.1f}',
    'd/real_logits': 'D(real) {:+.2f}',
    'd/fake_logits': 'D(fake) {:+.2f}',
    'perf/images_per_sec': '{:.0f} images/s',
    'eval/diversity': 'diversity {:.3f}',
    'eval/nearest_real': 'nearest real {:.3f}',
    'eval/modes': '{:.0f} modes',
    'eval/high_quality': 'high quality {:.3f}',
    'eval/fid': 'fid {:.1f}',
    'eval/kid': 'kid {:.3g}',
    'eval/fd_efficientnet_lite0': 'fd_efficientnet_lite0 {:.1f}',
    'eval/kd_efficientnet_lite0': 'kd_efficientnet_lite0 {:.3g}',
}


def _line(record):
    """Format the most important metrics of a record as one line."""
    return '  '.join(
        form.format(record[name]) for name, form in LINE.items()
        if name in record
    )
