"""Reconstruction errors, and the KL divergence of a VAE.

Pure functions, one number per sample; the losses of
`algorithms.reconstruction` and `algorithms.autoencoder_updates`.
"""

import chex
import jax.numpy as jnp

from gan_jax.core import options


def l1(images, reconstructions):
    """Compute the mean of |x - y| over all axes of each sample.

    Args:
        images, reconstructions: [B, ...] float32.

    Returns:
        [B] float32, >= 0.
    """
    return _per_sample(jnp.abs(_error(images, reconstructions)))


def l2(images, reconstructions):
    """Compute the mean of (x - y)^2 over all axes of each sample.

    Args, returns: as `l1`.
    """
    return _per_sample(jnp.square(_error(images, reconstructions)))


def huber(images, reconstructions, delta=0.1):
    """Compute the mean Huber loss over all axes of each sample.

    (x - y)^2 / 2 up to |x - y| = delta, and delta (|x - y| - delta / 2) beyond,
    with a continuous slope.

    Args:
        images, reconstructions: as `l1`.
        delta: scalar > 0, in units of the images.

    Returns:
        As `l1`.

    References:
        Huber, Robust Estimation of a Location Parameter, Annals of Mathematical
        Statistics 35, 1964.
    """
    error = jnp.abs(_error(images, reconstructions))
    clipped = jnp.minimum(error, delta)
    return _per_sample(clipped * (error - clipped / 2))


def kl_from_standard_normal(mean, log_variance):
    """Compute KL(N(m, diag(s^2)) || N(0, I)) in nats.

    sum_j (m_j^2 + s_j^2 - 1 - log s_j^2) / 2.

    Args:
        mean, log_variance: [B, L]; the latter is log s^2.

    Returns:
        [B] float32, >= 0.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes,
        https://arxiv.org/abs/1312.6114, 2013, appendix B.
    """
    return 0.5 * (
        jnp.square(mean) + jnp.expm1(log_variance) - log_variance
    ).sum(-1)


def _error(images, reconstructions):
    """Return the difference; both must have the same shape."""
    chex.assert_equal_shape([images, reconstructions])
    return images - reconstructions


def _per_sample(values):
    """Compute the mean of each sample: [B, ...] -> [B]."""
    return values.reshape(len(values), -1).mean(1)


RECONSTRUCTIONS = {'huber': huber, 'l1': l1, 'l2': l2}
OPTIONS = {'huber': (options.Option(
    'delta', 0.1, 'error above which the loss is linear', options.POSITIVE,
),)}
