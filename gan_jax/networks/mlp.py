"""Multi-layer perceptrons: the networks of the first GAN.

Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014.
"""

import math
from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers


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
        dtype: dtype of the computation; parameters and output are float32.
    """

    image_shape: Tuple[int, ...]
    width: int = 256
    depth: int = 2
    norm: str = 'none'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z, *, train):
        """Map z [B, latent_size] to images in [-1, 1], or to points [B, D]."""
        x = z
        for _ in range(self.depth):
            x = nn.Dense(self.width, dtype=self.dtype)(x)
            x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
            x = nn.relu(x)
        x = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)(x)
        x = x.astype(jnp.float32)
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
        dtype: dtype of the computation; parameters and logits are float32.
    """

    width: int = 256
    depth: int = 2
    norm: str = 'none'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train):
        """Map images [B, H, W, C] in [-1, 1], or points, to an `Output`."""
        x = images.reshape(images.shape[0], -1)
        for layer in range(self.depth):
            x = nn.Dense(self.width, dtype=self.dtype)(x)
            if layer:
                x = layers.Norm(self.norm, dtype=self.dtype)(x, train=train)
            x = nn.leaky_relu(x, 0.2)
        logits = nn.Dense(1, dtype=self.dtype)(x)
        return layers.Output(
            logits=logits[:, 0].astype(jnp.float32), features=x
        )
