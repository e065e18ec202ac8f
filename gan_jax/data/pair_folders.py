"""Folders of pairs, written as PNG files in one of three layouts.

Each is read as the sources of a run: see `listing.of_domain`, `pairs.load` and
`pictures.Preparation.half`.
"""

import numpy as np
from PIL import Image
from tqdm import tqdm

from gan_jax.core import errors
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import tasks

CHUNK = 256  # images that are read at once


def _folders(split, place, a, b):
    del place
    return {f'A/{split}': a, f'B/{split}': b}


def _unpaired(split, place, a, b):
    # No original is in both domains.
    return {f'{split}A': a} if place % 2 == 0 else {f'{split}B': b}


def _side_by_side(split, place, a, b):
    del place
    mode = pictures.CHANNELS[max(a.shape[-1], b.shape[-1])]
    halves = [np.asarray(_picture(image).convert(mode)) for image in (a, b)]
    return {split: np.concatenate(halves, 1)}


# Functions (split, place in it, a, b) -> {folder: image [H, W(, C)]}.
LAYOUTS = {
    'folders': _folders, 'side_by_side': _side_by_side, 'unpaired': _unpaired,
}


def write(images, task, path, *, layout='folders', test_share=0.1):
    """Write the pairs of a task, split into train and test.

    Args:
        images: uint8 [N, H, W, C], an array or `on_demand.OnDemand`.
        task: a key of `tasks.TASKS`.
        path: folder to create; it must not exist.
        layout: a key of `LAYOUTS`.
        test_share: share of the images in the split 'test', at equal intervals.

    Returns:
        {'train': number of images, 'test': number of images}.

    Raises:
        errors.DataError: for too few images, or if the folder exists or cannot
            be written.
    """
    bounds = np.floor(np.arange(len(images) + 1) * test_share)
    in_test = np.diff(bounds) > 0
    splits = {'train': ~in_test, 'test': in_test}
    counts = {split: int(mask.sum()) for split, mask in splits.items()}
    if min(counts.values()) < 2:
        raise errors.DataError(
            f'{len(images)} images with data.test_share={test_share:g} are '
            f'{counts["train"]} in train and {counts["test"]} in test; each '
            'needs two'
        )
    if layout == 'side_by_side':
        _check_halves(images)
    pair = [tasks.apply(images, task, side) for side in tasks.SIDES]
    with packs.new_folder(path) as folder:
        for split, mask in splits.items():
            _write_split(folder, split, np.flatnonzero(mask), pair, layout)
    return counts


def _check_halves(images):
    """Check that two of the images side by side are read as a pair."""
    height, width = images.shape[1:3]
    try:
        pictures.half_width(height, 2 * width)
    except ValueError as error:
        raise errors.DataError(f'a pair of images {error}') from error


def _write_split(folder, split, indices, pair, layout):
    """Write the images at indices; their numbers are the names of the files."""
    bar = {'delay': 1, 'leave': False, 'disable': None}  # only on terminals
    with tqdm(
            total=len(indices), desc=f'Writing {split}', unit='pair', **bar
    ) as progress:
        for start in range(0, len(indices), CHUNK):
            chunk = indices[start:start + CHUNK]
            for place, (a, b) in enumerate(zip(*(x[chunk] for x in pair))):
                images = LAYOUTS[layout](split, start + place, a, b)
                for name, image in images.items():
                    target = folder / name
                    target.mkdir(parents=True, exist_ok=True)
                    _picture(image).save(target / f'{chunk[place]:06d}.png')
            progress.update(len(chunk))


def _picture(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
