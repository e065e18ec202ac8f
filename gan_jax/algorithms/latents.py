"""Latent distributions, truncation, interpolation, and samplers of z.

This module knows the latents of an algorithm, not its networks.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import snapshots
from gan_jax.core import errors

WEIGHTS = ('ema', 'raw', 'snapshots')  # names that `weights` accepts
CHUNK = 64  # seeds drawn per call; one shape compiles only once
NOISES = ('fixed', 'random')  # noise maps of a style-based generator
LEAST_LIMIT = 1e-3  # of the values of z


def gaussian(key, size):
    """Sample z from N(0, I)."""
    return jax.random.normal(key, (size,))


def uniform(key, size):
    """Sample each value from U[-1, 1).

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks,
        https://arxiv.org/abs/1511.06434, 2015.
    """
    return jax.random.uniform(key, (size,), minval=-1)


def sphere(key, size):
    """Sample z uniformly from the sphere of radius sqrt(size).

    In many dimensions, samples of N(0, I) lie close to this sphere.

    References:
        White, Sampling Generative Networks, https://arxiv.org/abs/1609.04468,
        2016.
    """
    z = jax.random.normal(key, (size,))
    return z * (jnp.sqrt(size) / jnp.linalg.norm(z))


# 'fitted' is mapped to codes before it is decoded, by the method `codes` of an
# autoencoder: to their mean and covariance, or to the use of a codebook.
LATENTS = {
    'fitted': gaussian, 'gaussian': gaussian, 'sphere': sphere,
    'uniform': uniform,
}


def truncate_gaussian(z, limit):
    """Map values of N(0, 1) to N(0, 1) truncated at ±limit, monotonically.

    Each value keeps its quantile, so that z changes little if the limit does.
    The paper draws values outside the limit again, which gives the same
    distribution.

    Args:
        z: [B, latent_size].
        limit: > 0.

    Returns:
        [B, latent_size].

    References:
        Brock et al., Large Scale GAN Training for High Fidelity Natural Image
        Synthesis, https://arxiv.org/abs/1809.11096, 2018, section 3.1.
    """
    outside = jax.scipy.special.ndtr(-limit)
    quantile = jax.scipy.special.ndtr(-jnp.abs(z))  # in (0, 1/2], precise
    inside = outside + (1 - 2 * outside) * quantile
    return -jnp.sign(z) * jax.scipy.special.ndtri(inside)


def truncate_uniform(z, limit):
    """Map U[-1, 1) to U[-limit, limit).

    Args, returns: as `truncate_gaussian`.
    """
    return z * jnp.minimum(limit, 1)


# Points on a sphere have a fixed length and cannot be truncated.
TRUNCATIONS = {
    'fitted': truncate_gaussian, 'gaussian': truncate_gaussian,
    'uniform': truncate_uniform,
}


def draw(key, sample_index, latent_size, name='gaussian'):
    """Sample one z for each index; each z depends on its own index only.

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
    """Interpolate linearly between two latents.

    Args:
        first, last: [D].
        shares: [N] in [0, 1]; 0 gives `first`, 1 gives `last`.

    Returns:
        [N, D].
    """
    shares = shares[:, None]
    return (1 - shares) * first + shares * last


