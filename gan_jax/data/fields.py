"""Fields: images of any number of channels, from .npy files, in their units.

Networks see numbers in [-1, 1]; `Units` maps between these and the units of the
data, such as degrees, decibels or counts. Files are read, never unpickled.
"""

import contextlib
import io
import itertools
import os
import pathlib
from typing import NamedTuple, Tuple

import numpy as np

from gan_jax.core import errors
from gan_jax.data import folder
from gan_jax.data import listing as listing_lib
from gan_jax.data import memory

ENDING = '.npy'
MOST_CHANNELS = 256
MOST_ENTRIES = 10_000  # that are searched for the first data file
DTYPES = (
    'float16', 'float32', 'float64', 'int8', 'int16', 'int32', 'uint8',
    'uint16', 'uint32',
)


class Units(NamedTuple):
    """The range and type of the values of a data set, for each channel.

    Attributes:
        low, high: C floats; they become -1 and 1.
        dtype: one of `DTYPES`, of the files.
        shown: the 1 or 3 channels that pictures show.
    """

    low: Tuple[float, ...]
    high: Tuple[float, ...]
    dtype: str
    shown: Tuple[int, ...]

    def encode(self, values):
        """Map values [..., C] in units to float32 in [-1, 1]."""
        low, high = np.array(self.low), np.array(self.high)
        unit = 2 * (np.asarray(values, np.float64) - low) / (high - low) - 1
        return np.clip(unit, -1, 1).astype(np.float32)

    def decode(self, images):
        """Map images [..., C] in [-1, 1] to values in units, of `dtype`.

        Values that the type cannot hold become its least or greatest.
        """
        low, high = np.array(self.low), np.array(self.high)
        share = (np.clip(np.asarray(images, np.float64), -1, 1) + 1) / 2
        values = low + share * (high - low)
        whole = np.dtype(self.dtype).kind in 'iu'
        bounds = (np.iinfo if whole else np.finfo)(self.dtype)
        values = np.clip(values, float(bounds.min), float(bounds.max))
        return (np.round(values) if whole else values).astype(self.dtype)

    def draw(self, images):
        """Map images [..., C] in [-1, 1] to uint8 of the channels shown."""
        shares = (np.asarray(images)[..., list(self.shown)] + 1) / 2
        return np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)

    def described(self):
        """Describe type and ranges in a line."""
        ranges = ', '.join(
            f'{low:g} to {high:g}' for low, high in zip(self.low, self.high)
        )
        return f'{self.dtype} from {ranges}'


def is_fields(path):
    """Return whether the first data file of a folder is an .npy file.

    Files are walked as they are listed, `MOST_ENTRIES` of them at most.
    """
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        return False
    entries = folder.walk(pathlib.Path(path), (ENDING, *listing_lib.ENDINGS))
    # No permission, or a folder too deep.
    with contextlib.suppress(OSError, RecursionError):
        for name, why, reason in itertools.islice(entries, MOST_ENTRIES):
            if not why and not reason:
                return name.lower().endswith(ENDING)
    return False


def listing(path):
    """List the .npy files of a folder, as `folder.listing` lists pictures."""
    return folder.listing(path, endings=(ENDING,))


def read(listed):
    """Read the files of a listing.

    Args:
        listed: `listing.Listing` of .npy files.

    Returns:
        [N, H, W, C], of the dtype of the files.

    Raises:
        errors.DataError: naming the first file that cannot be read, has another
            dtype or shape than the first, or holds NaN or infinity.
    """
    for file, reason in listed.skipped:
        raise _error(listed, file, reason)
    if not listed.files:
        raise errors.DataError(f'{listed.name} holds no {ENDING} file')
    images = None
    for index, file in enumerate(listed.files):
        try:
            content, = listed.read([index])
            values = np.load(io.BytesIO(content), allow_pickle=False)
        except Exception as error:  # NumPy raises many kinds
            reason = ' '.join(str(error).split()) or type(error).__name__
            raise _error(listed, file, f'cannot be read: {reason}') from error
        if not isinstance(values, np.ndarray):
            raise _error(listed, file, 'is no array')
        values = values[..., None] if values.ndim == 2 else values
        if values.ndim != 3 or not 0 < values.shape[-1] <= MOST_CHANNELS or (
                not values.size or values.dtype.name not in DTYPES):
            raise _error(
                listed, file, f'is {values.dtype} {list(values.shape)}; it '
                'must be numbers [height, width] or [height, width, channels], '
                f'with at most {MOST_CHANNELS} channels'
            )
        if images is None:
            _check_memory(listed, values)
            images = np.empty((len(listed.files), *values.shape), values.dtype)
        if values.shape != images.shape[1:] or values.dtype != images.dtype:
            raise _error(
                listed, file, f'is {values.dtype} {list(values.shape)}, and '
                f'{listing_lib.shown(listed.files[0])} is {images.dtype} '
                f'{list(images.shape[1:])}; all must be alike'
            )
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise _error(
                listed, file, f'holds {bad} values that are NaN or infinite'
            )
        images[index] = values
    return images


