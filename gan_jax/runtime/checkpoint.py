"""Save a state and bring it back: Orbax writes, our manifest vouches for it."""

import math
import re
import shutil
import threading

from etils import epath
import jax
import numpy as np
import orbax.checkpoint as ocp

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.runtime import manifest
from gan_jax.runtime import parallel

MAX_FAILURES = 3  # saves that may fail in a row
NUMBER = re.compile('0|[1-9][0-9]{0,18}')  # the name of a step
SHOWN = 40  # differences that are named
ROOM = 2**20  # bytes that a save takes beside the state's own


class Checkpoints:
    """The checkpoints of one run folder, named by step.

    Saving runs in the background: Orbax writes a temporary folder and renames
    it, then a manifest is added and old steps go. A step without a manifest was
    interrupted; it is not restored, and is removed when training goes on.
    """

    def __init__(
        self, folder, *, keep=None, keep_every=0, read_only=False, about=None,
        say=redact.say,
    ):
        """Open a folder; make it unless `read_only`.

        Args:
            folder: path, local or of a file system that etils.epath knows.
            keep: how many of the newest to keep; None keeps all.
            keep_every: steps of which each multiple is kept too; 0 is none.
            read_only: whether nothing will be saved.
            about: dict of what manifests are to tell, of types of JSON.
            say: function of one line, for warnings.
        """
        self._folder = epath.Path(folder)
        if '://' not in str(self._folder):  # which `absolute` makes local
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
                f'not all hosts see {self._folder}; it must be on a file '
                'system they share'
            )

    def _open(self):
        """Open the folder by Orbax, which then reads no step by itself.

        What a step says of itself is read once it is verified.
        """
        return ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                create=not self._read_only,
                read_only=self._read_only,
                cleanup_tmp_directories=not self._read_only,
                lightweight_initialize=True,
            ),
        )

    def steps(self):
        """List the saved steps, oldest first."""
        self._join()
        return [step for step in self._found() if self._is_whole(step)]

    def _found(self):
        """List all that Orbax finished, oldest first."""
        return sorted(
            int(path.name) for path in self._folder.iterdir()
            if NUMBER.fullmatch(path.name) and path.is_dir()
        )

    def _is_whole(self, step):
        return manifest.exists(self._folder / str(step))

    def best(self):
        """Find the saved step of the lowest cost.

        Returns:
            (step, cost), the first of equal ones; (None, inf) where no step has
            a cost.
        """
        self._join()
        return self._best(self._found())

    def _best(self, steps):
        known = [(self._cost(step), step) for step in steps]
        cost, step = min(known, default=(math.inf, None))
        return (step if cost < math.inf else None), cost

    def _cost(self, step):
        if step not in self._costs:
            try:
                told = manifest.read(self._folder / str(step)).get('cost')
            except ValueError:  # its damage is told when it is restored
                told = None
            told = files.number(told)
            self._costs[step] = math.inf if told is None else told
        return self._costs[step]

    def save(self, step, state, cost=math.inf):
        """Begin to save a state of NumPy arrays, the same on every host.

        Where the disk does not take it, that is said, and the last save stays.

        Args:
            step: int.
            state: pytree.
            cost: how bad its samples are; the step of the lowest stays, however
                old. inf where nothing was measured.

        Raises:
            errors.DiskError: where that happens `MAX_FAILURES` times in a row.
        """
        self._join()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            room = self._lacks_room(size + ROOM)
            if not parallel.on_all_hosts(not room):
                raise OSError(room or 'another host sees no room for it')
            self._manager.save(int(step), args=ocp.args.StandardSave(state))
        except (OSError, ValueError) as error:
            self._fail(error)
            return
        self._thread = threading.Thread(
            target=self._finish, args=(int(step), form(state), cost)
        )
        self._thread.start()

    def _lacks_room(self, size):
        """Say why the disk does not take so many bytes; '' where it does."""
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return ''  # no disk of this machine
        return '' if free >= size else (
            f'{size / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB free'
        )

    def _finish(self, step, state_form, cost):
        """Wait for Orbax, vouch for what it wrote, let old steps go."""
        try:
            self._manager.wait_until_finished()
            if self._first:
                manifest.write(
                    self._folder / str(step), step=step,
                    cost=cost if cost < math.inf else None, **self._about,
                    state=state_form,
                )
        except Exception as error:  # Orbax and its stores raise many kinds.
            self._error = error
            return
        if self._first:
            self._prune()

    def _prune(self):
        steps = [step for step in self._found() if self._is_whole(step)]
        best, _ = self._best(steps)
        for step in steps[:-self._keep] if self._keep else ():
            if step != best and (
                    not self._keep_every or step % self._keep_every):
                try:
                    self._remove(step)
                except OSError as error:  # the next save tries again
                    self._warn(f'step {step} could not be removed: {error}')

    def _remove(self, step):
        """Remove a step, its manifest first, so that no half of it counts."""
        self._costs.pop(step, None)
        folder = self._folder / str(step)
        (folder / manifest.NAME).unlink(missing_ok=True)
        folder.rmtree()

    def _join(self):
        """Wait for the save under way; say where it failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if self._error is None:
                self._failures = 0
            else:
                error, self._error = self._error, None
                self._fail(error)

    def _kept(self):
        saved = [step for step in self._found() if self._is_whole(step)]
        return f'step {saved[-1]} is kept' if saved else 'none is saved yet'

    def _fail(self, error):
        if parallel.is_parting(error):
            raise error  # no matter of the disk: the next save would fail too
        self._failures += 1
        if self._first:
            for path in self._folder.glob('*.orbax-checkpoint-tmp*'):
                path.rmtree()
        reason = ' '.join(str(error).split()) or type(error).__name__
        line = f'a checkpoint could not be saved ({reason}); {self._kept()}'
        if self._failures >= MAX_FAILURES:
            raise errors.DiskError(f'{line}. It failed {self._failures} times')
        self._say(f'warning: {line}; the next one is tried when it is due')

    def restore(self, step, abstract_state):
        """Read the state of one step.

        Args:
            step: one of `steps()`.
            abstract_state: pytree of `jax.ShapeDtypeStruct`.

        Returns:
            pytree of NumPy arrays of that form.

        Raises:
            errors.DamagedError: where its files are not those that were saved.
            errors.CheckpointError: where it is not there or does not fit.
        """
        if step not in self.steps():
            raise errors.CheckpointError(
                f'no checkpoint of step {step} in {self._folder}; there are '
                f'{self.steps()}'
            )
        folder = self._folder / str(step)
        try:
            vouched = manifest.verify(folder)
        except ValueError as error:
            raise errors.DamagedError(
                f'checkpoint {folder} is damaged: it {error}'
            ) from error
        _check_form(folder, vouched.get('state'), abstract_state)
        target = jax.tree.map(
            lambda x: np.zeros(x.shape, x.dtype), abstract_state
        )
        try:
            return self._manager.restore(
                step, args=ocp.args.StandardRestore(target)
            )
        except Exception as error:  # Orbax and its stores raise many kinds.
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise errors.DamagedError(
                f'checkpoint {folder} cannot be restored: {reason[0]}'
            ) from error

    def restore_newest(self, abstract_state):
        """Read the newest state that is whole; a line tells of each other.

        Steps after it are removed where this folder is to be saved to: they
        are damaged, and training will come by them again.

        Args:
            abstract_state: as of `restore`.

        Returns:
            As `restore`, or None where nothing was ever saved.

        Raises:
            errors.CheckpointError: where nothing that was saved is whole, or
                the newest that is does not fit.
        """
        found = self._found()
        whole = [step for step in found if self._is_whole(step)]
        if not parallel.same_on_all_hosts(f'{found} {whole}'):
            raise errors.CheckpointError(
                f'the hosts do not see the same checkpoints in {self._folder} '
                f'(this one {found}); it must be on a file system they share'
            )
        for step in reversed(found):
            if step not in whole:
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
            self._forget_others(step, whole)
            return state
        if not found:
            return None
        raise errors.CheckpointError(
            f'none of the checkpoints {found} in {self._folder} can be '
            'restored; --restart begins anew and keeps what is there'
        )

    def _warn(self, what):
        self._say(f'warning: {what}')

    def _forget_others(self, step, whole):
        """Remove later steps, and what a kill left of the removal of old ones.

        Orbax on every host must know that they went.
        """
        if self._read_only:
            return
        for other in self._found() if self._first else ():
            if other > step or other not in whole:
                self._remove(other)
        parallel.on_all_hosts(True)  # none looks before they are gone
        self._manager.close()
        self._manager = self._open()

    def close(self):
        """Wait for saves under way, then let go of the folder.

        Raises:
            errors.DiskError: where the last save failed.
        """
        try:
            self._join()
            if 0 < self._failures < MAX_FAILURES:  # else it is told
                raise errors.DiskError(
                    f'the last checkpoint is not saved; {self._kept()}'
                )
        finally:
            try:
                self._manager.close()
            except Exception:  # Orbax raises a failed save again.
                if not self._failures:
                    raise


def form(state):
    """Give {name: [shape, dtype]} of a state's arrays, of types of JSON."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): [
            list(leaf.shape), str(leaf.dtype)
        ] for path, leaf in leaves
    }


