"""Checkpoints of a training state: saved by Orbax, verified by a manifest.

Orbax writes and reads the arrays. `manifest` adds a hash of each file, because
Orbax restores damaged files without an error. Knows pytrees of arrays alone,
not what they mean.
"""

import math
import re
import shutil
import threading

from absl import logging
from etils import epath
import jax
import numpy as np
import orbax.checkpoint as ocp

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.runtime import determinism
from gan_jax.runtime import manifest
from gan_jax.runtime import parallel

MAX_FAILURES = 3  # failed saves in a row after which a run ends
NUMBER = re.compile('0|[1-9][0-9]{0,18}')  # name of a step's folder
SHOWN = 40  # differences listed in an error
ROOM = 2**20  # bytes of disk that a save needs beyond its arrays


class Checkpoints:
    """The checkpoints of one run folder, named by step.

    Saving runs in the background: Orbax writes a temporary folder and renames
    it, then the manifest is written and old steps are removed. A step without a
    manifest was interrupted; it is not restored, and it is removed when
    training continues.
    """

    def __init__(
        self, folder, *, keep=None, keep_every=0, read_only=False, about=None,
        say=redact.say,
    ):
        """Open a folder; create it unless `read_only`.

        Args:
            folder: path, local or of a file system that etils.epath knows.
            keep: number of newest steps to keep; None keeps all.
            keep_every: multiples of this step are kept too; 0 keeps none.
            read_only: whether nothing will be saved.
            about: JSON-serializable dict that every manifest includes.
            say: function that prints a line, for warnings.

        Raises:
            errors.CheckpointError: where a read-only folder is missing, or not
                all hosts see the folder.
        """
        self._folder = epath.Path(folder)
        if '://' not in str(self._folder):  # `absolute` would make it local
            self._folder = self._folder.absolute()
        if read_only and not self._folder.exists():
            raise errors.CheckpointError(f'no checkpoints in {self._folder}')
        self._keep, self._keep_every = keep, keep_every
        self._read_only = read_only
        self._about, self._say = about or {}, say
        self._first = parallel.is_first_host()
        self._thread = self._error = None
        self._failures, self._costs = 0, {}
        self._manager = self._open()
        if not parallel.on_all_hosts(self._folder.exists()):
            self._manager.close()
            raise errors.CheckpointError(
                f'not all hosts see {self._folder}; it must be on a shared '
                'file system'
            )

    def _open(self):
        """Create the Orbax manager, which reads no step on its own.

        Nothing in a step's folder is parsed before it is verified. Orbax warns
        of each folder that is only read; this is not shown.
        """
        verbosity = logging.get_verbosity()
        if self._read_only:
            logging.set_verbosity(min(verbosity, logging.ERROR))
        try:
            return ocp.CheckpointManager(
                self._folder,
                options=ocp.CheckpointManagerOptions(
                    create=not self._read_only,
                    read_only=self._read_only,
                    cleanup_tmp_directories=not self._read_only,
                    lightweight_initialize=True,
                ),
            )
        finally:
            logging.set_verbosity(verbosity)

    def steps(self):
        """List the saved steps, oldest first."""
        self._join()
        return self._complete_steps()

    def _complete_steps(self):
        return [step for step in self._all_steps() if self._is_complete(step)]

    def _all_steps(self):
        """List the steps that Orbax finished, oldest first."""
        return sorted(
            int(path.name) for path in self._folder.iterdir()
            if NUMBER.fullmatch(path.name) and path.is_dir()
        )

    def _is_complete(self, step):
        return manifest.exists(self._folder / str(step))

    def best(self):
        """Find the saved step of the lowest cost.

        Returns:
            (step, cost), the earliest step of equal cost; (None, inf) where no
            step has a cost.
        """
        self._join()
        return self._best(self._all_steps())

    def _best(self, steps):
        costs = [(self._cost(step), step) for step in steps]
        cost, step = min(costs, default=(math.inf, None))
        return (step if cost < math.inf else None), cost

    def _cost(self, step):
        if step not in self._costs:
            try:
                cost = manifest.read(self._folder / str(step)).get('cost')
            except ValueError:  # the damage is reported by `restore`
                cost = None
            cost = files.number(cost)
            self._costs[step] = math.inf if cost is None else cost
        return self._costs[step]

    def save(self, step, state, cost=math.inf):
        """Start saving a state in the background.

        If a save fails, a warning is printed and the previous save is kept.

        Args:
            step: int.
            state: pytree of NumPy arrays, the same on every host.
            cost: of the state's samples, lower is better; the step of lowest
                cost is never removed. inf where nothing was measured.

        Raises:
            errors.DiskError: after `MAX_FAILURES` failures in a row.
        """
        self._join()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            shortage = self._disk_shortage(size + ROOM)
            if not parallel.on_all_hosts(not shortage):
                raise OSError(shortage or 'another host has no space for it')
            if self._first:
                determinism.keep(self._folder.parent)
            self._manager.save(int(step), args=ocp.args.StandardSave(state))
        except (OSError, ValueError) as error:
            self._fail(error)
            return
        self._thread = threading.Thread(
            target=self._finish, args=(int(step), form(state), cost)
        )
        self._thread.start()

    def _disk_shortage(self, size):
        """Return the message for too little disk space, '' for enough."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return ''  # not a local disk
        return '' if free >= size else (
            f'{size / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free'
        )

    def _finish(self, step, state_form, cost):
        """Wait for Orbax, write the manifest and remove old steps."""
        try:
            self._manager.wait_until_finished()
            if self._first:
                manifest.write(
                    self._folder / str(step), step=step,
                    cost=cost if cost < math.inf else None, **self._about,
                    state=state_form,
                )
        except Exception as error:  # Orbax and its backends raise many types
            self._error = error
            return
        if self._first:
            self._prune()

    def _prune(self):
        """Remove the steps that are not to be kept."""
        steps = self._complete_steps()
        best, _ = self._best(steps)
        for step in steps[:-self._keep] if self._keep else ():
            if step != best and (
                    not self._keep_every or step % self._keep_every):
                try:
                    self._remove(step)
                except OSError as error:  # the next save will try again
                    self._warn(f'step {step} could not be removed: {error}')

    def _remove(self, step):
        """Remove a step, manifest first: then a partial removal is invalid."""
        self._costs.pop(step, None)
        folder = self._folder / str(step)
        (folder / manifest.NAME).unlink(missing_ok=True)
        folder.rmtree()

    def _join(self):
        """Wait for the save in progress and handle its failure."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if self._error is None:
                self._failures = 0
            else:
                error, self._error = self._error, None
                self._fail(error)

    def _last_save(self):
        steps = self._complete_steps()
        return f'step {steps[-1]} is kept' if steps else 'none is saved yet'

    def _fail(self, error):
        """Warn of a failed save; raise after too many in a row."""
        if parallel.is_lost_host_error(error):
            raise error  # a lost host: the next save would fail too
        self._failures += 1
        if self._first:
            for path in self._folder.glob('*.orbax-checkpoint-tmp*'):
                path.rmtree()
        reason = ' '.join(str(error).split()) or type(error).__name__
        line = (
            f'a checkpoint could not be saved ({reason}); {self._last_save()}'
        )
        if self._failures >= MAX_FAILURES:
            raise errors.DiskError(f'{line}. It failed {self._failures} times')
        self._say(f'warning: {line}; the next save will try again')

    def restore(self, step, abstract_state):
        """Read the state of one step.

        Args:
            step: one of `steps()`.
            abstract_state: pytree of `jax.ShapeDtypeStruct`.

        Returns:
            pytree of NumPy arrays of those shapes and dtypes.

        Raises:
            errors.DamagedError: where its files are not those that were saved.
            errors.CheckpointError: where it is missing or has other shapes.
        """
        if step not in self.steps():
            raise errors.CheckpointError(
                f'no checkpoint of step {step} in {self._folder}; there are '
                f'{self.steps()}'
            )
        folder = self._folder / str(step)
        try:
            description = manifest.verify(folder)
        except ValueError as error:
            raise errors.DamagedError(
                f'checkpoint {folder} is damaged: it {error}'
            ) from error
        _check_form(folder, description.get('state'), abstract_state)
        target = jax.tree.map(
            lambda x: np.zeros(x.shape, x.dtype), abstract_state
        )
        try:
            return self._manager.restore(
                step, args=ocp.args.StandardRestore(target)
            )
        except Exception as error:  # Orbax and its backends raise many types
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise errors.DamagedError(
                f'checkpoint {folder} cannot be restored: {reason[0]}'
            ) from error

    def restore_newest(self, abstract_state):
        """Read the newest intact state; warn of each damaged one.

        Later steps are damaged and will be trained again, so they are removed
        unless the folder is read-only.

        Args:
            abstract_state: as of `restore`.

        Returns:
            As `restore`, or None where nothing was ever saved.

        Raises:
            errors.CheckpointError: where steps were saved but none is intact,
                or the newest intact one has other shapes.
        """
        steps = self._all_steps()
        complete = [step for step in steps if self._is_complete(step)]
        if not parallel.same_on_all_hosts(f'{steps} {complete}'):
            raise errors.CheckpointError(
                f'the hosts do not see the same checkpoints in {self._folder} '
                f'(this one {steps}); it must be on a shared file system'
            )
        for step in reversed(steps):
            if step not in complete:
                self._warn(f'{self._folder / str(step)} lacks {manifest.NAME}')
                continue
            state, damage = None, 'a checkpoint is damaged on another host'
            try:
                state = self.restore(step, abstract_state)
            except errors.DamagedError as error:
                damage = error
            if not parallel.on_all_hosts(state is not None):
                self._warn(damage)
                continue
            self._remove_others(step, complete)
            return state
        if not steps:
            return None
        raise errors.CheckpointError(
            f'none of the checkpoints {steps} in {self._folder} can be '
            'restored; --restart starts again and keeps the old files'
        )

    def _warn(self, message):
        self._say(f'warning: {message}')

    def _remove_others(self, step, complete):
        """Remove later steps and steps that were removed only in part.

        Each host opens Orbax again, which keeps a list of the steps.
        """
        if self._read_only:
            return
        for other in self._all_steps() if self._first else ():
            if other > step or other not in complete:
                self._remove(other)
        parallel.on_all_hosts(True)  # barrier: the steps are gone on all hosts
        self._manager.close()
        self._manager = self._open()

    def close(self):
        """Wait for the save in progress, then close the folder.

        Raises:
            errors.DiskError: where the last save failed.
        """
        try:
            self._join()
            if 0 < self._failures < MAX_FAILURES:  # else `_fail` raised
                raise errors.DiskError(
                    f'the last checkpoint is not saved; {self._last_save()}'
                )
        finally:
            try:
                self._manager.close()
            except Exception:  # Orbax raises the error of a failed save again
                if not self._failures:
                    raise


