"""Padding and tiles, which apply a function to images of any size.

Images whose sides the function cannot take are padded by reflection. Large ones
are cut into overlapping tiles, whose results are blended. It knows no files and
no networks.
"""

from typing import Callable, NamedTuple

import numpy as np


class Grid(NamedTuple):
    """Sides that a function of images takes, and the tiles of larger images.

    Attributes:
        tile: longest side that is not cut into tiles.
        overlap: fewest pixels that neighbouring tiles share, at most half of
            `tile`.
        multiple: sides must be multiples of it.
        smallest: sides must be at least as long.
    """

    tile: int = 256
    overlap: int = 32
    multiple: int = 1
    smallest: int = 1

    @property
    def longest(self):
        """Return the side of a tile: `tile`, rounded up to a valid side."""
        return self.valid(self.tile)

    def valid(self, side):
        """Return the smallest valid side that is not shorter than `side`."""
        return -(-max(side, self.smallest) // self.multiple) * self.multiple


class Span(NamedTuple):
    """The place of a tile along one axis.

    Attributes:
        start: its first pixel.
        weights: float32, of its pixels. At each pixel of the image, those of
            all tiles sum to 1.
    """

    start: int
    weights: np.ndarray


def pad(image, grid):
    """Pad the sides of an image by reflection to valid ones.

    Args:
        image: [H, W, C].
        grid: a `Grid`.

    Returns:
        (padded image; slices of the first two axes that restore the original).
    """
    sides = image.shape[:2]
    extra = [grid.valid(side) - side for side in sides]
    widths = [(number // 2, number - number // 2) for number in extra]
    inner = tuple(
        slice(before, before + side) for (before, _), side in zip(widths, sides)
    )
    if any(extra):
        image = np.pad(image, (*widths, (0, 0)), 'reflect')
    return image, inner


def spans(length, grid):
    """Split an axis into tiles of equal length.

    In an overlap of two, the weights of one fall linearly and those of the
    other rise.

    Args:
        length: of the axis, longer than a tile.
        grid: a `Grid`.

    Returns:
        list of `Span`, in order, as evenly spaced as whole pixels allow.
    """
    size, overlap = grid.longest, grid.overlap
    count = 1 + -(-(length - size) // (size - overlap))
    starts = np.round(np.linspace(0, length - size, count)).astype(int)
    ramp = (np.arange(size) + 0.5) / max(overlap, 1)
    ramp = np.minimum(1, np.minimum(ramp, ramp[::-1]))
    total = np.zeros(length)
    for start in starts:
        total[start:start + size] += ramp
    return [
        Span(int(start), np.float32(ramp / total[start:start + size]))
        for start in starts
    ]


def _spans_or_all(length, grid):
    """Split an axis into tiles if it is longer than one."""
    if length > grid.longest:
        return spans(length, grid)
    return [Span(0, np.ones(length, np.float32))]


def rows(function: Callable, image, grid):
    """Apply a function to an image, in tiles if a side is longer than a tile.

    Only one row of tiles is in memory at a time.

    Args:
        function: (image [h, w, C], number of the tile) -> float [h, w, C'], for
            valid h and w that are at most `Grid.longest`.
        image: [H, W, C].
        grid: a `Grid`.

    Yields:
        float32 [h, W, C'], successive rows of the result.
    """
    height, width = image.shape[:2]
    vertical, horizontal = (_spans_or_all(n, grid) for n in (height, width))
    tall = min(height, grid.longest)
    wide = min(width, grid.longest)
    pending = None  # sum of the rows from `top` on that are not complete
    for row, (top, row_weights) in enumerate(vertical):
        band = None
        for column, (left, weights) in enumerate(horizontal):
            part, inner = pad(
                image[top:top + tall, left:left + wide], grid
            )
            result = function(part, row * len(horizontal) + column)[inner]
            if band is None:
                shape = (tall, width, result.shape[-1])
                band = np.zeros(shape, np.float32)
            band[:, left:left + wide] += weights[:, None] * result
        band *= row_weights[:, None, None]
        if pending is not None:
            band[:len(pending)] += pending
        following = vertical[row + 1:row + 2]
        complete = following[0].start - top if following else tall
        yield band[:complete]
        pending = band[complete:]


def apply(function, image, grid, convert=np.asarray):
    """Apply a function to an image of any size.

    Args:
        function, image, grid: as of `rows`.
        convert: applied to successive rows of the result, such as a conversion
            to uint8, so that no float image of the whole size is needed.

    Returns:
        Array [H, W, C'].
    """
    return np.concatenate([convert(part) for part in rows(
        function, image, grid
    )])
