"""Hyper-parameters of the adversarial game that move while it is trained.

Learning rates, weights of penalties, b2 of Adam, the half-life of G's average
and the probability of augmentations move along half a cosine, as in R3GAN. They
are functions of the step alone, so that a resumed run continues them, and their
last values are arguments of the step, so that a sweep may vary them.

References:
    Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
    https://arxiv.org/abs/2501.05441, 2025, section 4; the ramp of the
    half-life: Karras et al., Training Generative Adversarial Networks with
    Limited Data, https://arxiv.org/abs/2006.06676, 2020.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.ops import averaging
from gan_jax.ops import schedules


class Last(NamedTuple):
    """The values that hyper-parameters move to; float32 scalars.

    Attributes:
        learning_rate, penalties: as shares of the first values.
        b2, ema_half_life, augment: as the fields of `game.Hyperparams`.
    """

    learning_rate: Any = 1.0
    penalties: Any = 1.0
    b2: Any = 0.999
    ema_half_life: Any = 0.0
    augment: Any = 1.0


MOVING = Last._fields  # values that may move


def at(gan, hyperparams, step):
    """Return the `game.Hyperparams` of a step.

    Args:
        gan: an `adversarial.Adversarial`.
        hyperparams: `game.Hyperparams` with the first values.
        step: int32, number of completed steps.
    """
    share = step / hyperparams.anneal_steps

    def moved(name, first, last):
        if name not in gan.annealed:
            return first
        return schedules.anneal(first, last, share)

    last, now = hyperparams.anneal_to, hyperparams
    rate = moved('learning_rate', 1.0, last.learning_rate)
    weight = moved('penalties', 1.0, last.penalties)
    return now._replace(
        g_learning_rate=now.g_learning_rate * rate,
        d_learning_rate=now.d_learning_rate * rate,
        penalty_weights=jax.tree.map(
            lambda first: first * weight, now.penalty_weights
        ),
        g_b2=moved('b2', now.g_b2, last.b2),
        d_b2=moved('b2', now.d_b2, last.b2),
        ema_half_life=moved(
            'ema_half_life', now.ema_half_life, last.ema_half_life
        ),
        augment_probability=moved(
            'augment', now.augment_probability, last.augment
        ),
    )


def ema_decay(gan, hyperparams, step):
    """Return the decay of G's moving average in one update.

    With the ramp r, the half-life is at most r times the images so far. Where
    the half-life neither moves nor has a ramp, the decay has the warm-up of
    `averaging.ema_decay_at`.

    Args:
        gan: an `adversarial.Adversarial`.
        hyperparams: as `at` returns.
        step: int32, number of completed steps.

    Returns:
        float32 scalar in [0, 1].
    """
    if not gan.ema_ramp and 'ema_half_life' not in gan.annealed:
        return averaging.ema_decay_at(step, hyperparams.ema_decay)
    half_life = hyperparams.ema_half_life
    if gan.ema_ramp:
        half_life = jnp.minimum(half_life, hyperparams.ema_ramp * step)
    return averaging.half_life_decay(half_life)
