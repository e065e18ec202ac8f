"""Pairs of images in two or more sources, matched by file name.

Image files are partners if their paths from the folder that holds all images of
their source are equal, but for the ending: A/cat/1.png and B/cat/1.jpg. Images
in arrays are partners by number.
"""

from concurrent import futures
import contextlib
import functools
import os
import threading

import numpy as np

from gan_jax.core import errors
from gan_jax.data import feed
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import reading
from gan_jax.data import sources

NUM_SHOWN = 3  # names in a message
# Images of one source, read because of another; their channels differ by 4.
MAX_BYTES = 4 * feed.MAX_BYTES_AHEAD


def load(requests, naming=contextlib.nullcontext):
    """Load sources whose images are pairs, in the same order.

    A pair is left out if one of its images is bad. The part that is selected,
    such as a test share, is that of the first source.

    Args:
        requests: {source: `sources.Request`}, which select the same part.
        naming: function of a source to a context, which may add its name to
            errors.

    Returns:
        {source: `sources.Dataset`}.

    Raises:
        errors.DataError: for an image without a partner, or pairs of different
            sizes.
    """
    found = {}
    for name, request in requests.items():
        with naming(name):
            complaint = sources.explain(request.name)
            if complaint:
                raise errors.DataError(complaint)
            found[name] = sources.files(request)
    in_files = [name for name in requests if found[name] is not None]
    if not in_files:
        datasets = {}
        for name, request in requests.items():
            with naming(name):
                datasets[name] = sources.load(request)
    elif len(in_files) == len(requests):
        datasets = _load_files(found, naming)
    else:
        array = min(set(requests) - set(in_files))
        raise errors.DataError(
            f'data.{in_files[0]} has image files and data.{array} has not; '
            'pairs are matched by file name, or by number if both are arrays'
        )
    _check_shapes(datasets)
    return datasets


def _load_files(found, naming):
    """Load `sources.Files` of pairs."""
    first, chosen, images, good = next(iter(found)), {}, {}, {}
    one_list = len({own.listing.files for own in found.values()}) == 1
    stems, bad = {}, {}
    for name, own in found.items():
        with naming(name):
            reading.check(  # that it holds an image
                own.listing.name, own.listing.skipped, len(own.listing.files), 1
            )
            stems[name], bad[name] = _stems(own.listing, whole=one_list)
        _check_partners(stems, bad, first, name)
        _check_partners(stems, bad, name, first)
    complete = [
        stem for stem in stems[first]
        if all(stem in own_stems for own_stems in stems.values())
    ]
    aligned = {
        name: own._replace(listing=listing_lib.choose(
            own.listing, [stems[name][stem] for stem in complete]
        )) for name, own in found.items()
    }
    for name, own in aligned.items():
        with naming(name):
            chosen[name] = sources.select(own, aligned[first].listing.files)
            images[name], good[name] = sources.read(chosen[name])
    both = functools.reduce(np.intersect1d, good.values())
    if not len(both):
        raise errors.DataError(
            f'no pair of {" and ".join(f"data.{name}" for name in found)} has '
            'two readable images'
        )
    joined = join([
        _part(images[name], np.searchsorted(good[name], both))
        for name in found
    ])
    datasets = {}
    for (name, own), pixels in zip(chosen.items(), joined):
        labels = own.listing.labels
        dataset = sources.Dataset(
            own.request.name, pixels,
            None if labels is None else labels[both], own.listing.classes,
        )
        with naming(name):
            datasets[name] = sources.finish(own.request, dataset)
    return datasets


def _part(images, indices):
    """Select a part of an array or of a `reading.Lazy`."""
    if len(indices) == len(images):
        return images
    if isinstance(images, reading.Lazy):
        return images.part(indices)
    return images[indices]


