"""From a listing to images: in memory where they fit, else on demand.

Bad images are named on stderr and left out; too many of them are an error. One
that turns bad later is named, and the next good one stands for it.
"""

import sys

import numpy as np

from gan_jax.core import errors
from gan_jax.core import redact
from gan_jax.data import listing as listing_lib
from gan_jax.data import on_demand
from gan_jax.data import pictures


def read(listing, preparation, *, memory=None, max_bad=0.01):
    """Give the images of a listing.

    Args:
        listing: a `listing.Listing`.
        preparation: a `pictures.Preparation`.
        memory: bytes that the images may take in memory; None is any number.
        max_bad: largest share of images that may be bad.

    Returns:
        (images, uint8 [n, H, W, C] or an `OnDemand` of them; int64 [n], which
        of the listing's images they are).

    Raises:
        errors.DataError: for no image, too many bad ones, or several sizes
            where none is asked for.
    """
    keep = memory is None or _estimate(listing, preparation) <= memory
    if listing.trusted and not keep:
        shape = pictures.fitted_shape(listing.shape, preparation)
        if None not in shape:
            good = np.arange(len(listing.files))
            return later(listing, good, shape, preparation), good
    survey = listing_lib.survey(listing, preparation, keep=keep)
    tell(listing, survey)
    check(listing.name, survey.skipped, len(survey.good), max_bad)
    shape = common_shape(listing, survey, preparation)
    tell_enlarged(survey, shape)
    if keep:
        return _stack(survey.images, shape), survey.good
    return later(listing, survey.good, shape, preparation), survey.good


def _estimate(listing, preparation):
    """Count the bytes of all images in memory, by the first that is good."""
    shape = pictures.fitted_shape(listing.shape, preparation)
    if preparation.image_size is None and None in shape:
        for place in range(len(listing.files)):
            found = listing_lib.decoded(
                listing_lib.contents(listing, [place])[0], preparation
            )
            if isinstance(found, pictures.Picture):
                shape = found.pixels.shape
                break
    height, width, channels = shape
    return len(listing.files) * (height or 0) * (width or 0) * (channels or 3)


def tell(listing, survey):
    """Name the bad images of a survey on stderr."""
    for name, reason in survey.skipped:
        shown = listing_lib.shown(name)
        _say(f'skipped {shown} of {listing.name}: it {reason}')


def check(name, skipped, count, max_bad):
    """Refuse a source with too many bad images.

    Args:
        name: of the source.
        skipped: (name, reason) of each bad image.
        count: good images.
        max_bad: largest share of bad ones.

    Raises:
        errors.DataError: with their share and the first of them.
    """
    bad, of = len(skipped), len(skipped) + count
    if not of:
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
    if bad > max_bad * of:
        raise errors.DataError(
            f'{bad} of {of} images of {name} are bad ({bad / of:.1%}, and '
            f'data.max_bad={max_bad:g} allows {max_bad:.1%}); the first, '
            f'{first}, {reason}'
        )


def common_shape(listing, survey, preparation):
    """Give the one (height, width, channels) that all images have, prepared.

    Raises:
        errors.DataError: where they differ in size.
    """
    sizes = {shape[:2] for shape in survey.shapes}
    if len(sizes) > 1:
        shown = ', '.join(f'{h}x{w}' for h, w in sorted(sizes)[:3])
        raise errors.DataError(
            f'images of {listing.name} differ in size ({shown}); set '
            'data.image_size, such as 64 or 48x80'
        )
    return (*sizes.pop(), max(shape[2] for shape in survey.shapes))


def tell_enlarged(survey, shape):
    """Warn of images that are enlarged more than twice."""
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
    """Copy images into one array, letting go of each; grey ones become RGB."""
    stacked = np.empty((len(images), *shape), np.uint8)
    for place in range(len(images)):
        stacked[place] = images[place]
        images[place] = None
    return stacked


def later(listing, good, shape, preparation):
    """Give images that are decoded when they are asked for.

    Where one turns bad, or another size, it is named once, and the next good
    one in the listing's order stands for it, at every time it is asked for.

    Args:
        listing: a `listing.Listing`.
        good: int64 [n], its images to give.
        shape: (height, width, channels) of each.
        preparation: a `pictures.Preparation`.

    Returns:
        `on_demand.OnDemand` [n, *shape].
    """
    preparation = preparation._replace(channels=shape[-1])
    named = set()

    def decode(content, place):
        found = listing_lib.decoded(content, preparation)
        if isinstance(found, pictures.Picture):
            if found.pixels.shape == shape:
                return found.pixels
            found = f'has become {found.size[0]}x{found.size[1]}'
        if place not in named:
            named.add(place)
            bad = listing_lib.shown(listing.files[good[place]])
            _say(
                f'skipped {bad} of {listing.name}: it {found}; the next good '
                'image stands for it'
            )
        return None

    def instead_of(place):
        for step in range(1, len(good)):
            other = (place + step) % len(good)
            content = listing_lib.contents(listing, [int(good[other])])[0]
            pixels = decode(content, other)
            if pixels is not None:
                return pixels
        raise errors.DataError(
            f'{listing.name} holds no readable image any more'
        )

    def fetch(places):
        files = [int(file) for file in good[places]]
        images = np.empty((len(places), *shape), np.uint8)
        contents = listing_lib.each(listing, files)
        for row, (place, content) in enumerate(zip(places, contents)):
            pixels = decode(content, int(place))
            images[row] = instead_of(int(place)) if pixels is None else pixels
        return images

    return on_demand.OnDemand((len(good), *shape), fetch)


def _say(line):
    redact.say(line, sys.stderr)
