"""Schedules: learning rates by optax, and any value along half a cosine.

Both are functions of the step. They count training steps as `num_steps` does,
however many updates of each player a step contains: five updates of the
discriminator per step do not anneal its rate five times faster.
"""

import functools

import jax.numpy as jnp
import optax

from gan_jax.core import options

# Each takes the steps until the factor reaches 0, unused by 'constant'. The
# cosine is (1 + cos(pi step / steps)) / 2: Loshchilov and Hutter, SGDR:
# Stochastic Gradient Descent with Warm Restarts,
# https://arxiv.org/abs/1608.03983, 2016, equation 5.
SCHEDULES = {
    'constant': lambda steps: optax.constant_schedule(1.0),
    'cosine': functools.partial(optax.cosine_decay_schedule, 1.0),
    'linear': functools.partial(optax.linear_schedule, 1.0, 0.0),
}
_FALLING = (
    options.Option(
        'schedule_steps', 0, 'steps until the learning rate reaches 0',
        options.STEPS,
    ),
    options.Option(
        'hold_steps', 0, 'steps before it begins to fall', options.STEPS,
    ),
)
OPTIONS = {'cosine': _FALLING, 'linear': _FALLING}  # of an optimizer's group


def make(name, num_steps, warmup_steps, hold_steps=0):
    """Build the schedule of a learning rate.

    Args:
        name: one of `SCHEDULES`.
        num_steps: training steps until a falling schedule reaches 0; unused by
            'constant'.
        warmup_steps: training steps over which the rate rises linearly from
            rate / warmup_steps; 0 is none.
        hold_steps: training steps before the rate begins to fall, less than
            num_steps; unused by 'constant'.

    Returns:
        Function of the step to a float32 scalar in [0, 1]; None if that is
        always 1.
    """
    if name == 'constant' and not warmup_steps:
        return None
    fall = SCHEDULES[name](num_steps - hold_steps)

    def falls(step):
        return fall(jnp.maximum(step - hold_steps, 0))

    if not warmup_steps:
        return falls
    rises = optax.linear_schedule(1 / warmup_steps, 1.0, warmup_steps - 1)
    return lambda step: rises(step) * falls(step)


def anneal(first, last, share):
    """Move a value along half a cosine.

    first + (last - first) * (1 - cos(pi share)) / 2: the first value at 0, the
    mean of both at 1/2, and the last value from 1 on.

    Args:
        first, last: scalars.
        share: scalar >= 0 of the steps in which the value moves.

    Returns:
        float32 scalar.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline,
        https://arxiv.org/abs/2501.05441, 2025, section 4.
    """
    share = jnp.minimum(share, 1)
    return first + (last - first) * (1 - jnp.cos(jnp.pi * share)) / 2
