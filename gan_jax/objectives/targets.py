"""Targets of the discriminator's labels: smoothing, noise and flips.

Losses that compare with a label (see `losses.Loss.takes_targets`) accept them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Targets(NamedTuple):
    """What the discriminator is told of each image; 1 is real, 0 is fake.

    Attributes:
        real: scalar or [B], for the real images.
        fake: scalar or [B], for the generated ones.
    """

    real: Any = 1.0
    fake: Any = 0.0


HARD = Targets()


class Treatment(NamedTuple):
    """How targets are drawn; the defaults are the hard labels.

    One-sided smoothing is real_low = real_high = 0.9, fakes 0 (Salimans et
    al., Improved Techniques for Training GANs,
    https://arxiv.org/abs/1606.03498, 2016, section 3.4); two-sided has fakes
    0.1 too. The noisy labels of Chintala et al., How to Train a GAN, NIPS 2016
    workshop, tip 6, are real in [0.7, 1.2] and fake in [0, 0.3], with
    occasional flips.

    Attributes:
        real_low, real_high: ends of the uniform range of real targets.
        fake_low, fake_high: ends of the uniform range of fake targets.
        flip_probability: chance that an image gets a target of the other kind.
    """

    real_low: Any = 1.0
    real_high: Any = 1.0
    fake_low: Any = 0.0
    fake_high: Any = 0.0
    flip_probability: Any = 0.0


def draw(key, sample_index, treatment):
    """Draw the targets of one discriminator update.

    Args:
        key: PRNG key.
        sample_index: [B] int32, places in the global batch; each target is
            keyed by its own.
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
    return low + (high - low) * share
