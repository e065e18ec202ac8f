"""Data sets by name or URI, and the part of them that a run requests.

`DATASETS` are known by name; `SCHEMES` load a URI such as 'folder:my/images'.
`FILES` are the schemes that list encoded files, and `ENDINGS` maps the endings
of paths to schemes. Libraries other than NumPy and Pillow are imported only
when needed.
"""

import csv
import gzip
from importlib import resources
import os
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image

from gan_jax.core import errors
from gan_jax.data import archive
from gan_jax.data import arrays
from gan_jax.data import arrow
from gan_jax.data import fields
from gan_jax.data import folder
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import reading
from gan_jax.data import selection
from gan_jax.data import stacked
from gan_jax.data import tasks
from gan_jax.data import tfds_source

ARRAYS = 'arrays'  # name of data that were passed from Python
UNKNOWN = 'unknown'  # name of the data of converted networks


class Dataset(NamedTuple):
    """Images, or rows of numbers, with labels.

    Attributes:
        name: of the data set, for messages.
        images: [N, H, W, C] uint8, an array, a memory map or an
            `on_demand.OnDemand`; with `units` float32 in [-1, 1]; or [N, D]
            float32.
        labels: [N] int32, or None.
        classes: a name for each label; () without labels.
        random_crop: (height, width) of the random part of each image that is
            trained on; None for the whole.
        units: `fields.Units` of images that are no pictures, or None.
    """

    name: str
    images: Any
    labels: Optional[np.ndarray] = None
    classes: Tuple[str, ...] = ()
    random_crop: Optional[Tuple[int, int]] = None
    units: Optional[fields.Units] = None

    @property
    def sample_shape(self):
        """Return the shape of one sample as the networks see it."""
        *size, depth = self.images.shape[1:]
        return (*(self.random_crop or size), depth)

    def centered(self, indices):
        """Return samples at indices, cut out of the middle of the images."""
        images = self.images[indices]
        if self.random_crop is None:
            return images
        (height, width), size = self.random_crop, images.shape[-3:-1]
        y, x = (size[0] - height) // 2, (size[1] - width) // 2
        return images[..., y:y + height, x:x + width, :]


class Request(NamedTuple):
    """A data set, and the part and form of it that a run needs.

    Attributes:
        name: a key of `DATASETS`, or a URI of `SCHEMES` such as
            'folder:my/images'.
        split: 'train' or 'test'; for TFDS any of its splits, such as
            'train[:1000]'.
        data_dir: folder of the prepared sets of TFDS; '' for its default.
        preparation: a `pictures.Preparation`.
        classes: names of the classes to keep; () for all.
        test_share: share of the images in the split 'test', for data without
            splits.
        limit: largest number of images; 0 for all.
        memory: largest size of the images in memory, in bytes; None for any.
        max_bad: largest share of bad files.
        side: 'A' or 'B' of a source with two domains, or ''. They are those of
            the task, if there is one; or the folders trainA and trainB, or A
            and B; or the left and right half of each image.
        task: a key of `tasks.TASKS`, or ''.
        random_crop: as of `Dataset`.
        limits, shown: as of `fields.units`.
    """

    name: str
    split: str = 'train'
    data_dir: str = ''
    preparation: pictures.Preparation = pictures.Preparation()
    classes: Tuple[str, ...] = ()
    test_share: float = 0.0
    limit: int = 0
    memory: Optional[int] = None
    max_bad: float = 0.01
    side: str = ''
    task: str = ''
    random_crop: Optional[Tuple[int, int]] = None
    limits: Tuple[float, ...] = ()
    shown: Tuple[int, ...] = ()


class Files(NamedTuple):
    """Encoded images of a source, before a part of them is selected.

    Attributes:
        listing: a `listing.Listing`, of the split if there are splits.
        has_splits: whether there are.
        request: the `Request`, whose `preparation` cuts out the halves of pairs
            side by side.
    """

    listing: listing_lib.Listing
    has_splits: bool
    request: Request


