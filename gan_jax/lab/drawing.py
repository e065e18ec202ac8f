"""What the lab's GANs learn: the library's points, or a person's drawing.

A drawing is a set of points, each with a small Gaussian around it. It reaches
the compiled step as an array, so that a new one compiles nothing.
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
STEPS = 255  # of a coordinate in a link, from -1 to 1


class Source(NamedTuple):
    """Where real points come from.

    Attributes:
        label: in words.
        dimension: 2, points of the plane, or 1, of a line.
        reach: half the side of the picture.
        library: name in `mixtures.MIXTURES`, or ''.
        centres: of Gaussians, where it is neither of the library nor drawn.
        std: deviation around each centre or drawn point.
    """

    label: str
    dimension: int
    reach: float
    library: str = ''
    centres: tuple = ()
    std: float = 0.0

    @property
    def drawn(self):
        """Say whether a person draws it."""
        return not (self.library or self.centres)


SOURCES = {
    'ring': Source('Ring of 8 spots', 2, 1.6, 'ring'),
    'grid': Source('Grid of 25 spots', 2, 5.5, 'grid'),
    'moons': Source('Two moons', 2, 2.2, 'moons'),
    'spiral': Source('Spiral of two arms', 2, 2.6, 'spirals'),
    'drawn': Source('Your drawing', 2, 1.2, std=0.03),
    'bell': Source('Line: one bell', 1, 4.0, centres=(0.0,), std=1.0),
    'two_bells': Source(
        'Line: two bells', 1, 3.0, centres=(-1.0, 1.0), std=0.4,
    ),
    'drawn_line': Source('Line: your drawing', 1, 1.2, std=0.03),
}


class Table(NamedTuple):
    """Points that a source's Gaussians lie around, of fixed shapes.

    Attributes:
        points: float32 [MOST_POINTS, dimension], zeros behind `count`.
        count: int32.
        std: float32.
    """

    points: np.ndarray
    count: np.ndarray
    std: np.ndarray


def table(source, drawing):
    """Lay out what `mixture` draws from.

    Args:
        source: `Source`.
        drawing: str, as of `encode`; unused where the source is not drawn.

    Returns:
        `Table`.
    """
    points = np.zeros((MOST_POINTS, source.dimension), np.float32)
    given = decode(drawing) if source.drawn else np.reshape(
        source.centres, (-1, 1)
    )
    points[:len(given)] = given[:, :source.dimension]
    return Table(points, np.int32(len(given)), np.float32(source.std))


def mixture(source, table):
    """Make a `mixtures.Mixture` of a source; its table may be traced."""
    if source.library:
        return mixtures.MIXTURES[source.library]()

    def draw(key):
        place_key, noise_key = jax.random.split(key)
        place = jax.random.randint(place_key, (), 0, table.count)
        noise = jax.random.normal(noise_key, (source.dimension,))
        return jnp.asarray(table.points)[place] + table.std * noise

    return mixtures.Mixture(
        draw, dimension=source.dimension, ambient=source.dimension
    )


def modes(source):
    """Give (means [K, D], deviation, dimension) to count modes by, or None."""
    if source.library:
        made = mixtures.MIXTURES[source.library]()
        return None if made.means is None else (made.means, made.std, 2)
    if source.centres:
        return np.reshape(source.centres, (-1, 1)), source.std, 1
    return None


def density(table, x):
    """Give the density of a source on a line, exactly.

    Args:
        table: `Table` of dimension 1.
        x: [N].

    Returns:
        float64 [N].
    """
    z = _standard(table, x)
    return np.exp(-z**2 / 2).mean(1) / (float(table.std) * np.sqrt(2 * np.pi))


def cumulative(table, x):
    """Give the distribution function of a source on a line; as `density`."""
    return special.ndtr(_standard(table, x)).mean(1)


def _standard(table, x):
    points = np.asarray(table.points[:int(table.count), 0], np.float64)
    return (np.asarray(x)[:, None] - points) / float(table.std)


def encode(points):
    """Write points of [-1, 1]^2 as text for a link: two bytes a point.

    Args:
        points: [N, 2], N <= MOST_POINTS; what is outside is brought in.

    Returns:
        str of letters, digits, - and _.
    """
    points = np.clip(np.asarray(points, np.float64).reshape(-1, 2), -1, 1)
    steps = np.rint((points + 1) / 2 * STEPS).astype(np.uint8)
    return base64.urlsafe_b64encode(steps.tobytes()).decode().rstrip('=')


def decode(text):
    """Read what `encode` wrote.

    Returns:
        float32 [N, 2] in [-1, 1].

    Raises:
        errors.ConfigError: for any other text.
    """
    if type(text) is not str or len(text) > 4 * MOST_POINTS:
        raise errors.ConfigError(
            f'a drawing has up to {MOST_POINTS} points'
        )
    try:
        if not re.fullmatch('[A-Za-z0-9_-]*', text):
            raise ValueError('other characters')
        data = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
    except ValueError as error:
        raise errors.ConfigError('the drawing cannot be read') from error
    if len(data) % 2 or len(data) > 2 * MOST_POINTS:
        raise errors.ConfigError(
            f'a drawing has up to {MOST_POINTS} points of two bytes'
        )
    steps = np.frombuffer(data, np.uint8).reshape(-1, 2)
    return (steps / np.float32(STEPS) * 2 - 1).astype(np.float32)
