"""Validated reading of a run folder's files.

A run folder may come from someone else, so its JSON files are checked before use.
Knows the formats of the files, and nothing of checkpoints.
"""

import contextlib

from etils import epath
from ml_collections import ConfigDict

from gan_jax.config import defaults
from gan_jax.config import validation
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import fields
from gan_jax.data import pictures
from gan_jax.runs import release_files

EVALUATION = 'evaluation.json'  # `evaluate` writes it, to releases too
MAX_SIDE = 2**20  # dimension of points
MAX_CLASSES = 10**6
MAX_SOURCES = 64
MAX_NUMBER = 2**63  # bound of the magnitude of integers
MAX_LINES = 16 * 2**20  # bytes of JSON Lines that are read in full


def load_config(workdir):
    """Load the config of a run folder.

    Keys that are newer than the run get their defaults, which do not change
    what an old run does.

    Raises:
        errors.CheckpointError: where it is not a run folder or the config is
            not valid.
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
        raise release_files.error_type(workdir)(
            f'{path} is not the config of a run: {str(error):.300}'
        ) from error
    return config


def _groups(stored):
    """List the sources that have a group of data keys of their own."""
    data = stored.get('data') if isinstance(stored, dict) else None
    if not isinstance(data, dict):
        return ()
    names = [name for name, value in data.items() if isinstance(value, dict)]
    if len(names) > MAX_SOURCES or not all(map(str.isidentifier, names)):
        raise ValueError('data has groups that are not sources')
    return names


def _check_keys(stored, config, prefix=''):
    """Check that all keys exist in a config and all values have its types.

    Raises:
        ValueError: with a message that follows the name of the file.
    """
    if not isinstance(stored, dict):
        raise ValueError(
            f'{prefix.rstrip(".") or "it"} is not a group of keys'
        )
    for key, value in stored.items():
        name = f'{prefix}{key}'
        if key not in config:
            raise ValueError(f'unknown key {name!a:.80}')
        default = config[key]
        if isinstance(default, ConfigDict):
            _check_keys(value, default, f'{name}.')
        elif not _is_like(value, default):
            raise ValueError(
                f'{name}={value!a:.80} is not of type {type(default).__name__}'
            )


def _is_like(value, default):
    """Return whether a value has a default's type and is finite.

    An integer is accepted for a float.
    """
    if type(default) is float:
        return files.number(value) is not None
    if type(default) is int:
        return type(value) is int and abs(value) < MAX_NUMBER
    return type(value) is type(default)


def load_sources(workdir):
    """Load the descriptions of a run folder's data sources.

    Returns:
        {source: {'name': str, 'image_shape': [height, width, channels] or
        [dimension], 'classes': [str], 'count': int}} with at least one source.
        Missing entries are '', [] and 0; 'image_shape' may not be missing.
        'units' are those of `fields.Units`, where the images have them.

    Raises:
        errors.CheckpointError: where it is not a run folder or the file has
            another format.
    """
    sources = _read(workdir, 'data.json')
    mistake = 'it names no source'
    if isinstance(sources, dict) and 'image_shape' in sources:
        mistake = 'its format is older than this program can read'
    if isinstance(sources, dict) and 0 < len(sources) <= MAX_SOURCES and all(
            isinstance(data, dict) for data in sources.values()):
        sources = {
            name: {'name': '', 'classes': [], 'count': 0, **data}
            for name, data in sources.items()
        }
        mistake = next((
            f'{name!a:.40} has {key}={data.get(key)!a:.80}'
            for name, data in sources.items()
            for key, is_valid in DATA.items() if not is_valid(data.get(key))
        ), '') or next((
            f'{name!a:.40} has image_shape={data["image_shape"]!a:.80} and '
            f'units={data.get("units")!a:.80}'
            for name, data in sources.items() if not _has_its_units(data)
        ), '')
    if mistake:
        path = epath.Path(workdir) / 'data.json'
        raise release_files.error_type(workdir)(
            f'{path} does not describe the data of a run: {mistake}'
        )
    return sources


def units(workdir):
    """Load the `fields.Units` of a run's images; None for pictures or points.

    Raises:
        errors.CheckpointError: as `load_sources`.
    """
    described = load_data(workdir).get('units')
    return None if described is None else fields.Units(**{
        key: tuple(value) if isinstance(value, list) else value
        for key, value in described.items()
    })


def load_data(workdir):
    """Load the description of the first data source; as `load_sources`."""
    return next(iter(load_sources(workdir).values()))


def _is_shape(shape):
    """Return whether a value is the shape of an image or a point."""
    if not isinstance(shape, list) or not all(
            type(size) is int and size > 0 for size in shape):
        return False
    if len(shape) == 1:
        return shape[0] <= MAX_SIDE
    return len(shape) == 3 and shape[2] <= fields.MOST_CHANNELS and (
        shape[0] * shape[1] <= pictures.MAX_PIXELS
    )


def _has_its_units(data):
    """Return whether the units fit the shape; pictures and points have none."""
    *sides, channels = data['image_shape']
    if 'units' in data:
        return fields.is_valid(data['units'], channels)
    return not sides or channels in pictures.CHANNELS


def _is_classes(classes):
    return isinstance(classes, list) and len(classes) <= MAX_CLASSES and all(
        isinstance(name, str) for name in classes
    )


DATA = {  # entry of data.json: predicate for its values
    'name': lambda value: isinstance(value, str),
    'image_shape': _is_shape,
    'classes': _is_classes,
    'count': lambda value: type(value) is int and 0 <= value < MAX_NUMBER,
}


def _data_or_none(workdir, key):
    """Return an entry of the first source; None if it cannot be read."""
    try:
        return load_data(workdir).get(key)
    except errors.CheckpointError:
        return None


def _read(workdir, name):
    """Load a JSON file of a run folder or a release."""
    path = f'{workdir}/{name}'
    if release_files.is_release(workdir):
        data = release_files.read(workdir, name)
        try:
            return files.parse_json(data)
        except ValueError as error:
            raise errors.ReleaseError(f'{path} {error}') from error
    try:
        return files.read_json(files.to_path(workdir) / name)
    except (OSError, ValueError) as error:
        reason = 'cannot be read' if isinstance(error, OSError) else error
        raise errors.CheckpointError(
            f'--workdir={workdir} is not the folder of a run: {path} {reason}'
        ) from error


def load_dicts(workdir, name):
    """Load the objects of a JSON list; [] where it is missing or damaged.

    Of a release, `EVALUATION` alone is read.
    """
    if name != EVALUATION and release_files.is_release(workdir):
        return []
    try:
        items = files.read_json(files.to_path(workdir) / name)
    except (OSError, ValueError):
        return []
    return [
        item for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict)
    ]


def lines(workdir, name):
    """Yield the object of each line of a JSON Lines file, None if damaged.

    Of a file larger than `MAX_LINES` bytes only every n-th line is read; of
    one larger than `files.MAX_FILE`, or of a release, none.
    """
    if release_files.is_release(workdir):
        return
    path = files.to_path(workdir) / name
    # An error ends the iteration; what was read before it is used.
    with contextlib.suppress(OSError, ValueError):
        size = path.stat().length
        if size <= files.MAX_FILE:
            for _, item in files.lines(path, 1 + size // MAX_LINES):
                yield item
