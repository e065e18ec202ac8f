"""Fields that many networks share; networks inherit them.

All fields of those networks are given by keyword. A network documents only the
fields of its own, and repeats one of these only to change its default.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import layers


class Layers(nn.Module, kw_only=True):
    """Fields of all layers.

    Attributes:
        norm: one of `layers.NORMS`, after the hidden layers.
        spectral_norm: whether every kernel has spectral norm 1.
        dtype: dtype of the computation; parameters and outputs are float32.
    """

    norm: str = 'none'
    spectral_norm: bool = False
    dtype: Any = jnp.float32


class Conditional(Layers, kw_only=True):
    """Fields of a network that may take class labels.

    Attributes:
        num_classes: number of classes; unused if `condition` is 'none'.
        condition: how the label enters the network, one of
            `conditioning.GENERATOR_CONDITIONS`, `DISCRIMINATOR_CONDITIONS`, or
            `AUTOENCODER_CONDITIONS` for an autoencoder.
    """

    num_classes: int = 0
    condition: str = 'none'


class Activated(nn.Module, kw_only=True):
    """Fields of the activation of hidden layers, see `activations.activation`.

    Attributes:
        negative_slope: slope of the activation below 0; 0 is ReLU.
        prelu: whether that slope is learned per channel instead.
        dropout: probability that a hidden unit is dropped in training.
    """

    negative_slope: float = 0.2
    prelu: bool = False
    dropout: float = 0.0


class Dense(Activated, kw_only=True):
    """Fields of a network with dense layers.

    Attributes:
        width: units of each hidden layer.
        depth: number of hidden layers.
        maxout: number of linear functions, each with its norm, whose maximum is
            a hidden unit, instead of an activation with a slope; 0 is off.
        init_std: standard deviation of the normal initial weights; 0 is LeCun's
            initialisation.
        norm_momentum: decay of BatchNorm's running averages.
    """

    width: int = 256
    depth: int = 2
    maxout: int = 0
    init_std: float = 0.0
    norm_momentum: float = layers.MOMENTUM