def _error(listed, file, reason):
    return errors.DataError(
        f'{listing_lib.shown(file)} of {listed.name} {reason}'
    )


def _check_memory(listed, values):
    """Check that all files fit into the free memory, as read and as float32."""
    need = len(listed.files) * (values.nbytes + 4 * values.size)
    if need > memory.free():
        raise errors.DataError(
            f'{listed.name} takes {need / 2**30:.1f} GiB, and '
            f'{memory.free() / 2**30:.1f} GiB of memory are free; give a part '
            'of its files'
        )


def units(name, images, limits=(), shown=()):
    """Return the `Units` of images.

    Args:
        name: of their source, for messages.
        images: [N, H, W, C] in units.
        limits: low and high of all channels, or of each; () for the least and
            the greatest value of each channel.
        shown: channels for pictures; () for the first three, or the first.

    Raises:
        errors.DataError: for limits or channels that do not fit the images.
    """
    channels = images.shape[-1]
    least = images.min((0, 1, 2)).astype(np.float64)
    most = images.max((0, 1, 2)).astype(np.float64)
    # Of a channel of one value; from 2^53 on, one more is the same number.
    with np.errstate(over='ignore'):
        above = least + np.where(least + 1 > least, 1, np.abs(least))
    low, high = least, np.where(most > least, most, above)
    if limits:
        if len(limits) not in (2, 2 * channels):
            raise errors.DataError(
                f'data.range has {len(limits)} numbers; {name} has {channels} '
                f'channels, which need 2 or {2 * channels}'
            )
        pairs = np.broadcast_to(np.reshape(limits, (-1, 2)), (channels, 2))
        low, high = pairs.T
        for channel in np.flatnonzero((least < low) | (most > high)):
            raise errors.DataError(
                f'channel {channel} of {name} has values from '
                f'{least[channel]:g} to {most[channel]:g}, outside of '
                f'data.range {low[channel]:g} to {high[channel]:g}'
            )
    for channel in np.flatnonzero(~np.isfinite(_spread(low, high))):
        raise errors.DataError(
            f'channel {channel} of {name} has values from '
            f'{least[channel]:g} to {most[channel]:g}, which need a range '
            'beyond float64; scale them'
        )
    shown = tuple(shown) or ((0, 1, 2) if channels >= 3 else (0,))
    if max(shown) >= channels:
        raise errors.DataError(
            f'data.shown: {name} has no channel {max(shown)}; channels are '
            f'0 to {channels - 1}'
        )
    return Units(
        tuple(low.tolist()), tuple(high.tolist()), images.dtype.name, shown
    )


def _spread(low, high):
    """Compute high - low, infinite where float64 cannot hold it."""
    with np.errstate(over='ignore'):
        return high - low


def is_valid(value, channels):
    """Return whether JSON describes the `Units` of images with channels."""
    try:
        found = Units(**value)
        numbers = np.array([found.low, found.high], np.float64)
        return numbers.shape == (2, channels) and (
            np.isfinite(numbers).all() and (numbers[0] < numbers[1]).all()
            and np.isfinite(_spread(*numbers)).all()
            and found.dtype in DTYPES and len(found.shown) in (1, 3)
            and all(type(c) is int and 0 <= c < channels for c in found.shown)
        )
    except (TypeError, ValueError):
        return False
