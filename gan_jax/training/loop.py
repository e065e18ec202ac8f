"""The training loop: calls, and what is due after them.

It knows no network: it asks the algorithm, and hands numbers and pictures on.
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
from gan_jax.evaluation import online_eval as watch_lib
from gan_jax.evaluation import runner
from gan_jax.monitoring import monitor
from gan_jax.runs import sampling
from gan_jax.runtime import parallel
from gan_jax.runtime import writer as writer_lib
from gan_jax.training import dispatch
from gan_jax.training import nan_guard

NUM_IMAGES, NUM_POINTS = 100, 2500  # samples in a picture


class Parts(NamedTuple):
    """What one training is made of.

    Attributes:
        config: validated ConfigDict.
        datasets: {source: `sources.Dataset`}.
        feeds: {source: feed}.
        algorithm: as of `builders.algorithm`.
        checkpoints: `checkpoint.Checkpoints`.
        writer: `writer.Writer`.
        stopper: `signals.Stopper`.
        callback: (step, metrics) at each logged step, or None.
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
        """The config and the data set of the first source."""
        name = next(iter(self.datasets))
        return defaults.of_source(self.config, name), self.datasets[name]


class Due(NamedTuple):
    """What is due after a call.

    Attributes:
        last: whether no step is left.
        log, draw, evaluate, save: of the cadences; all but `evaluate` after
            the last step too.
    """

    last: bool
    log: bool
    draw: bool
    evaluate: bool
    save: bool


def due(config, step):
    """Return what is `Due` when a number of steps is made."""
    last = step == config.num_steps

    def every(cadence):
        return cadence > 0 and step % cadence == 0

    return Due(
        last, last or every(config.log_every),
        last or every(config.sample_every), every(config.eval_every),
        last or every(config.checkpoint_every),
    )


def cadences(config):
    """List the cadences of what is due, in steps; 0 is off."""
    return [
        config.log_every, config.sample_every, config.checkpoint_every,
        config.eval_every,
    ]


def stopped(signal_number, config, step):
    """Return the error of a run that a signal stopped when it was saved."""
    return errors.StoppedError(
        f'{signal.Signals(signal_number).name} came: step {step} of '
        f'{config.num_steps} is saved; the same command goes on',
        signal_number,
    )


def run(parts, state, rollbacks):
    """Train from state.step to num_steps, or until a signal comes.

    Args:
        parts: `Parts`.
        state: `algorithm.TrainState` of NumPy arrays.
        rollbacks: how often the run went back to a save; noise is another
            each time.

    Returns:
        The state as NumPy arrays, saved or being saved.

    Raises:
        errors.StoppedError, errors.NonFiniteError, errors.CollapseError: as of
            `train.train`.
    """
    config, start = parts.config, int(state.step)
    programs = _dispatch(parts, state, rollbacks)
    check = functools.partial(
        nan_guard.check_metrics, programs=programs,
        checkpoints=parts.checkpoints, keep=config.on_nan == 'stop',
    )
    after = _After(parts, state)
    if start == 0:
        after.draw(state, 0)
    step, position = start, int(state.position)
    state, previous = parallel.replicate(state), None

    parts.writer.say('Compiling (once) ...')
    began = time.monotonic()
    agreement = parallel.Agreement()
    while step < config.num_steps:
        before = step
        state, metrics, step, position = programs.advance(
            state, step, position
        )
        # One call may queue behind the one that runs, and no more.
        check(previous, state)
        previous = metrics
        parts.writer.advance(step - before)
        if before == start:
            jax.block_until_ready(metrics)
            after.clock = time.monotonic(), step
            parts.writer.say(f'Compiled in {after.clock[0] - began:.1f} s')
        stop = agreement.signal(parts.stopper.number)
        now = due(config, step)
        now = now._replace(save=now.save or bool(stop))
        if any(now):
            check(metrics, state)
            host_state = after.call(now, step, position, state, metrics)
        if stop and not now.last:
            raise stopped(stop, config, step)
    return host_state  # the last step is saved


