"""Run folders: creation, safety checks, restarts, rollbacks, identity of a run.

Refuses to continue a run with another config or other data. Knows nothing of
training steps.
"""

import contextlib
import itertools
import re
import sys

from ml_collections import ConfigDict

from gan_jax.config import defaults
from gan_jax.config import run_identity
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.core import redact
from gan_jax.data import sources
from gan_jax.runs import release_files
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import parallel
from gan_jax.runtime import writer as writer_lib

ROLLBACKS = 'rollbacks.json'
RESTARTS = 'restarts.json'
FOLDERS = ('checkpoints', 'samples', 'tensorboard', 'wandb')
# Of a run's files.
SUFFIXES = ('.html', '.json', '.jsonl', '.png', '.textproto')


def at(workdir):
    """Convert to an `etils.epath` path.

    Raises:
        errors.ConfigError: for an unknown file system, or a URI with a password
            or token, which Orbax would write into every checkpoint.
    """
    if '://' in str(workdir) and redact.mask(str(workdir)) != str(workdir):
        raise errors.ConfigError(
            f'--workdir={workdir} holds a password or token; configure the '
            'credentials of the file system on this machine instead'
        )
    try:
        return files.to_path(workdir)
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} {error.strerror}'
        ) from error


@contextlib.contextmanager
def created(workdir):
    """Create a writable folder; remove it afterwards if it stays empty."""
    try:
        missing = [
            path for path in (workdir, *workdir.parents) if not path.exists()
        ]
        workdir.mkdir(parents=True, exist_ok=True)
        files.remove(files.create(workdir))
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} cannot be written: {error.strerror or error}'
        ) from error
    except ImportError as error:  # fsspec lacks a library
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


