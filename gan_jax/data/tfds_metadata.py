"""Security check of the metadata of a prepared set before TFDS reads it.

TFDS imports the module of any class that these files name, which could run
code. Only TFDS's own feature classes are accepted.
"""

import contextlib
import os
import pathlib
import stat

from gan_jax.core import errors
from gan_jax.core import files

FEATURES = 'tensorflow_datasets.core.features.'
CLASS_KEYS = ('pythonClassName', 'python_class_name', 'type')  # the last: old
NAMES = ('dataset_info.json', 'features.json')
MOST = 64 * 2**20  # bytes of one of these files
OPTIONS = {'config', 'version'}  # that the name of a set may contain


def check(name, data_dir):
    """Check that the files of a set only name TFDS's own classes.

    All versions and configurations of the set are checked. Invalid names are
    left to TFDS.

    Args:
        name: TFDS name of a set, with or without configuration and version.
        data_dir: folder of the prepared sets; '' for TFDS's default.

    Raises:
        errors.DataError: for another class, with file and class; for a set of
            another namespace, which TFDS would download.
    """
    from tensorflow_datasets.core import naming
    from tensorflow_datasets.core.utils import file_utils

    try:
        parsed, options = naming.parse_builder_name_kwargs(name)
    except (TypeError, ValueError):
        return
    if parsed.namespace or set(options) - OPTIONS:
        raise errors.DataError(
            f'{name!r} of TensorFlow Datasets cannot be opened: a name has the '
            'form set, set/config or set/config:1.0.0'
        )
    for folder in file_utils.list_data_dirs(given_data_dir=data_dir or None):
        root = pathlib.Path(os.path.expanduser(folder)) / parsed.name
        for depth in ('', '*/', '*/*/'):
            for path in sorted(root.glob(f'{depth}*')):
                _check_file(path)


def _check_file(path):
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return
        if not stat.S_ISREG(mode):
            raise ValueError('is not a regular file')
        if path.name in NAMES:
            own = path.name == 'features.json'
            files.read_json(path, MOST, _Classes(
                path, CLASS_KEYS if own else CLASS_KEYS[:-1]
            ))
    except OSError as error:
        raise errors.DataError(
            f'{path} cannot be read: {error.strerror or error}'
        ) from error
    except ValueError as error:
        raise errors.DataError(f'{path} {error}') from error


class _Classes:
    """Hook of the JSON parser that checks all class names.

    It sees pairs, so duplicate keys are checked too.
    """

    def __init__(self, path, keys=CLASS_KEYS):
        """Create a hook.

        Args:
            path: of the file, for messages.
            keys: keys whose values are class names.
        """
        self._path, self._keys = path, keys

    def __call__(self, pairs):
        """Check the pairs of an object and return it."""
        for key, value in pairs:
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, str):
                    self._check(key, item)
        return dict(pairs)

    def _check(self, key, value):
        if key in self._keys and not value.startswith(FEATURES):
            raise errors.DataError(
                f'{self._path}: {key} {value!a:.80} is not one of the features '
                'of TensorFlow Datasets; others are not imported'
            )
        if value.lstrip().startswith(('{', '[')):  # JSON within JSON
            with contextlib.suppress(ValueError):  # or any text
                files.parse_json(value, _Classes(self._path))
