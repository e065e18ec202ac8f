"""Projection of images to the styles of a style-based generator."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax.algorithms import algorithm as algorithm_lib
from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runs import styles as styles_lib
from gan_jax.tools import inversion

SPACES = ('w', 'w+')
OPTIONS = inversion.SearchOptions(restarts=1, steps=1000)
NUM_SAMPLES = 10_000  # w from which the standard deviation is estimated
NOISE = 0.05  # of w at the start, in standard deviations
NOISE_SHARE = 0.75  # of the steps that have noise
WARM_UP, COOL_DOWN = 0.05, 0.25  # shares of the steps


def project(
    algorithm, state, images, space='w', options=OPTIONS, weights='ema'
):
    """Find the w whose images are nearest, by Adam from the mean of w.

    Noise on w, which decays to 0, lets the search explore. Each start has other
    noise. The loss is that of `inversion.search`, except that `prior` weighs
    the mean square of the distance from the mean of w, in standard deviations.
    The noise maps of the generator stay as they are.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        images: [N, H, W, C] uint8.
        space: 'w' for one w of all styles, 'w+' for a w of each style, which
            comes nearer and lies less among the w of samples.
        options: `inversion.SearchOptions`.
        weights: one of `Algorithm.weight_names`.

    Returns:
        `inversion.Inversion`, whose codes are styles [N, num_styles, D].

    Raises:
        errors.ConfigError: if the generator has no styles, or as
            `inversion.make_distance`.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN,
        https://arxiv.org/abs/1912.04958, 2019, appendix D, for w; Abdal et al.,
        Image2StyleGAN, https://arxiv.org/abs/1904.03189, 2019, for w+. Both
        compare features of VGG; here the pixels are compared, and features of
        the run's discriminator if `feature_weight` is not 0. The former also
        optimises the noise maps.
    """
    if space not in SPACES:
        raise errors.ConfigError(errors.unknown_name('space', space, SPACES))
    latents.check_styles(algorithm, f'space={space!r}')
    sampling.check_weights(algorithm, state, weights)
    targets = inversion.to_unit_range(images)
    centre, std = _moments(algorithm, state, weights)
    optimize = _optimizer(
        algorithm, state, space, options, weights, centre, std
    )
    return inversion.best_of_starts(
        targets, options,
        lambda rows, numbers: optimize(targets[numbers], rows),
        lambda styles, numbers: sampling.generate(
            algorithm, state, styles, weights=weights
        ),
        lambda styles: np.square((styles - centre) / std).mean((1, 2)),
    )


def invert(
    algorithm, state, images, labels=None, *, space='z', by='', weights='ema',
    options=None,
):
    """Find the latents of images, by an encoder or a search.

    Args:
        algorithm: `algorithm.Algorithm` of the run.
        state: `algorithm.TrainState`.
        images: [N, H, W, C] uint8, or points [N, D].
        labels: int32 [N], the class of each image for the search of z; by
            default as of `inversion.search`.
        space: 'z', or 'w' or 'w+' of a style-based generator.
        by: 'encoder' or 'search'; by default the encoder, if there is one.
        weights: of the search, one of `Algorithm.weight_names`.
        options: `inversion.SearchOptions`; None for the defaults of the space.

    Returns:
        `inversion.Inversion`.

    Raises:
        errors.ConfigError: for a method or a space that the run does not have.
    """
    projects = space in SPACES
    if not by:
        by = 'encoder' if algorithm.encodes and not projects else 'search'
    if by == 'encoder' and projects:
        raise errors.ConfigError(f'--by=encoder is not for --space={space}')
    if by == 'encoder':
        return inversion.encode(algorithm, state, images)
    if projects:
        return project(
            algorithm, state, images, space, options or OPTIONS, weights
        )
    return inversion.search(
        algorithm, state, images, labels,
        options or inversion.SearchOptions(), weights,
    )


def _moments(algorithm, state, weights):
    """Return the mean of w, [D], and its mean standard deviation, a scalar."""
    centre = styles_lib.mean_of(algorithm, state, weights)
    w = sampling.styles_of(
        algorithm, state, range(NUM_SAMPLES), weights=weights
    )[:, 0]
    return centre, np.sqrt(np.square(w - centre).mean())


def _optimizer(algorithm, state, space, options, weights, centre, std):
    """Return a function of (targets, row numbers) -> styles."""
    size, count = len(centre), algorithm.num_styles
    variables = jax.tree.map(jnp.asarray, algorithm.weights(state, weights))
    distance = inversion.make_distance(algorithm, state, options.feature_weight)
    tx = optax.adam(functools.partial(
        _learning_rate, options.learning_rate, options.steps
    ))

    def loss(w, noise, targets):
        styles = jnp.broadcast_to(w + noise, (len(w), count, size))
        images = algorithm.apply(variables, algorithm_lib.Inputs(styles))
        offset = jnp.square((w - centre) / std).mean((1, 2))
        return (distance(images, targets) + options.prior * offset).sum()

    @jax.jit
    def step(w, opt_state, targets, keys, number):
        # The paper's sigma is that of the whole w, hence the root of its size.
        left = jnp.maximum(0, 1 - number / options.steps / NOISE_SHARE)
        scale = NOISE * std * np.sqrt(size) * jnp.square(left)
        noise = scale * jax.vmap(lambda key: jax.random.normal(
            jax.random.fold_in(key, number), w.shape[1:]
        ))(keys)
        updates, opt_state = tx.update(
            jax.grad(loss)(w, noise, targets), opt_state
        )
        return w + updates, opt_state

    def optimize(targets, rows):
        keys = jax.vmap(functools.partial(
            jax.random.fold_in, jax.random.key(options.seed)
        ))(rows)
        shape = len(rows), count if space == 'w+' else 1, size
        w = jnp.broadcast_to(jnp.asarray(centre), shape)
        opt_state = tx.init(w)
        for number in range(options.steps):
            w, opt_state = step(w, opt_state, targets, keys, number)
        return np.broadcast_to(w, (len(rows), count, size))

    return optimize


def _learning_rate(peak, steps, number):
    """Return the learning rate of an update: warm-up, peak, half a cosine."""
    done = (number + 0.5) / steps
    end = jnp.minimum(1, (1 - done) / COOL_DOWN)
    return peak * jnp.minimum(1, done / WARM_UP) * (
        0.5 - 0.5 * jnp.cos(jnp.pi * end)
    )
