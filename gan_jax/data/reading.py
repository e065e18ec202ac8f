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
            return Lazy(listing, good, shape, preparation), good
    survey = listing_lib.survey(listing, preparation, keep=keep)
    report_skipped(listing.name, survey.skipped)
    check(listing.name, survey.skipped, len(survey.good), max_bad)
    shape = common_shape(listing, survey, preparation)
    warn_enlarged(survey, shape)
    if keep:
        return _stack(survey.images, shape), survey.good
    return Lazy(listing, survey.good, shape, preparation), survey.good


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


def report_skipped(source, skipped):
    """Report bad images, (name, reason) each, of a source on stderr."""
    for name, reason in skipped:
        _say(f'skipped {listing_lib.shown(name)} of {source}: it {reason}')


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


class Lazy(on_demand.OnDemand):
    """Images of a listing, which are decoded when they are indexed.

    An image that has become unreadable, or changed its size, is reported once
    and always replaced by the next good one in the listing's order.
    """

    def __init__(self, listing, good, shape, preparation):
        """Create a lazy array.

        Args:
            listing: a `listing.Listing`.
            good: int64 [n], indices of its images.
            shape: (height, width, channels) of each.
            preparation: a `pictures.Preparation`.
        """
        read = read_jointly([self])
        super().__init__(
            (len(good), *shape), lambda indices: read(indices)[0]
        )
        self.name = listing.name
        self._listing, self._good = listing, good
        self._preparation = preparation._replace(channels=shape[-1])

    def part(self, indices):
        """Select images at indices int64 [n]; return a `Lazy`."""
        return Lazy(
            self._listing, self._good[indices], self.shape[1:],
            self._preparation,
        )

    def attempt(self, indices):
        """Read images, without a replacement for those that are bad.

        Args:
            indices: int64 [n].

        Returns:
            (uint8 [n, H, W, C], {row of a bad image: (its name, reason)}).
        """
        files = [int(file) for file in self._good[indices]]
        images, bad = np.empty((len(files), *self.shape[1:]), np.uint8), {}
        for row, content in enumerate(listing_lib.each(self._listing, files)):
            picture = listing_lib.decoded(content, self._preparation)
            reason = picture  # an exception, if it is not a picture
            if isinstance(picture, pictures.Picture):
                if picture.pixels.shape == self.shape[1:]:
                    images[row] = picture.pixels
                    continue
                reason = f'has become {picture.size[0]}x{picture.size[1]}'
            bad[row] = (self._listing.files[files[row]], reason)
        return images, bad


def read_jointly(parts):
    """Build a function that reads the images of one or more lazy arrays.

    If one of the images at an index is bad, it is reported once, and all of
    them are replaced by those at the next index where all are good.

    Args:
        parts: list of `Lazy`s, or arrays in memory, of the same length.

    Returns:
        Function of indices int64 [n] to a list of uint8 [n, H, W, C]. It is
        thread-safe, and raises `errors.DataError` if no image is good.
    """
    reported, unit = set(), 'pair' if len(parts) > 1 else 'image'

    def attempt(indices):
        images, rows = [], set()
        for part in parts:
            if not isinstance(part, Lazy):
                images.append(part[indices])
                continue
            read, bad = part.attempt(indices)
            images.append(read)
            rows.update(bad)
            for file, reason in bad.values():
                if (part.name, file) not in reported:
                    reported.add((part.name, file))
                    _say(
                        f'skipped {listing_lib.shown(file)} of {part.name}: it '
                        f'{reason}; the next good {unit} replaces it'
                    )
        return images, rows

    def replacement(index):
        count = len(parts[0])
        for step in range(1, count):
            images, rows = attempt(np.array([(index + step) % count]))
            if not rows:
                return images
        names = sorted({p.name for p in parts if isinstance(p, Lazy)})
        raise errors.DataError(
            f'no readable {unit} is left in {" and ".join(names)}'
        )

    def fetch(indices):
        images, rows = attempt(indices)
        for row in sorted(rows):
            for own, other in zip(images, replacement(int(indices[row]))):
                own[row] = other[0]
        return images

    return fetch


def _say(line):
    redact.say(line, sys.stderr)
