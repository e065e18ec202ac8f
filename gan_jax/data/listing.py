"""Encoded images that can be read one by one: their list, survey and reading.

A folder, an archive and a set of TFDS each make a `Listing`; from there on they
are alike.
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

from gan_jax.core import files
from gan_jax.data import pictures

ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
MAX_BYTES = 256 * 2**20  # of one encoded image
MOST_SURVEY = 64 * 2**20  # bytes of a remembered survey
CHUNK = 8  # images between two steps of the progress bar, where none are kept
MACOSX = '__MACOSX'  # its archives hold a second file for each in there

# Where these alone hold images, they are a source's splits and no classes.
SPLITS = {
    'train': ('train', 'training'),
    'test': ('test', 'testing', 'val', 'valid', 'validation'),
}


class Listing(NamedTuple):
    """Encoded images in a fixed order.

    Attributes:
        name: of the whole, for messages.
        files: a name for each image.
        read: list of places -> list of bytes; raises OSError or ValueError
            where one of them cannot be read. Threads may call it at once.
        labels: [N] int32, or None.
        classes: a name for each label; () without labels.
        skipped: (name, reason) of images known to be bad without being read.
        ignored: (name, reason) of what was not taken for an image.
        fingerprint: changes when an image may have; '' where none is known.
        trusted: whether all images were written by one program in one form.
        shape: (height, width, channels) of each, as far as known beforehand;
            None for what is not.
        chunk: images to read at once; more than one where each read is slow
            to begin and images are small.
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


class Survey(NamedTuple):
    """What reading every image of a listing once has shown.

    Attributes:
        good: int64 [n], places of the images that can be read.
        skipped: (name, reason) of those that cannot.
        sizes: {(height, width): images}, as they lie.
        modes: {Pillow's mode: images}.
        shapes: {(height, width, channels): images}, prepared.
        images: their pixels, one array each; () where they were not kept.
    """

    good: np.ndarray
    skipped: Tuple[Tuple[str, str], ...]
    sizes: Dict[Any, int]
    modes: Dict[str, int]
    shapes: Dict[Any, int]
    images: Sequence[np.ndarray] = ()


def why_ignored(path):
    """Say why a file's path does not name an image; '' where it does.

    Args:
        path: relative, parts joined by '/'.
    """
    *folders, name = path.split('/')
    if name.startswith('.') or MACOSX in folders or any(
            folder.startswith('.') for folder in folders):
        return 'is hidden'
    ending = os.path.splitext(name)[1].lower()
    if ending not in ENDINGS:
        return f'ends in {ending}' if ending else 'has no ending'
    return ''


def classes_of(paths):
    """Take classes from the folders that images lie in.

    Folders that hold all of them are no class. Images beside folders leave all
    without a class.

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
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name] for name in names], np.int32), classes


def make(name, found, read, fingerprint):
    """Make a listing, sorted by name, of what was found in one place.

    Args:
        name: of the whole.
        found: (file's name, what `read` takes, why it is left out or '', why it
            is bad or '') of each file.
        read: function that gives the bytes of one file.
        fingerprint: as of `Listing`.
    """
    files, members, skipped, ignored = [], [], [], []
    for file, member, why, reason in sorted(found, key=lambda each: each[0]):
        if why:
            ignored.append((file, why))
        elif reason:
            skipped.append((file, reason))
        else:
            files.append(file)
            members.append(member)
    labels, classes = classes_of(files)
    return Listing(
        name=str(name),
        files=tuple(files),
        read=lambda places: [read(members[place]) for place in places],
        labels=labels,
        classes=classes,
        skipped=tuple(skipped),
        ignored=tuple(ignored),
        fingerprint=fingerprint,
    )


def too_large(size):
    """Say that so many bytes are too many for one image; '' where not."""
    return f'has {size:,} bytes, over {MAX_BYTES:,}' if size > MAX_BYTES else ''


def of_split(listing, split):
    """Choose the folder that is a split, where no others hold images.

    Args:
        listing: a `Listing`.
        split: a key of `SPLITS`.

    Returns:
        (`Listing` of that folder, True), or (the same listing, False).
    """
    parents = [name.split('/')[:-1] for name in listing.files]
    shared = len(os.path.commonprefix(parents)) if parents else 0
    tops = {''.join(parent[shared:shared + 1]) for parent in parents}
    known = {name for names in SPLITS.values() for name in names}
    chosen = min(tops & set(SPLITS.get(split, ())), default='')
    if len(tops) < 2 or not tops <= known or not chosen:
        return listing, False
    part = choose(listing, [
        place for place, parent in enumerate(parents)
        if parent[shared] == chosen
    ])
    labels, classes = classes_of(part.files)
    inside = '/'.join([*parents[0][:shared], chosen, ''])
    return part._replace(
        labels=labels, classes=classes, skipped=tuple(
            bad for bad in listing.skipped if bad[0].startswith(inside)
        ),
    ), True


def choose(listing, places):
    """Give a part of a listing; labels stay as they are."""
    places = np.asarray(places, np.int64)
    labels = listing.labels
    return listing._replace(
        files=tuple(listing.files[place] for place in places),
        read=lambda at: listing.read([int(places[place]) for place in at]),
        labels=None if labels is None else labels[places],
        fingerprint=listing.fingerprint and digest(
            listing.fingerprint, places.tobytes()
        ),
    )


def shown(name):
    """Give a name in one line that any terminal prints."""
    return name if name.isprintable() else ascii(name)


def digest(*parts):
    """Hash strings and bytes, in hexadecimal."""
    whole = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode(
            errors='surrogateescape'  # names that are no UTF-8
        )
        whole.update(len(content).to_bytes(8, 'little') + content)
    return whole.hexdigest()


def survey(listing, preparation, *, keep=False, visit=None):
    """Read and decode every image once.

    A survey that keeps nothing is remembered in the user's cache folder and
    made again where a file has changed.

    Args:
        listing: a `Listing`.
        preparation: a `pictures.Preparation`.
        keep: whether to keep the pixels.
        visit: called with (place, `pictures.Picture`) for each good image, in
            order; or None.

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
        known = _recall(cache, listing)
        if known is not None:
            return known
    made, passing = _look(listing, preparation, keep, visit)
    if cache is not None and not passing:
        _remember(cache, made, len(listing.files))
    return made


