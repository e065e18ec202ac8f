"""The folder of a run: made, set aside, refused to another run, rolled back."""

import contextlib
import itertools
import json
import os
import sys

from etils import epath
from ml_collections import ConfigDict

from gan_jax import config as config_lib
from gan_jax import errors
from gan_jax import masking
from gan_jax import sampling
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import parallel
from gan_jax.runtime import writer as writer_lib

ROLLBACKS = 'rollbacks.json'


def at(workdir):
    """Give the path of a folder, local or of a file system of etils.epath."""
    try:
        return epath.Path(workdir).expanduser()
    except KeyError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} is on no file system that is known here'
        ) from error


@contextlib.contextmanager
def made(workdir):
    """Make a folder that can be written; what stays empty goes again."""
    try:
        missing = [
            path for path in (workdir, *workdir.parents) if not path.exists()
        ]
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f'.probe-{os.getpid()}'
        probe.write_text('')
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} cannot be written: {error.strerror or error}'
        ) from error
    except ImportError as error:  # of fsspec, for what it needs there
        raise errors.ConfigError(
            f'--workdir={workdir} cannot be reached: {error}'
        ) from error
    try:
        yield
    finally:
        for path in missing:
            if any(path.iterdir()):
                break
            path.rmdir()


def set_aside(workdir):
    """Move what a run left into a folder of its own, `before-1` and so on."""
    left = [
        path for path in workdir.iterdir()
        if path.name != lock.NAME and not path.name.startswith('before-')
    ]
    if left:
        numbers = itertools.count(1)
        aside = next(
            path for path in (workdir / f'before-{n}' for n in numbers)
            if not path.exists()
        )
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)


def open_checkpoints(workdir, config, dataset, override):
    """Open the folder's checkpoints; refuse those of another config."""
    checkpoints = checkpoint.Checkpoints(
        workdir / 'checkpoints', keep=config.keep_checkpoints,
        keep_every=config.keep_every, say=_warn,
        about={
            'config': masking.mask_values(config_lib.flatten(config)),
            'devices': parallel.device_count(),
            'versions': environment.versions(),
        },
    )
    described = {
        'image_shape': list(dataset.images.shape[1:]),
        'classes': list(dataset.classes),
        'count': len(dataset.images),
    }
    if checkpoints.steps():
        try:
            _compare(workdir, config, described, override)
        except errors.CheckpointError:
            checkpoints.close()
            raise
    if parallel.is_first_host():
        shown = masking.mask_values(config.to_dict())
        writer_lib.write_json(workdir / 'config.json', shown)
        writer_lib.write_json(workdir / 'data.json', described)
    return checkpoints


def _compare(workdir, config, described, override):
    """Refuse a config or data of a form that a run did not begin with."""
    # The stored one shows no secret, so that masked ones are compared.
    shown = ConfigDict(masking.mask_values(config.to_dict()))
    changed = config_lib.differences(sampling.load_config(workdir), shown)
    if changed and not override:
        raise errors.CheckpointError(
            f'{workdir} holds a run with another config '
            f'({"; ".join(changed)}); choose another --workdir, or '
            '--override_config to go on with the new values'
        )
    stored = sampling.load_data(workdir)
    for key in ('image_shape', 'classes'):
        before, now = stored.get(key), described[key]
        if before not in (None, now):
            raise errors.CheckpointError(
                f'{workdir} holds a run on data whose {key} is {before}; now '
                f'it is {now}. Choose another --workdir'
            )
    before, now = stored.get('count'), described['count']
    if before not in (None, now):
        _warn(
            f'warning: the data were {before} images when this run was last '
            f'started and are {now} now, so their order is another one'
        )


def rollbacks(workdir):
    """List how often, and why, this run went back to an earlier save."""
    try:
        return json.loads((workdir / ROLLBACKS).read_text())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{workdir / ROLLBACKS} cannot be read ({error}); the run cannot '
            'tell what noise it had. --restart begins anew'
        ) from error


def note_rollback(workdir, **what):
    """Add one to the list."""
    if parallel.is_first_host():
        writer_lib.append_json(workdir / ROLLBACKS, what)


def _warn(line):
    if parallel.is_first_host():
        print(masking.mask(line), file=sys.stderr, flush=True)
