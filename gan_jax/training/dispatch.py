"""Dispatch: compiles and calls the programs that a step's plan asks for.

Most runs use one program that makes S steps per call. The plan of a step may
ask for others: with lazy penalties where control flow is slow, with WGAN's
extra critic updates, and with the adaptive schedule, where the next call
depends on the loss of the last one.
"""

import time

import jax
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.config import builders
from gan_jax.config import defaults
from gan_jax.runtime import parallel


class Dispatch:
    """The compiled programs of one run, or of several runs at once.

    Each program is compiled when it is first called.

    Attributes:
        steps_per_call: largest number of steps of one `advance`.
        compile_seconds: spent on compiling, so far.
    """

    def __init__(
        self, config, algorithm, feeds, constants, cadences, members=None
    ):
        """Create a dispatch; compiles nothing yet.

        Args:
            config: validated ConfigDict.
            algorithm: as of `builders.algorithm`.
            feeds: as of `builders.feeds`; {source: `MemberFeed`} for several
                runs.
            constants: `parallel.Constants`.
            cadences: ints >= 0, see `parallel.steps_per_call`.
            members: as of `parallel.train_call`.
        """
        self._algorithm, self._feeds = algorithm, feeds
        self._constants, self._members = constants, members
        self._convolutional = convolutional = defaults.convolutional(config)
        self._fast_control_flow = parallel.has_fast_control_flow(convolutional)
        self._loop = parallel.scan_or_none(convolutional)
        self._draws = algorithm.draws
        self.steps_per_call = parallel.steps_per_call(
            [*cadences, *algorithm.cadences()], convolutional,
            self._draws * sum(f.bytes_per_batch for f in feeds.values()),
        )
        self._compiled, self._replicated = {}, {}
        self.compile_seconds = 0.0
        self._fed = None

    def advance(self, state, step, position, size=None, until=None):
        """Run the next `size` steps in one call, or else one step.

        Several steps are run at once only if they do not pass `until` and the
        plans of all but the first are single calls.

        Args:
            state: replicated state, donated.
            step, position: its counters, as ints.
            size: number of steps, `steps_per_call` by default.
            until: step that the call must not pass; by default the next
                multiple of `size`.

        Returns:
            (state, metrics of the last step, step, position).
        """
        most = size or self.steps_per_call
        until = until or step - step % most + most
        plan = self._plan(step)
        size, metrics, call = 1, None, next(plan)
        while True:
            if call.variant.part == algorithm_lib.STEP:
                size = self._size(step, most, until)
            state, metrics = self._run(state, position, call, size)
            position += call.reads * size
            try:
                call = plan.send(metrics)
            except StopIteration as end:
                metrics = metrics if end.value is None else end.value
                break
        return state, self._replicate_metrics(metrics), step + size, position

    def trace(self, state, step, position):
        """Repeat a step that gave a non-finite value, and record all values.

        Even if only a part of the step failed, the whole step is repeated, as
        one call of `TRACE`.

        Args:
            state: replicated state from before that step; donated.
            step, position: its counters, as ints.

        Returns:
            [(name, float)] of `nan_trace.trace`, in order of computation.
        """
        due = next(self._plan(step)).variant.due
        variant = algorithm_lib.Variant(algorithm_lib.TRACE, due)
        _, notes = self._run(
            state, position, algorithm_lib.Call(variant, self._draws), 1
        )
        notes = parallel.unreplicate(notes)
        # The first five characters, four digits and a space, only sort them.
        return [(name[5:], float(notes[name])) for name in sorted(notes)]

    def first_call(self, step, position, devices):
        """Build the first call of a step's plan, to be compiled elsewhere.

        Args:
            step, position: counters of a state, as ints; the step is a multiple
                of `steps_per_call`.
            devices: as of `parallel.train_call`.

        Returns:
            (function of `parallel.train_call`, its argument `fed`, steps that
            it makes).
        """
        call, size = next(self._plan(step)), 1
        if call.variant.part == algorithm_lib.STEP:
            size = self._size(
                step, self.steps_per_call, step + self.steps_per_call
            )
        fed = self._read_batches(position, call.reads * size, size)
        return self._build(call.variant, size, devices), fed, size

    def _plan(self, step):
        """Return the plan of a step, as of `Algorithm.plan`."""
        return self._algorithm.plan(
            step, self._fast_control_flow, _metric_to_float
        )

    def _size(self, step, size, until):
        """Return the number of steps of the next call."""
        scannable = step + size <= until and all(
            self._algorithm.is_single_call(later, self._fast_control_flow)
            for later in range(step + 1, step + size)
        )
        return size if scannable else 1

    def _run(self, state, position, call, size):
        """Read the input of a call and run it."""
        if call.reads or self._fed is None:
            self._fed = self._read_batches(position, call.reads * size, size)
        fed = self._fed
        if call.batch_slice is not None:
            start, stop = call.batch_slice
            fed = jax.tree.map(lambda a: a[:, :, start:stop], fed)
        constants = self._constants._replace(
            number=self._replicate_cached(np.int32(call.number)),
            hyperparams=self._constants.hyperparams._replace(**{
                name: self._replicate_cached(np.float32(value))
                for name, value in call.changes
            }),
        )
        return self._call((call.variant, size), state, constants, fed)

    def _replicate_cached(self, number):
        """Copy a number to the devices; cached."""
        key = number.dtype.name, float(number)
        if key not in self._replicated:
            self._replicated[key] = parallel.replicate(number)
        return self._replicated[key]

    def _replicate_metrics(self, metrics):
        """Copy the metrics that a plan computed on the host to the devices."""
        return {
            name: value if isinstance(value, jax.Array)
            else parallel.replicate(np.float32(value))
            for name, value in metrics.items()
        }

    def _read_batches(self, position, count, size):
        """Read `count` batches for a call of `size` steps, per device."""
        fed = {
            name: feed.read(position, count)
            for name, feed in self._feeds.items()
        }
        axis = 2 if self._members is None else 3
        if self._members is None:
            fed = jax.tree.map(
                lambda a: a.reshape(size, count // size, *a.shape[1:]), fed
            )
        else:  # [members, count, b] of each
            fed = jax.tree.map(lambda a: np.moveaxis(a.reshape(
                len(a), size, count // size, *a.shape[2:]
            ), 0, 1), fed)
        return parallel.split(fed, axis)

    def _call(self, name, *args):
        """Call the program (variant, steps); compile it the first time."""
        if name not in self._compiled:
            began = time.monotonic()
            self._compiled[name] = parallel.compile_call(
                self._build(*name), self._convolutional, *args
            )
            self.compile_seconds += time.monotonic() - began
        state, metrics = self._compiled[name](*args)
        if parallel.must_block():
            jax.block_until_ready(state)
        return state, metrics

    def _build(self, variant, size, devices=None):
        """Build the function of `parallel.train_call` of a variant."""
        step = builders.step(
            self._algorithm, self._feeds, variant, self._loop
        )
        return parallel.train_call(
            step, size, self._convolutional, self._members, devices
        )


def _metric_to_float(metric):
    """Read a metric that is the same on every device."""
    return float(parallel.unreplicate(metric))
