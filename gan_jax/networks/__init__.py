"""Flax modules, and the registry from names to pairs of them."""

from typing import Any, NamedTuple

from gan_jax.networks import dcgan
from gan_jax.networks import mlp


class Pair(NamedTuple):
    """One family of networks.

    Attributes:
        generator: module class with a field `image_shape`.
        discriminator: module class.
        convolutional: whether they convolve, which decides how many steps a
            call may scan on CPU.
    """

    generator: Any
    discriminator: Any
    convolutional: bool


NETWORKS = {
    'dcgan': Pair(dcgan.Generator, dcgan.Discriminator, convolutional=True),
    'mlp': Pair(mlp.Generator, mlp.Discriminator, convolutional=False),
}
