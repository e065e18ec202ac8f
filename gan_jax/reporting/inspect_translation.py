"""Translations of a run beside true and near images, for its report.

A few images of each domain are translated: held-out ones, if there are any. It
must not know HTML.
"""

from typing import Any, NamedTuple, Optional

import numpy as np

from gan_jax.evaluation import domains
from gan_jax.evaluation import translations
from gan_jax.metrics import memorization
from gan_jax.runtime import writer

NUM_SHOWN = 10  # images of each domain
MOST_IMAGES = 10_000  # real images that are searched
MOST_BYTES = 32 * 2**20  # of their pixels


class Rows(NamedTuple):
    """Images of one direction, one below the other.

    Attributes:
        source, target: names of the domains.
        picture: uint8 [H, W, C], a row for each of `rows`.
        rows: texts that name the rows, from the top.
        held_out: whether the images of the source were not trained on.
        error: mean error to the true images that are shown; None where they are
            not known.
    """

    source: str
    target: str
    picture: Any
    rows: tuple
    held_out: bool
    error: Optional[float]


def inspect(algorithm, state, config, datasets=None):
    """Translate a few images of each domain, and find near real images.

    Args:
        algorithm: `translation.Translation` that trained.
        state: `algorithm.TrainState` of NumPy arrays.
        config: ConfigDict of the run.
        datasets: {source: `sources.Dataset`} that it was trained on, if they
            are loaded.

    Returns:
        List of `Rows`, one for each direction.

    Raises:
        errors.DataError: where images are missing or cannot be read.
    """
    weights = algorithm.weights(state, algorithm.weight_names[0])
    return [
        _rows(algorithm, weights, direction)
        for direction in domains.directions(config, training=datasets)
    ]


def _rows(algorithm, weights, direction):
    """Return the `Rows` of a `domains.Direction`."""
    count = len(direction.inputs.images)
    shown = min(NUM_SHOWN, count)
    translated = translations.translate(
        algorithm, weights, direction.name, direction.inputs.images,
        np.arange(shown) * count // shown, direction.partners,
    )
    nearest, searched = nearest_real(
        translated.images, direction.training.images
    )
    source, target = direction.source, direction.target
    rows = {
        f'images of {source}': translated.inputs,
        f'translations to {target}': translated.images,
        f'these back to {source}': translated.cycles,
        f'true images of {target} ({direction.known_by})': translated.partners,
        f'real images of {target} nearest to the translations, by pixels, of '
        f'{searched:,} trained on': nearest,
    }
    rows = {name: images for name, images in rows.items() if images is not None}
    channels = max(images.shape[-1] for images in rows.values())
    picture = writer.grid(np.concatenate([
        domains.with_channels(images, channels) for images in rows.values()
    ]), shown)
    errors = translated.true_errors
    return Rows(
        source, target, picture, tuple(rows), direction.held_out,
        None if errors is None else float(errors.mean()),
    )


def nearest_real(images, real):
    """Find the nearest real image of each image, by pixels.

    Args:
        images: uint8 [n, H, W, C].
        real: uint8 [N, H, W, C], an array or an object that returns arrays when
            indexed.

    Returns:
        (uint8 [n, H, W, C], number of images that were searched).
    """
    size = int(np.prod(real.shape[1:]))
    count = min(len(real), max(1, min(MOST_IMAGES, MOST_BYTES // size)))
    searched = np.asarray(real[np.arange(count) * len(real) // count])
    indices, _ = memorization.neighbours(images, searched)
    return searched[indices[:, 0]], count
