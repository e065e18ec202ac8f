"""Translation of images of any size, image files, folders and films.

Each image and each frame is translated on its own, so its result does not
depend on others.
"""

import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.data import folder as folder_lib
from gan_jax.data import listing as listing_lib
from gan_jax.data import packs
from gan_jax.data import pictures
from gan_jax.data import reading
from gan_jax.runs import run_files
from gan_jax.runtime import writer
from gan_jax.tools import tiles
from gan_jax.tools import video

# Kinds of inputs: what each is called, and the ending of its translation.
FOLDER, PICTURE, GIF, MP4 = 'folder', 'picture', 'gif', 'mp4'
KINDS = {
    FOLDER: ('a folder', ''), PICTURE: ('a picture', '.png'),
    GIF: ('an animated GIF', '.gif'), MP4: ('an MP4', '.mp4'),
}
FILMS = (GIF, MP4)


class Translator(NamedTuple):
    """A generator that translates images, with its options.

    Attributes:
        algorithm: `translation.Translation`.
        direction: one of `Translation.directions`.
        weights: {direction: `algorithm.Weights`}.
        preparation: `pictures.Preparation` of the images of the source.
        grid: `tiles.Grid`.
        seed: of dropout, the noise of pix2pix.
        max_bad: largest share of bad files in a folder.
    """

    algorithm: Any
    direction: str
    weights: Any
    preparation: pictures.Preparation
    grid: tiles.Grid
    seed: int = 0
    max_bad: float = 0.01


class Input(NamedTuple):
    """Input of a translation.

    Attributes:
        path: of a file or a folder.
        kind: a key of `KINDS`.
        content: `listing.Listing` of a folder, bytes of a picture or a GIF,
            `video.Mp4` of an MP4.
        animation: `pictures.Animation` of a GIF.
    """

    path: str
    kind: str
    content: Any
    animation: Any = None


class Result(NamedTuple):
    """Result of a translation.

    Attributes:
        images: number of pictures or frames.
        skipped: (name, reason) of bad files of a folder.
    """

    images: int
    skipped: tuple = ()


def check_direction(algorithm, direction, workdir):
    """Check that an algorithm translates images in a direction.

    Args:
        algorithm: `algorithm.Algorithm` of a run.
        direction: name.
        workdir: folder of the run, for the error.

    Raises:
        errors.ConfigError: if it does not.
    """
    if algorithm.name not in translation.KINDS:
        raise errors.ConfigError(
            f'--workdir={workdir} has algorithm={algorithm.name!r}, which '
            'translates no images; those that do are '
            f'{", ".join(sorted(translation.KINDS))}'
        )
    if direction not in algorithm.directions:
        raise errors.ConfigError(errors.unknown_name(
            '--direction', direction, algorithm.directions
        ) + f', those of algorithm={algorithm.name!r}')


def load_preparation(workdir, algorithm, direction):
    """Load the channels and the background of a direction's source.

    Args:
        workdir: folder of the run.
        algorithm: `translation.Translation` of the run.
        direction: one of its directions.

    Returns:
        (`pictures.Preparation` without a size, largest share of bad files).

    Raises:
        errors.CheckpointError: if it is not a run folder.
    """
    source, _ = translation.DIRECTIONS[direction]
    config = defaults.of_source(run_files.load_config(workdir), source)
    return pictures.Preparation(
        channels=algorithm.channels[translation.DOMAINS.index(source)],
        background=defaults.background(config),
    ), config.data.max_bad


def build(
    workdir, algorithm, state, direction='a_to_b', *, weights='ema', tile=256,
    overlap=32, seed=0,
):
    """Build the translator of a run.

    Args:
        workdir: folder of the run.
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        direction: one of `Translation.directions`.
        weights: one of `Algorithm.weight_names`.
        tile, overlap: as of `tiles.Grid`.
        seed: as of `Translator`.

    Returns:
        `Translator`.

    Raises:
        errors.UserError: if the run has no such direction, or the overlap is
            more than half a tile.
    """
    check_direction(algorithm, direction, workdir)
    if 2 * overlap > tile:
        raise errors.ConfigError(
            f'--overlap={overlap} is more than half of --tile={tile}'
        )
    preparation, max_bad = load_preparation(workdir, algorithm, direction)
    chosen = algorithm.weights(state, weights)[direction]
    return Translator(
        algorithm, direction, {direction: jax.tree.map(jnp.asarray, chosen)},
        preparation, tiles.Grid(
            tile, overlap, algorithm.side_multiple, algorithm.smallest_side
        ), seed, max_bad,
    )


def translate(translator, image):
    """Translate an image, in tiles if it is large.

    Args:
        translator: a `Translator`.
        image: [H, W, C] uint8, of the channels of the source.

    Returns:
        [H, W, C'] uint8.
    """
    key = jax.random.key(translator.seed)  # the same in every tile

    def function(part, number):
        del number
        return np.asarray(_translate(
            translator.algorithm, translator.direction, translator.weights,
            part, key,
        ))

    return tiles.apply(function, image, translator.grid, writer.to_uint8)


def _translate_one(algorithm, direction, weights, image, key):
    """Translate one image [H, W, C] uint8 to float32 [H, W, C']."""
    images = algorithm_lib.to_unit_range(image[None])
    return algorithm.translate(weights, images, direction, key[None])[0]


