"""Autoencoder discriminators, whose logits are reconstruction errors.

Zhao et al., Energy-based Generative Adversarial Network,
https://arxiv.org/abs/1609.03126, 2016; Berthelot et al., BEGAN: Boundary
Equilibrium Generative Adversarial Networks, https://arxiv.org/abs/1703.10717,
2017. Real images have low energies, so only losses with `Loss.energies` apply.
"""

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.networks import activations
from gan_jax.networks import conditioning
from gan_jax.networks import dcgan
from gan_jax.networks import fields
from gan_jax.networks import layers
from gan_jax.networks import mlp
from gan_jax.networks import resampling


def _over_samples(reduce, x):
    """Reduce x: [B, ...] over all axes but the first."""
    return reduce(x, axis=tuple(range(1, x.ndim)))


def euclidean(images, reconstruction):
    """Compute ||x - AE(x)||_2 over all axes of each sample.

    The gradient is 0 if the reconstruction is exact.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, the autoencoder's output.

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
    """Compute the mean of |x - AE(x)| over all axes of each sample.

    The gradient is 0 where the reconstruction is exact.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, the autoencoder's output.

    Returns:
        [B] float32, >= 0.

    References:
        Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial
        Networks, https://arxiv.org/abs/1703.10717, 2017, with eta = 1.
    """
    error = images - reconstruction
    # |error|; the gradient of `jnp.abs` at 0 is 1, that of this form is 0.
    return _over_samples(jnp.mean, jnp.sign(error) * error)


def mean_square(images, reconstruction):
    """Compute the mean of (x - AE(x))^2 over all axes of each sample.

    Args:
        images: [B, ...] float32.
        reconstruction: [B, ...] float32, the autoencoder's output.

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
    """Return the `layers.Output` of an autoencoder."""
    images = images.astype(jnp.float32)
    return layers.Output(
        logits=ENERGIES[energy](images, reconstruction),
        features=code,
        class_logits=class_logits,
    )


class MLPDiscriminator(fields.Conditional, fields.Dense, kw_only=True):
    """Discriminator that is a dense autoencoder of images or points.

    The layers of `mlp.Discriminator`, a linear code, the layers of
    `mlp.Generator` with the same widths, and a linear output.

    Attributes (others: see `gan_jax.networks`):
        depth: number of hidden layers on each side of the code.
        energy: one of `ENERGIES`.
        norm: one of `layers.NORMS`, after each hidden layer but the first.
        negative_slope: slope of the encoder's activation below 0; the decoder
            has ReLU.
    """

    code_size: int = 64
    energy: str = 'euclidean'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images or points.

        Args: see `gan_jax.networks`.

        Returns:
            `layers.Output`, whose logits are energies, >= 0, and whose features
            are the code.
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
        initial = mlp.first_weights(self)
        code = wrap(nn.Dense(self.code_size, dtype=self.dtype, **initial))(x)
        flat = inputs.reshape(inputs.shape[0], -1)
        reconstruction = mlp.decode(
            self, code, flat.shape[1], train=train,
            activate=activations.activation(
                self, 0.0, keys, train=train, first=self.depth,
                pieces=self.maxout,
            ),
        )
        class_logits = conditioning.classify(self, code, train=train, **initial)
        return _output(self.energy, flat, reconstruction, code, class_logits)


class DCGANDiscriminator(fields.Conditional, fields.Activated, kw_only=True):
    """Discriminator that is a convolutional autoencoder.

    The convolutions of `dcgan.Discriminator`, a linear dense code, the layers
    of `dcgan.Generator` with the same widths, and a linear output. The decoder
    has the upsampling of `resampling.MIRRORS` for `downsampling`.

    Differs from BEGAN, which takes every second pixel and upsamples by nearest
    neighbour: here the encoder's convolutions have stride 2 and the decoder's
    are transposed; with 'average_pool', pixels are averaged and upsampled by
    nearest neighbour. LeakyReLU and ReLU replace ELU.

    Attributes (others: see `gan_jax.networks`):
        width: channels of the first layer and before the last; they double as
            the side halves.
        kernel_size: side of the square kernels; always 4 in a transposed
            decoder, a multiple of the stride and fast on CPU.
        energy: one of `ENERGIES`.
        negative_slope: slope of the encoder's activation below 0; the decoder
            has ReLU.
    """

    width: int = 64
    kernel_size: int = 4
    downsampling: str = 'strided'
    code_size: int = 64
    energy: str = 'euclidean'
    norm: str = 'batch'

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None):
        """Compute the output for images.

        Args: see `gan_jax.networks`.

        Returns:
            `layers.Output`, whose logits are energies, >= 0, and whose features
            are the code.
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