def digits(request):
    """Load the 1,797 handwritten digits that ship with scikit-learn, 32x32.

    The originals are 8x8 with 17 grey levels. They are enlarged threefold by
    bicubic interpolation and padded by 4 pixels, so the means over 3x3 blocks
    inside the border approximate the originals.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository, 1998 (its test set).

    Args:
        request: a `Request`.

    Returns:
        `Dataset`, images [1797, 32, 32, 1].
    """
    # The file is read directly: importing sklearn.datasets takes seconds.
    path = resources.files('sklearn.datasets.data') / 'digits.csv.gz'
    with path.open('rb') as file, gzip.open(file, 'rt') as rows:
        table = np.array(list(csv.reader(rows)), np.float32)
    small = np.round(table[:, :64].reshape(-1, 8, 8) * 255 / 16)
    images = np.stack([_enlarge(image) for image in small.astype(np.uint8)])
    return _of_arrays(
        request,
        images[..., None],
        table[:, 64].astype(np.int32),
        tuple('0123456789'),
    )


def _enlarge(image):
    large = Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(large), 4)


def _tfds(request, name=None):
    return of_files(select(_tfds_files(request, name or request.name)))


def _tfds_files(request, name):
    return Files(_tfds_listing(request, name), True, _with_half(request))


def _tfds_listing(request, name):
    _refuse_share(request, "; data.split='train[:90%]' selects a part of one")
    return tfds_source.listing(name, request.split, request.data_dir)


def _refuse_share(request, advice=''):
    """Raise `errors.DataError` for `test_share` of data with own splits."""
    if request.test_share:
        raise errors.DataError(
            f'data.test_share={request.test_share:g}: {request.name} has '
            f'splits of its own{advice}'
        )


def _stacked(request):
    listed = _tfds_listing(request, request.name.removeprefix('stacked_'))
    grey = pictures.Preparation(channels=1)
    images, good = reading.read(listed, grey)
    images, labels, classes = stacked.stack(images, listed.labels[good])
    return _of_arrays(request, images, labels, classes, has_splits=True)


def _files(request, path):
    """Load a data set from a folder or an archive."""
    return of_files(select(_path_files(request, path)))


def _path_files(request, path):
    """List the files of a split, and of a domain, of a folder or an archive."""
    scheme = request.name.partition(':')[0]
    listed = FILES[scheme](path)
    has_splits = is_domain = False
    if request.side:
        listed, has_splits = listing_lib.of_domain(
            listed, request.split, request.side
        )
        if has_splits and request.task:
            raise errors.DataError(
                f'data.task={request.task!r} makes two domains of one, and '
                f'{listed.name} has folders of two, such as trainA; set it to '
                "''"
            )
        if not has_splits and not request.task:
            listed, is_domain = listing_lib.of_side(listed, request.side)
    if not has_splits:
        if not is_domain:
            request = _with_half(request)
        listed, has_splits = listing_lib.of_split(listed, request.split)
    if has_splits:
        _refuse_share(request)
    elif scheme == 'arrow':
        arrow.check_one_split(listed)
    return Files(listed, has_splits, request)


def _with_half(request):
    """Set the half that is cut out of images of two, side by side."""
    if not request.side or request.task:
        return request
    half = pictures.HALVES[tasks.SIDES.index(request.side)]
    return request._replace(
        preparation=request.preparation._replace(half=half)
    )


def _arrays(request, path):
    images, labels = arrays.read(path)
    if images.ndim == 2:
        return _of_rows(request, path, images, labels)
    images, labels, classes = arrays.check_images(path, images, labels)
    return _of_arrays(request, images, labels, classes)