_translate = jax.jit(_translate_one, static_argnums=(0, 1))


def load_input(path, out):
    """Read an image, or what a folder or film has, and check the path to write.

    Args:
        path: of --input.
        out: of --out.

    Returns:
        `Input`.

    Raises:
        errors.UserError: if the input cannot be read, or the ending of `out` is
            another than that of its translation.
    """
    if not files.is_remote(path) and os.path.isdir(os.path.expanduser(path)):
        source = Input(path, FOLDER, folder_lib.listing(path, '--input'))
    else:
        source = _load_file(path)
    what, ending = KINDS[source.kind]
    if source.kind == FOLDER:
        if str(out).lower().endswith((*listing_lib.ENDINGS, *video.ENDINGS)):
            raise errors.ConfigError(
                f'--out={out} ends as a file does, but --input={path} is a '
                'folder'
            )
        _check_names(source.content)
    elif not str(out).lower().endswith(ending):
        raise errors.ConfigError(
            f'--out={out} must end in {ending}, because --input={path} is '
            f'{what}'
        )
    elif not files.is_remote(path) and os.path.realpath(
        os.path.expanduser(path)
    ) == os.path.realpath(os.path.expanduser(out)):
        raise errors.ConfigError(f'--out={out} would replace --input')
    return source


def _load_file(path):
    """Read an `Input` that is a file."""
    try:
        if video.is_mp4(path):
            with files.open_regular(path):
                pass  # an error of ffmpeg would be less clear
            return Input(path, MP4, video.read_mp4(path))
        content = files.read(path, listing_lib.MAX_BYTES)
        animation = pictures.animation(content)
    except OSError as error:
        raise errors.DataError(
            f'--input={path} cannot be read: {error.strerror or error}'
        ) from error
    except ValueError as error:
        raise errors.DataError(f'--input={path} {error}') from error
    if animation is None:
        return Input(path, PICTURE, content)
    height, width = animation.size
    count = len(animation.durations)
    if count * height * width > video.MAX_GIF_PIXELS:
        raise errors.DataError(
            f'--input={path} has {count:,} frames of {height}x{width}, more '
            f'than {video.MAX_GIF_PIXELS:,} pixels; convert it to MP4'
        )
    return Input(path, GIF, content, animation)


def _name_of_translation(name):
    """Return the name of a file's translation: a/b.jpg -> a/b.png."""
    return f'{os.path.splitext(name)[0]}.png'


def _check_names(listing):
    """Raise DataError if two images would be written to one file."""
    names = {}
    for name in listing.files:
        target = _name_of_translation(name)
        if target in names:
            raise errors.DataError(
                f'--input={listing.name}: {listing_lib.shown(names[target])} '
                f'and {listing_lib.shown(name)} would both be written to '
                f'{listing_lib.shown(target)}; rename one of them'
            )
        names[target] = name


def write(translator, source, out):
    """Translate an input, and write the result.

    Args:
        translator: a `Translator`.
        source: an `Input`.
        out: path to write. A file is replaced; a folder must not exist.

    Returns:
        `Result`.

    Raises:
        OSError: if a file cannot be written.
        errors.UserError: if a folder exists or cannot be written, the input is
            damaged, or a folder holds no readable image.
    """
    if source.kind == FOLDER:
        return _write_folder(translator, source.content, out)
    if source.kind == PICTURE:
        try:
            picture = pictures.decode(source.content, translator.preparation)
        except ValueError as error:
            raise errors.DataError(f'--input={source.path} {error}') from error
        writer.save_png(out, translate(translator, picture.pixels))
        return Result(1)
    count = 0

    def frames():
        nonlocal count
        for frame in _frames(translator, source):
            count += 1
            yield translate(translator, frame)

    if source.kind == GIF:
        durations, loop = source.animation.durations, source.animation.loop
        video.save_gif(out, frames(), durations, loop)
    else:
        video.save_mp4(out, frames(), source.content.rate, source.path)
    return Result(count)


def _frames(translator, source):
    """Yield the prepared frames of a film, with a progress bar on terminals."""
    total = None
    if source.kind == GIF:
        total = len(source.animation.durations)
        frames = pictures.frames(source.content, translator.preparation)
    else:
        frames = (
            pictures.fit_array(frame, translator.preparation)
            for frame in video.mp4_frames(source.path, source.content)
        )
    try:
        yield from tqdm(
            frames, desc=f'Translating {source.path}', unit='frame',
            total=total, delay=1, leave=False, disable=None,
        )
    except ValueError as error:
        raise errors.DataError(f'--input={source.path} {error}') from error


def _write_folder(translator, listing, out):
    """Translate the images of a `listing.Listing` to a new folder of PNGs."""
    skipped, count = list(listing.skipped), 0
    with packs.new_folder(out) as folder:
        for index, name in enumerate(tqdm(
            listing.files, desc=f'Translating {listing.name}', unit='image',
            delay=1, leave=False, disable=None,
        )):
            content, = listing_lib.contents(listing, [index])
            picture = listing_lib.decoded(content, translator.preparation)
            if isinstance(picture, Exception):
                skipped.append((name, str(picture)))
                continue
            writer.save_png(
                pathlib.Path(folder, _name_of_translation(name)),
                translate(translator, picture.pixels),
            )
            count += 1
        if not count:
            reading.check(listing.name, skipped, count, translator.max_bad)
    return Result(count, tuple(skipped))
