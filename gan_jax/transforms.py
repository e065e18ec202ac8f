"""Maps from pytrees of parameters to pytrees of the same form."""

import jax
import jax.numpy as jnp


def ema(average, new, decay):
    """Move an exponential moving average towards new values.

    average <- decay * average + (1 - decay) * new, leaf by leaf.

    Args:
        average: pytree of arrays.
        new: pytree of the same form.
        decay: scalar in [0, 1]; 0 copies `new`.

    Returns:
        pytree of the form and dtypes of `average`.

    References:
        Yazıcı et al., The Unusual Effectiveness of Averaging in GAN Training,
        https://arxiv.org/abs/1806.04498, 2018.
    """
    return jax.tree.map(
        lambda a, n: (a + (1 - decay) * (n - a)).astype(a.dtype), average, new
    )


def ema_decay_at(step, decay):
    """Give the decay of an EMA that forgets its random start.

    min(decay, (1 + step) / (10 + step)): early samples come from what was
    learnt, not from the initial noise. The form is that of the `num_updates`
    argument of TensorFlow's ExponentialMovingAverage.

    Args:
        step: int scalar, generator updates made so far, from 0.
        decay: float scalar in [0, 1], the decay in the long run.

    Returns:
        float32 scalar in [0.1, decay], or `decay` where that is smaller.
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1 + step) / (10 + step))


def clip_weights(params, limit):
    """Clip every parameter to [-limit, limit].

    Applied after the update (exact), and once to the initial weights: together
    the same as the authors' clipping before each critic step.

    Args:
        params: pytree of arrays, scales and biases of normalisation included,
            as in the authors' code.
        limit: positive scalar, c in the paper (0.01 there).

    Returns:
        pytree of the same form.

    References:
        Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875,
        2017, algorithm 1.
    """
    return jax.tree.map(lambda p: jnp.clip(p, -limit, limit), params)
