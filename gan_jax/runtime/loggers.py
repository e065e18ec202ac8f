"""Loggers of a run's numbers, pictures and findings: TensorBoard, wandb.

Each has the methods of `tensorboardX.SummaryWriter` that `writer.Writer` calls,
so the series have the same names in all of them. Knows nothing of a run but its
folder.
"""

import importlib
import secrets
import sys

from gan_jax.core import errors
from gan_jax.core import files

WANDB_FILE = 'wandb.json'  # of a run folder, holds the identifier of the run
STEP = 'step'  # the axis of all series in wandb
# Packages that tensorboardX needs for an object store, by scheme.
TENSORBOARD_NEEDS = {'gs': 'google.cloud.storage', 's3': 'boto3'}


def open_tensorboard(workdir, start, config, say):
    """Open TensorBoard's file; None on an unsupported file system.

    Args:
        workdir: the run folder.
        start: step from which the run continues; later records are purged.
        config: unused.
        say: function that prints a line.
    """
    del config
    folder = str(workdir / 'tensorboard')
    scheme, remote, _ = folder.partition('://')
    try:
        if remote:
            importlib.import_module(TENSORBOARD_NEEDS[scheme])
    except (KeyError, ImportError):
        needed = TENSORBOARD_NEEDS.get(scheme, 'a local folder')
        say(f'warning: no TensorBoard in {folder}: needs {needed}')
        return None
    return _tensorboard().SummaryWriter(folder, purge_step=start + 1)


def _tensorboard():
    """Import tensorboardX without PyTorch.

    If PyTorch is installed, tensorboardX imports it, which takes a second and
    serves only types that are not written here.
    """
    hide_torch = 'torch' not in sys.modules
    if hide_torch:
        sys.modules['torch'] = None  # makes `import torch` fail
    try:
        return importlib.import_module('tensorboardX')
    finally:
        if hide_torch:
            del sys.modules['torch']


class Wandb:
    """A run of Weights & Biases with the methods of a `SummaryWriter`.

    Series have an axis of their own, 'step', so that a run that goes back to an
    earlier step records it again. The identifier is kept in the run folder: a
    run that continues here continues there. Whether anything is sent is up to
    wandb's own settings; WANDB_MODE=offline sends nothing.
    """

    def __init__(self, workdir, config):
        """Open the run.

        Args:
            workdir: the run folder, a local one.
            config: {key: value}, JSON types without secrets.

        Raises:
            errors.ConfigError: where wandb refuses, as without a login.
        """
        self._wandb = importlib.import_module('wandb')
        try:
            self._run = self._wandb.init(
                project='gan_jax', name=workdir.name, dir=str(workdir),
                id=_identifier(workdir), resume='allow', config=config,
                # Neither code, revision and console output, nor links.
                settings=self._wandb.Settings(
                    console='off', disable_git=True, save_code=False,
                    symlink=False, silent=True,
                ),
            )
        except Exception as error:  # of its login, network and settings
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise errors.ConfigError(
                f"loggers='wandb': {reason:.200}; WANDB_MODE=offline needs no "
                'login'
            ) from error
        self._run.define_metric('*', step_metric=STEP)

    def add_scalar(self, name, value, step):
        """Log a number of a step."""
        self._run.log({STEP: step, name: value})

    def add_text(self, name, text, step):
        """Log a text of a step."""
        self._run.log({STEP: step, name: text})

    def add_image(self, name, image, step, dataformats='HWC'):
        """Log a picture [H, W, C] uint8 of a step."""
        del dataformats
        pixels = image[..., 0] if image.shape[-1] == 1 else image
        self._run.log({STEP: step, name: self._wandb.Image(pixels)})

    def flush(self):
        """Return at once: wandb writes by itself."""

    def close(self):
        """End the run."""
        self._run.finish()


def _identifier(workdir):
    """Return the identifier of a run folder in wandb; it is made only once."""
    path = workdir / WANDB_FILE
    try:
        identifier = files.read_json(path)['id']
        if isinstance(identifier, str) and identifier.isalnum() and (
                len(identifier) <= 64):
            return identifier
    except (OSError, ValueError, KeyError, TypeError):
        pass
    identifier = secrets.token_hex(8)
    files.write_json(path, {'id': identifier})
    return identifier


def open_wandb(workdir, start, config, say):
    """Open a `Wandb`; arguments as of `open_tensorboard`."""
    del start, say
    return Wandb(workdir, config)


def check(names, workdir):
    """Check that loggers can be opened, before a run touches its folder.

    Args:
        names: of `LOGGERS`.
        workdir: the run folder.

    Raises:
        errors.ConfigError: where wandb is missing, or the folder is remote.
    """
    if 'wandb' not in names:
        return
    if files.is_remote(workdir):
        raise errors.ConfigError(
            f"loggers='wandb' needs a local --workdir, not {workdir}"
        )
    try:
        importlib.import_module('wandb')
    except ImportError as error:
        raise errors.ConfigError(
            "loggers='wandb' needs wandb: pip install -e '.[wandb]'"
        ) from error


LOGGERS = {'tensorboard': open_tensorboard, 'wandb': open_wandb}