def check_entries(workdir, folders=FOLDERS):
    """Check that a run would write to regular files and folders alone.

    A link to a folder leads out of the run folder, and a FIFO or device loses
    what is written. Links to files are allowed, because they are replaced and
    not followed. Names that a run does not write are ignored.

    Args:
        workdir: the run folder.
        folders: names of the folders in it that are written to.

    Raises:
        errors.CheckpointError: naming the first bad entry.
        errors.ConfigError: where the folder is a release.
    """
    if release_files.is_release(workdir):
        raise errors.ConfigError(
            f'--workdir={workdir} is a release; train from it by '
            f'--config.init_from={workdir} with another --workdir'
        )
    if files.is_remote(workdir):  # object stores have neither
        return
    for folder in (workdir, *(workdir / name for name in folders)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            allowed = ('', 'file', 'folder')
            if path.suffix in SUFFIXES:
                allowed = ('', 'file')
            elif folder == workdir and path.name in folders:
                allowed = ('folder',)
            elif folder == workdir and not path.name.startswith('before-'):
                continue
            if files.kind(path) not in allowed:
                raise errors.CheckpointError(
                    f'{path} is not a {allowed[-1]}: a run does not write to '
                    'links to folders, devices and the like. Remove it, or '
                    'choose another --workdir'
                )


def move_aside(workdir):
    """Move the files of a run into a new folder `before-<n>` inside it."""
    if any(_entries(workdir)):
        _move(workdir, _next_aside(workdir))


def _entries(workdir, *kept):
    """List the files and folders of a run, config.json last."""
    return sorted((
        path for path in workdir.iterdir()
        if path.name not in (lock.NAME, *kept)
        and not path.name.startswith('before-')
    ), key=lambda path: (path.name == 'config.json', path.name))


def _next_aside(workdir):
    """Return the first free path `before-<n>`."""
    numbers = itertools.count(1)
    return next(
        path for path in (workdir / f'before-{n}' for n in numbers)
        if not files.lexists(path)
    )


def _move(workdir, aside, *kept):
    """Move the entries of a run to another folder, but for some names."""
    aside.mkdir(exist_ok=True)
    for path in _entries(workdir, *kept):
        path.rename(aside / path.name)


def restart(workdir, seed, reason):
    """Move a run aside and record the seed of the next attempt.

    The record is written first and lists all attempts. If the process is killed
    while it moves the files, `restarts` moves the rest.

    Args:
        workdir: the run folder.
        seed: of the next attempt.
        reason: message for the record and the terminal.
    """
    aside = _next_aside(workdir)
    writer_lib.append_json(workdir / RESTARTS, {
        'seed': seed, 'reason': reason, 'before': aside.name
    })
    _move(workdir, aside, RESTARTS)
    _warn(f'warning: {reason}. Restarting with seed {seed}; the files of the '
          f'last attempt are in {aside}')


def restarts(workdir):
    """Load the records of restarts with another seed, oldest first."""
    records = _load_records(workdir / RESTARTS, 'seed', _is_restart)
    if records:
        try:
            stored = run_files.load_config(workdir)
        except errors.CheckpointError:
            return records
        if stored.seed != records[-1]['seed']:  # killed while moving the files
            _move(workdir, workdir / records[-1]['before'], RESTARTS)
    return records


def _is_restart(record):
    """Return whether a record has the format of `restart`."""
    return type(record.get('seed')) is int and isinstance(
        record.get('before'), str
    ) and re.fullmatch('before-[0-9]{1,9}', record['before']) is not None


def open_checkpoints(workdir, config, datasets, override):
    """Open the checkpoints of a run folder, and write config and data there.

    Args:
        workdir: the run folder.
        config: ConfigDict of this start.
        datasets: {source: `sources.Dataset`}.
        override: whether to continue a run that has another config.

    Returns:
        `checkpoint.Checkpoints`.

    Raises:
        errors.CheckpointError: where the folder holds a run with another config
            or other data.
    """
    checkpoints = checkpoint.Checkpoints(
        workdir / 'checkpoints', keep=config.keep_checkpoints,
        keep_every=config.keep_every, say=_warn,
        about={
            'config': redact.mask_values(defaults.flatten(config)),
            'devices': parallel.device_count(),
            'versions': environment.versions(),
        },
    )
    described = {
        name: {
            'name': redact.mask(dataset.name),
            'image_shape': list(dataset.sample_shape),
            'classes': list(dataset.classes),
            'count': len(dataset.images),
            **({} if dataset.units is None else {
                'units': {key: list(value) if isinstance(value, tuple) else
                          value for key, value in
                          dataset.units._asdict().items()},
            }),
        } for name, dataset in datasets.items()
    }
    if checkpoints.steps():
        try:
            _compare(workdir, config, described, override)
        except errors.CheckpointError:
            checkpoints.close()
            raise
    if parallel.is_first_host():
        masked = redact.mask_values(config.to_dict())
        writer_lib.write_json(workdir / 'config.json', masked)
        writer_lib.write_json(workdir / 'data.json', described)
    return checkpoints


def _compare(workdir, config, described, override):
    """Check that config and data are those that a run started with.

    Converted networks have no data until they are trained here.
    """
    # Secrets in the stored config are masked, so masked configs are compared.
    masked = ConfigDict(redact.mask_values(config.to_dict()))
    stored = run_files.load_config(workdir)
    if stored.data.get('name') == sources.UNKNOWN and not stored.data.path:
        stored.data = masked.data
    changed = run_identity.differences(stored, masked)
    if changed and not override:
        raise errors.CheckpointError(
            f'{workdir} holds a run with another config '
            f'({"; ".join(changed)}); choose another --workdir, or '
            '--override_config to continue with the new values'
        )
    for name, before in run_files.load_sources(workdir).items():
        _compare_source(workdir, before, described.get(name, {}))


def _compare_source(workdir, stored, described):
    """Check shape and classes of a data source; warn of another count."""
    if stored['name'] == sources.UNKNOWN:
        return _compare_unknown(workdir, stored, described)
    for key in ('image_shape', 'classes', 'units'):
        before, now = stored.get(key), described.get(key)
        if before != now:
            raise errors.CheckpointError(
                f'{workdir} holds a run on data with {key} {before}, not {now}; '
                'choose another --workdir'
            )
    before, now = stored.get('count'), described['count']
    if before != now:
        _warn(
            f'warning: the data had {before} images when this run was last '
            f'started and have {now} now, so their order is different'
        )


def _compare_unknown(workdir, stored, described):
    """Check that data fit networks that come without data.

    Networks without classes ignore those of the data.
    """
    for key, before, now in (
        ('image_shape', stored['image_shape'], described['image_shape']),
        ('number of classes', len(stored['classes']),
         len(described['classes'])),
    ):
        if before and before != now:
            raise errors.CheckpointError(
                f'{workdir} holds networks for data with {key} {before}, not '
                f'{now}'
            )


def rollbacks(workdir):
    """Load the records of rollbacks to an earlier checkpoint."""
    return _load_records(workdir / ROLLBACKS, 'noise', lambda record: True)


def _load_records(path, subject, is_valid):
    """Load a list of dicts.

    Args:
        path: of a JSON file.
        subject: what the run cannot reproduce without it, for the error.
        is_valid: dict -> bool.

    Raises:
        errors.CheckpointError: where it cannot be read or has another format.
    """
    try:
        records = files.read_json(path)
        if not isinstance(records, list) or not all(
                isinstance(record, dict) and is_valid(record)
                for record in records):
            raise ValueError('is not a list of records')
        return records
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{path} cannot be read ({error}), so the {subject} of the run is '
            'unknown; --restart starts again'
        ) from error


def note_rollback(workdir, **record):
    """Add a record to those of `rollbacks`."""
    if parallel.is_first_host():
        writer_lib.append_json(workdir / ROLLBACKS, record)


def _warn(line):
    if parallel.is_first_host():
        redact.say(line, sys.stderr)