def _fields(request, path):
    """Load a folder of .npy files; the range is that of all of them."""
    whole = fields.listing(path)
    values = fields.read(whole)
    units = fields.units(path, values, request.limits, request.shown)
    listed = select(_path_files(request, path)).listing
    places = {file: place for place, file in enumerate(whole.files)}
    images = units.encode(values[[places[file] for file in listed.files]])
    return Dataset(
        request.name, images, listed.labels, listed.classes, units=units
    )


def _pack(request, path):
    return _of_arrays(request, *packs.read(path))


# Sets by name: `Request` -> `Dataset`. `_of_arrays` makes one of images and
# labels, in memory or read on demand.
DATASETS = {
    'celeb_a': _tfds,
    'cifar10': _tfds,
    'digits': digits,
    'fashion_mnist': _tfds,
    'kmnist': _tfds,
    'mnist': _tfds,
    'stacked_fashion_mnist': _stacked,
    'stacked_kmnist': _stacked,
    'stacked_mnist': _stacked,
}
# Listings of image files, for the schemes that `_files` reads.
FILES = {
    'arrow': arrow.listing, 'fields': fields.listing,
    'folder': folder.listing, 'tar': archive.tar_listing,
    'zip': archive.zip_listing,
}
# What stands before a colon: (`Request`, text behind the colon) -> `Dataset`.
SCHEMES = {
    'arrow': _files,
    'fields': _fields,
    'folder': _files,
    'npy': _arrays,
    'npz': _arrays,
    'pack': _pack,
    'tar': _files,
    'tfds': _tfds,
    'zip': _files,
}
# Endings of paths, and the scheme that reads them.
ENDINGS = {
    '.npy': 'npy', '.npz': 'npz', '.tar': 'tar', '.tgz': 'tar', '.zip': 'zip',
    '.tar.bz2': 'tar', '.tar.gz': 'tar', '.tar.xz': 'tar',
}
OTHER_NAMES = {
    'celeba': 'celeb_a', 'celeb-a': 'celeb_a', 'cifar': 'cifar10',
    'cifar-10': 'cifar10', 'cifar100': 'tfds:cifar100',
    'cifar-100': 'tfds:cifar100', 'fashion': 'fashion_mnist',
    'fashion-mnist': 'fashion_mnist', 'flowers': 'tfds:tf_flowers',
    'stacked-mnist': 'stacked_mnist', 'stl10': 'tfds:stl10',
    'svhn': 'tfds:svhn_cropped',
}
NOT_IN_TFDS = (
    'afhq', 'afhqv2', 'anime', 'celeba_hq', 'celebahq', 'ffhq', 'imagenet64',
    'lsun', 'metfaces',
)


def explain(name):
    """Return why a name is not a data set; '' if it is one.

    Args:
        name: of `DATASETS`, or a URI.

    Returns:
        One line with what to write instead.
    """
    scheme, colon, rest = name.partition(':')
    if colon and scheme in SCHEMES:
        return '' if rest else f'data.name={name!r} names nothing after the :'
    if name in DATASETS or name == UNKNOWN:
        return ''
    if not name:
        return "data.name='' and data.path='': one of them must be set"
    simple = name.lower()
    if simple in OTHER_NAMES:
        return (
            f'data.name={name!r} is not a data set here; it is called '
            f'{OTHER_NAMES[simple]!r}'
        )
    if simple.replace('-', '_') in NOT_IN_TFDS:
        return (
            f'data.name={name!r} is not in TensorFlow Datasets: download it '
            'and set data.path to its folder or archive'
        )
    schemes = ', '.join(f'{scheme}:' for scheme in sorted(SCHEMES))
    return (
        f'{errors.unknown_name("data.name", name, DATASETS)}; or a URI that '
        f'begins with one of {schemes}'
    )


