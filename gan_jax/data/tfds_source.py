"""Image sets of TensorFlow Datasets (TFDS), without TensorFlow.

Sets are prepared as array_record files and read by random access
(`tfds.data_source`). Nothing is downloaded but by `prepare`.
"""

import gzip
import os
import pathlib
import stat
import zlib

import numpy as np
from PIL import Image
from tqdm import tqdm

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import listing as listing_lib
from gan_jax.data import tfds_metadata

# Sets of four idx files, which can be parsed without TensorFlow.
IDX_SETS = ('fashion_mnist', 'kmnist', 'mnist')
IDX_FILES = (
    'train-images-idx3-ubyte.gz',
    'train-labels-idx1-ubyte.gz',
    't10k-images-idx3-ubyte.gz',
    't10k-labels-idx1-ubyte.gz',
)
MOST_IDX = 256 * 2**20  # bytes of an unpacked idx file; MNIST has 47 million
CHUNK = 256  # records read at once, because each read has a high latency


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    tfds_metadata.check(name, data_dir)
    try:
        return tfds.builder(
            name, data_dir=data_dir or None, file_format='array_record'
        )
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise errors.DataError(
            f'{name!r} is not a set of TensorFlow Datasets'
            f'{errors.nearest(name, known)}'
        ) from error
    # For missing versions, configurations or imports, and damaged metadata,
    # TFDS and protobuf raise many kinds.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise errors.DataError(
            f'{name!r} of TensorFlow Datasets cannot be opened: {reason}'
        ) from error


def _command(name, data_dir):
    suffix = f' --data_dir={data_dir}' if data_dir else ''
    return f'python -m gan_jax prepare {name}{suffix}'


def listing(name, split, data_dir):
    """List the encoded images of one split.

    Args:
        name: TFDS name of an image set.
        split: TFDS split, such as 'train' or 'test[:100]'.
        data_dir: folder of the prepared sets; '' for TFDS's default.

    Returns:
        `listing.Listing`.

    Raises:
        errors.DataError: if the set is not prepared; the message contains the
            command that prepares it. Nothing is downloaded.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    folder = pathlib.Path(builder.data_path)
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        raise errors.DataError(f'data set {name!r} has no features by name')
    if not any(folder.glob('*.array_record*')):
        reason = 'holds no array_record files' if folder.is_dir() else (
            'does not exist'
        )
        raise errors.DataError(
            f'data set {name!r} is not prepared: {folder} {reason}; prepare it '
            f'with: {_command(name, data_dir)}'
        )
    image = _feature(features, 'image', tfds.features.Image)
    label = _feature(features, 'label', tfds.features.ClassLabel)
    if image is None:
        raise errors.DataError(
            f'data set {name!r} has no images; it has {sorted(features)}'
        )
    try:
        _check_counts(folder, builder.info.splits[split].file_instructions)
        source = builder.as_data_source(
            split=split, decoders={image: tfds.decode.SkipDecoding()}
        )
    except ValueError as error:
        raise errors.DataError(
            f'data.split={split!r} of {name}: {str(error).splitlines()[0]}'
        ) from error
    classes = tuple(features[label].names) if label else ()

    def read(indices):
        try:
            examples = source.__getitems__(list(indices))
            contents = [example[image] for example in examples]
        # RuntimeError of array_record; protobuf raises others for bad records.
        except Exception as error:
            raise ValueError(f'cannot be read: {_line(error)}') from error
        if not all(isinstance(content, bytes) for content in contents):
            raise ValueError('cannot be read: it has no image')
        return contents

    return listing_lib.Listing(
        name=name,
        files=tuple(f'image {index}' for index in range(len(source))),
        read=read,
        labels=_labels(name, source, label, folder) if classes else None,
        classes=classes,
        trusted=True,
        chunk=CHUNK,
        shape=features[image].shape,
    )


def _feature(features, name, kind):
    """Return the key of a feature: the usual name or the only one of a kind."""
    keys = [key for key in features if isinstance(features[key], kind)]
    if name in keys:
        return name
    return keys[0] if len(keys) == 1 else None


def _check_counts(folder, parts):
    """Check that each file has the number of records in the metadata.

    Args:
        folder: of the set, for messages.
        parts: TFDS's file instructions of a split.

    Raises:
        errors.DataError: for fewer records, or an unreadable file.
    """
    from array_record.python import array_record_module

    for part in parts:
        path = part.filename
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError('it is not a regular file')
            reader = array_record_module.ArrayRecordReader(str(path))
            count = reader.num_records()
            reader.close()
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.DataError(
                f'{folder} is damaged: {path} cannot be read: {_line(error)}'
            ) from error
        if count < part.examples_in_shard:
            raise errors.DataError(
                f'{folder} is damaged: {path} has {count:,} records, and its '
                f'metadata count {part.examples_in_shard:,}'
            )


def _line(error):
    return ' '.join(str(error).split()) or type(error).__name__


def _labels(name, source, label, folder):
    """Read the labels of all records."""
    labels = np.empty(len(source), np.int32)
    bar = {'delay': 1, 'leave': False, 'disable': None}  # only on terminals
    for start in tqdm(range(0, len(source), CHUNK), f'Listing {name}', **bar):
        indices = range(start, min(start + CHUNK, len(source)))
        try:
            examples = source.__getitems__(list(indices))
            labels[indices] = [example[label] for example in examples]
        except Exception as error:  # as in `read`
            raise errors.DataError(
                f'{folder} is damaged: {_line(error)}'
            ) from error
    return labels


def prepared(data_dir):
    """List the prepared sets of a folder.

    Args:
        data_dir: folder; '' for TFDS's default.

    Returns:
        (folder, sorted names with versions).
    """
    from tensorflow_datasets.core import constants

    folder = pathlib.Path(os.path.expanduser(data_dir or constants.DATA_DIR))
    names = {
        path.parent.relative_to(folder).as_posix()
        for path in folder.glob('*/**/*.array_record*')
    }
    return folder, sorted(names)


def prepare(name, data_dir, manual_dir):
    """Prepare a set as array_record files, from a download or local files.

    Args:
        name: TFDS name of an image set.
        data_dir: folder for the prepared set; '' for TFDS's default.
        manual_dir: folder with the set's original files, or '' to download.
            The four idx files of mnist, fashion_mnist and kmnist need neither
            a network nor TensorFlow.

    Returns:
        Path of the prepared set.

    Raises:
        errors.DataError: with the reason, if it cannot be prepared.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    download = tfds.download.DownloadConfig()
    if manual_dir and name in IDX_SETS:
        builder = _from_idx_files(type(builder), manual_dir)(
            data_dir=data_dir or None, file_format='array_record'
        )
    elif manual_dir:
        # TFDS caches extracted manual files by file name only.
        folder = pathlib.Path(builder.data_path).parent / 'extracted'
        download = tfds.download.DownloadConfig(
            manual_dir=manual_dir, extract_dir=folder
        )
    try:
        builder.download_and_prepare(download_config=download)
    except ImportError as error:
        raise errors.DataError(
            f'TFDS needs TensorFlow to prepare {name!r} ({error}); install it '
            "with: pip install 'gan_jax[prepare]'"
        ) from error
    except (OSError, ValueError, AssertionError) as error:
        raise errors.DataError(
            f'{name!r} could not be prepared: {type(error).__name__}: {error}'
        ) from error
    return pathlib.Path(builder.data_path)


