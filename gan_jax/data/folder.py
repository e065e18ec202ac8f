"""Read a folder of image files, flat or with one subfolder for each class."""

import pathlib
import sys

import numpy as np
from PIL import Image
from PIL import ImageOps
from tqdm import tqdm

from gan_jax import errors

ENDINGS = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def read(path, image_size):
    """Decode every image below a folder.

    Files that cannot be read are named on stderr and left out.

    Args:
        path: the folder. Where it holds subfolders with images, each is a
            class and the labels follow their sorted names.
        image_size: (height, width) to which each image is centre-cropped and
            resized, or None where all have one size.

    Returns:
        (images [N, H, W, 3] uint8, or [N, H, W, 1] where all are grey;
        labels [N] int32 or None; class names).

    Raises:
        errors.DataError: for a wrong path, no readable image, or several sizes
            where none is asked for.
    """
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        raise errors.DataError(f'data.path={path!r} is not a folder')
    files = sorted(
        file
        for file in folder.rglob('*')
        if file.suffix.lower() in ENDINGS
        and file.is_file()
        and not file.name.startswith('.')
    )
    pictures, kept = [], []
    bar = {'delay': 1, 'leave': False, 'disable': None}  # terminals alone
    for file in tqdm(files, f'Reading {path}', **bar):
        try:
            pictures.append(_open(file, image_size))
            kept.append(file)
        except (OSError, ValueError, SyntaxError) as error:
            print(f'skipped {file}: {error}', file=sys.stderr)
    if not kept:
        raise errors.DataError(
            f'data.path={path!r} holds no readable image ({", ".join(ENDINGS)})'
        )
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1:
        shown = ', '.join(f'{h}x{w}' for w, h in sorted(sizes)[:3])
        raise errors.DataError(
            f'images of data.path={path!r} differ in size ({shown}); set '
            'data.image_size, such as 64 or 48x80'
        )
    grey = all(picture.mode == 'L' for picture in pictures)
    images = np.stack(
        [np.asarray(p if grey else p.convert('RGB')) for p in pictures]
    )
    images = images.reshape(*images.shape[:3], -1)
    names = [file.relative_to(folder).parts[0] for file in kept]
    if all(file.parent == folder for file in kept):
        return images, None, ()
    classes = tuple(sorted(set(names)))
    labels = np.array([classes.index(name) for name in names], np.int32)
    return images, labels, classes


def _open(file, image_size):
    """Decode one image as 8-bit grey ('L') or RGB, upright."""
    with Image.open(file) as picture:
        picture = ImageOps.exif_transpose(picture)
        picture = picture.convert('L' if picture.mode == 'L' else 'RGB')
    if image_size is not None:
        size = image_size[::-1]
        picture = ImageOps.fit(picture, size, Image.Resampling.BICUBIC)
    return picture
