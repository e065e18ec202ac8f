"""Image-to-image tasks that are made from any images, without a download.

Each turns an image into a pair (a, b). Both are functions of that image alone,
so the partner of every a is known, also where an algorithm is not shown it.
"""

from typing import Callable, NamedTuple

import numpy as np

from gan_jax.data import on_demand

SIDES = ('A', 'B')  # of a source with two domains, the input and the target
LUMA = (299, 587, 114)  # thousandths of red, green and blue in grey
EDGE = 64  # least slope of an edge, of 255
GREEN, YELLOW = (40, 120, 50), (210, 160, 60)  # backgrounds


class Task(NamedTuple):
    """A pair of functions, uint8 [..., H, W, C] -> uint8 [..., H, W, C'].

    Attributes:
        a: original images to images of the domain A.
        b: original images to images of the domain B.
    """

    a: Callable
    b: Callable


def same(images):
    """Return the images unchanged."""
    return images


def grey(images):
    """Convert to one channel, [..., H, W, 1]; alpha is dropped."""
    if images.shape[-1] == 1:
        return images
    luma = images[..., :3].astype(np.int64) @ np.array(LUMA)
    return ((luma[..., None] + 500) // 1000).astype(np.uint8)


def invert(images):
    """Replace each value x by 255 - x; alpha is kept."""
    inverted = 255 - images
    if images.shape[-1] == 4:
        inverted[..., 3] = images[..., 3]
    return inverted


def stripes(images):
    """Apply colors from red on the left to blue on the right, and stripes.

    x -> x c s, x the grey image, c the color of its column, s 1 or 1/2 in turn
    by rows. c is (1 - t, 1/2, t) over its largest value, t from 0 on the left
    to 1 on the right. So x is the largest channel / s.

    Returns:
        uint8 [..., H, W, 3].
    """
    images = grey(images)
    height, width = images.shape[-3:-1]
    share = np.linspace(0, 1, width)
    color = np.stack([1 - share, np.full(width, 0.5), share], -1)
    color /= color.max(-1, keepdims=True)
    return _rounded(images * color * np.where(_stripes(height), 0.5, 1.0))


def edges(images):
    """Draw edges in black on white: slopes of at least `EDGE`, by Sobel.

    Returns:
        uint8 [..., H, W, 1].
    """
    padded = _padded(grey(images).astype(np.float64), 1)
    smooth, slope = (1, 2, 1), (-1, 0, 1)
    along_y = _filtered(_filtered(padded, slope, -3), smooth, -2)
    along_x = _filtered(_filtered(padded, smooth, -3), slope, -2)
    size = np.hypot(along_x, along_y) / 4  # 255 for a step from black to white
    return np.where(size >= EDGE, 0, 255).astype(np.uint8)


def blur(images):
    """Apply a Gaussian blur; its deviation is a 16th of the shorter side."""
    deviation = min(images.shape[-3:-1]) / 16
    radius = int(np.ceil(3 * deviation))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    taps /= taps.sum()
    padded = _padded(images.astype(np.float64), radius)
    return _rounded(_filtered(_filtered(padded, taps, -3), taps, -2))


def on_background(images, *, striped, color):
    """Draw a grey image in white on a colored background.

    Args:
        images: uint8 [..., H, W, C]; black is the background.
        striped: whether every other stripe of the drawing is dark.
        color: (red, green, blue), or None: one of `GREEN` and `YELLOW`, by the
            parity of the sum of all values of the grey image.

    Returns:
        uint8 [..., H, W, 3].
    """
    images = grey(images)
    if color is None:
        total = images.sum((-3, -2, -1), keepdims=True, dtype=np.int64)
        color = np.where(total % 2, YELLOW, GREEN)
    front = np.where(_stripes(images.shape[-3]) & striped, 40, 255)
    share = images / 255
    return _rounded(share * front + (1 - share) * np.array(color))


def _stripes(height):
    """Return which rows belong to the dark stripes, [H, 1, 1]."""
    thickness = max(1, height // 16)
    return (np.arange(height) // thickness % 2 == 1)[:, None, None]


def _rounded(values):
    return np.round(values).astype(np.uint8)


def _padded(images, width):
    """Pad both axes of images with their edge values."""
    pads = [(0, 0)] * (images.ndim - 3) + [(width, width)] * 2 + [(0, 0)]
    return np.pad(images, pads, mode='edge')


def _filtered(images, taps, axis):
    """Apply a filter along an axis, inside the padding."""
    size = images.shape[axis] - len(taps) + 1
    parts = [
        tap * images.take(np.arange(start, start + size), axis)
        for start, tap in enumerate(taps)
    ]
    return sum(parts)


def _drawn(striped, color):
    return lambda images: on_background(images, striped=striped, color=color)


TASKS = {
    'deblur': Task(blur, same),
    'edges': Task(edges, same),
    'free_background': Task(_drawn(False, None), _drawn(True, None)),
    'invert': Task(same, invert),
    'stripes': Task(grey, stripes),
    'tied_background': Task(_drawn(False, GREEN), _drawn(True, YELLOW)),
}


def apply(images, name, side, channels=0):
    """Map one function of a task lazily over images.

    Args:
        images: uint8 [N, H, W, C], array, memory map or `on_demand.OnDemand`.
        name: of `TASKS`.
        side: one of `SIDES`.
        channels: 3 for grey results as RGB.

    Returns:
        `on_demand.OnDemand` [N, H, W, C'].
    """
    function = TASKS[name][SIDES.index(side)]

    def drawn(images):
        results = function(images)
        if channels == 3 and results.shape[-1] == 1:
            return results.repeat(3, -1)
        return results

    shape = drawn(np.zeros(images.shape[1:], np.uint8)).shape
    return on_demand.OnDemand(
        (len(images), *shape), lambda indices: drawn(images[indices])
    )
