"""Flax modules, and the registry from names to pairs of them."""

from typing import Any, NamedTuple

from gan_jax.networks import autoencoder
from gan_jax.networks import dcgan
from gan_jax.networks import encoders
from gan_jax.networks import mlp
from gan_jax.networks import resnet
from gan_jax.networks import tiny


class Pair(NamedTuple):
    """One family of networks.

    Attributes:
        generator: module class with a field `image_shape`, or None where the
            family has a discriminator alone.
        discriminator: module class.
        convolutional: whether they convolve, which decides how many steps a
            call may scan on CPU.
        energies: whether the logits are energies, >= 0 and low where real.
        autoencoder: name of the family whose discriminator is this one as an
            autoencoder; '' where there is none.
        encoder: module class that gives codes to a decoder; None where there is
            none.
    """

    generator: Any
    discriminator: Any
    convolutional: bool
    energies: bool = False
    autoencoder: str = ''
    encoder: Any = None


NETWORKS = {
    'dcgan': Pair(
        dcgan.Generator,
        dcgan.Discriminator,
        convolutional=True,
        autoencoder='dcgan_autoencoder',
        encoder=encoders.DCGANEncoder,
    ),
    'dcgan_autoencoder': Pair(
        None,
        autoencoder.DCGANDiscriminator,
        convolutional=True,
        energies=True,
    ),
    'mlp': Pair(
        mlp.Generator,
        mlp.Discriminator,
        convolutional=False,
        autoencoder='mlp_autoencoder',
        encoder=encoders.MLPEncoder,
    ),
    'mlp_autoencoder': Pair(
        None, autoencoder.MLPDiscriminator, convolutional=False, energies=True
    ),
    'resnet': Pair(resnet.Generator, resnet.Discriminator, convolutional=True),
    'tiny': Pair(tiny.Generator, tiny.Discriminator, convolutional=True),
}
