"""Archives and folders in the layout that the code of StyleGAN reads.

PNG files 00000/img00000000.png, …, and dataset.json with the label of each, or
null. `label_files` reads it. The same images give the same bytes.

References:
    Karras et al., Training Generative Adversarial Networks with Limited Data,
    https://arxiv.org/abs/2006.06676, 2020; the layout is that of its code.
"""

import io
import json
import os
import zipfile

from PIL import Image

from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import label_files
from gan_jax.data import packs

MOST_IN_FOLDER = 1000  # images
DATE = (1980, 1, 1, 0, 0, 0)  # of all members, the first that a zip can have


def write(images, labels, classes, path):
    """Write a zip, where the path ends in .zip, or else a new folder.

    Args:
        images: uint8 [N, S, S, 1 or 3], S a power of 2; an array or `OnDemand`.
        labels: [N] int32, or None.
        classes: a name for each label. The authors' code ignores the names.
        path: of the file or folder; it must not exist.

    Raises:
        errors.DataError: if the images do not fit, or it cannot be written.
    """
    _check(images.shape)
    if not path.lower().endswith('.zip'):
        with packs.new_folder(path) as folder:
            for name, content in _members(images, labels, classes):
                (folder / name).parent.mkdir(exist_ok=True)
                files.write(folder / name, content)
        return
    target = os.path.expanduser(path)
    if os.path.lexists(target):
        raise errors.DataError(f'{path} exists already')
    try:
        with files.atomic_write(target) as file, zipfile.ZipFile(
            file, 'w', zipfile.ZIP_STORED
        ) as archive:
            for name, content in _members(images, labels, classes):
                archive.writestr(zipfile.ZipInfo(name, DATE), content)
    except OSError as error:
        raise errors.DataError(
            f'{path} cannot be written: {error.strerror or error}'
        ) from error


def _check(shape):
    """Check that StyleGAN can train on images of a shape [N, H, W, C]."""
    height, width, channels = shape[1:]
    if height != width or height & (height - 1) or channels not in (1, 3):
        raise errors.DataError(
            f'images of {height}x{width}x{channels} cannot be written for '
            'StyleGAN, which needs a square side that is a power of 2, and 1 '
            'or 3 channels; set --data.image_size=64 or --data.channels=3'
        )


def _members(images, labels, classes):
    """Yield (name, bytes) of each file."""
    names = []
    for chunk in packs.chunks(images):
        for pixels in chunk:
            number = len(names)
            names.append(
                f'{number // MOST_IN_FOLDER:05d}/img{number:08d}.png'
            )
            squeezed = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            buffer = io.BytesIO()
            Image.fromarray(squeezed).save(buffer, 'PNG', compress_level=0)
            yield names[-1], buffer.getvalue()
    content = {'labels': None}
    if labels is not None:
        pairs = [[name, int(label)] for name, label in zip(names, labels)]
        content = {'labels': pairs, 'classes': list(classes)}
    yield label_files.JSON, json.dumps(content).encode()
