"""Targets of the discriminator: label smoothing, noisy labels and label flips.

For losses that compare outputs with a label, see `losses.Loss.takes_targets`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Targets(NamedTuple):
    """The discriminator's target of each image; 1 is real, 0 is fake.

    Attributes:
        real: scalar or [B], for real images.
        fake: scalar or [B], for generated images.
    """

    real: Any = 1.0
    fake: Any = 0.0


HARD = Targets()


class Treatment(NamedTuple):
    """The distribution of targets; the defaults are hard labels.

    One-sided smoothing has real_low = real_high = 0.9 and fakes 0; two-sided
    smoothing also has fakes 0.1. Noisy labels have real in [0.7, 1.2] and fake
    in [0, 0.3], with occasional flips.

    Attributes:
        real_low, real_high: ends of the uniform range of real targets.
        fake_low, fake_high: ends of the uniform range of fake targets.
        flip_probability: probability that an image gets a target of the other
            kind.

    References:
        Salimans et al., Improved Techniques for Training GANs,
        https://arxiv.org/abs/1606.03498, 2016, section 3.4 (smoothing).
        Chintala et al., How to Train a GAN, NIPS 2016 workshop, tip 6 (noise).
    """

    real_low: Any = 1.0
    real_high: Any = 1.0
    fake_low: Any = 0.0
    fake_high: Any = 0.0
    flip_probability: Any = 0.0


def draw(key, sample_index, treatment):
    """Sample the targets of one discriminator update.

    Args:
        key: PRNG key.
        sample_index: [B] int32, indices in the global batch, which key the
            targets.
        treatment: a `Treatment`.

    Returns:
        `Targets` of two float32 [B].
    """

    def one(index):
        uniform = jax.random.uniform(jax.random.fold_in(key, index), (4,))
        real = _between(treatment.real_low, treatment.real_high, uniform[0])
        fake = _between(treatment.fake_low, treatment.fake_high, uniform[1])
        flip = uniform[2:] < treatment.flip_probability
        return jnp.where(flip[0], fake, real), jnp.where(flip[1], real, fake)

    return Targets(*jax.vmap(one)(sample_index))


def _between(low, high, share):
    """Interpolate between low (share 0) and high (share 1)."""
    return low + (high - low) * share
