"""Discriminators that are autoencoders: logits are reconstruction errors.

Zhao et al., Energy-based Generative Adversarial Network,
https://arxiv.org/abs/1609.03126, 2016; Berthelot et al., BEGAN: Boundary
Equilibrium Generative Adversarial Networks, https://arxiv.org/abs/1703.10717,
2017. Low energy is real, so only losses made for energies fit them.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import dcgan
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.networks import resampling


def _over_samples(reduce, x):
    """Reduce x: [B, ...] over all axes but the first."""
    return reduce(x, axis=tuple(range(1, x.ndim)))


def euclidean(images, reconstruction):
    """Measure ||x - AE(x)||_2 over all axes of each sample.

    The root has gradient 0 where the reconstruction is exact.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, what the autoencoder makes of them.

    Returns:
        [B] float32, >= 0.

    References:
        Zhao et al., Energy-based Generative Adversarial Network,
        https://arxiv.org/abs/1609.03126, 2016.
    """
    squared = _over_samples(jnp.sum, jnp.square(images - reconstruction))
    inexact = squared != 0  # a NaN stays one
    # The inner `where` keeps the root's infinite slope out of the gradient.
    return jnp.where(inexact, jnp.sqrt(jnp.where(inexact, squared, 1)), 0)


def mean_absolute(images, reconstruction):
    """Measure mean |x - AE(x)| over all axes of each sample.

    The gradient is 0 where the reconstruction is exact.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, what the autoencoder makes of them.

    Returns:
        [B] float32, >= 0.

    References:
        Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial
        Networks, https://arxiv.org/abs/1703.10717, 2017, with eta = 1.
    """
    error = images - reconstruction
    # |error|; `jnp.abs` has gradient 1 at 0, where sign gives 0.
    return _over_samples(jnp.mean, jnp.sign(error) * error)


def mean_square(images, reconstruction):
    """Measure mean (x - AE(x))^2 over all axes of each sample.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, what the autoencoder makes of them.

    Returns:
        [B] float32, >= 0.

    References:
        Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial
        Networks, https://arxiv.org/abs/1703.10717, 2017, with eta = 2.
    """
    return _over_samples(jnp.mean, jnp.square(images - reconstruction))


ENERGIES = {
    'euclidean': euclidean,
    'mean_absolute': mean_absolute,
    'mean_square': mean_square,
}


def _output(energy, images, reconstruction, code, class_logits):
    images = images.astype(jnp.float32)
    return layers.Output(
        logits=ENERGIES[energy](images, reconstruction),
        features=code,
        class_logits=class_logits,
    )


class MLPDiscriminator(nn.Module):
    """Images or points to the error of a dense autoencoder.

    The layers of `mlp.Discriminator`, a linear code, the layers of
    `mlp.Generator` in mirror image, and a linear output.

    Attributes:
        width: units of each hidden layer.
        depth: number of hidden layers on each side of the code.
        code_size: length of the code.
        energy: one of `ENERGIES`.
        norm: one of `layers.NORMS`, after each hidden layer but the first.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.AUTOENCODER_CONDITIONS`: how the label
            enters.
        negative_slope: slope of the encoder's hidden layers below 0; the
            decoder has ReLU.
        prelu: whether both learn that slope for each channel instead.
        maxout: linear functions, each with its norm, of which a hidden unit of
            both is the maximum, in place of a slope; 0 is off.
        init_std: deviation of the normal first weights; 0 is LeCun's.
        norm_momentum: share of the past in BatchNorm's running averages.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and energies are float32.
    """

    width: int = 256
    depth: int = 2
    code_size: int = 64
    energy: str = 'euclidean'
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
            `layers.Output`: its logits are energies, >= 0, and its features
            the code.
        """
        conditioning.check(
            self, inputs, labels, conditioning.AUTOENCODER_CONDITIONS
        )
        x = mlp.encode(
            self,
            conditioning.concat(self, inputs, labels),
            train=train,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train, pieces=self.maxout
            ),
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        given = mlp.first_weights(self)
        code = wrap(nn.Dense(self.code_size, dtype=self.dtype, **given))(x)
        flat = inputs.reshape(inputs.shape[0], -1)
        reconstruction = mlp.decode(
            self, code, flat.shape[1], train=train,
            activate=activations.activation(
                self, 0.0, keys, train=train, first=self.depth,
                pieces=self.maxout,
            ),
        )
        class_logits = conditioning.classify(self, code, train=train, **given)
        return _output(self.energy, flat, reconstruction, code, class_logits)


class DCGANDiscriminator(nn.Module):
    """Images to the error of a convolutional autoencoder.

    The convolutions of `dcgan.Discriminator`, a linear dense code, the layers
    of `dcgan.Generator` in mirror image, and a linear output. The decoder
    doubles by what `resampling.MIRRORS` gives for `downsampling`.

    Differs from BEGAN: the authors take every second pixel and double by
    nearest neighbour; here the encoder's convolutions have stride 2 and the
    decoder's are transposed, or, with 'average_pool', means of pixels and the
    authors' nearest neighbour. LeakyReLU and ReLU where they have ELU.

    Attributes:
        width: channels of the first layer and before the last; they double as
            the side halves.
        kernel_size: side of the square kernels; a transposed decoder's is 4,
            a multiple of its stride and the fast one on CPU.
        downsampling: one of `resampling.DOWNSAMPLINGS`.
        code_size: length of the code.
        energy: one of `ENERGIES`.
        norm: one of `layers.NORMS`.
        spectral_norm: whether every kernel has spectral norm 1.
        num_classes: classes of the labels, where there is a condition.
        condition: one of `conditioning.AUTOENCODER_CONDITIONS`: how the label
            enters.
        negative_slope: slope of the encoder's hidden layers below 0; the
            decoder has ReLU.
        prelu: whether both learn that slope for each channel instead.
        dropout: probability of a hidden unit to be dropped in training.
        dtype: dtype of the computation; parameters and energies are float32.
    """

    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    code_size: int = 64
    energy: str = 'euclidean'
    norm: str = 'batch'
    spectral_norm: bool = False
    num_classes: int = 0
    condition: str = 'none'
    negative_slope: float = 0.2
    prelu: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Map images to an `Output`.

        Args:
            inputs: [B, H, W, C] in [-1, 1].
            labels: [B] int32, or None where the condition needs none.
            train: whether norms take the batch's statistics, and units drop.
            keys: [B] PRNG keys of dropout, or None.

        Returns:
            `layers.Output`: its logits are energies, >= 0, and its features
            the code.
        """
        conditioning.check(
            self, inputs, labels, conditioning.AUTOENCODER_CONDITIONS
        )
        x = dcgan.encode(
            self,
            conditioning.concat_map(self, inputs, labels),
            train=train,
            activate=activations.activation(
                self, self.negative_slope, keys, train=train
            ),
            downsampling=self.downsampling,
        )
        wrap = layers.wrapper(self.spectral_norm, train=train)
        code = wrap(nn.Dense(
            self.code_size, dtype=self.dtype, kernel_init=layers.dcgan_init
        ))(x.reshape(x.shape[0], -1))
        shape = inputs.shape[1:]
        upsampling = resampling.MIRRORS[self.downsampling]
        reconstruction = dcgan.decode(
            self, code, shape, train=train, upsampling=upsampling,
            kernel_size=4 if upsampling == 'transposed' else self.kernel_size,
            activate=activations.activation(
                self, 0.0, keys, train=train, first=dcgan.num_blocks(shape)
            ),
        )
        class_logits = conditioning.classify(
            self, code, train=train, kernel_init=layers.dcgan_init
        )
        return _output(self.energy, inputs, reconstruction, code, class_logits)
