"""The folder of a run: made, set aside, refused to another run, rolled back."""

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
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import checkpoint
from gan_jax.runtime import environment
from gan_jax.runtime import lock
from gan_jax.runtime import parallel
from gan_jax.runtime import writer as writer_lib

ROLLBACKS = 'rollbacks.json'
RESTARTS = 'restarts.json'
FOLDERS = ('checkpoints', 'samples', 'tensorboard')
ENDINGS = ('.html', '.json', '.jsonl', '.png')  # of the files of a run


def at(workdir):
    """Return the path of a folder, local or of a file system of etils.epath.

    Raises:
        errors.ConfigError: for an unknown file system, or a URI that holds a
            password or token: Orbax would write it into every checkpoint.
    """
    if '://' in str(workdir) and redact.mask(str(workdir)) != str(workdir):
        raise errors.ConfigError(
            f'--workdir={workdir} holds a password or token; a store takes '
            'its own from the machine'
        )
    try:
        return files.at(workdir)
    except OSError as error:
        raise errors.ConfigError(
            f'--workdir={workdir} {error.strerror}'
        ) from error


@contextlib.contextmanager
def made(workdir):
    """Make a folder that can be written; what stays empty goes again."""
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


def check_entries(workdir, folders=FOLDERS):
    """Refuse a folder in which a run would write to what is no file of its own.

    A link to a folder leads out of the run's, and a FIFO or a device takes
    writes that no file keeps. Links to files are replaced, not followed. What
    has another name than what a run writes may be anything.

    Args:
        workdir: of the run.
        folders: names of the folders in it that are written to.

    Raises:
        errors.CheckpointError: naming the first.
    """
    if files.is_remote(workdir):  # stores have neither
        return
    for folder in (workdir, *(workdir / name for name in folders)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            fits = ('', 'file', 'folder')
            if path.suffix in ENDINGS:
                fits = ('', 'file')
            elif folder == workdir and path.name in folders:
                fits = ('folder',)
            elif folder == workdir and not path.name.startswith('before-'):
                continue
            if files.kind(path) not in fits:
                raise errors.CheckpointError(
                    f'{path} is no {fits[-1]} of a run: links to folders, '
                    'devices and the like are not written to. Remove it, or '
                    'choose another --workdir'
                )


def set_aside(workdir):
    """Move what a run left into a folder of its own, `before-1` and so on."""
    if any(_left(workdir)):
        _move(workdir, _next_aside(workdir))


def _left(workdir, *kept):
    """List what a run left, config.json last."""
    return sorted((
        path for path in workdir.iterdir()
        if path.name not in (lock.NAME, *kept)
        and not path.name.startswith('before-')
    ), key=lambda path: (path.name == 'config.json', path.name))


def _next_aside(workdir):
    numbers = itertools.count(1)
    return next(
        path for path in (workdir / f'before-{n}' for n in numbers)
        if not files.lexists(path)
    )


def _move(workdir, aside, *kept):
    aside.mkdir(exist_ok=True)
    for path in _left(workdir, *kept):
        path.rename(aside / path.name)


def begin_anew(workdir, seed, reason):
    """Set a run aside and note the seed that the next attempt has.

    The note is made first, and lists all attempts; where a kill comes between,
    `restarts` moves the rest.
    """
    aside = _next_aside(workdir)
    writer_lib.append_json(workdir / RESTARTS, {
        'seed': seed, 'reason': reason, 'before': aside.name
    })
    _move(workdir, aside, RESTARTS)
    _warn(f'warning: {reason}. Beginning anew with seed {seed}; what was left '
          f'is in {aside}')


def restarts(workdir):
    """List how often, and why, this run began anew with another seed."""
    found = _listed(workdir / RESTARTS, 'seed', _is_restart)
    if found:
        try:
            stored = sampling.load_config(workdir)
        except errors.CheckpointError:
            return found
        if stored.seed != found[-1]['seed']:  # killed while it was moved
            _move(workdir, workdir / found[-1]['before'], RESTARTS)
    return found


def _is_restart(note):
    """Return whether a note is as `begin_anew` writes it."""
    return type(note.get('seed')) is int and isinstance(
        note.get('before'), str
    ) and re.fullmatch('before-[0-9]{1,9}', note['before']) is not None


def open_checkpoints(workdir, config, datasets, override):
    """Open the folder's checkpoints; refuse those of another config.

    Args:
        workdir: the folder.
        config: ConfigDict of this start.
        datasets: {source: `sources.Dataset`}.
        override: whether another config is no reason to refuse.
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
            'image_shape': list(dataset.images.shape[1:]),
            'classes': list(dataset.classes),
            'count': len(dataset.images),
        } for name, dataset in datasets.items()
    }
    if checkpoints.steps():
        try:
            _compare(workdir, config, described, override)
        except errors.CheckpointError:
            checkpoints.close()
            raise
    if parallel.is_first_host():
        shown = redact.mask_values(config.to_dict())
        writer_lib.write_json(workdir / 'config.json', shown)
        writer_lib.write_json(workdir / 'data.json', described)
    return checkpoints


def _compare(workdir, config, described, override):
    """Refuse a config or data of a form that a run did not begin with."""
    # The stored one shows no secret, so that masked ones are compared.
    shown = ConfigDict(redact.mask_values(config.to_dict()))
    changed = run_identity.differences(sampling.load_config(workdir), shown)
    if changed and not override:
        raise errors.CheckpointError(
            f'{workdir} holds a run with another config '
            f'({"; ".join(changed)}); choose another --workdir, or '
            '--override_config to go on with the new values'
        )
    for name, before in run_files.load_sources(workdir).items():
        _compare_source(workdir, before, described.get(name, {}))


def _compare_source(workdir, stored, described):
    """Refuse data of another form; warn where they are more or fewer."""
    for key in ('image_shape', 'classes'):
        before, now = stored.get(key), described.get(key)
        if before != now:
            raise errors.CheckpointError(
                f'{workdir} holds a run on data whose {key} is {before}; now '
                f'it is {now}. Choose another --workdir'
            )
    before, now = stored.get('count'), described['count']
    if before != now:
        _warn(
            f'warning: the data were {before} images when this run was last '
            f'started and are {now} now, so their order is another one'
        )


def rollbacks(workdir):
    """List how often, and why, this run went back to an earlier save."""
    return _listed(workdir / ROLLBACKS, 'noise', lambda note: True)


def _listed(path, what, fits):
    """Read a list of notes, dicts that fit."""
    try:
        found = files.read_json(path)
        if not isinstance(found, list) or not all(
                isinstance(note, dict) and fits(note) for note in found):
            raise ValueError('holds no notes of a run')
        return found
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise errors.CheckpointError(
            f'{path} cannot be read ({error}); the run cannot tell what '
            f'{what} it had. --restart begins anew'
        ) from error


def note_rollback(workdir, **what):
    """Add one to the list."""
    if parallel.is_first_host():
        writer_lib.append_json(workdir / ROLLBACKS, what)


def _warn(line):
    if parallel.is_first_host():
        redact.say(line, sys.stderr)
