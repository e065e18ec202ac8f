"""Decoding of image files, and preparation to a size and channels.

The only module that opens images with Pillow. Formats are restricted and sizes
bounded, because files are untrusted.
"""

import contextlib
import io
import threading
from typing import NamedTuple, Optional, Tuple
import warnings

import numpy as np
from PIL import Image
from PIL import ImageOps

# Pillow reads more formats, some by starting other programs.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 89_478_485  # of one image; Pillow's bound, 0.25 GiB as RGB
_LARGE = threading.Lock()

# Pillow's warnings, mostly of damaged EXIF, do not name the file.
warnings.filterwarnings('ignore', module=r'PIL\.')


class Preparation(NamedTuple):
    """Size and channels that images are converted to.

    Attributes:
        image_size: (height, width), or None to keep the size of each image.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); 0 is 1 for a grey image on a
            grey background and 3 for any other.
        crop: one of `CROPS`, for images of another aspect ratio than
            `image_size`.
        background: (red, green, blue) behind transparent pixels if alpha is
            dropped, and around a padded image.
        half: one of `HALVES`, for images of a pair side by side, or ''. The
            half is cut out first.
    """

    image_size: Optional[Tuple[int, int]] = None
    channels: int = 0
    crop: str = 'center'
    background: Tuple[int, int, int] = (255, 255, 255)
    half: str = ''


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: [H, W, C] uint8, prepared.
        size: (height, width) of the image, or of its half, before it is
            resized; upright.
        mode: Pillow's mode of the file: 'L', 'RGB', 'I;16', 'P', …
    """

    pixels: np.ndarray
    size: Tuple[int, int]
    mode: str


def _stretch(picture, size, method, *, color):
    del color
    return picture.resize(size, method)


def _center(picture, size, method, *, color):
    del color
    return ImageOps.fit(picture, size, method)


def _pad(picture, size, method, *, color):
    # ImageOps.pad fails for an image whose short side rounds to 0.
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = tuple(max(1, round(scale * n)) for n in picture.size)
    padded = Image.new(picture.mode, size, color)
    corner = tuple((n - m) // 2 for n, m in zip(size, inner))
    padded.paste(picture.resize(inner, method), corner)
    return padded


HALVES = ('left', 'right')
CROPS = {'center': _center, 'pad': _pad, 'stretch': _stretch}
CHANNELS = {1: 'L', 3: 'RGB', 4: 'RGBA'}


@contextlib.contextmanager
def opened(content, formats=FORMATS, most=None):
    """Open an image file without decoding its pixels.

    Args:
        content: bytes of the file.
        formats: Pillow's names of the formats that are tried.
        most: largest number of pixels; `MAX_PIXELS` by default.

    Yields:
        PIL image.

    Raises:
        ValueError: for more pixels. Pillow raises others for damaged files.
    """
    with Image.open(io.BytesIO(content), formats=formats) as picture:
        width, height = picture.size
        most = most or MAX_PIXELS
        if width * height > most:
            raise _Refused(
                f'has {height}x{width} pixels, more than {most:,}'
            )
        yield picture


def decode(content, preparation=Preparation()):
    """Decode one image file: the first frame, upright, 8 bits per channel.

    16-bit grey is scaled to 8 bits (Pillow itself would clip it to white).

    Args:
        content: bytes of the file.
        preparation: a `Preparation`.

    Returns:
        `Picture`.

    Raises:
        ValueError: with the reason, worded to follow the file's name.
    """
    with _reasons(content), opened(content) as picture, _memory_lock(
        picture.size
    ):
        picture.load()
        mode = picture.mode
        picture = _eight_bits(_upright(picture))
    picture = _half(picture, preparation.half)
    size = picture.size[::-1]
    preparation = preparation._replace(half='')
    return Picture(np.asarray(fit(picture, preparation)), size, mode)


@contextlib.contextmanager
def _reasons(content):
    """Convert the exceptions of decoding to ValueError with the reason."""
    if not content:
        raise ValueError('is empty')
    try:
        yield
    except Image.UnidentifiedImageError as error:
        raise ValueError(_unidentified(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f'has more than {MAX_PIXELS:,} pixels') from None
    except _Refused:
        raise
    # For damaged files Pillow's plugins raise OSError, SyntaxError,
    # struct.error, IndexError and others.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(f'cannot be decoded: {reason}') from error


class Animation(NamedTuple):
    """The frames of an animated image.

    Attributes:
        size: (height, width) of each frame.
        durations: of each frame, in milliseconds.
        loop: number of times that the frames are repeated, 0 for ever; None if
            they are shown once.
    """

    size: Tuple[int, int]
    durations: Tuple[int, ...]
    loop: Optional[int]


def animation(content):
    """Return the `Animation` of a GIF; None if it is another image or still.

    All frames are decoded once, to find damaged ones.

    Args:
        content: bytes of the file.

    Raises:
        ValueError: with the reason, worded to follow the file's name, if it is
            a GIF and damaged.
    """
    if not content.startswith((b'GIF87a', b'GIF89a')):
        return None
    with _reasons(content), opened(content, ('GIF',)) as film:
        if film.n_frames == 1:
            return None
        durations = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            durations.append(film.info.get('duration', 0))
        return Animation(
            film.size[::-1], tuple(durations), film.info.get('loop')
        )


def frames(content, preparation=Preparation()):
    """Decode the frames of a GIF, one at a time.

    Args:
        content: bytes of the file.
        preparation: a `Preparation` with channels, since those of the file may
            differ between frames.

    Yields:
        [H, W, C] uint8, as `decode` returns for the first frame.

    Raises:
        ValueError: as `decode`.
    """
    with _reasons(content), opened(content, ('GIF',)) as film:
        for number in range(film.n_frames):
            film.seek(number)
            yield fit(_eight_bits(film), preparation)


def _half(picture, half):
    """Crop an image to its left or right half, where one is named."""
    if not half:
        return picture
    width, height = picture.size
    side = half_width(height, width)
    left = side * HALVES.index(half)
    return picture.crop((left, 0, left + side, height))


def half_width(height, width):
    """Return the width of the halves of an image of two, side by side.

    Raises:
        ValueError: worded to follow the file's name, if it cannot be one.
    """
    if width % 2 or width <= height:
        raise ValueError(
            f'is {height}x{width}, and a picture of two side by side has an '
            'even width, greater than its height'
        )
    return width // 2


def _memory_lock(size):
    """Return a lock that lets one thread at a time decode a large image."""
    large = size[0] * size[1] > MAX_PIXELS // 8
    return _LARGE if large else contextlib.nullcontext()


class _Refused(ValueError):
    """A refusal whose message is already worded for the user."""


def _unidentified(content):
    """Return why Pillow could not identify a file."""
    for name in FORMATS:
        if Image.OPEN[name][1](content[:16]):
            return f'begins as a {name} and is damaged'
    return f'is none of {", ".join(FORMATS)}'


def _upright(picture):
    """Rotate a photograph by its EXIF orientation."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF raises many kinds; do not rotate
        return picture


