"""Activation functions and dropout of the networks."""

import math
from typing import Callable, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class PReLU(nn.Module):
    """LeakyReLU with a learned slope for each channel.

    max(0, x) + a min(0, x), a starting at 0.25. Differs from flax's `nn.PReLU`,
    which has one slope for all channels.

    References:
        He et al., Delving Deep into Rectifiers: Surpassing Human-Level
        Performance on ImageNet Classification,
        https://arxiv.org/abs/1502.01852, 2015.
    """

    @nn.compact
    def __call__(self, x):
        """Apply to x: [B, ..., C], in its dtype; the slopes are float32."""
        slope = self.param(
            'slope', nn.initializers.constant(0.25), x.shape[-1:], jnp.float32
        )
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def maxout(x, pieces):
    """Compute the maximum of the k linear functions of each unit.

    y_i = max_j x_ij, with x_ij = x[..., k i + j]

    Together with the preceding dense layer it is a convex, piecewise linear
    function. Equal maxima share the gradient.

    Args:
        x: [B, ..., k * F].
        pieces: k, at least 2; with 1 it would be the identity.

    Returns:
        [B, ..., F].

    Raises:
        ValueError: if k is below 2.

    References:
        Goodfellow et al., Maxout Networks, https://arxiv.org/abs/1302.4389,
        2013.
    """
    if pieces < 2:
        raise ValueError(f'maxout={pieces} is not 0 (off) or at least 2')
    return x.reshape(*x.shape[:-1], -1, pieces).max(-1)


def dropout(x, rate, keys, number, *, train):
    """Set each unit to 0 with probability `rate`, in training.

    The other units are divided by 1 - rate, which preserves the mean. The mask
    of a sample depends on its own key only, not on the batch or the device.

    Args:
        x: [B, ...].
        rate: Python float in [0, 1).
        keys: [B] PRNG keys; may be None in evaluation and at rate 0.
        number: number of the layer, folded into each key; different for each
            layer of a network.
        train: whether units are dropped; if False, x is returned.

    Returns:
        Array of the shape of x.

    Raises:
        ValueError: if the rate is out of range or keys are missing.

    References:
        Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks
        from Overfitting, https://jmlr.org/papers/v15/srivastava14a.html, 2014.
    """
    if not 0 <= rate < 1:
        raise ValueError(f'dropout={rate} is not in [0, 1)')
    if not rate or not train:
        return x
    if keys is None or keys.shape[:1] != x.shape[:1]:
        raise ValueError(
            f'dropout={rate} in training needs keys, one per sample'
        )

    def draw(key):
        key = jax.random.fold_in(key, number)
        return jax.random.bernoulli(key, 1 - rate, x.shape[1:])

    return jnp.where(jax.vmap(draw)(keys), x / (1 - rate), 0)


def activation(network, negative_slope, keys, *, train, first=0, pieces=0):
    """Return the activation of a network's hidden layers, with dropout.

    Args:
        network: module with the fields prelu and dropout.
        negative_slope: slope below 0; 0 is ReLU. Unused with PReLU.
        keys: [B] PRNG keys of dropout, or None.
        train: whether units are dropped.
        first: number of the first layer, so that two parts of a network have
            different masks.
        pieces: pieces of `maxout`, which replaces the slope; 0 for none.

    Returns:
        Function of (x, number); number counts the layers of one part.
    """

    def activate(x, number):
        if pieces:
            x = maxout(x, pieces)
        elif network.prelu:
            x = PReLU()(x)
        else:
            x = (
                nn.leaky_relu(x, negative_slope) if negative_slope
                else nn.relu(x)
            )
        return dropout(x, network.dropout, keys, first + number, train=train)

    return activate


class LastLayer(NamedTuple):
    """The activation of a generator's last layer, and its range.

    Attributes:
        activation: function of x: [B, ...], element by element.
        low, high: range of its values; infinite if unbounded.
    """

    activation: Callable
    low: float = -math.inf
    high: float = math.inf


OUTPUTS = {
    'auto': None,  # 'tanh' for images, 'linear' for points
    'linear': LastLayer(lambda x: x),
    'relu': LastLayer(nn.relu, low=0.0),
    'sigmoid': LastLayer(nn.sigmoid, low=0.0, high=1.0),
    'tanh': LastLayer(jnp.tanh, low=-1.0, high=1.0),
}


def last_layer(name, *, points):
    """Return the `LastLayer` of a name.

    Args:
        name: one of `OUTPUTS`.
        points: whether the data are points; selects the meaning of 'auto'.

    Returns:
        `LastLayer`.
    """
    if name == 'auto':
        name = 'linear' if points else 'tanh'
    return OUTPUTS[name]


def finish(network, x):
    """Apply the activation of a generator's last layer.

    Args:
        network: module with the fields output and image_shape.
        x: [B, ...] float32, linear.

    Returns:
        Array of the shape of x.
    """
    points = len(network.image_shape) == 1
    return last_layer(network.output, points=points).activation(x)
