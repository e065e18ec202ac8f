"""Read and prepare image sets of TensorFlow Datasets, without TensorFlow.

Sets are read by random access from array_record files (`tfds.data_source`).
"""

import gzip
import pathlib

import numpy as np
from PIL import Image
from PIL import ImageOps
from tqdm import tqdm

from gan_jax import errors

# TFDS readers of these parse four idx files, which needs no TensorFlow.
IDX_SETS = ('fashion_mnist', 'kmnist', 'mnist')
IDX_FILES = (
    'train-images-idx3-ubyte.gz',
    'train-labels-idx1-ubyte.gz',
    't10k-images-idx3-ubyte.gz',
    't10k-labels-idx1-ubyte.gz',
)
CHUNK = 500  # images decoded between two steps of the progress bar


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    return tfds.builder(
        name, data_dir=data_dir or None, file_format='array_record'
    )


def _command(name, data_dir):
    suffix = f' --data_dir={data_dir}' if data_dir else ''
    return f'python -m gan_jax.prepare {name}{suffix}'


def read(name, split, data_dir, image_size):
    """Decode one split into arrays.

    Args:
        name: TFDS name of an image set.
        split: TFDS split, such as 'train' or 'test[:100]'.
        data_dir: folder that holds the prepared sets; '' for TFDS's default.
        image_size: (height, width) to which each image is centre-cropped and
            resized, or None to leave it.

    Returns:
        (images [N, H, W, C] uint8, labels [N] int32 or None, class names).

    Raises:
        errors.DataError: where the set is not prepared; the message holds the
            command that prepares it. It is raised without a try to download.
    """
    builder = _builder(name, data_dir)
    folder = pathlib.Path(builder.data_path)
    if not any(folder.glob('*.array_record*')):
        found = 'holds no array_record files' if folder.is_dir() else (
            'does not exist'
        )
        raise errors.DataError(
            f'data set {name!r} is not prepared: {folder} {found}; prepare it '
            f'with: {_command(name, data_dir)}'
        )
    try:
        source = builder.as_data_source(split=split)
    except ValueError as error:
        raise errors.DataError(
            f'data.split={split!r} of {name}: {str(error).splitlines()[0]}'
        ) from error
    return _decode(source, name, builder.info.features, image_size)


def _decode(source, name, features, image_size):
    if 'image' not in features:
        raise errors.DataError(f'data set {name!r} has no feature "image"')
    label = features['label'] if 'label' in features else None
    classes = tuple(getattr(label, 'names', None) or ())
    images, labels = [], []
    chunks = range(0, len(source), CHUNK)
    bar = {'delay': 1, 'leave': False, 'disable': None}  # terminals alone
    for start in tqdm(chunks, f'Reading {name}', **bar):
        chosen = range(start, min(start + CHUNK, len(source)))
        for example in source.__getitems__(list(chosen)):
            images.append(_crop(example['image'], image_size))
            labels.append(example['label'] if classes else 0)
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise errors.DataError(
            f'images of {name!r} differ in size, such as {sorted(shapes)[:2]}; '
            'set data.image_size'
        )
    labels = np.array(labels, np.int32) if classes else None
    return np.stack(images), labels, classes


def _crop(image, image_size):
    """Centre-crop to the target's proportions, then resize."""
    if image_size is None or image.shape[:2] == tuple(image_size):
        return image
    grey = image.shape[-1] == 1
    fitted = ImageOps.fit(
        Image.fromarray(image[..., 0] if grey else image),
        image_size[::-1],
        Image.Resampling.BICUBIC,
    )
    return np.asarray(fitted).reshape(*image_size, image.shape[-1])


def prepare(name, data_dir, manual_dir):
    """Prepare a set as array_record files, from the net or from local files.

    Args:
        name: TFDS name of an image set.
        data_dir: folder to hold it; '' for TFDS's default.
        manual_dir: folder with the set's original files, or '' to download.
            The four idx files of mnist, fashion_mnist and kmnist need neither
            network nor TensorFlow.

    Returns:
        Path of the prepared set.

    Raises:
        errors.DataError: with the reason, where it cannot be prepared.
    """
    import tensorflow_datasets as tfds

    try:
        builder = _builder(name, data_dir)
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise errors.DataError(
            f'{name!r} is not a set of TensorFlow Datasets'
            f'{errors.nearest(name, known)}'
        ) from error
    download = tfds.download.DownloadConfig()
    if manual_dir and name in IDX_SETS:
        builder = _from_idx_files(type(builder), manual_dir)(
            data_dir=data_dir or None, file_format='array_record'
        )
    elif manual_dir:
        # TFDS keys what it extracts from manual files by file name alone.
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
    """Derive a TFDS builder that reads the four files of `manual_dir`."""
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
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise errors.DataError(f'{path} is not a whole gzip file') from error
    # Two zero bytes, the type (8 is uint8), the number of axes, their sizes.
    axes = content[3] if content[:3] == b'\0\0\x08' else 0
    shape = tuple(np.frombuffer(content, '>u4', axes, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if not axes or values.size != np.prod(shape):
        raise errors.DataError(f'{path} is not an idx file of bytes')
    return values.reshape(shape)
