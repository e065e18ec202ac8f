"""Save a state and bring it back, by Orbax."""

from etils import epath
import jax
import numpy as np
import orbax.checkpoint as ocp

from gan_jax import errors


class Checkpoints:
    """The checkpoints of one run folder, named by step.

    Saving runs in the background; `close` waits for it. An unfinished save
    leaves a temporary folder that is never restored and is removed at the next
    start.
    """

    def __init__(self, folder, *, keep=None, read_only=False):
        """Open a folder; make it unless `read_only`.

        Args:
            folder: path, local or of a file system that etils.epath knows.
            keep: how many of the newest to keep; None keeps all.
            read_only: whether nothing will be saved.
        """
        self._folder = epath.Path(folder).absolute()
        if read_only and not self._folder.exists():
            raise errors.CheckpointError(f'no checkpoints in {self._folder}')
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                create=not read_only,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
            ),
        )

    def steps(self):
        """List the saved steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step, state):
        """Begin to save a state of NumPy arrays, the same on every host."""
        self._manager.save(int(step), args=ocp.args.StandardSave(state))

    def restore(self, step, abstract_state):
        """Read the state of one step.

        Args:
            step: one of `steps()`.
            abstract_state: pytree of `jax.ShapeDtypeStruct`.

        Returns:
            pytree of NumPy arrays of that form.

        Raises:
            errors.CheckpointError: where it is not there or does not fit.
        """
        if step not in self.steps():
            raise errors.CheckpointError(
                f'no checkpoint of step {step} in {self._folder}; there are '
                f'{self.steps()}'
            )
        target = jax.tree.map(
            lambda x: np.zeros(x.shape, x.dtype), abstract_state
        )
        try:
            return self._manager.restore(
                step, args=ocp.args.StandardRestore(target)
            )
        except Exception as error:  # Orbax and its stores raise many kinds.
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise errors.CheckpointError(
                f'checkpoint {self._folder / str(step)} cannot be restored: '
                f'{reason[0]}'
            ) from error

    def close(self):
        """Wait for saves under way, then let go of the folder."""
        self._manager.wait_until_finished()
        self._manager.close()
