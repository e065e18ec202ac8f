"""Pictures of a run folder for a page: cut, bounded, as data URIs.

Pixels that `writer.grid` repeated are stored once and enlarged by the browser.
Pictures are WebP: without loss where they are small, else with the least loss
that keeps a page small. The files of the folder hold the exact ones.
"""

import base64
import io
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image

from gan_jax.core import files
from gan_jax.data import pictures
from gan_jax.runtime import writer

TILE, GAP = 64, 2  # of `writer.grid`
SHOWN = 64  # samples, and real images, of the two grids side by side
MOST_FRAMES = 60
FILM_SIDE = 1024  # pixels of the longer side of a frame, at most
FORMATS = ('PNG',)  # in which a run leaves its pictures
CONVERSIONS = {'1': 'L', 'P': 'RGBA'}  # of Pillow's modes, to 8 bits a channel
MOST_PIXELS = 2**25  # of a picture: 64 images of 512x512 have half of them
MOST_DECODED = 2**28  # pixels of all frames of a film
MOST_BYTES = 256 * 2**20  # of a file
WEBP_SIDE = 16_383  # the most pixels that the format takes
LOSSLESS_PIXELS = 2**21  # above, an attempt without loss takes seconds


class Compression(NamedTuple):
    """Settings of WebP, and the size up to which they serve.

    Attributes:
        quality: from 0 to 100; None is without loss.
        side: pixels of the longer side, above which a picture is reduced.
        most: characters of the data URI of a picture, or of those of a film.
    """

    quality: Optional[int]
    side: int
    most: float


# The first of each that keeps to its size is taken, else the last.
OF_PICTURES = (
    Compression(None, WEBP_SIDE, 350_000), Compression(90, WEBP_SIDE, 1.4e6),
    Compression(75, WEBP_SIDE, np.inf),
)
OF_FILMS = (
    Compression(None, FILM_SIDE, 1.4e6), Compression(90, FILM_SIDE, 1.4e6),
    Compression(75, FILM_SIDE, 1.4e6), Compression(60, 768, 1.4e6),
    Compression(50, 512, np.inf),
)


class Embedded(NamedTuple):
    """A picture as the page shows it.

    Attributes:
        uri: data URI of the picture, WebP.
        width, height: pixels at full size.
        pixelated: whether it is smaller than that, and enlarged by repeating
            pixels.
        lossy: whether it differs from the picture.
    """

    uri: str
    width: int
    height: int
    pixelated: bool
    lossy: bool


def read(path):
    """Read a PNG as uint8 [H, W, C]; None where it cannot be read."""
    if path is None:
        return None
    try:
        with _opened(path) as image:
            mode = CONVERSIONS.get(image.mode)
            array = np.asarray(image.convert(mode) if mode else image)
    except Exception:  # as Pillow raises many kinds for damaged files
        return None
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        return None
    return array if array.ndim == 3 else array[..., None]


def _opened(path):
    data = files.read(path, MOST_BYTES)
    return pictures.opened(data, FORMATS, MOST_PIXELS)


def tiles(picture, shape):
    """Split a picture of `writer.grid` into its images.

    Args:
        picture: uint8 [H, W, C].
        shape: (h, w, C) of one image.

    Returns:
        uint8 [N, h, w, C], row by row, or None where it is not such a grid.
    """
    if len(shape) != 3 or picture.shape[-1] != shape[-1]:
        return None
    height, width, _ = shape
    factor = max(1, round(TILE / max(height, width)))
    picture = picture[::factor, ::factor]
    rows, over = divmod(picture.shape[0] + GAP, height + GAP)
    columns, beside = divmod(picture.shape[1] + GAP, width + GAP)
    if over or beside or not rows or not columns:
        return None
    return np.stack([
        picture[top:top + height, left:left + width]
        for top in range(0, rows * (height + GAP), height + GAP)
        for left in range(0, columns * (width + GAP), width + GAP)
    ])


def first(picture, shape):
    """Return a grid of the first 64 images of a grid: seeds 0 to 63."""
    cut = tiles(picture, shape)
    return picture if cut is None else writer.grid(cut[:SHOWN])


