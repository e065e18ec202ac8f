"""Synthetic point distributions, sampled by key and sample number.

On a line, in 2-D, or on a flat manifold embedded in a space of any dimension.
Mixtures declare their modes, so that `metrics/modes.py` can count how many a
generator covers.
"""

from typing import Callable, NamedTuple, Optional

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.core import options

MOST = 10_000  # largest number of modes, and of coordinates, of a manifold


class Mixture(NamedTuple):
    """A distribution of points.

    Attributes:
        draw: PRNG key -> one point [ambient].
        means: [modes, ambient] centres of the modes; None without modes.
        std: standard deviation of a mode along each axis of its manifold.
        dimension: dimension of the manifold of a mode.
        ambient: number of coordinates of a point, >= dimension.
    """

    draw: Callable
    means: Optional[np.ndarray] = None
    std: float = 0.0
    dimension: int = 2
    ambient: int = 2


def sample(mixture, key, numbers):
    """Sample points; each is a function of the key and its number only.

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
    """Return a mixture of Gaussians of equal weights and equal deviation.

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
    """Return 2 modes on a line, at -1 and 1, deviation 0.4.

    Points have one coordinate, so that densities and D can be plotted over it
    as in the reference. Between the modes the density falls to 9 % of its
    maximum. The positions and the deviation are our own.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, figure 1.
    """
    return gaussians([[-1], [1]], 0.4)


def ring():
    """Return 8 modes on the unit circle, deviation 0.01, at angles 2 pi i / 8.

    As in PacGAN. The demonstration of unrolled GANs has 7 modes, because it
    uses the first angle twice.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial
        networks, https://arxiv.org/abs/1712.04086, 2017.
        Metz et al., Unrolled Generative Adversarial Networks,
        https://arxiv.org/abs/1611.02163, 2016.
    """
    angles = 2 * np.pi * np.arange(8) / 8
    return gaussians(np.stack([np.cos(angles), np.sin(angles)], 1), 0.01)


def grid():
    """Return 25 modes on {-4, -2, 0, 2, 4}^2, deviation 0.05, as in PacGAN."""
    side = np.arange(-4, 5, 2)
    x, y = np.meshgrid(side, side, indexing='ij')
    return gaussians(np.stack([x.ravel(), y.ravel()], 1), 0.05)


def _curve(point):
    """Return the `Mixture` of a curve point(u in [0, 1), branch in {0, 1}).

    Gaussian noise of deviation 0.05 is added along each axis.
    """

    def draw(key):
        u_key, branch_key, noise_key = jax.random.split(key, 3)
        u = jax.random.uniform(u_key)
        branch = jax.random.bernoulli(branch_key).astype(jnp.float32)
        noise = jax.random.normal(noise_key, (2,))
        return point(u, branch) + 0.05 * noise

    return Mixture(draw)


def _polar(radius, angle):
    """Convert polar to Cartesian coordinates."""
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def spirals():
    """Return two spiral arms of one and a half turns, radius 0 to 2."""
    return _curve(lambda u, arm: _polar(
        2 * jnp.sqrt(u), jnp.pi * (3 * jnp.sqrt(u) + arm)
    ))


def moons():
    """Return two interleaved half circles of radius 1."""

    def point(u, moon):
        x, y = _polar(1.0, jnp.pi * u)
        upper = jnp.stack([x - 0.5, y - 0.25])
        return jnp.where(moon > 0, -upper, upper)

    return _curve(point)


def circles():
    """Return circles of radius 1 and 2 around the origin."""
    return _curve(lambda u, outer: _polar(1 + outer, 2 * jnp.pi * u))


def manifold(modes, dimension, ambient, std):
    """Return modes on a flat manifold of d dimensions embedded in D.

    x = Q (c_k + std e), k uniform, e standard normal in R^d: Q [D, d] is the
    `isometry`, so the noise stays within the manifold, and the centres c_k lie
    well apart in [-1, 1]^d. Only k and e are random. With modes=10,
    dimension=700 and ambient=1200 it has the form of VEEGAN's synthetic data;
    the centres and the deviation are our own.

    A point depends on key and number only, except for its last bits: the
    rounding of a matrix product may depend on the number of points drawn at
    once (on CPU: one, or more).

    Args:
        modes: K in 1 ... 10,000.
        dimension: d, of the manifold, 1 <= d <= D.
        ambient: D in 2 ... 10,000, coordinates of a point.
        std: scalar > 0, along each axis of the manifold; at most a sixth of
            the smallest distance between centres.

    Returns:
        `Mixture`.

    Raises:
        ValueError: if a number is out of range or modes are too close.

    References:
        Srivastava et al., VEEGAN: Reducing mode collapse in GANs using
        implicit variational learning, https://arxiv.org/abs/1705.07761, 2017.
    """
    for valid, message in (
        (1 <= modes <= MOST, f'modes={modes} is not in 1 ... {MOST}'),
        (2 <= ambient <= MOST, f'ambient={ambient} is not in 2 ... {MOST}'),
        (1 <= dimension <= ambient,
         f'dimension={dimension} is not in 1 ... ambient={ambient}'),
        (0 < std < np.inf, f'std={std} is not positive and finite'),
    ):
        if not valid:
            raise ValueError(f'manifold: {message}')
    centres, gap = _centres(modes, dimension)
    if gap < 6 * std:
        raise ValueError(
            f'manifold: the closest two of {modes} modes in {dimension} '
            f'dimensions are {gap:.3g} apart, less than 6 std = {6 * std:.3g}: '
            f'use std={0.99 * gap / 6:.3g} or less, fewer modes or more '
            'dimensions'
        )
    basis = isometry(dimension, ambient)
    means = (centres @ basis.T).astype(np.float32)
    basis, centres = np.float32(basis), np.float32(centres)

    def draw(key):
        mode_key, noise_key = jax.random.split(key)
        mode = jax.random.randint(mode_key, (), 0, modes)
        noise = jax.random.normal(noise_key, (dimension,))
        # With TF32 products on a GPU, points would be off the manifold by 1e-3.
        return jnp.matmul(
            basis, jnp.asarray(centres)[mode] + std * noise,
            precision=jax.lax.Precision.HIGHEST,
        )

    return Mixture(draw, means, std, dimension, ambient)


def isometry(dimension, ambient):
    """Return the isometric embedding of `manifold`.

    It is the Q of a QR decomposition of Gaussian noise of a fixed seed, with
    signs such that R has a positive diagonal: a uniform random isometry.

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
    """Choose centres by farthest-point sampling among random candidates.

    Candidates are uniform in [-1, 1]^d: 16 per mode, and fewer above d = 16,
    where any two are far apart.

    Returns:
        (float64 [modes, dimension], smallest distance between two; inf for
        one mode).
    """
    count = modes * max(1, min(16, 256 // dimension))
    candidates = np.random.RandomState(0).uniform(-1, 1, (dimension, count))
    chosen, gap = [0], float('inf')
    squares = np.full(count, np.inf)  # squared distance to the nearest chosen
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

# The arguments of each mixture; others take none.
OPTIONS = {'manifold': (
    options.Option('modes', 10, 'number of modes', options.count(most=MOST)),
    options.Option(
        'dimension', 2, 'dimension of the manifold of the modes',
        options.count(most=MOST),
    ),
    options.Option(
        'ambient', 16, 'number of coordinates of a point',
        options.count(least=2, most=MOST),
    ),
    options.Option(
        'std', 0.05, 'standard deviation of a mode on its manifold',
        options.POSITIVE,
    ),
)}