def _dispatch(parts, state, rollbacks):
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
    """Return the key of z and noise."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return jax.random.fold_in(key, rollbacks) if rollbacks else key


class _After:
    """What follows a call at whose end something is due.

    Attributes:
        clock: (seconds, step) when speed was last measured.
    """

    def __init__(self, parts, state):
        self._parts, self.clock = parts, (time.monotonic(), int(state.step))
        self._config, dataset = parts.first
        self._watch = watch_lib.Watch(self._config, dataset)
        self._diagnosis = monitor.Diagnosis(
            self._config, parts.algorithm, state, dataset,
            parts.writer.past(int(state.step)),
        )
        if self._config.diagnosis.on:
            parts.writer.open_diagnosis()
        self._examples = _examples(parts) if self._config.sample_every else {}
        _, self._best = parts.checkpoints.best()

    def call(self, now, step, position, state, metrics):
        """Log, draw, evaluate, diagnose and save, as it is due.

        Returns:
            The state as NumPy arrays, or None where it was not needed.
        """
        parts, record, host_state = self._parts, {}, None
        if now.draw or now.evaluate or now.save:
            host_state = parallel.unreplicate(state)
        if now.log:
            record = _fetch(metrics) | self._speed(step, position)
        if now.draw:
            self.draw(host_state, step)
            record |= self._diagnosis.probe(parts.algorithm, host_state)
        if now.evaluate:
            record |= self._watch.numbers(parts.algorithm, host_state)
        if record:
            parts.writer.scalars(step, record, _line(record))
            if now.log and parts.callback is not None:
                parts.callback(step, record)
        findings = self._diagnosis.observe(step, record)
        for finding in findings:
            parts.writer.finding(step, finding._asdict())
        collapsed = monitor.collapse(self._config, findings)
        cost = self._watch.cost(record)
        if now.save or collapsed or cost < self._best:
            if host_state is None:  # a line alone tells of a collapse
                host_state = parallel.unreplicate(state)
            self._save(step, host_state, cost)
        if collapsed and not now.last:
            raise errors.CollapseError(
                f'{collapsed} at step {step}, which is saved; the same '
                'command goes on'
            )
        return host_state

    def _save(self, step, host_state, cost):
        nan_guard.check_state(host_state, self._parts.checkpoints)
        self._parts.checkpoints.save(step, host_state, cost)
        self._best = min(self._best, cost)

    def _speed(self, step, position):
        """Measure the speed since the last time, and how far the data went."""
        now, (then, before) = time.monotonic(), self.clock
        self.clock = now, step
        steps = step - before
        speed = steps / (now - then) if steps else 0.0
        images = position * defaults.images_per_batch(self._config)
        found = {
            'perf/steps_per_sec': speed,
            'perf/images_per_sec': speed * images / step,
        }
        if not defaults.has_mixture(self._config):  # which never ends
            _, dataset = self._parts.first
            found['data/epoch'] = images / len(dataset.images)
        return found

    def draw(self, state, step):
        """Leave the pictures of a step; all hosts make them, one writes."""
        if not self._examples:
            return
        parts = self._parts
        pictures = parts.algorithm.pictures(
            state, self._examples, sampling.apply
        )
        for name, picture in pictures.items():
            file_name = f'{name}-{step:06d}' if name else f'{step:06d}'
            parts.writer.picture(
                file_name, _drawn(picture, self._examples),
                step=None if name else step,
            )


def _drawn(picture, examples):
    """Return a grid of images, or a plot of points over real ones."""
    if picture.images.ndim > 2:
        return writer_lib.grid(picture.images, picture.columns)
    return writer_lib.picture(picture.images, next(iter(examples.values())))


def _examples(parts):
    """Return {source: samples to draw}, and those held out where asked for."""
    found = {name: some(one) for name, one in parts.datasets.items()}
    if parts.algorithm.encodes:
        config, dataset = parts.first
        held_out = runner.held_out_of(config, config.data.split, dataset)
        found['held_out'] = some(held_out or dataset)
    return found


def some(dataset):
    """Take evenly spaced images or points, as many as a picture has."""
    count = len(dataset.images)
    wanted = NUM_POINTS if dataset.images.ndim == 2 else NUM_IMAGES
    return dataset.images[np.arange(wanted) * count // wanted]


def _fetch(metrics):
    """Return the metrics as floats on the host."""
    return {
        name: float(value)
        for name, value in sorted(parallel.unreplicate(metrics).items())
        if name != algorithm_lib.ALIVE
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
