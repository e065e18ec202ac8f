"""Reading of a listing's images: into memory if they fit, otherwise lazily.

Bad images are reported on stderr and skipped; too many are an error. An image
that becomes unreadable during a run is reported and replaced by the next one.
"""

import sys

import numpy as np

from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures


def read(listing, preparation, *, memory=None, max_bad=0.01):
    """Read the images of a listing.

    Args:
        listing: a `listing.Listing`.
        preparation: a `pictures.Preparation`.
        memory: largest size of the images in memory, in bytes; None for any.
        max_bad: largest share of bad images.

    Returns:
        (images, uint8 [n, H, W, C] or an `OnDemand`; their indices in the
        listing, int64 [n]).

    Raises:
        errors.DataError: for no image, too many bad ones, or several sizes
            without `image_size`.
    """
    keep = memory is None or _estimate(listing, preparation) <= memory
    if listing.trusted and not keep:
        shape = pictures.fitted_shape(listing.shape, preparation)
        if None not in shape:
            good = np.arange(len(listing.files))
            return lazy(listing, good, shape, preparation), good
    survey = listing_lib.survey(listing, preparation, keep=keep)
    report_skipped(listing, survey)
    check(listing.name, survey.skipped, len(survey.good), max_bad)
    shape = common_shape(listing, survey, preparation)
    warn_enlarged(survey, shape)
    if keep:
        return _stack(survey.images, shape), survey.good
    return lazy(listing, survey.good, shape, preparation), survey.good


def _estimate(listing, preparation):
    """Estimate the bytes of all images in memory from the first good one."""
    shape = pictures.fitted_shape(listing.shape, preparation)
    if preparation.image_size is None and None in shape:
        for index in range(len(listing.files)):
            picture = listing_lib.decoded(
                listing_lib.contents(listing, [index])[0], preparation
            )
            if isinstance(picture, pictures.Picture):
                shape = picture.pixels.shape
                break
    height, width, channels = shape
    return len(listing.files) * (height or 0) * (width or 0) * (channels or 3)


def report_skipped(listing, survey):
    """Report the bad images of a survey on stderr."""
    for name, reason in survey.skipped:
        shown = listing_lib.shown(name)
        _say(f'skipped {shown} of {listing.name}: it {reason}')


def check(name, skipped, count, max_bad):
    """Check that a source does not have too many bad images.

    Args:
        name: of the source.
        skipped: (name, reason) of each bad image.
        count: good images.
        max_bad: largest share of bad ones.

    Raises:
        errors.DataError: if it does, with their share and the first one.
    """
    bad, total = len(skipped), len(skipped) + count
    if not total:
        raise errors.DataError(
            f'{name} holds no image ({", ".join(listing_lib.ENDINGS)})'
        )
    first, reason = skipped[0] if skipped else ('', '')
    first = listing_lib.shown(first)
    if not count:
        raise errors.DataError(
            f'{name} holds no readable image: the first of {bad}, {first}, '
            f'{reason}'
        )
    if bad > max_bad * total:
        raise errors.DataError(
            f'{bad} of {total} images of {name} are bad ({bad / total:.1%}, '
            f'and data.max_bad={max_bad:g} allows {max_bad:.1%}); the first, '
            f'{first}, {reason}'
        )


def common_shape(listing, survey, preparation):
    """Return the (height, width, channels) of all prepared images.

    Raises:
        errors.DataError: if their sizes differ.
    """
    sizes = {shape[:2] for shape in survey.shapes}
    if len(sizes) > 1:
        shown = ', '.join(f'{h}x{w}' for h, w in sorted(sizes)[:3])
        raise errors.DataError(
            f'images of {listing.name} differ in size ({shown}); set '
            'data.image_size, such as 64 or 48x80'
        )
    return (*sizes.pop(), max(shape[2] for shape in survey.shapes))


def warn_enlarged(survey, shape):
    """Warn of images that are enlarged by more than a factor of two."""
    small = sum(
        count for (height, width), count in survey.sizes.items()
        if 2 * height < shape[0] or 2 * width < shape[1]
    )
    if small:
        height, width = min(survey.sizes)
        _say(
            f'warning: {small} of {len(survey.good)} images are enlarged more '
            f'than twice to be {shape[0]}x{shape[1]}; the smallest is '
            f'{height}x{width}'
        )


def _stack(images, shape):
    """Move images into one array; grey ones are broadcast to RGB."""
    stacked = np.empty((len(images), *shape), np.uint8)
    for index in range(len(images)):
        stacked[index] = images[index]
        images[index] = None  # frees its memory
    return stacked


def lazy(listing, good, shape, preparation):
    """Build a lazy array of images, which are decoded when they are indexed.

    An image that has become unreadable, or changed its size, is reported once
    and always replaced by the next good one in the listing's order.

    Args:
        listing: a `listing.Listing`.
        good: int64 [n], indices of its images.
        shape: (height, width, channels) of each.
        preparation: a `pictures.Preparation`.

    Returns:
        `on_demand.OnDemand` [n, *shape].
    """
    preparation = preparation._replace(channels=shape[-1])
    reported = set()

    def decode(content, index):
        picture = listing_lib.decoded(content, preparation)
        reason = picture  # an exception, if it is not a picture
        if isinstance(picture, pictures.Picture):
            if picture.pixels.shape == shape:
                return picture.pixels
            reason = f'has become {picture.size[0]}x{picture.size[1]}'
        if index not in reported:
            reported.add(index)
            bad = listing_lib.shown(listing.files[good[index]])
            _say(
                f'skipped {bad} of {listing.name}: it {reason}; the next good '
                'image replaces it'
            )
        return None

    def replacement(index):
        for step in range(1, len(good)):
            other = (index + step) % len(good)
            content = listing_lib.contents(listing, [int(good[other])])[0]
            pixels = decode(content, other)
            if pixels is not None:
                return pixels
        raise errors.DataError(
            f'{listing.name} holds no readable image any more'
        )

    def fetch(indices):
        files = [int(file) for file in good[indices]]
        images = np.empty((len(indices), *shape), np.uint8)
        contents = listing_lib.each(listing, files)
        for row, (index, content) in enumerate(zip(indices, contents)):
            pixels = decode(content, int(index))
            if pixels is None:
                pixels = replacement(int(index))
            images[row] = pixels
        return images

    return on_demand.OnDemand((len(good), *shape), fetch)


def _say(line):
    redact.say(line, sys.stderr)