def _check_form(folder, stored, abstract_state):
    """Refuse a state of another form, naming the differences.

    Raises:
        errors.DamagedError: where no form is stored.
        errors.CheckpointError: with name, shape and dtype on both sides; for
            more than the memory holds.
    """
    asked = form(abstract_state)
    size = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(abstract_state)
    )
    if stored == asked and size <= parallel.machine_memory():
        return
    if stored == asked:
        raise errors.CheckpointError(
            f'checkpoint {folder} takes {size / 2**30:,.1f} GiB, more memory '
            'than there is'
        )
    if not isinstance(stored, dict) or not all(
            isinstance(each, list) and len(each) == 2
            for each in stored.values()):
        raise errors.DamagedError(
            f'checkpoint {folder} is damaged: its {manifest.NAME} tells no '
            'form of a state'
        )

    def show(described):
        return 'none' if described is None else (
            f'{described[1]}{described[0]}'
        )

    different = [
        f'{name}: {show(stored.get(name))} saved, {show(asked.get(name))} asked'
        for name in sorted(stored.keys() | asked.keys())
        if stored.get(name) != asked.get(name)
    ]
    more = len(different) - SHOWN
    raise errors.CheckpointError(
        f'checkpoint {folder} does not fit this config: '
        f'{"; ".join(different[:SHOWN])}'
        f'{f"; and {more:,} more" if more > 0 else ""}'
    )
