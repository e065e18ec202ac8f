"""What gives a decoder its codes: a network of the images, or a table.

An encoder has the layers of the discriminator of its family up to the head.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import mlp


class MLPEncoder(nn.Module):
    """Images or points to codes, through dense layers and a linear one.

    Attributes:
        code_size: numbers given for each sample.
        width: units of each hidden layer.
        depth: number of hidden layers.
        norm: one of `layers.NORMS`, after each hidden layer but the first.
        spectral_norm: whether every kernel has spectral norm 1.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        maxout: linear functions of which a hidden unit is the maximum, in place
            of a slope; 0 is off.
        init_std: deviation of the normal first weights; 0 is LeCun's.
        norm_momentum: share of the past in BatchNorm's running averages.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and codes are float32.
    """

    code_size: int
    width: int = 256
    depth: int = 2
    norm: str = 'none'
    spectral_norm: bool = False
    negative_slope: float = 0.2
    prelu: bool = False
    maxout: int = 0
    init_std: float = 0.0
    norm_momentum: float = 0.9
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Map images, or points, to codes.

        Args:
            inputs: [B, H, W, C] in [-1, 1], or [B, D].
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

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


class DCGANEncoder(nn.Module):
    """Images to codes, through convolutions that halve and a linear layer.

    Attributes:
        code_size: numbers given for each sample.
        width: channels of the first layer; they double as the side halves.
        kernel_size: side of the square kernels.
        downsampling: one of `resampling.DOWNSAMPLINGS`.
        norm: one of `layers.NORMS`.
        spectral_norm: whether every kernel has spectral norm 1.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and codes are float32.
    """

    code_size: int
    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    norm: str = 'batch'
    spectral_norm: bool = False
    negative_slope: float = 0.2
    prelu: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Map images to codes; args, returns: as `MLPEncoder`."""
        x = dcgan.encode(
            self, inputs, train=train, downsampling=self.downsampling,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train
            ),
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        return wrap(nn.Dense(
            self.code_size, dtype=self.dtype, kernel_init=layers.dcgan_init
        ))(x.reshape(len(x), -1)).astype(jnp.float32)


class Codes(nn.Module):
    """A code for each image of a data set, to be optimised with the decoder.

    Bojanowski et al., Optimizing the Latent Space of Generative Networks,
    https://arxiv.org/abs/1707.05776, 2017. They start on the unit sphere.

    Attributes:
        num_images: N.
        code_size: length of each code.
    """

    num_images: int
    code_size: int

    @nn.compact
    def __call__(self, inputs, *, train, keys=None):
        """Look up codes.

        Args:
            inputs: [B] int32, numbers of images.
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
    """Codes that are given: nothing is learnt."""

    def __call__(self, inputs, *, train, keys=None):
        """Give the inputs [B, code_size] as they are."""
        del train, keys
        return inputs


def _unit_vectors(key, shape):
    return into_unit_ball(nn.initializers.normal(1.0)(key, shape), least=0.0)


def into_unit_ball(codes, least=1.0):
    """Divide codes by their norm where it is above `least`.

    Args:
        codes: [N, L].
        least: 1 leaves what lies within the unit ball; 0 puts all on its
            surface.

    Returns:
        [N, L], norms <= 1.
    """
    norms = jnp.linalg.norm(codes, axis=-1, keepdims=True)
    return jnp.where(norms > least, codes / jnp.maximum(norms, 1e-12), codes)
