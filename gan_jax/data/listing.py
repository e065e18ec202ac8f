"""Listings of encoded images, and surveys that decode each of them once.

A folder, an archive and a set of TFDS each give a `Listing`; the code after it
does not know which. `survey` finds bad images and caches the result.
"""

import collections
from concurrent import futures
import contextlib
import hashlib
import json
import os
import pathlib
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image
import platformdirs
from tqdm import tqdm

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import label_files
from gan_jax.data import pictures

ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
MAX_BYTES = 256 * 2**20  # of one encoded image
MOST_SURVEY = 64 * 2**20  # bytes of a cached survey
CHUNK = 8  # images decoded by one task if their pixels are not kept
MACOSX = '__MACOSX'  # folder of metadata in archives made by macOS

# If only folders of these names hold images, they are splits, not classes.
SPLITS = {
    'train': ('train', 'training'),
    'test': ('test', 'testing', 'val', 'valid', 'validation'),
}


class Listing(NamedTuple):
    """Encoded images in a fixed order.

    Attributes:
        name: of the source, for messages.
        files: a name for each image.
        read: function of a list of indices to a list of bytes; raises OSError
            or ValueError if one cannot be read. It is thread-safe.
        labels: [N] int32, or None.
        classes: a name for each label; () without labels.
        skipped: (name, reason) of images that are bad without being read.
        ignored: (name, reason) of files that are not images.
        fingerprint: hash that changes if an image may have changed; '' if
            there is none.
        trusted: whether one program wrote all images in one format.
        shape: (height, width, channels) of each image; None for those that are
            not known without reading.
        chunk: images to read at once; above 1 for small images whose reads have
            a high latency.
        labelled: whether a file of labels, not folders, decides the labels.
    """

    name: str
    files: Tuple[str, ...]
    read: Callable
    labels: Optional[np.ndarray] = None
    classes: Tuple[str, ...] = ()
    skipped: Tuple[Tuple[str, str], ...] = ()
    ignored: Tuple[Tuple[str, str], ...] = ()
    fingerprint: str = ''
    trusted: bool = False
    shape: Tuple[Optional[int], ...] = (None, None, None)
    chunk: int = 1
    labelled: bool = False


class Survey(NamedTuple):
    """Result of reading every image of a listing once.

    Attributes:
        good: int64 [n], indices of the images that can be read.
        skipped: (name, reason) of those that cannot.
        sizes: {(height, width): number of images}, as stored.
        modes: {Pillow's mode: number of images}.
        shapes: {(height, width, channels): number of images}, prepared.
        images: pixels of the good images; () if they were not kept.
    """

    good: np.ndarray
    skipped: Tuple[Tuple[str, str], ...]
    sizes: Dict[Any, int]
    modes: Dict[str, int]
    shapes: Dict[Any, int]
    images: Sequence[np.ndarray] = ()


def why_ignored(path, endings=ENDINGS):
    """Return why a path does not name an image; '' if it does.

    Args:
        path: relative, parts joined by '/'.
        endings: of the files that are images.
    """
    *folders, name = path.split('/')
    if name.startswith('.') or MACOSX in folders or any(
            folder.startswith('.') for folder in folders):
        return 'is hidden'
    ending = os.path.splitext(name)[1].lower()
    if ending not in endings:
        return f'ends in {ending}' if ending else 'has no ending'
    return ''


def classes_of(paths):
    """Extract classes from the folders of the images.

    Folders that contain all images are not classes. If images lie beside
    folders, there are no classes.

    Args:
        paths: relative paths, parts joined by '/'.

    Returns:
        (labels [N] int32 or None, class names sorted).
    """
    parents = [path.split('/')[:-1] for path in paths]
    if not parents:
        return None, ()
    shared = len(os.path.commonprefix(parents))
    if any(len(parent) == shared for parent in parents):
        return None, ()
    names = [parent[shared] for parent in parents]
    classes = tuple(sorted(set(names)))
    labels = {name: number for number, name in enumerate(classes)}
    return np.array([labels[name] for name in names], np.int32), classes


def make(name, entries, read, fingerprint, load=None):
    """Build a listing, sorted by name, of the files of a source.

    A file of labels (`label_files`) decides the labels, or else the folders.

    Args:
        name: of the source.
        entries: (file name, argument of `read`, why it is ignored or '', why it
            is bad or '') of each file.
        read: function that returns the bytes of one file.
        fingerprint: as in `Listing`.
        load: function of the same argument that returns the bytes of a file of
            labels; raises OSError or ValueError. By default `read`.

    Returns:
        `Listing`.

    Raises:
        errors.DataError: if the file of labels does not fit the images, or has
            those of a part of them alone.
    """
    files, members, skipped, ignored = [], [], [], []
    for file, member, why, reason in sorted(entries, key=lambda e: e[0]):
        if why:
            ignored.append((file, why))
        elif reason:
            skipped.append((file, reason))
        else:
            files.append(file)
            members.append(member)
    own = label_files.find([entry[0] for entry in entries], files)
    if own:
        member = next(entry[1] for entry in entries if entry[0] == own)
        labels, classes = label_files.read(
            name, own, load or read, member, files, [f for f, _ in skipped]
        )
    else:
        label_files.check_unused(
            name, [entry[:2] for entry in entries], files, load or read,
            [f for f, _ in skipped],
        )
        labels, classes = classes_of(files)
    return Listing(
        name=str(name),
        files=tuple(files),
        read=lambda indices: [read(members[index]) for index in indices],
        labels=labels,
        classes=classes,
        skipped=tuple(skipped),
        ignored=tuple(ignored),
        fingerprint=fingerprint,
        labelled=bool(own),
    )