def _from_idx_files(base, manual_dir):
    """Build a subclass of a TFDS builder that reads four local idx files."""
    folder = pathlib.Path(manual_dir).expanduser()
    missing = [name for name in IDX_FILES if not (folder / name).is_file()]
    if missing:
        raise errors.DataError(
            f'--manual_dir={manual_dir} lacks {", ".join(missing)}'
        )

    def examples(images, labels):
        pairs = zip(_read_idx(folder / images), _read_idx(folder / labels))
        for index, (image, label) in enumerate(pairs):
            picture = Image.fromarray(image)
            yield index, {'image': picture, 'label': int(label)}

    class Builder(base, skip_registration=True):
        name = base.name

        def _split_generators(self, dl_manager):
            del dl_manager  # nothing is downloaded
            return {
                'train': examples(*IDX_FILES[:2]),
                'test': examples(*IDX_FILES[2:]),
            }

    return Builder


def _read_idx(path):
    """Read a gzipped idx file of bytes: images [N, H, W] or labels [N]."""
    try:
        with files.open_regular(path) as file, gzip.open(file) as unpacked:
            content = unpacked.read(MOST_IDX + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise errors.DataError(f'{path} is not a whole gzip file') from error
    if len(content) > MOST_IDX:
        raise errors.DataError(f'{path} unpacks to over {MOST_IDX:,} bytes')
    # Two zero bytes, the type (8 is uint8), the number of axes, their sizes.
    axes = content[3] if content[:3] == b'\0\0\x08' else 0
    shape = tuple(np.frombuffer(content, '>u4', axes, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if not axes or values.size != np.prod(shape):
        raise errors.DataError(f'{path} is not an idx file of bytes')
    return values.reshape(shape)
