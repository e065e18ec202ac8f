"""Multi-layer perceptrons, as in the original GAN.

Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014. For points, and for small images.
"""

import math
from typing import Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import minibatch


def _outputs(network):
    """Count the outputs of a hidden layer before maxout, if any."""
    return network.width * (network.maxout or 1)


def first_weights(network):
    """Return the initialiser of dense layers, if `init_std` sets it, as fields.
    """
    if not network.init_std:
        return {}
    return {'kernel_init': nn.initializers.normal(network.init_std)}


def _dense(wrap, x, features, **options):
    """Apply a dense layer, with the product that is fast at its sizes."""
    fast = layers.dense_options(x.shape[-1], features)
    return wrap(nn.Dense(features, **options, **fast))(x)


def decode(network, z, size, *, train, activate, labels=None):
    """Apply dense layers with norm and activation, then a linear layer.

    With maxout, the norm is applied to the linear functions before the maximum.

    For compact methods: the layers become part of the calling module.

    Args:
        network: module with the fields width, depth, maxout, init_std, norm,
            norm_momentum, dtype, spectral_norm, condition and num_classes.
        z: [B, F].
        size: length of each output.
        train: whether norms use the statistics of the batch.
        activate: function of (x, number) from `activations.activation`.
        labels: [B] int32, or None if the norms need none.

    Returns:
        [B, size] float32.

    References:
        Chang and Chen, Batch-normalized Maxout Network in Network,
        https://arxiv.org/abs/1511.02583, 2015 (norm before the maximum).
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    norm = conditioning.norm(
        network, labels, train=train, momentum=network.norm_momentum
    )
    options = {'dtype': network.dtype, **first_weights(network)}
    x = z
    for layer in range(network.depth):
        x = _dense(wrap, x, _outputs(network), **options)
        x = activate(norm(x), layer)
    x = _dense(wrap, x, size, **options)
    return x.astype(jnp.float32)


def encode(network, images, *, train, activate):
    """Apply dense layers with norm and activation.

    The first layer has no norm; with maxout, the norm comes before the maximum.

    For compact methods: the layers become part of the calling module.

    Args:
        network: module with the fields width, depth, maxout, init_std, norm,
            norm_momentum, dtype and spectral_norm.
        images: [B, ...].
        train: whether norms use the statistics of the batch.
        activate: function of (x, number) from `activations.activation`.

    Returns:
        [B, F] in the dtype of the computation.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    options = {'dtype': network.dtype, **first_weights(network)}
    x = images.reshape(images.shape[0], -1)
    for layer in range(network.depth):
        x = _dense(wrap, x, _outputs(network), **options)
        if layer:
            x = layers.Norm(
                network.norm, dtype=network.dtype,
                momentum=network.norm_momentum,
            )(x, train=train)
        x = activate(x, layer)
    return x


class Generator(fields.Conditional, fields.Dense, kw_only=True):
    """Generator of images or points with dense layers, by default with ReLU.

    The default output is tanh for images and linear for points, which are not
    bounded.

    Differs from the paper: LeCun's normal initialisation, and tanh on data in
    [-1, 1] instead of a sigmoid on data in [0, 1].

    Attributes (others: see `gan_jax.networks`):
        norm: one of `layers.NORMS`, after each hidden layer.
    """

    image_shape: Tuple[int, ...]
    negative_slope: float = 0.0
    output: str = 'auto'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Generate images or points from z.

        Args: see `gan_jax.networks`.

        Returns:
            [B, H, W, C] float32, by default in [-1, 1], or [B, D].
        """
        conditioning.check(
            self, inputs, labels, conditioning.GENERATOR_CONDITIONS
        )
        x = decode(
            self,
            conditioning.concat(self, inputs, labels),
            math.prod(self.image_shape),
            train=train,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train, pieces=self.maxout
            ),
            labels=labels,
        )
        return activations.finish(self, x).reshape(-1, *self.image_shape)


class Discriminator(fields.Conditional, fields.Dense, kw_only=True):
    """Discriminator with dense layers, by default with LeakyReLU.

    Differs from the paper: its maxout and dropout are options, off by default.
    With minibatch discrimination the logits of a batch depend on each other.

    PacGAN's discriminator of points (Lin et al.,
    https://arxiv.org/abs/1712.04086, 2017) has depth 3, width 200, maxout 5,
    norm 'none' and weights from N(0, 0.02^2).

    Attributes (others: see `gan_jax.networks`):
        norm: one of `layers.NORMS`, after each hidden layer but the first.
    """

    minibatch_features: int = 0

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images or points.

        Args: see `gan_jax.networks`.

        Returns:
            `layers.Output`.
        """
        conditioning.check(
            self, inputs, labels, conditioning.DISCRIMINATOR_CONDITIONS
        )
        features = encode(
            self,
            conditioning.concat(self, inputs, labels),
            train=train,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train, pieces=self.maxout
            ),
        )
        features = minibatch.discriminate(self, features, train=train)
        return conditioning.head(
            self, features, labels, train=train, **first_weights(self)
        )
