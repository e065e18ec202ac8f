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
        step: int scalar, steps of the game made so far, from 0; each moves the
            average once for every update of the generator in it.
        decay: float scalar in [0, 1], the decay in the long run.

    Returns:
        float32 scalar in [0.1, decay], or `decay` where that is smaller.
    """
    step = jnp.asarray(step, jnp.float32)
    return jnp.minimum(decay, (1 + step) / (10 + step))


def keep_last(ring, new, taken, due=True):
    """Put a pytree into a ring of the last N, over the oldest.

    ring[taken mod N] <- new, leaf by leaf. Where it is not due, that place is
    written with what it holds, so that the cost is of one pytree, not of N.

    Args:
        ring: pytree of arrays [N, ...].
        new: pytree of the same form, of arrays [...].
        taken: int32 scalar, how many were put before.
        due: bool scalar; where false nothing changes.

    Returns:
        pytree of the form of `ring`.
    """

    def put(places, value):
        place = taken % len(places)
        held = jax.lax.dynamic_index_in_dim(places, place, keepdims=False)
        value = jnp.where(due, value, held)
        return jax.lax.dynamic_update_index_in_dim(places, value, place, 0)

    return jax.tree.map(put, ring, new)


def average(ring, taken):
    """Average the last N pytrees of a ring, or all while they are fewer.

    1 / n * sum of the filled places, n = min(taken, N), leaf by leaf, summed
    in float32: stochastic weight averaging over a window.

    Args:
        ring: pytree of float arrays [N, ...], from `keep_last`.
        taken: int scalar, how many were put; 0 gives NaN.

    Returns:
        pytree of arrays [...] of the dtypes of `ring`.

    References:
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better
        Generalization, https://arxiv.org/abs/1803.05407, 2018.
        Yazıcı et al., The Unusual Effectiveness of Averaging in GAN Training,
        https://arxiv.org/abs/1806.04498, 2018, which compare it with the EMA.
    """

    def mean(places):
        filled = jnp.arange(len(places)) < taken
        filled = filled.reshape(-1, *(1,) * (places.ndim - 1))
        whole = jnp.mean(places, 0, dtype=jnp.float32, where=filled)
        return whole.astype(places.dtype)

    return jax.tree.map(mean, ring)


def newest(ring, taken):
    """Take the pytree that was put last into a ring.

    Args, returns: as `average`, of arrays of any dtype; `taken` is 1 or more.
    """
    return jax.tree.map(lambda places: places[(taken - 1) % len(places)], ring)


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
