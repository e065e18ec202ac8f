"""Encoded images for tests, well formed and not."""

import gzip
import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, form='PNG', **options):
    """Encode a PIL image or a uint8 array [H, W] or [H, W, C].

    Args:
        image: PIL image or array.
        form: Pillow's name of a format.
        **options: of Pillow's `save`.

    Returns:
        bytes.
    """
    if isinstance(image, np.ndarray):
        squeezed = image[..., 0] if image.shape[2:] == (1,) else image
        image = Image.fromarray(squeezed)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def flat(color, size=(4, 4), form='PNG', **options):
    """Encode an image of one grey level or of one color (red, green, blue).

    Args:
        color: int, or tuple of 3 or 4.
        size: (height, width).
        form: Pillow's name of a format.
        **options: of Pillow's `save`.
    """
    pixels = np.broadcast_to(np.uint8(color), (*size, *np.shape(color)))
    return encoded(np.ascontiguousarray(pixels), form, **options)


def png_chunk(kind, content, *, break_crc=False):
    """Give one chunk of a PNG."""
    check = zlib.crc32(kind + content) ^ break_crc
    length = struct.pack('>I', len(content))
    return length + kind + content + struct.pack('>I', check)


def png_header(height, width, *, depth=8, color=0, **options):
    """Give what a PNG begins with; color 0 is grey, 2 RGB, 4 LA, 6 RGBA."""
    header = struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', header, **options)


def bomb(height, width):
    """Give a PNG of a few bytes that says it is large."""
    return png_header(height, width) + png_chunk(b'IDAT', zlib.compress(b''))


def png(pixels, *, color=0, chunks=b'', break_crc=False):
    """Write a PNG by hand, such as Pillow does not.

    Args:
        pixels: uint8 or uint16 [H, W] or [H, W, C].
        color: as of `png_header`.
        chunks: bytes before the pixels.
        break_crc: whether the checksum of the pixels is wrong.
    """
    height, width = pixels.shape[:2]
    depth = 8 * pixels.itemsize
    rows = pixels.astype(f'>u{pixels.itemsize}').reshape(height, -1)
    content = b''.join(b'\0' + row.tobytes() for row in rows)
    packed = zlib.compress(content)
    return (
        png_header(height, width, depth=depth, color=color) + chunks
        + png_chunk(b'IDAT', packed, break_crc=break_crc)
        + png_chunk(b'IEND', b'')
    )


def exif(orientation):
    """Give EXIF with an orientation, 1 to 8."""
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


# EXIF whose list of 65,535 values breaks off at the first.
DAMAGED_EXIF = b'Exif\0\0MM\0*\0\0\0\x08\xff\xff'


def write(path, content=None):
    """Write bytes, by default a grey PNG of 4x4; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(flat(90) if content is None else content)
    return path


def write_idx(folder, split, images, labels):
    """Write two idx files in the form of MNIST's.

    Args:
        folder: of the files.
        split: 'train' or 'test'.
        images: uint8 [N, H, W].
        labels: uint8 [N].
    """
    prefix = {'train': 'train', 'test': 't10k'}[split]
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (
            ('images-idx3-ubyte', images), ('labels-idx1-ubyte', labels)):
        header = b'\0\0\x08' + bytes([values.ndim])
        header += np.array(values.shape, '>u4').tobytes()
        (folder / f'{prefix}-{name}.gz').write_bytes(
            gzip.compress(header + values.tobytes())
        )
