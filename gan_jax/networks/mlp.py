"""Multi-layer perceptrons: the networks of the first GAN.

Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014.
"""

import math
from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers


def decode(network, z, size, *, train):
    """Apply dense layers with norm and ReLU, then a linear one.

    For a compact method: the layers become part of the module that calls.

    Args:
        network: module with the fields width, depth, norm, dtype and
            spectral_norm.
        z: [B, F].
        size: length of each output.
        train: whether norms take the batch's statistics.

    Returns:
        [B, size] float32.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    x = z
    for _ in range(network.depth):
        x = wrap(nn.Dense(network.width, dtype=network.dtype))(x)
        x = layers.Norm(network.norm, dtype=network.dtype)(x, train=train)
        x = nn.relu(x)
    x = wrap(nn.Dense(size, dtype=network.dtype))(x)
    return x.astype(jnp.float32)


def encode(network, images, *, train):
    """Apply dense layers with LeakyReLU(0.2).

    Norm after every layer but the first. For a compact method: the layers
    become part of the module that calls.

    Args:
        network: module with the fields width, depth, norm, dtype and
            spectral_norm.
        images: [B, ...].
        train: whether norms take the batch's statistics.

    Returns:
        [B, F] in the dtype of the computation.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    x = images.reshape(images.shape[0], -1)
    for layer in range(network.depth):
        x = wrap(nn.Dense(network.width, dtype=network.dtype))(x)
        if layer:
            x = layers.Norm(network.norm, dtype=network.dtype)(x, train=train)
        x = nn.leaky_relu(x, 0.2)
    return x


class Generator(nn.Module):
    """z to images or points through dense layers with ReLU.

    Images end in tanh, points, which have no bounds, in a linear layer.

    Differs from the paper: Glorot initialisation, and tanh on data in [-1, 1]
    where the authors have a sigmoid on data in [0, 1].

    Attributes:
        image_shape: (height, width, channels) of images, (D,) of points.
        width: units of each hidden layer.
        depth: number of hidden layers.
        norm: one of `layers.NORMS`, after each hidden layer.
        spectral_norm: whether every kernel has spectral norm 1.
        dtype: dtype of the computation; parameters and output are float32.
    """

    image_shape: Tuple[int, ...]
    width: int = 256
    depth: int = 2
    norm: str = 'none'
    spectral_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z, *, train):
        """Map z [B, latent_size] to images in [-1, 1], or to points [B, D]."""
        x = decode(self, z, math.prod(self.image_shape), train=train)
        if len(self.image_shape) > 1:
            x = jnp.tanh(x)
        return x.reshape(-1, *self.image_shape)


class Discriminator(nn.Module):
    """Images to one logit through dense layers with LeakyReLU(0.2).

    Differs from the paper: LeakyReLU where the authors have maxout, and no
    dropout.

    Attributes:
        width: units of each hidden layer.
        depth: number of hidden layers.
        norm: one of `layers.NORMS`, after each hidden layer but the first.
        spectral_norm: whether every kernel has spectral norm 1.
        dtype: dtype of the computation; parameters and logits are float32.
    """

    width: int = 256
    depth: int = 2
    norm: str = 'none'
    spectral_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        """Map images [B, H, W, C] in [-1, 1], or points, to an `Output`."""
        features = encode(self, images, train=train)
        wrap = layers.wrapper(self.spectral_norm, train=train)
        logits = wrap(nn.Dense(1, dtype=self.dtype))(features)
        return layers.Output(
            logits=logits[:, 0].astype(jnp.float32), features=features
        )
