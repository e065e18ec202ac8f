"""Multi-layer perceptrons: the networks of the first GAN.

Goodfellow et al., Generative Adversarial Networks,
https://arxiv.org/abs/1406.2661, 2014.
"""

import math
from typing import Any, Tuple

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import layers
from gan_jax.networks import minibatch


def _outputs(network):
    """Count the linear functions of a hidden layer: all pieces of all units."""
    return network.width * (network.maxout or 1)


def first_weights(network):
    """Give the field of dense layers that `init_std` asks for; else none."""
    if not network.init_std:
        return {}
    return {'kernel_init': nn.initializers.normal(network.init_std)}


def _dense(wrap, x, features, **fields):
    """Apply a dense layer in the form that is fast at its sizes."""
    options = layers.dense_options(x.shape[-1], features)
    return wrap(nn.Dense(features, **fields, **options))(x)


def decode(network, z, size, *, train, activate, labels=None):
    """Apply dense layers with norm and activation, then a linear one.

    With maxout the norm is that of the linear functions, before the maximum, as
    in Chang and Chen, Batch-normalized Maxout Network in Network,
    https://arxiv.org/abs/1511.02583, 2015.

    For a compact method: the layers become part of the module that calls.

    Args:
        network: module with the fields width, depth, maxout, init_std, norm,
            norm_momentum, dtype, spectral_norm, condition and num_classes.
        z: [B, F].
        size: length of each output.
        train: whether norms take the batch's statistics.
        activate: function of (x, number), as of `activations.activation`.
        labels: [B] int32, or None where norms need none.

    Returns:
        [B, size] float32.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    norm = conditioning.norm(
        network, labels, train=train, momentum=network.norm_momentum
    )
    fields = {'dtype': network.dtype, **first_weights(network)}
    x = z
    for layer in range(network.depth):
        x = _dense(wrap, x, _outputs(network), **fields)
        x = activate(norm(x), layer)
    x = _dense(wrap, x, size, **fields)
    return x.astype(jnp.float32)


def encode(network, images, *, train, activate):
    """Apply dense layers with activation.

    Norm after every layer but the first, before the maximum of maxout. For a
    compact method: the layers become part of the module that calls.

    Args:
        network: module with the fields width, depth, maxout, init_std, norm,
            norm_momentum, dtype and spectral_norm.
        images: [B, ...].
        train: whether norms take the batch's statistics.
        activate: function of (x, number), as of `activations.activation`.

    Returns:
        [B, F] in the dtype of the computation.
    """
    wrap = layers.wrapper(network.spectral_norm, train=train)
    fields = {'dtype': network.dtype, **first_weights(network)}
    x = images.reshape(images.shape[0], -1)
    for layer in range(network.depth):
        x = _dense(wrap, x, _outputs(network), **fields)
        if layer:
            x = layers.Norm(
                network.norm, dtype=network.dtype,
                momentum=network.norm_momentum,
            )(x, train=train)
        x = activate(x, layer)
    return x


class Generator(nn.Module):
    """z to images or points through dense layers, with ReLU by default.

    By default images end in tanh, points, which have no bounds, in a linear
    layer.

    Differs from the paper: LeCun's normal initialisation, and tanh on data in
    [-1, 1] where the authors have a sigmoid on data in [0, 1].

    Attributes:
        image_shape: (height, width, channels) of images, (D,) of points.
        width: units of each hidden layer.
        depth: number of hidden layers.
        norm: one of `layers.NORMS`, after each hidden layer.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.GENERATOR_CONDITIONS`: how the label
            enters.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        maxout: linear functions, each with its norm, of which a hidden unit is
            the maximum, in place of a slope; 0 is off.
        init_std: deviation of the normal first weights; 0 is LeCun's.
        norm_momentum: share of the past in BatchNorm's running averages.
        dropout: probability of a hidden unit to be dropped in training.
        output: one of `activations.OUTPUTS`: what the last layer ends in.
        dtype: dtype of the computation; parameters and output are float32.
    """

    image_shape: Tuple[int, ...]
    width: int = 256
    depth: int = 2
    norm: str = 'none'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.0
    prelu: bool = False
    maxout: int = 0
    init_std: float = 0.0
    norm_momentum: float = 0.9
    dropout: float = 0.0
    output: str = 'auto'
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Map z to images, or to points.

        Args:
            inputs: z, [B, latent_size].
            labels: [B] int32, or None where the condition needs none.
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

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


class Discriminator(nn.Module):
    """Images to one logit through dense layers, with LeakyReLU by default.

    Differs from the paper: maxout, which the authors have, and dropout only
    where they are asked for. With minibatch discrimination the logits of a
    batch depend on each other.

    PacGAN's (Lin et al., https://arxiv.org/abs/1712.04086, 2017) on points is
    depth 3, width 200, maxout 5 and norm 'none'; its authors draw weights from
    N(0, 0.02^2).

    Attributes:
        width: units of each hidden layer.
        depth: number of hidden layers.
        minibatch_features: number of features of minibatch discrimination next
            to those of the last hidden layer; 0 for none.
        norm: one of `layers.NORMS`, after each hidden layer but the first.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.DISCRIMINATOR_CONDITIONS`: how the
            label enters.
        negative_slope: slope of the hidden layers below 0; 0 is ReLU.
        prelu: whether that slope is learned for each channel instead.
        maxout: linear functions, each with its norm, of which a hidden unit is
            the maximum, in place of a slope; 0 is off.
        init_std: deviation of the normal first weights; 0 is LeCun's.
        norm_momentum: share of the past in BatchNorm's running averages.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and logits are float32.
    """

    width: int = 256
    depth: int = 2
    minibatch_features: int = 0
    norm: str = 'none'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.2
    prelu: bool = False
    maxout: int = 0
    init_std: float = 0.0
    norm_momentum: float = 0.9
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Map images, or points, to an `Output`.

        Args:
            inputs: [B, H, W, C] in [-1, 1], or [B, D].
            labels: [B] int32, or None where the condition needs none.
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

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
