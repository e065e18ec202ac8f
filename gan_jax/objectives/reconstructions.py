"""How far a reconstruction is from its image, and a code from the prior.

Pure functions, one number for each sample. Autoencoder, variational autoencoder
and optimised codes minimise them.
"""

import jax.numpy as jnp

from gan_jax.core import options


def l1(images, reconstructions):
    """Measure mean |x - y| over all axes of each sample.

    Args:
        images, reconstructions: [B, ...] float32.

    Returns:
        [B] float32, >= 0.
    """
    return _per_sample(jnp.abs(images - reconstructions))


def l2(images, reconstructions):
    """Measure mean (x - y)^2 over all axes; args, returns: as `l1`."""
    return _per_sample(jnp.square(images - reconstructions))


def huber(images, reconstructions, delta=0.1):
    """Measure (x - y)^2 / 2 up to |x - y| = delta, and a line from there on.

    The line is delta (|x - y| - delta / 2), so that the slope has no jump.
    Huber, Robust Estimation of a Location Parameter, Annals of Mathematical
    Statistics 35, 1964.

    Args:
        images, reconstructions: as `l1`.
        delta: scalar > 0, in units of the images.

    Returns:
        As `l1`.
    """
    error = jnp.abs(images - reconstructions)
    near = jnp.minimum(error, delta)
    return _per_sample(near * (error - near / 2))


def kl_from_standard_normal(mean, log_variance):
    """Measure KL(N(m, diag(s^2)) || N(0, I)) in nats.

    sum_j (m_j^2 + s_j^2 - 1 - log s_j^2) / 2: Kingma and Welling, Auto-Encoding
    Variational Bayes, https://arxiv.org/abs/1312.6114, 2013, appendix B.

    Args:
        mean, log_variance: [B, L]; the latter is log s^2.

    Returns:
        [B] float32, >= 0.
    """
    return 0.5 * (
        jnp.square(mean) + jnp.expm1(log_variance) - log_variance
    ).sum(-1)


def _per_sample(values):
    return values.reshape(len(values), -1).mean(1)


RECONSTRUCTIONS = {'huber': huber, 'l1': l1, 'l2': l2}
OPTIONS = {'huber': (options.Option(
    'delta', 0.1, 'error above which it is linear', options.POSITIVE,
),)}