def too_large(size):
    """Return why an image of a size in bytes is refused; '' if it is not."""
    return f'has {size:,} bytes, over {MAX_BYTES:,}' if size > MAX_BYTES else ''


def of_split(listing, split):
    """Select the folder of a split, if only folders of splits hold images.

    Args:
        listing: a `Listing`.
        split: a key of `SPLITS`.

    Returns:
        (`Listing` of that folder, True), or (the same listing, False).
    """
    parents = [name.split('/')[:-1] for name in listing.files]
    shared = len(os.path.commonprefix(parents)) if parents else 0
    tops = {''.join(parent[shared:shared + 1]) for parent in parents}
    split_names = {name for names in SPLITS.values() for name in names}
    folder = min(tops & set(SPLITS.get(split, ())), default='')
    if len(tops) < 2 or not tops <= split_names or not folder:
        return listing, False
    return _below(listing, '/'.join([*parents[0][:shared], folder])), True


def of_domain(listing, split, side):
    """Select the folder of a domain, such as trainA for the split 'train'.

    The layout is that of the authors of CycleGAN: trainA, trainB, testA, testB.

    Args:
        listing: a `Listing`.
        split: as of `of_split`.
        side: 'A' or 'B'.

    Returns:
        (`Listing` of that folder, True), or (the same listing, False) where no
        folder has such a name.

    Raises:
        errors.DataError: where folders have such names, but no image is in one
            of this split and side.
    """
    names = {
        f'{name}{letter}' for split_names in SPLITS.values()
        for name in split_names for letter in 'AB'
    }
    folders = {}  # name: path
    for file in listing.files:
        parents = file.split('/')[:-1]
        for depth, part in enumerate(parents):
            if part in names:
                folders.setdefault(part, '/'.join(parents[:depth + 1]))
                break
    if not folders:
        return listing, False
    choices = [f'{name}{side}' for name in SPLITS.get(split, (split,))]
    for name in choices:
        if name in folders:
            return _below(listing, folders[name]), True
    raise errors.DataError(
        f'{listing.name} holds no image in {choices[0]}; it has images in '
        f'{", ".join(sorted(folders))}'
    )


def of_side(listing, side):
    """Select the folder A or B, if only these two hold images.

    Args:
        listing: a `Listing`.
        side: 'A' or 'B'.

    Returns:
        (`Listing` of that folder, True), or (the same listing, False).
    """
    parents = [name.split('/')[:-1] for name in listing.files]
    shared = len(os.path.commonprefix(parents)) if parents else 0
    tops = {''.join(parent[shared:shared + 1]) for parent in parents}
    if tops not in ({'A', 'B'}, {'a', 'b'}):
        return listing, False
    [folder] = (top for top in tops if top.upper() == side)
    return _below(listing, '/'.join([*parents[0][:shared], folder])), True


def _below(listing, folder):
    """Select the images below a folder, with its own classes."""
    prefix = f'{folder}/'
    part = choose(listing, [
        index for index, file in enumerate(listing.files)
        if file.startswith(prefix)
    ])
    if not listing.labelled:
        labels, classes = classes_of(part.files)
        part = part._replace(labels=labels, classes=classes)
    return part._replace(
        skipped=tuple(
            bad for bad in listing.skipped if bad[0].startswith(prefix)
        ),
    )


def choose(listing, indices):
    """Select a part of a listing; labels are not renumbered."""
    indices = np.asarray(indices, np.int64)
    labels = listing.labels
    return listing._replace(
        files=tuple(listing.files[index] for index in indices),
        read=lambda rows: listing.read([int(indices[row]) for row in rows]),
        labels=None if labels is None else labels[indices],
        fingerprint=listing.fingerprint and digest(
            listing.fingerprint, indices.tobytes()
        ),
    )


def shown(name):
    """Format a name as one printable line."""
    return name if name.isprintable() else ascii(name)


def digest(*parts):
    """Hash strings and bytes, in hexadecimal."""
    result = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode(
            errors='surrogateescape'  # for names that are not UTF-8
        )
        result.update(len(content).to_bytes(8, 'little') + content)
    return result.hexdigest()


