"""Adversarial losses: pure functions over raw logits, real before fake.

Every loss is a pair, one function for each player, and both are minimised.
This module knows nothing of networks, configs or devices.
"""

from typing import Callable, NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """The two sides of one game.

    Attributes:
        discriminator: (real_logits [B], fake_logits [B]) -> float32 scalar.
        generator: (real_logits [B], fake_logits [B]) -> float32 scalar. Losses
            that look at fakes alone drop `real_logits`; under jit the pass of
            the real images through the discriminator then vanishes.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[jax.Array, jax.Array], jax.Array]


def _mean(values):
    """Average in float32, whatever the logits were computed in."""
    return jnp.mean(values.astype(jnp.float32))


def cross_entropy_discriminator(real_logits, fake_logits):
    """Tell real from fake by binary cross-entropy.

    E softplus(-D(x)) + E softplus(D(G(z)))
    = -E log sigmoid(D(x)) - E log(1 - sigmoid(D(G(z)))).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 2 ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, equation 1.
    """
    real = _mean(jax.nn.softplus(-real_logits))  # -log sigmoid(real)
    fake = _mean(jax.nn.softplus(fake_logits))  # -log(1 - sigmoid(fake))
    return real + fake


def minimax_generator(real_logits, fake_logits):
    """Minimise what the discriminator maximises: the saturating loss.

    E log(1 - sigmoid(D(G(z)))) = -E softplus(D(G(z))). Its gradient vanishes
    where the discriminator is sure that a fake is a fake.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, <= 0; -ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, equation 1.
    """
    del real_logits
    return -_mean(jax.nn.softplus(fake_logits))  # log(1 - sigmoid(fake))


def non_saturating_generator(real_logits, fake_logits):
    """Make the discriminator call fakes real.

    -E log sigmoid(D(G(z))) = E softplus(-D(G(z))). The same as the
    discriminator's loss with the label of the fakes flipped.

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; ln 2 where every logit is 0.

    References:
        Goodfellow et al., Generative Adversarial Networks,
        https://arxiv.org/abs/1406.2661, 2014, section 3.
    """
    del real_logits
    return _mean(jax.nn.softplus(-fake_logits))  # -log sigmoid(fake)


def least_squares_discriminator(real_logits, fake_logits):
    """Pull real outputs to 1 and fake outputs to 0 by squared error.

    1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2: the paper's 0-1 coding (a = 0,
    b = 1). The outputs are linear: no sigmoid comes before this loss.

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 1/2 where every output is 0.

    References:
        Mao et al., Least Squares Generative Adversarial Networks,
        https://arxiv.org/abs/1611.04076, 2016, equation 9.
    """
    real = _mean(jnp.square(real_logits.astype(jnp.float32) - 1))
    fake = _mean(jnp.square(fake_logits.astype(jnp.float32)))
    return 0.5 * (real + fake)


def least_squares_generator(real_logits, fake_logits):
    """Pull the outputs on fakes to 1 by squared error.

    1/2 E (D(G(z)) - 1)^2: the paper's 0-1 coding (c = 1).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 1/2 where every output is 0.

    References:
        Mao et al., Least Squares Generative Adversarial Networks,
        https://arxiv.org/abs/1611.04076, 2016, equation 9.
    """
    del real_logits
    return 0.5 * _mean(jnp.square(fake_logits.astype(jnp.float32) - 1))


def hinge_discriminator(real_logits, fake_logits):
    """Push real outputs above 1 and fake outputs below -1, and no further.

    E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))).

    Args:
        real_logits: [B] raw discriminator outputs on real images.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, >= 0; 2 where every output is 0.

    References:
        Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894, 2017;
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, equation 16.
    """
    real = _mean(jax.nn.relu(1 - real_logits))
    fake = _mean(jax.nn.relu(1 + fake_logits))
    return real + fake


def hinge_generator(real_logits, fake_logits):
    """Raise the discriminator's output on fakes: -E D(G(z)).

    Args:
        real_logits: [B], unused.
        fake_logits: [B] raw discriminator outputs on generated images.

    Returns:
        float32 scalar, of any sign; 0 where every output is 0.

    References:
        Lim and Ye, Geometric GAN, https://arxiv.org/abs/1705.02894, 2017;
        Miyato et al., Spectral Normalization for Generative Adversarial
        Networks, https://arxiv.org/abs/1802.05957, 2018, equation 17.
    """
    del real_logits
    return -_mean(fake_logits)


LOSSES = {
    'hinge': Loss(hinge_discriminator, hinge_generator),
    'least_squares': Loss(least_squares_discriminator, least_squares_generator),
    'minimax': Loss(cross_entropy_discriminator, minimax_generator),
    'non_saturating': Loss(
        cross_entropy_discriminator, non_saturating_generator
    ),
}
