"""Points made on the fly: key and sample number -> point, exact, endless.

On a line, in 2-D, or on a flat manifold of any dimension in a space of any
other. Sources with modes tell where they are, so that what a generator recovers
can be counted (`metrics/modes.py`).
"""

from typing import Callable, NamedTuple, Optional

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import options

MOST = 10_000  # modes of a manifold, and coordinates


class Mixture(NamedTuple):
    """A source of points.

    Attributes:
        draw: key -> one point [ambient].
        means: [modes, ambient] centres of the modes, or None where there are
            none.
        std: standard deviation of a mode along each axis of its manifold.
        dimension: axes along which a mode extends.
        ambient: coordinates of a point, >= dimension.
    """

    draw: Callable
    means: Optional[np.ndarray] = None
    std: float = 0.0
    dimension: int = 2
    ambient: int = 2


def sample(mixture, key, numbers):
    """Draw points by number, each a function of key and number alone.

    Args:
        mixture: a `Mixture`.
        key: PRNG key.
        numbers: int or uint [...].

    Returns:
        [..., ambient] float32.
    """
    flat = jax.vmap(lambda number: mixture.draw(
        jax.random.fold_in(key, number)
    ))(numbers.reshape(-1))
    return flat.reshape(*numbers.shape, mixture.ambient)


def gaussians(means, std):
    """Mix Gaussians of one deviation with equal weights.

    Args:
        means: [modes, D].
        std: scalar > 0, along each axis.

    Returns:
        `Mixture`.
    """
    means = np.asarray(means, np.float32)
    size = means.shape[1]

    def draw(key):
        mode_key, noise_key = jax.random.split(key)
        mode = jax.random.randint(mode_key, (), 0, len(means))
        return jnp.asarray(means)[mode] + std * jax.random.normal(
            noise_key, (size,)
        )

    return Mixture(draw, means, std, size, size)


def line():
    """Put 2 modes on a line, at -1 and 1, deviation 0.4.

    Points of one coordinate, so that densities and D can be drawn over them, as
    in figure 1 of Goodfellow et al., Generative Adversarial Networks,
    https://arxiv.org/abs/1406.2661, 2014. Between the modes the density falls
    to 9 % of what it is at them. Ours.
    """
    return gaussians([[-1], [1]], 0.4)


def ring():
    """Put 8 modes on the unit circle, deviation 0.01, at angles 2 pi i / 8.

    As in Lin et al., PacGAN, https://arxiv.org/abs/1712.04086, 2017. The demo
    of Metz et al., Unrolled Generative Adversarial Networks,
    https://arxiv.org/abs/1611.02163, 2016, has 7: it takes the first angle
    twice.
    """
    angles = 2 * np.pi * np.arange(8) / 8
    return gaussians(np.stack([np.cos(angles), np.sin(angles)], 1), 0.01)


def grid():
    """Put 25 modes on {-4, -2, 0, 2, 4}^2, deviation 0.05 (PacGAN's grid)."""
    side = np.arange(-4, 5, 2)
    x, y = np.meshgrid(side, side, indexing='ij')
    return gaussians(np.stack([x.ravel(), y.ravel()], 1), 0.05)


def _curve(point):
    """Make a mixture of a curve: point(u in [0, 1), branch in {0, 1}).

    Gaussian noise of deviation 0.05 is added along each axis.
    """

    def draw(key):
        place_key, branch_key, noise_key = jax.random.split(key, 3)
        place = jax.random.uniform(place_key)
        branch = jax.random.bernoulli(branch_key).astype(jnp.float32)
        noise = jax.random.normal(noise_key, (2,))
        return point(place, branch) + 0.05 * noise

    return Mixture(draw)


def _polar(radius, angle):
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def spirals():
    """Wind two arms of one and a half turns, radius 0 to 2."""
    return _curve(lambda u, arm: _polar(
        2 * jnp.sqrt(u), jnp.pi * (3 * jnp.sqrt(u) + arm)
    ))


def moons():
    """Interleave two half circles of radius 1."""

    def point(u, moon):
        x, y = _polar(1.0, jnp.pi * u)
        upper = jnp.stack([x - 0.5, y - 0.25])
        return jnp.where(moon > 0, -upper, upper)

    return _curve(point)


def circles():
    """Draw circles of radius 1 and 2 around the origin."""
    return _curve(lambda u, outer: _polar(1 + outer, 2 * jnp.pi * u))