def uri_of_path(path):
    """Return the URI of a folder, pack, archive or array file."""
    text = str(path)
    for ending, scheme in ENDINGS.items():
        if text.lower().endswith(ending) and not os.path.isdir(
                os.path.expanduser(text)):
            return f'{scheme}:{text}'
    if packs.is_pack(text):
        return f'pack:{text}'
    scheme = 'arrow' if arrow.is_saved(text) else (
        'fields' if fields.is_fields(text) else 'folder'
    )
    return f'{scheme}:{text}'


def is_path(text):
    """Return whether a command-line argument is a path, not a name or URI."""
    if not explain(text):
        return False
    return '/' in text or text.startswith(('.', '~')) or (
        os.path.exists(text)
    ) or text.lower().endswith(tuple(ENDINGS))


def load(request):
    """Load a data set.

    Args:
        request: a `Request`.

    Returns:
        `Dataset`. Its images are an array if they fit into `request.memory`,
        otherwise they are read when they are indexed.

    Raises:
        errors.DataError: if it is unknown, not prepared or unreadable.
    """
    complaint = explain(request.name)
    if request.name == UNKNOWN:
        complaint = (
            f'data.name={UNKNOWN!r}: the images of a converted network are not '
            'known; set data.path, or data.name, to images'
        )
    if complaint:
        raise errors.DataError(complaint)
    if request.name in DATASETS:
        return finish(request, DATASETS[request.name](request))
    scheme, _, rest = request.name.partition(':')
    return finish(request, SCHEMES[scheme](request, rest))


def finish(request, dataset):
    """Apply the task of a request, and check the size of its random crop.

    Args:
        request: a `Request`.
        dataset: `Dataset` of its images.

    Returns:
        `Dataset`.

    Raises:
        errors.DataError: where they do not fit the images.
    """
    images = dataset.images
    if images.ndim == 2 or dataset.units is not None:
        return dataset
    if request.task:
        channels = request.preparation.channels
        images = tasks.apply(images, request.task, request.side, channels)
        if channels not in (0, images.shape[-1]):
            raise errors.DataError(
                f'data.channels={channels}: side {request.side} of data.task='
                f'{request.task!r} has {images.shape[-1]}; set it to 0'
            )
        fits = request.memory is None or images.nbytes <= request.memory
        if on_demand.in_memory(dataset.images) and fits:
            images = on_demand.gather(images)
    height, width = images.shape[1:3]
    crop = request.random_crop or (1, 1)
    if crop[0] > height or crop[1] > width:
        raise errors.DataError(
            f'data.random_crop={crop[0]}x{crop[1]} is larger than the images '
            f'of {dataset.name}, {height}x{width}'
        )
    return dataset._replace(images=images, random_crop=request.random_crop)


def check_pictures(dataset):
    """Check that a `Dataset` holds pictures, not rows or fields.

    Raises:
        errors.DataError: where it does not.
    """
    if dataset.images.ndim == 2:
        raise errors.DataError(f'{dataset.name} holds rows, not images')
    if dataset.units is not None:
        raise errors.DataError(
            f'{dataset.name} holds .npy files with units, not pictures of '
            'uint8; train on the folder itself'
        )


def files(request):
    """List the encoded images of a request, before a part is selected.

    Args:
        request: a `Request`.

    Returns:
        `Files`; None if the images are in arrays.

    Raises:
        errors.DataError: as in `load`.
    """
    scheme, _, rest = request.name.partition(':')
    if scheme == 'tfds' or DATASETS.get(request.name) is _tfds:
        return _tfds_files(request, rest or scheme)
    return _path_files(request, rest) if scheme in FILES else None


def from_arrays(images, labels=None, *, name=ARRAYS, request=None):
    """Build a data set from arrays.

    Args:
        images: [N, H, W] or [N, H, W, C] uint8, C 1, 3 or 4; or rows [N, D].
        labels: [N] integers, or None.
        name: of the data set, for messages.
        request: a `Request` for a part of them or another form, or None.

    Returns:
        `Dataset`.

    Raises:
        errors.DataError: for another dtype or shape.
    """
    request = (request or Request(name))._replace(name=name)
    if np.ndim(images) == 2 and np.shape(images)[1:]:
        return _of_rows(request, name, images, labels)
    return finish(request, _of_arrays(
        request, *arrays.check_images(name, images, labels)
    ))