def form(state):
    """Return {name: [shape, dtype]} of a state's arrays, for JSON."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): [
            list(leaf.shape), str(leaf.dtype)
        ] for path, leaf in leaves
    }


def _check_form(folder, stored, abstract_state):
    """Check that a saved state has the expected arrays and fits into memory.

    Raises:
        errors.DamagedError: where the manifest does not describe the arrays.
        errors.CheckpointError: where names, shapes or dtypes differ, or the
            state is larger than the memory.
    """
    expected = form(abstract_state)
    size = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(abstract_state)
    )
    if stored == expected and size <= parallel.machine_memory():
        return
    if stored == expected:
        raise errors.CheckpointError(
            f'checkpoint {folder} needs {size / 2**30:,.1f} GiB, more memory '
            'than this machine has'
        )
    if not isinstance(stored, dict) or not all(
            isinstance(each, list) and len(each) == 2
            for each in stored.values()):
        raise errors.DamagedError(
            f'checkpoint {folder} is damaged: its {manifest.NAME} does not '
            'describe a state'
        )

    def show(described):
        return 'none' if described is None else (
            f'{described[1]}{described[0]}'
        )

    different = [
        f'{name}: {show(stored.get(name))} saved, '
        f'{show(expected.get(name))} expected'
        for name in sorted(stored.keys() | expected.keys())
        if stored.get(name) != expected.get(name)
    ]
    more = len(different) - SHOWN
    raise errors.CheckpointError(
        f'checkpoint {folder} does not fit this config: '
        f'{"; ".join(different[:SHOWN])}'
        f'{f"; and {more:,} more" if more > 0 else ""}'
    )
