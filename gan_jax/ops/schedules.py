"""How a learning rate changes over training: step -> factor.

The step is one of the game, as `num_steps` counts them, whatever number of
updates each player makes in it: five of the discriminator do not anneal its
rate five times faster.
"""

import jax.numpy as jnp

from gan_jax.core import options


def _share(step, num_steps):
    """Give the share of the schedule that is behind, in [0, 1]."""
    return jnp.clip(jnp.asarray(step, jnp.float32) / num_steps, 0, 1)


def constant(step, num_steps):
    """Keep the rate."""
    del step, num_steps
    return jnp.float32(1)


def linear(step, num_steps):
    """Fall on a line to 0 at `num_steps`, and stay there."""
    return 1 - _share(step, num_steps)


def cosine(step, num_steps):
    """Fall along half a cosine to 0 at `num_steps`, and stay there.

    (1 + cos(pi step / num_steps)) / 2.

    References:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm
        Restarts, https://arxiv.org/abs/1608.03983, 2016, equation 5.
    """
    return (1 + jnp.cos(jnp.pi * _share(step, num_steps))) / 2


def make(name, num_steps, warmup_steps):
    """Make the factor of a learning rate.

    Args:
        name: one of `SCHEDULES`.
        num_steps: steps of the game until a falling schedule has reached 0;
            unused by 'constant'.
        warmup_steps: steps of the game over which the rate rises on a line from
            rate / warmup_steps; 0 is none.

    Returns:
        Function of the step to a float32 scalar in [0, 1]; None where that
        would always be 1.
    """
    if name == 'constant' and not warmup_steps:
        return None

    def factor(step):
        value = SCHEDULES[name](step, num_steps)
        if warmup_steps:
            value *= _share(step + 1, warmup_steps)
        return value

    return factor


SCHEDULES = {'constant': constant, 'cosine': cosine, 'linear': linear}
_FALLING = (options.Option(
    'schedule_steps', 0, 'steps until the rate has reached 0', options.STEPS,
),)
OPTIONS = {'cosine': _FALLING, 'linear': _FALLING}  # of an optimizer's group
