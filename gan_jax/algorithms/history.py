"""A history of past fakes, some of which D receives in place of new ones.

Shrivastava et al., Learning from Simulated and Unsupervised Images through
Adversarial Training, https://arxiv.org/abs/1612.07828, 2016, with the swap of
CycleGAN's image pool in place of its half batches: Zhu et al., Unpaired
Image-to-Image Translation using Cycle-Consistent Adversarial Networks,
https://arxiv.org/abs/1703.10593, 2017. Pure.
"""

import jax
import jax.numpy as jnp


def init(size, shape):
    """Return an empty history.

    Args:
        size: number of fakes, at least the samples of a global batch.
        shape: of one fake.
    """
    return {
        'images': jnp.zeros((size, *shape)), 'filled': jnp.zeros(size, bool),
    }


def replay(history, fakes, key, sample_index, share, gather):
    """Replace some new fakes by past ones, and store the new ones.

    Until the history is full, D receives the new fakes, which are stored. Then
    each sample is assigned a different entry. With probability `share` D
    receives the entry, which the new fake replaces; otherwise D receives the
    new fake, which is not stored.

    Args:
        history: as returned by `init` and by this function.
        fakes: [b, ...], new.
        key: PRNG key.
        sample_index: [b] int32, indices in the global batch.
        share: scalar in [0, 1].
        gather: `Collectives.gather`.

    Returns:
        (fakes [b, ...] for D, new history, equal on every device).
    """
    place_key, swap_key = jax.random.split(key)
    filled = history['filled']
    size = len(filled)
    # A batch that does not fit in the rest goes on with the first entries.
    next_places = (filled.sum(dtype=jnp.int32) + jnp.arange(size)) % size
    places = jnp.where(
        filled.all(), jax.random.permutation(place_key, size), next_places
    )[sample_index]
    swap = jax.vmap(lambda index: jax.random.uniform(
        jax.random.fold_in(swap_key, index)
    ))(sample_index) < share
    # Rows: a TPU would store images in one order, and copy all for the other.
    images = history['images']
    rows = images.reshape(size, -1)
    filled, past = filled[places], rows[places].reshape(fakes.shape)

    def where(condition, first, second):
        shape = (-1,) + (1,) * (fakes.ndim - 1)
        return jnp.where(condition.reshape(shape), first, second)

    d_fakes = where(swap & filled, past, fakes)
    stored = where(swap | ~filled, fakes, past).reshape(len(fakes), -1)
    all_places, stored = gather(places), gather(stored)
    return d_fakes, {
        'images': rows.at[all_places].set(stored).reshape(images.shape),
        'filled': history['filled'].at[all_places].set(True),
    }
