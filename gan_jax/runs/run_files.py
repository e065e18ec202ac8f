"""What the files of a run folder say, checked: anyone may have written them."""

import contextlib

from etils import epath
from ml_collections import ConfigDict

from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import pictures

MOST_SIDE = 2**20  # coordinates of a point
MOST_CLASSES = 10**6
MOST_SOURCES = 64
MOST_NUMBER = 2**63  # below which whole numbers are
MOST_LINES = 16 * 2**20  # bytes of lines of metrics that are looked at


def load_config(workdir):
    """Load the config of a run folder.

    Keys that came after the run have their defaults, which leave a run as it
    was.

    Raises:
        errors.CheckpointError: where the folder is not a run's, or the config
            is not one.
    """
    stored = _read(workdir, 'config.json')
    config = defaults.default_config()
    try:
        names = _groups(stored)
        if names:
            config.data = defaults.grouped_data(*names)
        _check_keys(stored, config)
        config.update(ConfigDict(stored))
        shape = _data_or_none(workdir, 'image_shape')
        validation.validate(config, points=shape and len(shape) == 1)
    except (ValueError, errors.ConfigError) as error:
        path = epath.Path(workdir) / 'config.json'
        raise errors.CheckpointError(
            f'{path} is not the config of a run: {str(error):.300}'
        ) from error
    return config


def _groups(stored):
    """Name the sources that have a group of the data keys of their own."""
    data = stored.get('data') if isinstance(stored, dict) else None
    if not isinstance(data, dict):
        return ()
    names = [name for name, value in data.items() if isinstance(value, dict)]
    if len(names) > MOST_SOURCES or not all(map(str.isidentifier, names)):
        raise ValueError('data has groups that name no sources')
    return names


def _check_keys(stored, config, prefix=''):
    """Refuse what is not one of a config's keys, or not of its type.

    Raises:
        ValueError: in words that follow the name of the file.
    """
    if not isinstance(stored, dict):
        raise ValueError(f'{prefix.rstrip(".") or "it"} is no group of keys')
    for key, value in stored.items():
        name = f'{prefix}{key}'
        if key not in config:
            raise ValueError(f'unknown key {name!a:.80}')
        default = config[key]
        if isinstance(default, ConfigDict):
            _check_keys(value, default, f'{name}.')
        elif not _is_like(value, default):
            raise ValueError(
                f'{name}={value!a:.80} is no {type(default).__name__}'
            )


def _is_like(value, default):
    """Return whether a value is of a default's type, and can be reckoned with.

    A whole number stands for a float.
    """
    if type(default) is float:
        return files.number(value) is not None
    if type(default) is int:
        return type(value) is int and abs(value) < MOST_NUMBER
    return type(value) is type(default)


def load_sources(workdir):
    """Load what a run folder says of its data.

    Returns:
        {source: {'name': str, 'image_shape': [height, width, channels] or
        [dimensions], 'classes': [str], 'count': int}}, at least one; what a
        folder does not say but the shape is '', [] and 0.

    Raises:
        errors.CheckpointError: where the folder is not a run's, or says
            something else.
    """
    sources = _read(workdir, 'data.json')
    wrong = 'it names no source'
    if isinstance(sources, dict) and 'image_shape' in sources:
        wrong = 'it is of an earlier format, which this program does not read'
    if isinstance(sources, dict) and 0 < len(sources) <= MOST_SOURCES and all(
            isinstance(data, dict) for data in sources.values()):
        sources = {
            name: {'name': '', 'classes': [], 'count': 0, **data}
            for name, data in sources.items()
        }
        wrong = next((
            f'{name!a:.40} has {key}={data.get(key)!a:.80}'
            for name, data in sources.items() for key, fits in DATA.items()
            if not fits(data.get(key))
        ), '')
    if wrong:
        path = epath.Path(workdir) / 'data.json'
        raise errors.CheckpointError(
            f'{path} does not tell the data of a run: {wrong}'
        )
    return sources


def load_data(workdir):
    """Load what a run folder says of its first source; as `load_sources`."""
    return next(iter(load_sources(workdir).values()))


def _is_shape(shape):
    if not isinstance(shape, list) or not all(
            type(size) is int and size > 0 for size in shape):
        return False
    if len(shape) == 1:
        return shape[0] <= MOST_SIDE
    return len(shape) == 3 and shape[2] in pictures.CHANNELS and (
        shape[0] * shape[1] <= pictures.MAX_PIXELS
    )


def _is_classes(classes):
    return isinstance(classes, list) and len(classes) <= MOST_CLASSES and all(
        isinstance(name, str) for name in classes
    )


DATA = {
    'name': lambda value: isinstance(value, str),
    'image_shape': _is_shape,
    'classes': _is_classes,
    'count': lambda value: type(value) is int and 0 <= value < MOST_NUMBER,
}


def _data_or_none(workdir, key):
    try:
        return load_data(workdir).get(key)
    except errors.CheckpointError:
        return None


def _read(workdir, name):
    path = f'{workdir}/{name}'
    try:
        return files.read_json(files.at(workdir) / name)
    except (OSError, ValueError) as error:
        reason = 'cannot be read' if isinstance(error, OSError) else error
        raise errors.CheckpointError(
            f'--workdir={workdir} is not the folder of a run: {path} {reason}'
        ) from error


def load_dicts(workdir, name):
    """Load the objects of a JSON list; of what is none, or damaged, none."""
    try:
        found = files.read_json(files.at(workdir) / name)
    except (OSError, ValueError):
        return []
    return [
        item for item in (found if isinstance(found, list) else ())
        if isinstance(item, dict)
    ]


def lines(workdir, name):
    """Yield the object of each of a file's JSON lines, None of a damaged one.

    Of a file of over `MOST_LINES` bytes every second line is taken, or every
    third, and so on; of one of over `files.MOST_FILE` none.
    """
    path = files.at(workdir) / name
    # What was read until an error stays.
    with contextlib.suppress(OSError, ValueError):
        size = path.stat().length
        if size <= files.MOST_FILE:
            for _, item in files.lines(path, 1 + size // MOST_LINES):
                yield item
