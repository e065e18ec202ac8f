"""One image of any form -> one uint8 array of the form asked for."""

import contextlib
import io
import threading
from typing import NamedTuple, Optional, Tuple
import warnings

import numpy as np
from PIL import Image
from PIL import ImageOps

# Pillow reads more, some by starting other programs; those stay shut.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP')
MAX_PIXELS = 89_478_485  # of one image; Pillow's own bound, 0.25 GiB as RGB
_LARGE = threading.Lock()

# What Pillow warns of, mostly damaged EXIF, it says without the file's name.
warnings.filterwarnings('ignore', module=r'PIL\.')


class Preparation(NamedTuple):
    """What images are made to look like.

    Attributes:
        image_size: (height, width), or None to leave each image's own.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); 0 is 1 for a grey image on a
            grey background and 3 for any other.
        crop: one of `CROPS`: how another proportion is brought to
            `image_size`.
        background: (red, green, blue) that shows through transparent pixels
            where alpha is not kept, and beside a padded image.
    """

    image_size: Optional[Tuple[int, int]] = None
    channels: int = 0
    crop: str = 'center'
    background: Tuple[int, int, int] = (255, 255, 255)


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: [H, W, C] uint8, prepared.
        size: (height, width) before that, upright.
        mode: what the file holds, Pillow's word: 'L', 'RGB', 'I;16', 'P', …
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
    # ImageOps.pad leaves nothing of an image whose short side rounds to 0.
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = tuple(max(1, round(scale * n)) for n in picture.size)
    padded = Image.new(picture.mode, size, color)
    corner = tuple((n - m) // 2 for n, m in zip(size, inner))
    padded.paste(picture.resize(inner, method), corner)
    return padded


CROPS = {'center': _center, 'pad': _pad, 'stretch': _stretch}
CHANNELS = {1: 'L', 3: 'RGB', 4: 'RGBA'}


@contextlib.contextmanager
def opened(content, formats=FORMATS, most=None):
    """Open an image file, of which no pixel is decoded yet.

    Args:
        content: bytes of the file.
        formats: of Pillow's names, those that are tried.
        most: pixels that it may have; `MAX_PIXELS` by default.

    Yields:
        PIL image.

    Raises:
        ValueError: for more pixels; whatever Pillow raises for other files.
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
    """Decode one image file: the first frame, upright, 8 bits a channel.

    16 grey bits are scaled to 8 (Pillow alone would clip them to white).

    Args:
        content: bytes of the file.
        preparation: a `Preparation`.

    Returns:
        `Picture`.

    Raises:
        ValueError: with the reason, in words that follow the file's name.
    """
    if not content:
        raise ValueError('is empty')
    try:
        with opened(content) as picture, _turn(picture.size):
            picture.load()
            mode = picture.mode
            picture = _eight_bits(_upright(picture))
    except Image.UnidentifiedImageError as error:
        raise ValueError(_unidentified(content)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f'has more than {MAX_PIXELS:,} pixels') from None
    except _Refused:
        raise
    # Pillow's plugins let what a damaged file makes of them pass through:
    # OSError, SyntaxError, struct.error, IndexError and others.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ValueError(f'cannot be decoded: {reason}') from error
    size = picture.size[::-1]
    return Picture(np.asarray(fit(picture, preparation)), size, mode)


def _turn(size):
    """Keep other threads from decoding a large image meanwhile."""
    large = size[0] * size[1] > MAX_PIXELS // 8
    return _LARGE if large else contextlib.nullcontext()


class _Refused(ValueError):
    """A reason of our own."""


def _unidentified(content):
    for name in FORMATS:
        if Image.OPEN[name][1](content[:16]):
            return f'begins as a {name} and is damaged'
    return f'is none of {", ".join(FORMATS)}'


def _upright(picture):
    """Turn a photograph as its camera was held."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # of damaged EXIF, any kind: the image is as it lies
        return picture


def _eight_bits(picture):
    """Bring any mode to L, LA, RGB or RGBA."""
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
    """Bring an image to channels and size.

    Args:
        picture: PIL image of mode L, LA, RGB or RGBA.
        preparation: a `Preparation`.

    Returns:
        [H, W, C] uint8.
    """
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
    """Give 1 for what is grey with all that shows around it, else 3."""
    shows = transparent or preparation.crop == 'pad'
    colored = len(set(preparation.background)) > 1
    return 1 if grey and not (shows and colored) else 3


def fit_array(pixels, preparation):
    """Bring a uint8 array [H, W, C], C 1, 3 or 4, to channels and size."""
    squeezed = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return fit(Image.fromarray(squeezed), preparation)


def fitted_shape(shape, preparation):
    """Give the (height, width, channels) that an image of a shape will have."""
    *size, channels = shape
    if channels is not None or preparation.channels:
        channels = preparation.channels or _own_channels(
            channels == 1, False, preparation
        )
    return (*(preparation.image_size or size), channels)