def spread(picture, shape):
    """Return a grid of 64 images, evenly spaced over those of a grid."""
    cut = tiles(picture, shape)
    if cut is None:
        return picture
    count = min(SHOWN, len(cut))
    return writer.grid(cut[np.arange(count) * len(cut) // count])


class _Pixels(NamedTuple):
    """A picture before it is encoded.

    Attributes:
        array: uint8 [h, w, C].
        width, height: of the picture at full size.
        exact: whether it is the picture but for repeated pixels.
    """

    array: np.ndarray
    width: int
    height: int
    exact: bool


def embed(picture):
    """Encode a picture, uint8 [H, W, C], for a page.

    Returns:
        `Embedded`.
    """
    pixels = _pixels_of(picture)
    for compression in OF_PICTURES:
        embedded = _encode(pixels, compression)
        if embedded and len(embedded.uri) <= compression.most:
            return embedded


def film(frames, compressions=OF_FILMS):
    """Encode the pictures of steps, all by the same compression.

    Args:
        frames: list of `load_run.Picture`.
        compressions: attempts, in their order.

    Returns:
        [(step, `Embedded`)] of those that can be read.
    """
    frames = chosen(frames)
    largest = max((_size(frame.path) for frame in frames), default=1)
    frames = chosen(frames, max(1, min(MOST_FRAMES, MOST_DECODED // largest)))
    pictures = ((frame.step, read(frame.path)) for frame in frames)
    steps = [
        (step, _resized(_pixels_of(picture), FILM_SIDE))
        for step, picture in pictures if picture is not None
    ]
    for compression in compressions:
        film = _film(steps, compression)
        if film is not None:
            return film


def _film(steps, compression):
    """Encode frames; None where they exceed the size of a compression."""
    film, size = [], 0
    for step, pixels in steps:
        embedded = _encode(pixels, compression)
        size += len(embedded.uri) if embedded else np.inf
        if size > compression.most:
            return None
        film.append((step, embedded))
    return film


def chosen(frames, most=MOST_FRAMES):
    """Choose at most `most` of a list, evenly, first and last included."""
    if len(frames) <= most:
        return list(frames)
    places = np.linspace(0, len(frames) - 1, most).round().astype(int)
    return [frames[place] for place in places]


def _size(path):
    """Count the pixels of a file by its header; 1 where it has none."""
    try:
        with _opened(path) as image:
            return max(1, image.width * image.height)
    except Exception:  # as in `read`
        return 1


def _pixels_of(picture):
    """Return the `_Pixels` of a picture, one of each that is repeated."""
    factor = _repeats(picture)
    height, width = picture.shape[:2]
    return _Pixels(picture[::factor, ::factor], width, height, True)


def _repeats(picture):
    """Return the largest factor by which a picture's pixels are repeated."""
    factor = int(np.gcd(*picture.shape[:2]))
    # A row and a column show at once that most pictures repeat none.
    for views in ([picture[:1], picture[:, :1]], [picture]):
        for view in views:
            rows = (view[1:] != view[:-1]).any((1, 2))
            columns = (view[:, 1:] != view[:, :-1]).any((0, 2))
            for changes in (rows, columns):
                places = np.flatnonzero(changes) + 1
                factor = int(np.gcd.reduce(places, initial=factor))
        if factor == 1:
            break
    return factor


def _resized(pixels, side):
    """Reduce `_Pixels` to a longer side of at most so many pixels."""
    height, width, channels = pixels.array.shape
    ratio = side / max(height, width)
    if ratio >= 1:
        return pixels
    size = [max(1, round(length * ratio)) for length in (width, height)]
    image = _image(pixels.array).resize(size, Image.Resampling.BOX)
    array = np.asarray(image).reshape(size[1], size[0], channels)
    return pixels._replace(array=array, exact=False)


def _encode(pixels, compression):
    """Encode `_Pixels` as `Embedded`; None where not exact, or slow."""
    pixels = _resized(pixels, compression.side)
    height, width, _ = pixels.array.shape
    buffer = io.BytesIO()
    lossy = compression.quality is not None
    if lossy:
        _image(pixels.array).save(buffer, 'webp', quality=compression.quality)
    elif pixels.exact and height * width <= LOSSLESS_PIXELS:
        _image(pixels.array).save(buffer, 'webp', lossless=True, exact=True)
    else:
        return None
    data = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(
        f'data:image/webp;base64,{data}', pixels.width, pixels.height,
        pixels.exact and width < pixels.width, lossy,
    )


def _image(array):
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
