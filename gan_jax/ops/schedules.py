"""Learning rate schedules: functions of the step to a factor.

They count training steps as `num_steps` does, however many updates of each
player a step contains: five updates of the discriminator per step do not anneal
its rate five times faster.
"""

import jax.numpy as jnp

from gan_jax.core import options


def _share(step, num_steps):
    """Return the completed share of the schedule, in [0, 1]."""
    return jnp.clip(jnp.asarray(step, jnp.float32) / num_steps, 0, 1)


def constant(step, num_steps):
    """Return 1 at every step."""
    del step, num_steps
    return jnp.float32(1)


def linear(step, num_steps):
    """Return a factor that falls linearly from 1 to 0 at `num_steps`."""
    return 1 - _share(step, num_steps)


def cosine(step, num_steps):
    """Return a factor that falls from 1 to 0 at `num_steps`, as a cosine.

    (1 + cos(pi step / num_steps)) / 2, and 0 afterwards.

    References:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm
        Restarts, https://arxiv.org/abs/1608.03983, 2016, equation 5.
    """
    return (1 + jnp.cos(jnp.pi * _share(step, num_steps))) / 2


def make(name, num_steps, warmup_steps):
    """Build the schedule of a learning rate.

    Args:
        name: one of `SCHEDULES`.
        num_steps: training steps until a falling schedule reaches 0; unused by
            'constant'.
        warmup_steps: training steps over which the rate rises linearly from
            rate / warmup_steps; 0 is none.

    Returns:
        Function of the step to a float32 scalar in [0, 1]; None if that is
        always 1.
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
    'schedule_steps', 0, 'steps until the learning rate reaches 0',
    options.STEPS,
),)
OPTIONS = {'cosine': _FALLING, 'linear': _FALLING}  # of an optimizer's group