def slerp(first, last, shares):
    """Interpolate spherically between two latents.

    sin((1 - t) w) / sin w z_0 + sin(t w) / sin w z_1, w the angle between them.
    Gaussian latents lie close to a sphere, which a straight line leaves.

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


def inputs(
    algorithm, seeds, labels=None, truncation=None, truncated_styles=None,
    noise='fixed',
):
    """Return the `algorithm.Inputs` of seeds, for an algorithm with latents.

    The z of a seed depends only on the seed and the latent size: it is the same
    in every run, and whatever other seeds are in the sequence.

    Args:
        algorithm: with `latent`, `latent_size`, `num_classes` and `num_styles`.
        seeds: sequence of ints in [0, 2^31).
        labels: class of each seed; by default the seed modulo the number of
            classes.
        truncation: limit of the absolute values of z, see `TRUNCATIONS`; for a
            style-based generator psi instead, see `numbers`. None for neither.
        truncated_styles: as of `numbers`.
        noise: one of `NOISES`: the noise maps of a style-based generator are
            those that it keeps, or are drawn anew for each seed.

    Raises:
        errors.ConfigError: if the algorithm does not support the labels, the
            truncation or the noise.
    """
    return algorithm_lib.Inputs(
        z_from_seeds(algorithm, seeds, truncation),
        labels_from_seeds(algorithm, seeds, labels),
        keys=noise_keys(algorithm, seeds, noise),
        numbers=numbers(algorithm, truncation, truncated_styles),
    )


def numbers(algorithm, truncation=None, truncated_styles=None):
    """Return the truncation of styles as `Inputs.numbers`.

    A style w becomes mean + psi (w - mean), the mean being that of w over z.

    Args:
        algorithm: with `num_styles`.
        truncation: psi, any finite number: 0 gives the image of the mean, 1
            changes nothing, -1 mirrors w at the mean. None for no truncation.
        truncated_styles: number of styles, from the lowest resolution on, to
            truncate; None for all.

    Returns:
        {name: scalar}; None without truncation, or if z is truncated instead
        because the generator has no styles.

    Raises:
        errors.ConfigError: for numbers out of range, or styles that do not
            exist.

    References:
        Karras et al., A Style-Based Generator Architecture for Generative
        Adversarial Networks, https://arxiv.org/abs/1812.04948, 2018, appendix
        B.
    """
    if truncated_styles is not None:
        named = f'truncated_styles={truncated_styles}'
        check_styles(algorithm, named)
        if truncation is None:
            raise errors.ConfigError(f'{named} needs a truncation')
        if not 1 <= truncated_styles <= algorithm.num_styles:
            raise errors.ConfigError(
                f'{named} is not from 1 to {algorithm.num_styles}, the number '
                'of styles'
            )
    if truncation is None or not algorithm.num_styles:
        return None
    if not np.isfinite(truncation):
        raise errors.ConfigError(f'truncation={truncation} is not finite')
    named = {'truncation': np.float32(truncation)}
    if truncated_styles is not None:
        named['truncated_styles'] = np.int32(truncated_styles)
    return named


def check_styles(algorithm, option):
    """Check that the generator of an algorithm is style-based.

    Args:
        algorithm: with `num_styles`.
        option: what needs it, such as "space='w'", for the error.

    Raises:
        errors.ConfigError: if it is not.
    """
    if not algorithm.num_styles:
        raise errors.ConfigError(
            f'{option} needs a style-based generator, such as stylegan2; that '
            'of this run has no styles'
        )


def noise_keys(algorithm, seeds, noise):
    """Return the PRNG keys [len(seeds)] of random noise maps; None if fixed.

    Args, raises: as `inputs`.
    """
    if noise not in NOISES:
        raise errors.ConfigError(errors.unknown_name('noise', noise, NOISES))
    if noise == 'fixed':
        return None
    check_styles(algorithm, f'noise={noise!r}')
    # Another key than that of z, which folds seeds into key 0.
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(1), seed))(
        np.asarray(seeds, np.int32)
    )


def z_from_seeds(algorithm, seeds, truncation=None):
    """Return the z of each seed, float32 [len(seeds), latent_size].

    It is not truncated if styles are, see `numbers`.

    Args, raises: as `inputs`.
    """
    truncation = None if algorithm.num_styles else truncation
    if truncation is not None and algorithm.latent not in TRUNCATIONS:
        raise errors.ConfigError(
            f'truncation={truncation} is not supported: latent='
            f'{algorithm.latent!r} has one length'
        )
    if truncation is not None and not truncation >= LEAST_LIMIT:
        raise errors.ConfigError(
            f'truncation={truncation} limits the absolute values of z; it must '
            f'be at least {LEAST_LIMIT}'
        )
    seeds = np.asarray(seeds, np.int32)
    padded = np.pad(seeds, (0, -len(seeds) % CHUNK), mode='edge')
    z = np.concatenate([
        np.asarray(_jit_draw(algorithm.latent_size, algorithm.latent, chunk))
        for chunk in padded.reshape(-1, CHUNK)
    ])[:len(seeds)]
    if truncation is None:
        return z
    return np.asarray(TRUNCATIONS[algorithm.latent](z, truncation))


def _draw(size, name, seeds):
    return draw(jax.random.key(0), seeds, size, name)


_jit_draw = jax.jit(_draw, static_argnums=(0, 1))


def labels_from_seeds(algorithm, seeds, labels=None):
    """Return the class of each seed; None if the algorithm is unconditional.

    Args, raises: as `inputs`.
    """
    if not algorithm.num_classes:
        if labels is not None:
            raise errors.ConfigError(
                f'labels={list(labels)} are not supported: the generator has '
                'no condition'
            )
        return None
    if labels is None:
        labels = np.asarray(seeds) % algorithm.num_classes
    labels = np.asarray(labels, np.int32)
    if len(labels) != len(seeds) or not (
            (0 <= labels) & (labels < algorithm.num_classes)).all():
        raise errors.ConfigError(
            f'labels={labels.tolist()} must be a class in [0, '
            f'{algorithm.num_classes}) for each of {len(seeds)} seeds'
        )
    return labels


def weight_names(num_snapshots):
    """Return the names that `weights` accepts."""
    return WEIGHTS if num_snapshots else WEIGHTS[:2]


def weights(state, player, name):
    """Return the `algorithm.Weights` of a player to sample from.

    Args:
        state: `algorithm.TrainState`.
        player: name of the player.
        name: 'ema' for its moving average, 'raw' for its current weights,
            'snapshots' for the mean of its last snapshots.
    """
    if name == 'snapshots':
        return snapshots.average(state.memory['snapshots'])
    if name == 'ema':
        return state.averages[player]
    return algorithm_lib.weights_of(state.players[player])