def join(parts):
    """Join images of pairs, so that a bad image replaces its whole pair.

    An image can become unreadable during a run. If any of the images are read
    on demand, all become so: a read of one source reads the others as well, and
    keeps their images until they are read at the same indices.

    Args:
        parts: list of arrays in memory and `reading.Lazy`s, of equal length.

    Returns:
        List of arrays, or of `on_demand.OnDemand`s.
    """
    if not any(isinstance(part, reading.Lazy) for part in parts):
        return parts
    reads = _SharedReads(
        reading.read_jointly(parts),
        [part.nbytes // len(part) for part in parts],
    )
    return [
        on_demand.OnDemand(part.shape, functools.partial(reads.read, place))
        for place, part in enumerate(parts)
    ]


class _SharedReads:
    """Results of a joint read, each handed out once to each source."""

    def __init__(self, read, sizes):
        """Create it without results.

        Args:
            read: function of `reading.read_jointly`.
            sizes: bytes of one image of each source.
        """
        self._read, self._sizes = read, sizes
        self._lock = threading.Lock()
        self._waiting = {}  # indices: (future, sources that have not read it)

    def read(self, place, indices):
        """Read images of the source at a place; it is thread-safe."""
        key, is_new = indices.tobytes(), False
        with self._lock:
            future, places = self._waiting.pop(key, (None, ()))
            if place not in places:
                future, places = futures.Future(), range(len(self._sizes))
                is_new = True
            places = [other for other in places if other != place]
            if places:
                self._waiting[key] = future, places
                self._limit()
        if is_new:
            try:
                future.set_result(self._read(indices))
            except BaseException as error:  # for those that wait, too
                future.set_exception(error)
        images = future.result()
        own, images[place] = images[place], None
        return own

    def _limit(self):
        """Delete the oldest results until the others fit into `MAX_BYTES`."""
        sizes = {
            key: len(key) // 8 * sum(self._sizes[place] for place in places)
            for key, (_, places) in self._waiting.items()
        }
        total = sum(sizes.values())
        for key, size in sizes.items():
            if total <= MAX_BYTES:
                break
            del self._waiting[key]
            total -= size


def _stems(listing, whole):
    """Return the paths without ending, from the shared folder.

    Args:
        listing: a `listing.Listing`.
        whole: whether to return whole paths, for equal listings.

    Returns:
        ({path: index}, in order; set of the paths of images that are bad
        without being read).

    Raises:
        errors.DataError: where two images have the same one.
    """
    if whole:
        return {file: index for index, file in enumerate(listing.files)}, set()
    parents = [file.split('/')[:-1] for file in listing.files]
    shared = len(os.path.commonprefix(parents)) if parents else 0

    def stem_of(file):
        return os.path.splitext('/'.join(file.split('/')[shared:]))[0]

    stems = {}
    for index, file in enumerate(listing.files):
        other = stems.setdefault(stem_of(file), index)
        if other != index:
            shown = ' and '.join(
                listing_lib.shown(listing.files[place])
                for place in (other, index)
            )
            raise errors.DataError(
                f'{listing.name} has {shown}, and pairs are matched by '
                'file name without the ending'
            )
    return stems, {stem_of(file) for file, _ in listing.skipped}


def _check_partners(stems, bad, name, other):
    """Check that each image of a source has a partner in another one."""
    partners = bad[other].union(stems[other])
    alone = [stem for stem in stems[name] if stem not in partners]
    if alone:
        shown = ', '.join(map(listing_lib.shown, alone[:NUM_SHOWN]))
        more = ', …' if len(alone) > NUM_SHOWN else ''
        raise errors.DataError(
            f'{len(alone):,} of {len(stems[name]):,} images of data.{name} '
            f'have no partner of the same name in data.{other}: {shown}{more}'
        )


def _check_shapes(datasets):
    """Check that sources have the same number and size of images."""
    (first, one), *others = datasets.items()
    for name, dataset in datasets.items():
        if dataset.images.ndim == 2:
            raise errors.DataError(
                f'data.{name} has rows of {dataset.images.shape[1]} numbers; '
                'pairs are of images'
            )
    for name, two in others:
        counts = [len(dataset.images) for dataset in (one, two)]
        if counts[0] != counts[1]:
            raise errors.DataError(
                f'data.{first} has {counts[0]:,} images and data.{name} '
                f'{counts[1]:,}; they are drawn in pairs and must be equal'
            )
        sizes = [
            'x'.join(map(str, dataset.images.shape[1:-1]))
            for dataset in (one, two)
        ]
        if sizes[0] != sizes[1]:
            raise errors.DataError(
                f'images of data.{first} have {sizes[0]} pixels and those of '
                f'data.{name} {sizes[1]}; pairs must be equal: set '
                'data.image_size'
            )