def _eight_bits(picture):
    """Convert any mode to L, LA, RGB or RGBA."""
    mode = picture.mode
    if mode.startswith('I;16'):
        values = np.asarray(picture).astype(np.float64)
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if mode in ('I', 'F'):
        kind = 'signed or 32-bit whole' if mode == 'I' else '32-bit floating'
        raise _Refused(f'holds {kind} numbers, whose range is unknown')
    grey = mode in ('1', 'L', 'LA', 'La')
    if picture.has_transparency_data:
        return picture.convert('LA' if grey else 'RGBA')
    return picture.convert('L' if grey else 'RGB')


def fit(picture, preparation):
    """Convert an image to the channels and the size of a preparation.

    Args:
        picture: PIL image of mode L, LA, RGB or RGBA.
        preparation: a `Preparation`.

    Returns:
        [H, W, C] uint8.

    Raises:
        ValueError: where it has no halves.
    """
    picture = _half(picture, preparation.half)
    channels = preparation.channels or _own_channels(
        picture.mode in ('L', 'LA'), picture.mode == 'LA', preparation
    )
    color = preparation.background
    if picture.mode in ('LA', 'RGBA') and channels != 4:
        behind = Image.new('RGBA', picture.size, (*color, 255))
        picture = Image.alpha_composite(behind, picture.convert('RGBA'))
        picture = picture.convert('RGB')
    if picture.mode != CHANNELS[channels]:
        picture = picture.convert(CHANNELS[channels])
    height, width = size = preparation.image_size or picture.size[::-1]
    if picture.size != (width, height):
        if channels == 1:
            color = Image.new('RGB', (1, 1), color).convert('L').getpixel(
                (0, 0)
            )
        picture = CROPS[preparation.crop](
            picture, (width, height), Image.Resampling.BICUBIC, color=color
        )
    return np.asarray(picture).reshape(*size, channels)


def _own_channels(grey, transparent, preparation):
    """Return 1 if an image and its background are grey, otherwise 3."""
    visible = transparent or preparation.crop == 'pad'
    colored = len(set(preparation.background)) > 1
    return 1 if grey and not (visible and colored) else 3


def fit_array(pixels, preparation):
    """Convert a uint8 array [H, W, C], C 1, 3 or 4, as `fit` does."""
    squeezed = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return fit(Image.fromarray(squeezed), preparation)


def fitted_shape(shape, preparation):
    """Return the (height, width, channels) of an image after preparation.

    Args:
        shape: before it; None for those that are not known.
        preparation: a `Preparation`.

    Raises:
        ValueError: where it has no halves.
    """
    *size, channels = shape
    if preparation.half and None not in size:
        size[1] = half_width(*size)
    if channels is not None or preparation.channels:
        channels = preparation.channels or _own_channels(
            channels == 1, False, preparation
        )
    return (*(preparation.image_size or size), channels)