def survey(listing, preparation, *, keep=False, visit=None):
    """Read and decode every image once.

    A survey that keeps no pixels is cached in the user's cache folder, until a
    file changes.

    Args:
        listing: a `Listing`.
        preparation: a `pictures.Preparation`.
        keep: whether to keep the pixels.
        visit: function of (index, `pictures.Picture`) that is called for each
            good image, in order; or None.

    Returns:
        `Survey`.
    """
    cache = None
    if listing.fingerprint and not keep and visit is None:
        key = digest(
            listing.fingerprint, listing.skipped, preparation,
            Image.__version__,
        )
        folder = pathlib.Path(platformdirs.user_cache_dir('gan_jax'))
        cache = folder / 'surveys' / f'{key}.json'
        cached = _read_cache(cache, listing)
        if cached is not None:
            return cached
    result, transient = _survey(listing, preparation, keep, visit)
    if cache is not None and not transient:
        _write_cache(cache, result, len(listing.files))
    return result


def _survey(listing, preparation, keep, visit):
    """Read every image.

    Returns:
        (`Survey`, whether an error may be transient: permissions and network
        drives can change without a change of the file).
    """
    good, images, skipped = [], [], list(listing.skipped)
    transient = False
    sizes, modes, shapes = (collections.Counter() for _ in range(3))
    count = len(listing.files)
    bar = {'delay': 1, 'leave': False, 'disable': None}  # only on terminals
    lean = not keep and visit is None
    with tqdm(
            total=count, desc=f'Reading {listing.name}', unit='image', **bar
    ) as progress:
        for chunk in _chunks(listing, preparation, lean):
            for index, picture in chunk:
                if isinstance(picture, Exception):
                    skipped.append((listing.files[index], str(picture)))
                    transient |= isinstance(picture, OSError)
                    continue
                good.append(index)
                sizes[picture.size] += 1
                modes[picture.mode] += 1
                shapes[picture.pixels.shape] += 1
                if keep:
                    images.append(picture.pixels)
                    # Several sizes are refused later; keep no more of them.
                    keep = picture.pixels.shape[:2] == images[0].shape[:2]
                if visit is not None:
                    visit(index, picture)
            progress.update(len(chunk))
    return Survey(
        np.array(good, np.int64), tuple(skipped), dict(sizes), dict(modes),
        dict(shapes), images if keep else (),
    ), transient


def _chunks(listing, preparation, lean):
    """Yield lists of (index, Picture or exception), decoded in threads.

    The number of pending chunks is bounded, and so is the memory. If `lean`,
    pixels are replaced by a broadcast zero of the same shape.
    """
    count, workers = len(listing.files), min(8, os.cpu_count() or 1)
    size = max(CHUNK, listing.chunk) if lean else listing.chunk
    starts = iter(range(0, count, size))

    def work(start):
        indices = list(range(start, min(start + size, count)))
        read = zip(indices, each(listing, indices))
        return [(index, decode(content)) for index, content in read]

    def decode(content):
        picture = decoded(content, preparation)
        if lean and isinstance(picture, pictures.Picture):
            zeros = np.broadcast_to(np.uint8(0), picture.pixels.shape)
            picture = picture._replace(pixels=zeros)
        return picture

    with futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque()
        for start in starts:
            pending.append(pool.submit(work, start))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def each(listing, indices):
    """Yield the results of `contents`, reading `listing.chunk` at once."""
    for start in range(0, len(indices), listing.chunk):
        yield from contents(listing, indices[start:start + listing.chunk])


def contents(listing, indices):
    """Read images; return a list of bytes, or the exception of each failure."""
    try:
        return listing.read(indices)
    except (OSError, ValueError) as error:
        if len(indices) == 1:
            return [error]
    return [contents(listing, [index])[0] for index in indices]


def decoded(content, preparation):
    """Decode bytes to a `Picture`, or return an exception with the reason."""
    if isinstance(content, OSError):
        return OSError(f'cannot be read: {content.strerror or content}')
    if isinstance(content, ValueError):
        return content
    try:
        return pictures.decode(content, preparation)
    except ValueError as error:
        return error


def _read_cache(cache, listing):
    """Read a cached survey; None if there is none."""
    try:
        content = files.read_json(cache, MOST_SURVEY)
        skipped = tuple(tuple(pair) for pair in content['skipped'])
        bad = {int(index) for index in content['bad']}
        counts = [
            {tuple(key) if isinstance(key, list) else key: number
             for key, number in content[name]}
            for name in ('sizes', 'modes', 'shapes')
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    good = [i for i in range(len(listing.files)) if i not in bad]
    return Survey(np.array(good, np.int64), skipped, *counts)


def _write_cache(cache, result, count):
    """Write a survey of `count` images atomically."""
    content = json.dumps({
        'skipped': result.skipped,
        'bad': sorted(set(range(count)) - set(result.good.tolist())),
        **{name: list(getattr(result, name).items())
           for name in ('sizes', 'modes', 'shapes')},
    })
    # If the cache cannot be written, the next run surveys again.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        files.write(cache, content)
