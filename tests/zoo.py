"""The zoo: files of every kind that people's folders hold, good and bad."""

import functools
import os
import socket
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import helpers
import image_files
from gan_jax.data import listing as listing_lib

SIDE = 8  # of the images that all of it is read as
COLOR, RED, WHITE = (10, 120, 230), (255, 0, 0), (255,) * 3
NO_FORMAT = 'is none of BMP, GIF, JPEG, PNG, TIFF, WEBP'
NO_FILE = 'is not a regular file'
HALVES = np.repeat([20, 200], SIDE // 2).astype(np.uint8)


class Animal(NamedTuple):
    """One file of the zoo.

    Attributes:
        name: path in the zoo.
        make: its content, or a function of its path that makes it.
        outcome: 'good', 'bad' or 'left out'.
        shows: the color, [8, 8, 3] in part, of a good one; else words of the
            reason.
    """

    name: str
    make: Any
    outcome: str
    shows: Any

    @property
    def regular(self):
        """Say whether an archive can hold it."""
        return isinstance(self.make, bytes)


def noise(form):
    return image_files.encoded(helpers.random_images(1, (16, 16, 3))[0], form)


def cut(form, share):
    """Encode noise and lose its end."""
    content = noise(form)
    return content[:int(share * len(content))]


def palette(**options):
    image = Image.new('P', (4, 4), 1)
    image.putpalette([1, 2, 3, *RED])
    return image_files.encoded(image, **options)


def film(form):
    frames = [Image.new('RGB', (4, 4), color) for color in (RED, COLOR)]
    return image_files.encoded(
        frames[0], form, save_all=True, append_images=frames[1:]
    )


def turned():
    """Encode the left half dark, as a camera held sideways stores it."""
    stored = np.repeat(HALVES[::-1, None], SIDE, 1)
    return image_files.encoded(
        stored, 'JPEG', quality=100, exif=image_files.exif(6)
    )


def link(to):
    return lambda path: path.symlink_to(to)


def sparse(path):
    path.touch()
    os.truncate(path, listing_lib.MAX_BYTES + 1)


def bound(path):
    """Leave a socket behind; its path must be short, hence a relative one."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


flat = image_files.flat
GOOD = functools.partial(Animal, outcome='good')
BAD = functools.partial(Animal, outcome='bad')
LEFT_OUT = functools.partial(Animal, outcome='left out')

ZOO = (
    GOOD('plain.png', flat(COLOR), shows=COLOR),
    GOOD('CAPITALS.PNG', flat(COLOR), shows=COLOR),
    GOOD('CAPITALS.JPG', flat(COLOR, form='JPEG'), shows=COLOR),
    GOOD('a space.png', flat(COLOR), shows=COLOR),
    GOOD('ünïcode 猫.png', flat(COLOR), shows=COLOR),
    GOOD('two\nlines.png', flat(COLOR), shows=COLOR),
    GOOD('sub/folder/deep.webp', flat(COLOR, form='WEBP'), shows=COLOR),
    GOOD('wrong_ending.gif', flat(COLOR), shows=COLOR),
    GOOD('tall.png', flat(COLOR, (20, 6)), shows=COLOR),
    GOOD('tiny.png', flat(COLOR, (1, 1)), shows=COLOR),
    GOOD('grey16.png', image_files.png(np.full((4, 4), 32896, np.uint16)),
         shows=128),
    GOOD('bit.png', image_files.encoded(Image.new('1', (4, 4), 1)),
         shows=WHITE),
    GOOD('palette.png', palette(), shows=RED),
    GOOD('palette_clear.png', palette(transparency=1), shows=WHITE),
    GOOD('print.jpg', image_files.encoded(
        Image.new('CMYK', (8, 8), (0, 255, 255, 0)), 'JPEG'), shows=RED),
    GOOD('turned.jpg', turned(), shows=HALVES[:, None]),
    GOOD('damaged_exif.jpg', flat(
        COLOR, form='JPEG', exif=image_files.DAMAGED_EXIF), shows=COLOR),
    GOOD('tail.jpg', flat(COLOR, form='JPEG') + b'garbage' * 9, shows=COLOR),
    GOOD('pixels_crc.png', image_files.png(
        np.full((4, 4), 90, np.uint8), break_crc=True), shows=90),
    GOOD('film.gif', film('GIF'), shows=RED),
    GOOD('pages.tif', film('TIFF'), shows=RED),
    GOOD('link.png', link('plain.png'), shows=COLOR),
    BAD('cut.png', cut('PNG', 0.7), shows='image file is truncated'),
    BAD('cut.jpg', cut('JPEG', 0.7), shows='cannot be decoded: '),
    BAD('cut.webp', cut('WEBP', 0.5), shows='cannot be decoded: '),
    BAD('cut.gif', cut('GIF', 0.3), shows='begins as a GIF and is damaged'),
    BAD('empty.png', b'', shows='is empty'),
    BAD('text.png', b'no image', shows=NO_FORMAT),
    BAD('page.jpg', b'<!DOCTYPE html><html></html>', shows=NO_FORMAT),
    BAD('noise.webp', np.random.RandomState(0).bytes(500), shows=NO_FORMAT),
    BAD('bomb.png', image_files.bomb(60_000, 60_000),
        shows='has more than 89,478,485 pixels'),
    BAD('header_crc.png', image_files.png_header(4, 4, break_crc=True),
        shows='begins as a PNG and is damaged'),
    BAD('no_pixels.png', image_files.png_header(4, 4)
        + image_files.png_chunk(b'IEND', b''), shows='cannot be decoded: '),
    BAD('float.tiff', image_files.encoded(Image.new('F', (4, 4)), 'TIFF'),
        shows='holds 32-bit floating numbers, whose range is unknown'),
    BAD('bad\nname.png', b'', shows='is empty'),
    BAD('huge.png', sparse, shows='has 268,435,457 bytes, over 268,435,456'),
    BAD('pipe.png', os.mkfifo, shows=NO_FILE),
    BAD('socket.png', bound, shows=NO_FILE),
    BAD('device.png', link('/dev/zero'), shows=NO_FILE),
    BAD('dangling.png', link('nothing'), shows='is a link to nothing'),
    BAD('itself.png', link('itself.png'),
        shows='cannot be read: Too many levels of symbolic links'),
    BAD('memory.png', link('/proc/self/mem'),
        shows='cannot be read: Input/output error'),
    LEFT_OUT('._plain.jpg', b'', shows='is hidden'),
    LEFT_OUT('.DS_Store', b'', shows='is hidden'),
    LEFT_OUT('__MACOSX/._plain.jpg', b'', shows='is hidden'),
    LEFT_OUT('notes.txt', b'', shows='ends in .txt'),
    LEFT_OUT('LICENSE', b'', shows='has no ending'),
    LEFT_OUT('loop', link('.'), shows='leads back to a folder that is read'),
)


def build(root, animals=ZOO):
    """Make the files of animals under a folder."""
    root.mkdir(exist_ok=True)
    for animal in animals:
        path = root / animal.name
        if animal.regular:
            image_files.write(path, animal.make)
        else:
            animal.make(path)


def breed(root, count):
    """Add so many good images, each of another grey than its neighbours."""
    contents = [flat(grey, (SIDE, SIDE)) for grey in range(256)]
    root.mkdir(exist_ok=True)
    for number in range(count):
        (root / f'z{number}.png').write_bytes(contents[number % 256])
