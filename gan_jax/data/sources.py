"""Data sets by name, each as one uint8 array with labels where it has them.

NumPy and Pillow; what a data set needs beyond is imported when it is asked for.
"""

import csv
import gzip
from importlib import resources
from typing import NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image

from gan_jax import errors
from gan_jax.data import tfds_source


class Dataset(NamedTuple):
    """Images in memory.

    Attributes:
        name: what the banner calls it.
        images: [N, H, W, C] uint8.
        labels: [N] int32, or None.
        classes: a name for each label; () without labels.
    """

    name: str
    images: np.ndarray
    labels: Optional[np.ndarray] = None
    classes: Tuple[str, ...] = ()


class Request(NamedTuple):
    """What a run asks of its data.

    Attributes:
        name: a key of `DATASETS`.
        split: 'train', 'test' or a TFDS split such as 'train[:1000]'.
        data_dir: where TFDS keeps prepared sets; '' for its own default.
        image_size: (height, width), or None for the set's own.
    """

    name: str
    split: str = 'train'
    data_dir: str = ''
    image_size: Optional[Tuple[int, int]] = None


def digits(request):
    """Give the 1,797 handwritten digits that ship with scikit-learn, 32x32.

    The originals are 8x8 with 17 grey levels. They are enlarged threefold by
    bicubic interpolation and lie in a border of 4 pixels, so the mean over
    3x3 blocks inside the border brings back 8x8.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository, 1998 (its test set).

    Args:
        request: a `Request`; the only split is 'train'.

    Returns:
        `Dataset`, images [1797, 32, 32, 1].

    Raises:
        errors.DataError: for another split.
    """
    if request.split != 'train':
        raise errors.DataError(
            f"data.split={request.split!r}: digits has the split 'train' alone"
        )
    # The file is read as it lies: importing sklearn.datasets takes seconds.
    path = resources.files('sklearn.datasets.data') / 'digits.csv.gz'
    with path.open('rb') as file, gzip.open(file, 'rt') as rows:
        table = np.array(list(csv.reader(rows)), np.float32)
    small = np.round(table[:, :64].reshape(-1, 8, 8) * 255 / 16)
    images = np.stack([_enlarge(image) for image in small.astype(np.uint8)])
    return Dataset(
        name='digits',
        images=images[..., None],
        labels=table[:, 64].astype(np.int32),
        classes=tuple('0123456789'),
    )


def _enlarge(image):
    large = Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), 4)


def _from_tfds(request):
    images, labels, classes = tfds_source.read(
        request.name, request.split, request.data_dir, request.image_size
    )
    return Dataset(request.name, images, labels, classes)


DATASETS = {
    'celeb_a': _from_tfds,
    'cifar10': _from_tfds,
    'digits': digits,
    'fashion_mnist': _from_tfds,
    'kmnist': _from_tfds,
    'mnist': _from_tfds,
}


def load(request):
    """Read a data set.

    Args:
        request: a `Request`.

    Returns:
        `Dataset` at the size asked for.

    Raises:
        errors.DataError: where it is unknown, not prepared or unreadable.
    """
    if request.name not in DATASETS:
        raise errors.DataError(
            errors.unknown_name('data.name', request.name, DATASETS)
        )
    dataset = DATASETS[request.name](request)
    return dataset._replace(images=resize(dataset.images, request.image_size))


def from_arrays(images, labels=None, *, name='arrays', image_size=None):
    """Take a data set from arrays.

    Args:
        images: [N, H, W] or [N, H, W, C] uint8, C 1, 3 or 4.
        labels: [N] integers, or None.
        name: what the banner calls it.
        image_size: (height, width), or None for the arrays' own.

    Returns:
        `Dataset`.

    Raises:
        errors.DataError: for another dtype or shape.
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    well_formed = images.ndim == 4 and images.shape[-1] in (1, 3, 4)
    if images.dtype != np.uint8 or not well_formed or not len(images):
        raise errors.DataError(
            f'images are {images.dtype} {list(images.shape)}; uint8 '
            '[N, height, width, channels] is asked, values 0 to 255, N > 0, '
            '1, 3 or 4 channels'
        )
    classes = ()
    if labels is not None:
        labels = np.asarray(labels).astype(np.int32)
        if labels.shape != images.shape[:1] or labels.min() < 0:
            raise errors.DataError(
                f'labels are {list(labels.shape)} from {labels.min()}; '
                f'[{len(images)}] integers from 0 are asked'
            )
        classes = tuple(str(label) for label in range(labels.max() + 1))
    return Dataset(name, resize(images, image_size), labels, classes)


def resize(images, image_size):
    """Bring uint8 images [N, H, W, C] to (height, width); None leaves them."""
    if image_size is None or images.shape[1:3] == tuple(image_size):
        return images
    channels = images.shape[-1]
    shape = (len(images), *image_size, channels)
    resized = np.empty(shape, np.uint8)
    for image, target in zip(images, resized):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        picture = picture.resize(image_size[::-1], Image.Resampling.BICUBIC)
        target[:] = np.asarray(picture).reshape(shape[1:])
    return resized
