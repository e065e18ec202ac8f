"""2-D points made on the fly: key and sample number -> point, exact, endless.

Sources with modes tell where they are, so that what a generator recovers can
be counted (`metrics/modes.py`).
"""

from typing import Callable, NamedTuple, Optional

import jax
import jax.numpy as jnp
import numpy as np


class Mixture(NamedTuple):
    """A source of points.

    Attributes:
        draw: key -> one point [2].
        means: [modes, 2] centres of the modes, or None where there are none.
        std: standard deviation of a mode along each axis.
    """

    draw: Callable
    means: Optional[np.ndarray] = None
    std: float = 0.0


def sample(mixture, key, numbers):
    """Draw points by number, each a function of key and number alone.

    Args:
        mixture: a `Mixture`.
        key: PRNG key.
        numbers: int or uint [...].

    Returns:
        [..., 2] float32.
    """
    flat = jax.vmap(lambda number: mixture.draw(
        jax.random.fold_in(key, number)
    ))(numbers.reshape(-1))
    return flat.reshape(*numbers.shape, 2)


def gaussians(means, std):
    """Mix Gaussians of one deviation with equal weights.

    Args:
        means: [modes, 2].
        std: scalar > 0, along each axis.

    Returns:
        `Mixture`.
    """
    means = np.asarray(means, np.float32)

    def draw(key):
        mode_key, noise_key = jax.random.split(key)
        mode = jax.random.randint(mode_key, (), 0, len(means))
        return jnp.asarray(means)[mode] + std * jax.random.normal(
            noise_key, (2,)
        )

    return Mixture(draw, means, std)


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


MIXTURES = {
    'circles': circles,
    'grid': grid,
    'moons': moons,
    'ring': ring,
    'spirals': spirals,
}