def manifold(modes, dimension, ambient, std):
    """Put modes on a flat manifold of d dimensions embedded in D.

    x = Q (c_k + std e), k uniform, e standard normal in R^d: Q [D, d] is the
    `isometry`, so noise stays within the manifold, and the centres c_k lie
    well apart in [-1, 1]^d. All is fixed but k and e. With modes=10,
    dimension=700 and ambient=1200 it has the form of VEEGAN's synthetic data;
    places and deviation are ours.

    A point is a function of key and number, but for the last bits: a matrix
    product may round by how many are drawn at once (on CPU: one, or more).

    Args:
        modes: K in 1 ... 10,000.
        dimension: d, of the manifold, 1 <= d <= D.
        ambient: D in 2 ... 10,000, coordinates of a point.
        std: scalar > 0, along each axis of the manifold; at most a sixth of
            the smallest distance between centres.

    Returns:
        `Mixture`.

    Raises:
        ValueError: where a number is out of its range or modes are too near.

    References:
        Srivastava et al., VEEGAN: Reducing mode collapse in GANs using
        implicit variational learning, https://arxiv.org/abs/1705.07761, 2017.
    """
    for holds, rule in (
        (1 <= modes <= MOST, f'modes={modes} is not in 1 ... {MOST}'),
        (2 <= ambient <= MOST, f'ambient={ambient} is not in 2 ... {MOST}'),
        (1 <= dimension <= ambient,
         f'dimension={dimension} is not in 1 ... ambient={ambient}'),
        (0 < std < np.inf, f'std={std} is not above 0 and finite'),
    ):
        if not holds:
            raise ValueError(f'manifold: {rule}')
    centres, gap = _centres(modes, dimension)
    if gap < 6 * std:
        raise ValueError(
            f'manifold: the nearest two of {modes} modes in {dimension} '
            f'dimensions are {gap:.3g} apart, under 6 std = {6 * std:.3g}: '
            f'take std={0.99 * gap / 6:.3g} or less, fewer modes or more '
            'dimensions'
        )
    basis = isometry(dimension, ambient)
    means = (centres @ basis.T).astype(np.float32)
    basis, centres = np.float32(basis), np.float32(centres)

    def draw(key):
        mode_key, noise_key = jax.random.split(key)
        mode = jax.random.randint(mode_key, (), 0, modes)
        noise = jax.random.normal(noise_key, (dimension,))
        # Highest: a GPU's TF32 products would leave the manifold by 1e-3.
        return jnp.matmul(
            basis, jnp.asarray(centres)[mode] + std * noise,
            precision=jax.lax.Precision.HIGHEST,
        )

    return Mixture(draw, means, std, dimension, ambient)


def isometry(dimension, ambient):
    """Give the embedding of every manifold of these dimensions.

    The Q of a QR decomposition of Gaussian noise of a fixed seed, its signs
    such that R has a positive diagonal: uniform among isometries.

    Args:
        dimension: d.
        ambient: D >= d.

    Returns:
        float64 [D, d], orthonormal columns.
    """
    noise = np.random.RandomState(1).randn(ambient, dimension)
    basis, upper = np.linalg.qr(noise)
    return basis * np.sign(np.diag(upper))


def _centres(modes, dimension):
    """Choose, one by one, the candidate farthest from those chosen.

    Candidates are uniform in [-1, 1]^d: 16 for each mode, fewer from d = 32
    on, where any two are far apart.

    Returns:
        (float64 [modes, dimension], smallest distance between two, inf for
        one mode).
    """
    count = modes * max(1, min(16, 256 // dimension))
    candidates = np.random.RandomState(0).uniform(-1, 1, (dimension, count))
    chosen, gap = [0], float('inf')
    squares = np.full(count, np.inf)  # to the nearest chosen
    while len(chosen) < modes:
        offsets = candidates - candidates[:, chosen[-1:]]
        np.minimum(squares, np.square(offsets).sum(0), out=squares)
        chosen.append(squares.argmax())
        gap = float(np.sqrt(squares[chosen[-1]]))  # it never grows
    return candidates[:, chosen].T, gap


MIXTURES = {
    'circles': circles,
    'grid': grid,
    'line': line,
    'manifold': manifold,
    'moons': moons,
    'ring': ring,
    'spirals': spirals,
}

# What a source must be told; those that are not here take nothing.
OPTIONS = {'manifold': (
    options.Option('modes', 10, 'number of modes', options.count(most=MOST)),
    options.Option(
        'dimension', 2, 'of the plane that the modes lie in',
        options.count(most=MOST),
    ),
    options.Option(
        'ambient', 16, 'coordinates of a point',
        options.count(least=2, most=MOST),
    ),
    options.Option(
        'std', 0.05, 'deviation of a mode along its plane', options.POSITIVE,
    ),
)}