def _of_rows(request, name, rows, labels):
    """Build a data set of rows of numbers."""
    rows = np.asarray(rows)
    numbers = rows.dtype.kind in 'fi' and all(rows.shape)
    with np.errstate(over='ignore'):
        values = rows.astype(np.float32) if numbers else np.float32(np.nan)
    if not np.isfinite(values).all():
        raise errors.DataError(
            f'rows of {name} are {rows.dtype} {list(rows.shape)}; they must be '
            'finite signed numbers [N, D], N > 0, or images, uint8 [N, height, '
            'width] or [N, height, width, channels]'
        )
    labels, classes = arrays.check_labels(labels, len(rows))
    indices, labels, classes = selection.select(
        request, len(rows), labels, classes
    )
    return Dataset(request.name, values[indices], labels, classes)


def _of_arrays(request, images, labels, classes, has_splits=False):
    """Build a data set from an array, a memory map or an `OnDemand`."""
    indices, labels, classes = selection.select(
        request, len(images), labels, classes, has_splits=has_splits
    )
    images = on_demand.choose(images, indices)
    request = _with_half(request)
    _check_half(request, images.shape[1:])
    preparation = request.preparation
    shape = pictures.fitted_shape(images.shape[1:], preparation)
    if shape != images.shape[1:]:
        images = on_demand.change(
            images, lambda pixels: pictures.fit_array(pixels, preparation),
            shape,
        )
    if not on_demand.in_memory(images):
        if request.memory is None or images.nbytes <= request.memory:
            images = on_demand.gather(images)
    return Dataset(request.name, images, labels, classes)


def of_files(found):
    """Build a data set of `Files` from which a part is selected."""
    images, good = read(found)
    listed = found.listing
    labels = None if listed.labels is None else listed.labels[good]
    return Dataset(found.request.name, images, labels, listed.classes)


def read(found):
    """Read the images of `Files`; return (images, their indices)."""
    request = found.request
    _check_first_half(found)
    return reading.read(
        found.listing, request.preparation,
        memory=request.memory, max_bad=request.max_bad,
    )


def _check_first_half(found):
    """Check that the first image has halves, if one is needed.

    If it has not, all images are probably whole; none of them is reported.
    """
    request, listed = found.request, found.listing
    _check_half(request, listed.shape)
    if not request.preparation.half or None not in listed.shape[:2]:
        return
    for index, file in enumerate(listed.files):
        picture = listing_lib.decoded(
            listing_lib.contents(listed, [index])[0], pictures.Preparation()
        )
        if isinstance(picture, pictures.Picture):
            shape, shown = picture.pixels.shape, listing_lib.shown(file)
            _check_half(request, shape, f'{shown} of {listed.name}')
            return


def _check_half(request, shape, image=''):
    """Check that images of a known shape have halves, if one is needed."""
    try:
        pictures.fitted_shape(shape, request.preparation)
    except ValueError as error:
        raise errors.DataError(
            f'{image or f"an image of {request.name}"} {error}; for other '
            'images, choose a source for each domain, or --config.data.task'
        ) from error


def select(found, names=None):
    """Select the part of `Files` that their request needs.

    Args:
        found: `Files`.
        names: of the images, which decide what is drawn; by default those of
            the files.

    Returns:
        `Files`.
    """
    request, listed = found.request, found.listing
    indices, labels, classes = selection.select(
        request, len(listed.files), listed.labels, listed.classes,
        names=names or listed.files, has_splits=found.has_splits,
    )
    if len(indices) < len(listed.files):
        listed = listing_lib.choose(listed, indices)
    return found._replace(
        listing=listed._replace(labels=labels, classes=classes)
    )