def _look(listing, preparation, keep, visit):
    """Give (`Survey`, whether a file was there and could not be read).

    Rights and file servers come back without a change of the file.
    """
    good, images, skipped = [], [], list(listing.skipped)
    passing = False
    sizes, modes, shapes = (collections.Counter() for _ in range(3))
    count = len(listing.files)
    bar = {'delay': 1, 'leave': False, 'disable': None}  # terminals alone
    lean = not keep and visit is None
    with tqdm(
            total=count, desc=f'Reading {listing.name}', unit='image', **bar
    ) as progress:
        for chunk in _chunks(listing, preparation, lean):
            for place, found in chunk:
                if isinstance(found, Exception):
                    skipped.append((listing.files[place], str(found)))
                    passing |= isinstance(found, OSError)
                    continue
                good.append(place)
                sizes[found.size] += 1
                modes[found.mode] += 1
                shapes[found.pixels.shape] += 1
                if keep:
                    images.append(found.pixels)
                    # Others are refused, however many bytes they take.
                    keep = found.pixels.shape[:2] == images[0].shape[:2]
                if visit is not None:
                    visit(place, found)
            progress.update(len(chunk))
    return Survey(
        np.array(good, np.int64), tuple(skipped), dict(sizes), dict(modes),
        dict(shapes), images if keep else (),
    ), passing


def _chunks(listing, preparation, lean):
    """Yield [(place, Picture or reason)], chunks decoded in threads.

    A few chunks are on their way at once, so memory stays bounded; lean ones
    hold no pixels, of which the shape stays.
    """
    count, workers = len(listing.files), min(8, os.cpu_count() or 1)
    size = max(CHUNK, listing.chunk) if lean else listing.chunk
    starts = iter(range(0, count, size))

    def work(start):
        places = list(range(start, min(start + size, count)))
        read = zip(places, each(listing, places))
        return [(place, look(content)) for place, content in read]

    def look(content):
        found = decoded(content, preparation)
        if lean and isinstance(found, pictures.Picture):
            hollow = np.broadcast_to(np.uint8(0), found.pixels.shape)
            found = found._replace(pixels=hollow)
        return found

    with futures.ThreadPoolExecutor(workers) as pool:
        waiting = collections.deque()
        for start in starts:
            waiting.append(pool.submit(work, start))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def each(listing, places):
    """Yield images, as `contents` gives them, `listing.chunk` read at once."""
    for start in range(0, len(places), listing.chunk):
        yield from contents(listing, places[start:start + listing.chunk])


def contents(listing, places):
    """Read images; where one cannot be read its exception stands for it."""
    try:
        return listing.read(places)
    except (OSError, ValueError) as error:
        if len(places) == 1:
            return [error]
    return [contents(listing, [place])[0] for place in places]


def decoded(content, preparation):
    """Decode bytes; gives a `Picture`, or an exception with the reason."""
    if isinstance(content, OSError):
        return OSError(f'cannot be read: {content.strerror or content}')
    if isinstance(content, ValueError):
        return content
    try:
        return pictures.decode(content, preparation)
    except ValueError as error:
        return error


def _recall(cache, listing):
    """Read a remembered survey; None where there is none."""
    try:
        known = files.read_json(cache, MOST_SURVEY)
        skipped = tuple(tuple(pair) for pair in known['skipped'])
        bad = {int(place) for place in known['bad']}
        counts = [
            {tuple(key) if isinstance(key, list) else key: number
             for key, number in known[name]}
            for name in ('sizes', 'modes', 'shapes')
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    good = [p for p in range(len(listing.files)) if p not in bad]
    return Survey(np.array(good, np.int64), skipped, *counts)


def _remember(cache, made, count):
    """Write a survey of `count` images whole, or not at all."""
    content = json.dumps({
        'skipped': made.skipped,
        'bad': sorted(set(range(count)) - set(made.good.tolist())),
        **{name: list(getattr(made, name).items())
           for name in ('sizes', 'modes', 'shapes')},
    })
    # A cache that cannot be written only costs time.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        files.write(cache, content)
