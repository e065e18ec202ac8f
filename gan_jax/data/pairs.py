"""Pairs of images in two or more sources, matched by file name.

Image files are partners if their paths from the folder that holds all images of
their source are equal, but for the ending: A/cat/1.png and B/cat/1.jpg. Images
in arrays are partners by number.
"""

import contextlib
import functools
import os

import numpy as np

from gan_jax.core import errors
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import reading
from gan_jax.data import sources

NUM_SHOWN = 3  # names in a message


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
    names = sorted({request.name for request in requests.values()})
    if len(names) > 1 and any(request.task for request in requests.values()):
        raise errors.DataError(
            'data.task makes pairs of the images of one source, not of '
            f'{" and ".join(names)}'
        )
    found = {}
    for name, request in requests.items():
        with naming(name):
            complaint = sources.explain(request.name)
            if complaint:
                raise errors.DataError(complaint)
            found[name] = None if request.task else sources.files(request)
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
    stems = {}
    for name, own in found.items():
        with naming(name):
            reading.check(  # that it holds an image
                own.listing.name, own.listing.skipped, len(own.listing.files), 1
            )
            stems[name] = _stems(own.listing, whole=one_list)
        _check_partners(stems, first, name)
        _check_partners(stems, name, first)
        with naming(name):
            aligned = own._replace(listing=listing_lib.choose(
                own.listing, [stems[name][stem] for stem in stems[first]]
            ))
            chosen[name] = sources.select(aligned, found[first].listing.files)
            images[name], good[name] = sources.read(chosen[name])
    both = functools.reduce(np.intersect1d, good.values())
    if not len(both):
        raise errors.DataError(
            f'no pair of {_listed(found)} has two readable images'
        )
    datasets = {}
    for name, own in chosen.items():
        labels = own.listing.labels
        dataset = sources.Dataset(
            own.request.name,
            on_demand.choose(images[name], np.searchsorted(good[name], both)),
            None if labels is None else labels[both], own.listing.classes,
        )
        with naming(name):
            datasets[name] = sources.finish(own.request, dataset)
    return datasets


def _stems(listing, whole):
    """Return {path without ending, from the shared folder: index}, in order.

    Args:
        listing: a `listing.Listing`.
        whole: whether to return whole paths, for equal listings.

    Raises:
        errors.DataError: where two images have the same one.
    """
    if whole:
        return {file: index for index, file in enumerate(listing.files)}
    parents = [file.split('/')[:-1] for file in listing.files]
    shared = len(os.path.commonprefix(parents)) if parents else 0
    stems = {}
    for index, file in enumerate(listing.files):
        stem = os.path.splitext('/'.join(file.split('/')[shared:]))[0]
        other = stems.setdefault(stem, index)
        if other != index:
            shown = ' and '.join(
                listing_lib.shown(listing.files[place])
                for place in (other, index)
            )
            raise errors.DataError(
                f'{listing.name} has {shown}, and pairs are matched by '
                'file name without the ending'
            )
    return stems


def _check_partners(stems, name, other):
    """Check that each image of a source has a partner in another one."""
    alone = [stem for stem in stems[name] if stem not in stems[other]]
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


def _listed(names):
    return ' and '.join(f'data.{name}' for name in names)
