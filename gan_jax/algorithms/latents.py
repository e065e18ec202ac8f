"""What z is drawn from, the ways from one z to another, and samplers of z."""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import snapshots
from gan_jax.core import errors

WEIGHTS = ('ema', 'raw', 'snapshots')  # as of `weights`
CHUNK = 64  # seeds drawn at once; another number would compile again


def gaussian(key, size):
    """Draw from N(0, I)."""
    return jax.random.normal(key, (size,))


def uniform(key, size):
    """Draw each value from U[-1, 1), as Radford et al., 1511.06434, 2015."""
    return jax.random.uniform(key, (size,), minval=-1)


def sphere(key, size):
    """Draw uniformly from the sphere of radius sqrt(size).

    N(0, I) lies close to it in many dimensions. White, Sampling Generative
    Networks, https://arxiv.org/abs/1609.04468, 2016.
    """
    z = jax.random.normal(key, (size,))
    return z * (jnp.sqrt(size) / jnp.linalg.norm(z))


# 'fitted' is moved and scaled like the codes of an autoencoder where it is
# decoded, by `reconstruction.Reconstruction.codes`.
LATENTS = {
    'fitted': gaussian, 'gaussian': gaussian, 'sphere': sphere,
    'uniform': uniform,
}


def truncate_gaussian(z, limit):
    """Map values of N(0, 1) to that law cut off at ±limit, in their order.

    Each keeps its share of what is smaller, so that a seed's z changes little
    where the limit does. Brock et al., Large Scale GAN Training,
    https://arxiv.org/abs/1809.11096, 2018, section 3.1, draw again what is
    outside, which has the same law.

    Args:
        z: [B, latent_size].
        limit: > 0.

    Returns:
        [B, latent_size].
    """
    outside = jax.scipy.special.ndtr(-limit)
    smaller = jax.scipy.special.ndtr(-jnp.abs(z))  # in (0, 1/2], precise
    inside = outside + (1 - 2 * outside) * smaller
    return -jnp.sign(z) * jax.scipy.special.ndtri(inside)


def truncate_uniform(z, limit):
    """Map U[-1, 1) to U[-limit, limit); as `truncate_gaussian`."""
    return z * jnp.minimum(limit, 1)


# A sphere has no values to cut off.
TRUNCATIONS = {
    'fitted': truncate_gaussian, 'gaussian': truncate_gaussian,
    'uniform': truncate_uniform,
}


def draw(key, sample_index, latent_size, name='gaussian'):
    """Draw one z for each slot, keyed by the slot.

    Args:
        key: PRNG key.
        sample_index: [B] int32.
        latent_size: length of each z.
        name: one of `LATENTS`.

    Returns:
        [B, latent_size] float32.
    """

    def one(index):
        return LATENTS[name](jax.random.fold_in(key, index), latent_size)

    return jax.vmap(one)(sample_index)


def lerp(first, last, shares):
    """Go from one latent to another on a line.

    Args:
        first, last: [D].
        shares: [N] in [0, 1], of the way.

    Returns:
        [N, D].
    """
    shares = shares[:, None]
    return (1 - shares) * first + shares * last


def slerp(first, last, shares):
    """Go from one latent to another on an arc, not through the centre.

    sin((1 - t) w) / sin w z_0 + sin(t w) / sin w z_1, w their angle. Gaussian
    latents lie close to a sphere, and a line between them leaves it.

    Args, returns: as `lerp`.

    References:
        White, Sampling Generative Networks,
        https://arxiv.org/abs/1609.04468, 2016.
    """
    cosine = jnp.vdot(first, last) / (
        jnp.linalg.norm(first) * jnp.linalg.norm(last)
    )
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    shares = shares[:, None]
    arc = (
        jnp.sin((1 - shares) * angle) * first + jnp.sin(shares * angle) * last
    ) / jnp.sin(angle)
    straight = (1 - shares) * first + shares * last
    return jnp.where(jnp.sin(angle) > 1e-4, arc, straight)


PATHS = {'lerp': lerp, 'slerp': slerp}


def inputs(algorithm, seeds, labels=None, truncation=None):
    """Return the `algorithm.Inputs` of seeds, for an algorithm that has z.

    A seed gives the same z in every run of one latent size, alone or among
    others.

    Args:
        algorithm: with `latent`, `latent_size` and `num_classes`.
        seeds: sequence of ints in [0, 2^31).
        labels: the class asked for, for each seed; by default seed modulo
            number of classes.
        truncation: largest size of each value, see `TRUNCATIONS`; None for any.

    Raises:
        errors.ConfigError: for labels or a truncation that it does not have.
    """
    return algorithm_lib.Inputs(
        z_of(algorithm, seeds, truncation),
        labels_of(algorithm, seeds, labels),
    )


def z_of(algorithm, seeds, truncation=None):
    """Return the z of each seed, float32 [len(seeds), latent_size].

    Args, raises: as `inputs`.
    """
    if truncation is not None and algorithm.latent not in TRUNCATIONS:
        raise errors.ConfigError(
            f'truncation={truncation} has no meaning: latent='
            f'{algorithm.latent!r} has one length'
        )
    seeds = np.asarray(seeds, np.int32)
    padded = np.pad(seeds, (0, -len(seeds) % CHUNK), mode='edge')
    z = np.concatenate([
        np.asarray(_drawn(algorithm.latent_size, algorithm.latent, chunk))
        for chunk in padded.reshape(-1, CHUNK)
    ])[:len(seeds)]
    if truncation is None:
        return z
    return np.asarray(TRUNCATIONS[algorithm.latent](z, truncation))


def _draw(size, name, seeds):
    return draw(jax.random.key(0), seeds, size, name)


_drawn = jax.jit(_draw, static_argnums=(0, 1))


def labels_of(algorithm, seeds, labels=None):
    """Return the class of each seed; None where none can be asked for.

    Args, raises: as `inputs`.
    """
    if not algorithm.num_classes:
        if labels is not None:
            raise errors.ConfigError(
                f'labels={list(labels)} have no meaning: the generator has no '
                'condition'
            )
        return None
    if labels is None:
        labels = np.asarray(seeds) % algorithm.num_classes
    labels = np.asarray(labels, np.int32)
    if len(labels) != len(seeds) or not (
            (0 <= labels) & (labels < algorithm.num_classes)).all():
        raise errors.ConfigError(
            f'labels={labels.tolist()} are not a class in [0, '
            f'{algorithm.num_classes}) for each of {len(seeds)} seeds'
        )
    return labels


def weight_names(num_snapshots):
    """Return the names that `weights` knows of a player."""
    return WEIGHTS if num_snapshots else WEIGHTS[:2]


def weights(state, player, name):
    """Return the `algorithm.Weights` of a player that samples.

    Args:
        state: `algorithm.TrainState`.
        player: its name.
        name: 'ema', its moving average; 'raw', itself as it is; 'snapshots',
            the plain average of its last snapshots.
    """
    if name == 'snapshots':
        return snapshots.average(state.memory['snapshots'])
    if name == 'ema':
        return state.averages[player]
    return algorithm_lib.weights_of(state.players[player])
