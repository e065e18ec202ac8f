"""What a prepared set of TFDS says of itself, checked before TFDS reads it.

TFDS imports the module of each class that these files name, of whatever program
it is. So only TFDS' own features are let through.
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
MOST = 64 * 2**20  # bytes of one of these files, and of all of a folder's
OPTIONS = {'config', 'version'}  # of a set that its name may hold


def check(name, data_dir):
    """Refuse a set whose files name classes that are not TFDS' own.

    All versions and configurations of it are looked through. What is no name
    of a set is left to TFDS.

    Args:
        name: TFDS name of a set, with configuration and version or without.
        data_dir: folder that holds the prepared sets; '' for TFDS's default.

    Raises:
        errors.DataError: naming file and class; for a set of another
            namespace, which TFDS would load from the net.
    """
    from tensorflow_datasets.core import naming
    from tensorflow_datasets.core.utils import file_utils

    try:
        parsed, options = naming.parse_builder_name_kwargs(name)
    except (TypeError, ValueError):
        return
    if parsed.namespace or set(options) - OPTIONS:
        raise errors.DataError(
            f'{name!r} of TensorFlow Datasets cannot be opened: a set is named '
            'as set, set/config or set/config:1.0.0'
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
    """Looks at all names of classes in JSON, of keys given twice too."""

    def __init__(self, path, keys=CLASS_KEYS):
        """Look at what some keys name.

        Args:
            path: of the file, for messages.
            keys: whose values are names of classes.
        """
        self._path, self._keys = path, keys

    def __call__(self, pairs):
        """Check the pairs of an object and return it."""
        for key, value in pairs:
            for each in value if isinstance(value, list) else (value,):
                if isinstance(each, str):
                    self._check(key, each)
        return dict(pairs)

    def _check(self, key, value):
        if key in self._keys and not value.startswith(FEATURES):
            raise errors.DataError(
                f'{self._path}: {key} {value!a:.80} is not one of the features '
                'of TensorFlow Datasets, and others are not imported'
            )
        if value.lstrip().startswith(('{', '[')):  # JSON within JSON
            with contextlib.suppress(ValueError):  # or any text
                files.parse_json(value, _Classes(self._path))
