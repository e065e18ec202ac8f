"""Runs of other scripts: that end after some minutes, and that go on.

The time is that of the steps, without compilations, over all starts of a run.
"""

import json
import signal

from gan_jax.config import run_identity
from gan_jax.core import errors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.training import train


class Clock:
    """Clock of the seconds that a run's steps took, over all its starts."""

    def __init__(self, workdir, minutes=0):
        """Continue from the speeds in metrics.jsonl.

        Args:
            workdir: folder of the run.
            minutes: time limit; 0 is no limit.
        """
        self._speeds, self._limit = {}, 60 * minutes
        path = workdir / 'metrics.jsonl'
        for line in path.read_text().splitlines() if path.exists() else ():
            record = json.loads(line)
            self.look(record['step'], record)

    def look(self, step, metrics):
        """Record the speed of the steps up to this one."""
        # A run that was killed repeats some steps; the later speed counts.
        self._speeds[step] = metrics['perf/steps_per_sec']

    def seconds(self):
        """Return the sum, which does not include compilation."""
        total, before = 0.0, 0
        for step, speed in sorted(self._speeds.items()):
            total += (step - before) / speed if speed else 0.0
            before = step
        return total

    def is_over(self):
        """Return whether the time limit has passed."""
        return 0 < self._limit <= self.seconds()


def refuse_other(workdir, config):
    """Raise an error if a folder holds a run of another config.

    Raises:
        errors.CheckpointError: names the keys that differ.
    """
    if not (workdir / 'config.json').exists():
        return
    changed = run_identity.differences(run_files.load_config(workdir), config)
    if changed:
        raise errors.CheckpointError(
            f'{workdir} holds a run of another config '
            f'({"; ".join(changed)}); move it away'
        )


def newest(workdir):
    """Return the newest saved step of a run, or 0."""
    try:
        return sampling.saved_steps(workdir)[-1]
    except errors.CheckpointError:
        return 0


def run(config, workdir, clock):
    """Train to the end or the time limit, and save.

    Args:
        config: of the run.
        workdir: its folder.
        clock: its `Clock`.
    """

    def look(step, metrics):
        was_over = clock.is_over()
        clock.look(step, metrics)
        # A second SIGTERM would stop without a save.
        if clock.is_over() and not was_over:
            signal.raise_signal(signal.SIGTERM)  # saves and stops

    if newest(workdir) >= config.num_steps or clock.is_over():
        return
    try:
        train.train(config, workdir, callback=look)
    except errors.StoppedError:
        if not clock.is_over():
            raise
