"""Pictures of a run folder for a page: cut, bounded, as data URIs."""

import base64
import io

import numpy as np
from PIL import Image

from gan_jax.core import files
from gan_jax.data import pictures
from gan_jax.runtime import writer

TILE, GAP = 64, 2  # of `writer.grid`
SHOWN = 64  # samples, and real images, of the two grids side by side
MOST_FRAMES = 60
MOST_FILM = 6 * 2**20  # bytes of frames that are embedded as they are
MOST_PICTURE = 4 * 2**20  # bytes of one picture without loss
WEBP_SIDE = 16_383  # the most pixels that the format takes
WIDEST = 1024  # pixels of a frame that is not embedded as it is
FORMATS = ('PNG',)  # in which a run leaves its pictures
MOST_PIXELS = 2**25  # of a picture: 64 images of 512x512 have half of them
MOST_DECODED = 2**28  # pixels of all frames of a film
MOST_BYTES = 256 * 2**20  # of a file


def read(path):
    """Give a PNG as uint8 [H, W, C], or None where it cannot be read."""
    if path is None:
        return None
    try:
        with _opened(files.read(path, MOST_BYTES)) as image:
            array = np.asarray(image)
    except Exception:  # as Pillow raises many kinds for damaged files
        return None
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        return None
    return array if array.ndim == 3 else array[..., None]


def _opened(data):
    return pictures.opened(data, FORMATS, MOST_PIXELS)


def tiles(picture, shape):
    """Cut a picture of `writer.grid` into the images that it was made of.

    Args:
        picture: uint8 [H, W, C].
        shape: (h, w, C) of one image.

    Returns:
        uint8 [N, h, w, C], row by row, or None where it is no such grid.
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
    """Give the grid of the first 64 images of a grid: seeds 0 to 63."""
    cut = tiles(picture, shape)
    return picture if cut is None else writer.grid(cut[:SHOWN])


def spread(picture, shape):
    """Give a grid of 64 images evenly spaced over those of a grid."""
    cut = tiles(picture, shape)
    if cut is None:
        return picture
    count = min(SHOWN, len(cut))
    return writer.grid(cut[np.arange(count) * len(cut) // count])


def uri(picture):
    """Give uint8 [H, W, C] as a data URI: PNG, or WebP where that is large."""
    image = _image(picture)
    data = _encode(image, 'png', optimize=False)
    if len(data) <= MOST_PICTURE:
        return _uri('png', data)
    image = _smaller(image, WEBP_SIDE)
    return _uri('webp', _encode(image, 'webp', quality=95))


def chosen(frames, most=MOST_FRAMES):
    """Choose at most so many of a list, evenly, first and last included."""
    if len(frames) <= most:
        return list(frames)
    places = np.linspace(0, len(frames) - 1, most).round().astype(int)
    return [frames[place] for place in places]


def film(frames, most_bytes=MOST_FILM):
    """Embed the pictures of steps.

    Args:
        frames: list of `load_run.Picture`.
        most_bytes: of all files, above which they are made smaller.

    Returns:
        ([(step, data URI)] of those that can be read, whether they are the
        files as they lie).
    """
    frames = chosen(frames)
    largest = max((_pixels(frame.path) for frame in frames), default=1)
    frames = chosen(frames, max(1, min(MOST_FRAMES, MOST_DECODED // largest)))
    whole = sum(_size(frame.path) for frame in frames) <= most_bytes
    found = [(frame.step, _frame(frame.path, whole)) for frame in frames]
    return [(step, uri) for step, uri in found if uri], whole


def _size(path):
    try:
        return path.stat().length
    except OSError:
        return 0


def _pixels(path):
    """Count the pixels of a file by its header; 1 where it has none."""
    try:
        with _opened(files.read(path, MOST_BYTES)) as image:
            return max(1, image.width * image.height)
    except Exception:  # as in `read`
        return 1


def _frame(path, whole):
    """Give the data URI of a file; None where it cannot be read."""
    try:
        data = files.read(path, MOST_BYTES)
        with _opened(data) as image:
            image.load()
            if whole:
                return _uri('png', data)
            return _uri('webp', _encode(_smaller(image), 'webp', quality=80))
    except Exception:  # as in `read`
        return None


def _smaller(image, widest=WIDEST):
    ratio = widest / max(image.size)
    if ratio >= 1:
        return image
    size = [max(1, round(side * ratio)) for side in image.size]
    return image.resize(size, Image.Resampling.BOX)


def _image(picture):
    return Image.fromarray(
        picture[..., 0] if picture.shape[-1] == 1 else picture
    )


def _encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _uri(form, data):
    return f'data:image/{form};base64,{base64.b64encode(data).decode()}'
