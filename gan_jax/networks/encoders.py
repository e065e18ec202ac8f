"""Encoders: the source of a decoder's codes, a network or a table.

A network has the layers of the discriminator of its family up to the head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import dcgan
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import mlp


class MLPEncoder(fields.Layers, fields.Dense, kw_only=True):
    """Encoder of images or points with dense layers and a linear layer.

    Attributes (others: see `gan_jax.networks`):
        norm: one of `layers.NORMS`, after each hidden layer but the first.
    """

    code_size: int

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Encode images or points.

        Args: see `gan_jax.networks`.

        Returns:
            [B, code_size] float32.
        """
        x = mlp.encode(
            self, inputs, train=train, activate=activations.activation(
                self, self.negative_slope, keys, train=train, pieces=self.maxout
            ),
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        return wrap(
            nn.Dense(self.code_size, dtype=self.dtype,
                     **mlp.first_weights(self))
        )(x).astype(jnp.float32)


class DCGANEncoder(fields.Layers, fields.Activated, kw_only=True):
    """Encoder with convolutions that halve the side, and a linear layer.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first layer; they double as the side halves.
    """

    code_size: int
    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    norm: str = 'batch'

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Encode images; args, returns: as `MLPEncoder`."""
        x = dcgan.encode(
            self, inputs, train=train, downsampling=self.downsampling,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train
            ),
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        return wrap(nn.Dense(
            self.code_size, dtype=self.dtype, kernel_init=layers.dcgan_init
        ))(x.reshape(x.shape[0], -1)).astype(jnp.float32)


class Codes(nn.Module):
    """A table with the code of each image, optimised with the decoder (GLO).

    The initial codes are on the unit sphere.

    Attributes:
        num_images: number of images in the data set.
        code_size: length of each code.

    References:
        Bojanowski et al., Optimizing the Latent Space of Generative Networks,
        https://arxiv.org/abs/1707.05776, 2017.
    """

    num_images: int
    code_size: int

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Return the codes of images.

        Args:
            inputs: [B] int32, indices of the images in the data set.
            train, keys: unused.

        Returns:
            [B, code_size] float32.
        """
        del train, keys
        codes = self.param(
            'codes', _unit_vectors, (self.num_images, self.code_size)
        )
        return codes[inputs]


class PoseCodes(nn.Module):
    """The identity, for codes that are computed from the data."""

    def __call__(self, inputs, *, train, keys=None):
        """Return the inputs [B, code_size] unchanged."""
        del train, keys
        return inputs


class WithCodebook(nn.Module):
    """An encoder and the vectors that replace its outputs (VQ-VAE).

    The parameter 'codebook' is [num_codes, code_size], at first uniform in
    [-1 / num_codes, 1 / num_codes). The outputs are those of the encoder;
    `algorithms.codebook` replaces them.

    Attributes:
        encoder: module, (images, train, keys) -> [B, h, w, code_size].
        num_codes: number of vectors.
        code_size: length of each.

    References:
        van den Oord et al., Neural Discrete Representation Learning,
        https://arxiv.org/abs/1711.00937, 2017.
    """

    encoder: nn.Module
    num_codes: int
    code_size: int

    @property
    def dropout(self):
        """Return the encoder's probability of dropping a hidden unit."""
        return getattr(self.encoder, 'dropout', 0)

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Encode images; args, returns: as of the encoder."""
        self.param('codebook', _small, (self.num_codes, self.code_size))
        return self.encoder(inputs, train=train, keys=keys)


def _small(key, shape):
    """Sample from U[-1 / N, 1 / N)."""
    return jax.random.uniform(key, shape, minval=-1) / shape[0]


def _unit_vectors(key, shape):
    """Sample points on the unit sphere."""
    return into_unit_ball(nn.initializers.normal(1.0)(key, shape), least=0.0)


def into_unit_ball(codes, least=1.0):
    """Scale each code to norm 1, if its norm is above `least`.

    Args:
        codes: [N, L].
        least: 1 projects onto the unit ball, 0 onto the unit sphere.

    Returns:
        [N, L], norms <= 1.
    """
    norms = jnp.linalg.norm(codes, axis=-1, keepdims=True)
    return jnp.where(norms > least, codes / jnp.maximum(norms, 1e-12), codes)
