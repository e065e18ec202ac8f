"""Writing of releases: a run as a folder in the layout of model hubs.

The folder holds all players and averages as safetensors, the config, a model
card with samples and metrics, and the SHA-256 of each file. Whoever gets it can
sample, measure, project and train on without the run folder.
"""

import hashlib
import io
import json

import numpy as np
from PIL import Image

from gan_jax.algorithms import translation
from gan_jax.config import defaults
from gan_jax.core import errors
from gan_jax.core import files
from gan_jax.runs import release_files
from gan_jax.runs import release_tensors
from gan_jax.runs import run_files
from gan_jax.runs import sampling
from gan_jax.runtime import writer
from gan_jax.tools import release_card

NUM_SAMPLES, NUM_POINTS = 64, 2500  # of the picture
MAX_PICTURE, PNG = 2**26, b'\x89PNG\r\n'
# Keys of how a run began; a run on its release's config must not repeat them.
STARTS = ('init_from', 'init_players', 'init_resume')


def write(
    folder, workdir, algorithm, state, *, training=False, weights='ema',
    licence=release_card.Licence(),
):
    """Write a release.

    Args:
        folder: to write to, created if missing; a release in it, even one
            that was written only in part, is replaced.
        workdir: folder of the run, or of another release.
        algorithm, state: of the run, as of `sampling.load`.
        training: whether to add optimizers and memory, which going on with the
            training needs.
        weights: of the samples in the card, one of `Algorithm.weight_names`.
        licence: `release_card.Licence`.

    Returns:
        {name of a file: its size in bytes}.

    Raises:
        errors.UserError: where the folder holds other files or is the workdir,
            or the workdir is a release without optimizers and memory.
        OSError: where a file cannot be written.
    """
    folder = files.to_path(folder)
    check_folder(folder)
    _check_differs(folder, workdir)
    _check_training(workdir, training)
    contents = {
        release_files.CONFIG: _json(_config(workdir)),
        release_files.DATA: _json(run_files.load_sources(workdir)),
        **release_tensors.pack(state),
    }
    if not training:
        del contents[release_files.TRAINING]
    picture = _picture(workdir, algorithm, state, weights)
    if picture:
        contents[release_files.SAMPLES] = picture
    contents[release_files.CARD] = release_card.build(
        workdir, algorithm, state, weights, name=folder.name, licence=licence,
        files={name: len(data) for name, data in contents.items()},
    ).encode()
    folder.mkdir(parents=True, exist_ok=True)
    model = hashlib.sha256(contents[release_files.MODEL]).hexdigest()
    if model_hash(folder) != model:
        move_numbers(folder)
    # First: a folder that was written only in part does not match its hashes,
    # so nothing reads it, and the next attempt may replace it.
    files.write(
        folder / release_files.SUMS, release_files.format_sums(contents)
    )
    for name in release_files.NAMES:
        if name in contents:
            files.write(folder / name, contents[name])
        else:
            files.remove(folder / name)
    return {name: len(data) for name, data in contents.items()}


def _config(workdir):
    """Return the config of a run, without the start that it had itself."""
    config = run_files.load_config(workdir)
    default = defaults.default_config()
    for key in STARTS:
        config[key] = default[key]
    return config.to_dict()


def check_folder(folder):
    """Check that nothing but a release is replaced.

    Args:
        folder: to write a release to.

    Raises:
        errors.ConfigError: where it holds other files.
        OSError: where it cannot be read.
    """
    folder = files.to_path(folder)
    try:
        present = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    if present and not _is_replaceable(folder):
        raise errors.ConfigError(
            f'--out={folder} holds other files, such as {present[0]!r}; name a '
            'new folder, or a release to replace'
        )


def _is_replaceable(folder):
    """Return whether a folder's `SHA256SUMS` shows that it is a release."""
    try:
        return release_files.is_release(folder) and (
            release_files.MODEL in release_files.read_sums(folder)
        )
    except errors.ReleaseError:
        return False


def _check_differs(folder, workdir):
    """Check that a release is not written onto the one it is made of."""
    if files.to_path(workdir).resolve() == folder.resolve():
        raise errors.ConfigError(
            f'--out={folder} is the --workdir itself; name a new folder'
        )


def move_numbers(folder):
    """Rename the numbers of `evaluate` in a release, which are of another."""
    path = files.to_path(folder) / run_files.EVALUATION
    if files.lexists(path):
        files.move_aside(path)


def model_hash(folder):
    """Return the SHA-256 of a release's `MODEL`, or '' where there is none."""
    try:
        return release_files.read_sums(folder).get(release_files.MODEL, '')
    except errors.ReleaseError:
        return ''


def _check_training(workdir, training):
    """Check that the workdir has what --training adds."""
    if training and release_files.is_release(workdir) and (
            release_files.TRAINING not in release_files.read_sums(workdir)):
        raise errors.ReleaseError(
            f'{workdir} is a release without optimizers and memory, so '
            '--training has nothing to add'
        )


def _json(content):
    return (json.dumps(content, indent=2) + '\n').encode()


def _picture(workdir, algorithm, state, weights):
    """Return a PNG file of samples, a grid of images or a plot of points.

    Of a translation it is the picture that training drew at this step; b''
    where it drew none, and for another release.
    """
    if algorithm.name in translation.KINDS:
        if release_files.is_release(workdir):
            return b''
        path = files.to_path(workdir) / 'samples' / f'{state.step:06d}.png'
        try:
            data = files.read(path, MAX_PICTURE)
        except (OSError, ValueError):
            return b''
        return data if data.startswith(PNG) else b''
    shape = run_files.load_data(workdir)['image_shape']
    count = NUM_SAMPLES if len(shape) == 3 else NUM_POINTS
    samples = sampling.sample(algorithm, state, range(count), weights=weights)
    picture = np.asarray(writer.picture(
        samples, units=run_files.units(workdir)
    ))
    file = io.BytesIO()
    Image.fromarray(
        picture[..., 0] if picture.shape[-1] == 1 else picture
    ).save(file, 'png')
    return file.getvalue()
