"""Data of the lab: mixtures of the library, Gaussians, or a user's drawing.

A drawing is a set of points with a small Gaussian around each. It is an array
argument of the compiled step, so a new drawing does not compile anything.
"""

import base64
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from gan_jax.core import errors
from gan_jax.ops import mixtures

MOST_POINTS = 512  # of a drawing
LEVELS = 255  # steps of a coordinate in a link, from -1 to 1


class Source(NamedTuple):
    """Source of real points.

    Attributes:
        label: name in the menu.
        dimension: 2 or 1.
        reach: half the side of the picture.
        library: name in `mixtures.MIXTURES`, or ''.
        centres: means of Gaussians, if it is neither of the library nor drawn.
        std: standard deviation around each centre or drawn point.
    """

    label: str
    dimension: int
    reach: float
    library: str = ''
    centres: tuple = ()
    std: float = 0.0

    @property
    def drawn(self):
        """Return whether the user draws it."""
        return not (self.library or self.centres)


SOURCES = {
    'ring': Source('Ring of 8 modes', 2, 1.6, 'ring'),
    'grid': Source('Grid of 25 modes', 2, 5.5, 'grid'),
    'moons': Source('Two moons', 2, 2.2, 'moons'),
    'spiral': Source('Two spirals', 2, 2.6, 'spirals'),
    'drawn': Source('Your drawing', 2, 1.2, std=0.03),
    'bell': Source('1-D: one Gaussian', 1, 4.0, centres=(0.0,), std=1.0),
    'two_bells': Source(
        '1-D: two Gaussians', 1, 3.0, centres=(-1.0, 1.0), std=0.4,
    ),
    'drawn_line': Source('1-D: your drawing', 1, 1.2, std=0.03),
}


class Table(NamedTuple):
    """Means of a source's Gaussians, padded to a fixed shape.

    Attributes:
        points: float32 [MOST_POINTS, dimension]; zeros after `count` points.
        count: int32, number of points.
        std: float32, standard deviation.
    """

    points: np.ndarray
    count: np.ndarray
    std: np.ndarray


def table(source, drawing):
    """Build the table that `mixture` samples from.

    Args:
        source: `Source`.
        drawing: str of `encode`; unused if the source is not drawn.

    Returns:
        `Table`.
    """
    points = np.zeros((MOST_POINTS, source.dimension), np.float32)
    means = decode(drawing) if source.drawn else np.reshape(
        source.centres, (-1, 1)
    )
    points[:len(means)] = means[:, :source.dimension]
    return Table(points, np.int32(len(means)), np.float32(source.std))


def mixture(source, table):
    """Build the `mixtures.Mixture` of a source; its table may be traced."""
    if source.library:
        return mixtures.MIXTURES[source.library]()

    def draw(key):
        index_key, noise_key = jax.random.split(key)
        index = jax.random.randint(index_key, (), 0, table.count)
        noise = jax.random.normal(noise_key, (source.dimension,))
        return jnp.asarray(table.points)[index] + table.std * noise

    return mixtures.Mixture(
        draw, dimension=source.dimension, ambient=source.dimension
    )


def modes(source):
    """Return (means [K, D], std, dimension) of a source's modes, or None."""
    if source.library:
        known = mixtures.MIXTURES[source.library]()
        return None if known.means is None else (known.means, known.std, 2)
    if source.centres:
        return np.reshape(source.centres, (-1, 1)), source.std, 1
    return None


def density(table, x):
    """Compute the exact density of a 1-D source.

    Args:
        table: `Table` of dimension 1.
        x: [N].

    Returns:
        float64 [N].
    """
    z = _standard(table, x)
    return np.exp(-z**2 / 2).mean(1) / (float(table.std) * np.sqrt(2 * np.pi))


def cumulative(table, x):
    """Compute the cumulative distribution of a 1-D source, as `density`."""
    return special.ndtr(_standard(table, x)).mean(1)


def _standard(table, x):
    points = np.asarray(table.points[:int(table.count), 0], np.float64)
    return (np.asarray(x)[:, None] - points) / float(table.std)


def encode(points):
    """Encode points of [-1, 1]^2 as text for a link, two bytes for each.

    Args:
        points: [N, 2], N <= MOST_POINTS; clipped to [-1, 1].

    Returns:
        str of letters, digits, - and _.
    """
    points = np.clip(np.asarray(points, np.float64).reshape(-1, 2), -1, 1)
    levels = np.rint((points + 1) / 2 * LEVELS).astype(np.uint8)
    return base64.urlsafe_b64encode(levels.tobytes()).decode().rstrip('=')


def decode(text):
    """Decode the text of `encode`.

    Returns:
        float32 [N, 2] in [-1, 1].

    Raises:
        errors.ConfigError: for any other text.
    """
    if type(text) is not str or len(text) > 4 * MOST_POINTS:
        raise errors.ConfigError(
            f'a drawing has at most {MOST_POINTS} points'
        )
    try:
        if not re.fullmatch('[A-Za-z0-9_-]*', text):
            raise ValueError('other characters')
        data = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    except ValueError as error:
        raise errors.ConfigError('the drawing cannot be read') from error
    if len(data) % 2 or len(data) > 2 * MOST_POINTS:
        raise errors.ConfigError(
            f'a drawing has at most {MOST_POINTS} points of two bytes'
        )
    levels = np.frombuffer(data, np.uint8).reshape(-1, 2)
    return (levels / np.float32(LEVELS) * 2 - 1).astype(np.float32)
