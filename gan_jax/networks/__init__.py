"""Registries of generators, discriminators and encoders: Flax modules.

Networks know neither losses nor configs nor devices. A network documents only
the fields of its own. Those of `fields` are inherited. The others have the same
meaning in all networks:

    image_shape: (height, width, channels) of images, (D,) of points.
    channels: channels of the images that a translator generates; its input may
        have others.
    kernel_size: side of the square kernels.
    upsampling, downsampling: one of `resampling.UPSAMPLINGS` and
        `DOWNSAMPLINGS`.
    minibatch_features: number of features of minibatch discrimination, which
        are appended to those of the last hidden layer; 0 for none.
    output: activation of the last layer, one of `activations.OUTPUTS`.
    code_size: length of the code of a sample.

So do the arguments of a call:

    inputs: z [B, latent_size] of a generator in `NETWORKS`; otherwise images
        [B, H, W, C] in [-1, 1], or points [B, D].
    labels: [B] int32, or None if the condition needs none.
    train: whether norms use the statistics of the batch, and dropout is on.
    keys: [B] PRNG keys of dropout, or None.
"""

import collections
from typing import Any, NamedTuple

from gan_jax.networks import autoencoder
from gan_jax.networks import biggan
from gan_jax.networks import dcgan
from gan_jax.networks import encoders
from gan_jax.networks import mlp
from gan_jax.networks import patchgan
from gan_jax.networks import r3gan
from gan_jax.networks import resnet
from gan_jax.networks import resnet_autoencoder
from gan_jax.networks import stylegan2
from gan_jax.networks import tiny
from gan_jax.networks import translators


class Pair(NamedTuple):
    """The networks of one family.

    Attributes:
        generator: module class with a field `image_shape`, or `channels` in
            `TRANSLATORS`; None if the family has only a discriminator.
        discriminator: module class; None if the family has only a generator.
        convolutional: whether they contain convolutions, which limits how many
            steps a call can scan on CPU.
        energies: whether the logits are energies, >= 0 and low for real images.
        autoencoder: name of the family with the corresponding autoencoder as
            discriminator; '' if there is none.
        encoder: module class of the corresponding encoder; None if there is
            none.
    """

    generator: Any
    discriminator: Any
    convolutional: bool
    energies: bool = False
    autoencoder: str = ''
    encoder: Any = None


NETWORKS = {
    'biggan': Pair(biggan.Generator, biggan.Discriminator, convolutional=True),
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
    'r3gan': Pair(r3gan.Generator, r3gan.Discriminator, convolutional=True),
    'resnet': Pair(resnet.Generator, resnet.Discriminator, convolutional=True),
    'stylegan2': Pair(
        stylegan2.Generator, stylegan2.Discriminator, convolutional=True
    ),
    'tiny': Pair(tiny.Generator, tiny.Discriminator, convolutional=True),
}

# Networks of image-to-image translation. Generators take images, and may change
# their number of channels; none takes labels. No name is in `NETWORKS` too.
TRANSLATORS = {
    'patchgan': Pair(None, patchgan.Discriminator, convolutional=True),
    'resnet_translator': Pair(translators.ResNet, None, convolutional=True),
    'unet': Pair(translators.UNet, None, convolutional=True),
}

# Decoders and encoders whose codes are maps [B, h, w, code_size], not vectors
# [B, code_size]; the decoder is the generator.
AUTOENCODERS = {
    'resnet_autoencoder': Pair(
        resnet_autoencoder.Decoder, None, convolutional=True,
        encoder=resnet_autoencoder.Encoder,
    ),
}

# All families. `config.game_checks` decides which an algorithm can have.
FAMILIES = collections.ChainMap(NETWORKS, TRANSLATORS, AUTOENCODERS)
