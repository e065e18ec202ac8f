"""Paths through the space of z, and arithmetic of latents, z or w.

It computes latents and asks `sampling` for the images. It writes no files.
"""

import re
from typing import NamedTuple, Tuple

import numpy as np

from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.runs import sampling
from gan_jax.runs import styles


class Term(NamedTuple):
    """A term of a sum of latents.

    Attributes:
        sign: 1 or -1.
        seeds: seeds whose z are averaged.
    """

    sign: int
    seeds: Tuple[int, ...]


def interpolate(
    algorithm, state, seeds, frames, *, loop=False, labels=None, **options,
):
    """Generate images along the path from each seed to the next.

    Args:
        algorithm, state: as `sampling.sample`.
        seeds: two or more.
        frames: images of each path, both ends included, >= 2.
        loop: whether to add the path from the last seed to the first.
        labels, options: as `sampling.interpolate`.

    Returns:
        float32 [paths, frames, H, W, C], or [paths, frames, D] of points.

    Raises:
        errors.ConfigError: for fewer seeds, and as `sampling.interpolate`.
    """
    seeds = list(seeds)
    if len(seeds) < 2:
        raise errors.ConfigError(
            f'--seeds={seeds}: interpolation needs two or more seeds'
        )
    if loop:
        seeds.append(seeds[0])
        labels = labels if labels is None else [*labels, labels[0]]
    images = sampling.interpolate(
        algorithm, state, seeds, frames, labels=labels, **options
    )
    return images.reshape(-1, frames, *images.shape[1:])


def as_film(paths, loop=False):
    """Join paths end to end; the end that starts the next is shown once.

    Args:
        paths: [paths, frames, ...], as from `interpolate`.
        loop: whether the last path ends where the first starts.

    Returns:
        [T, ...].
    """
    film = paths[:, :-1].reshape(-1, *paths.shape[2:])
    return film if loop else np.concatenate([film, paths[-1, -1:]])


def traverse(algorithm, z, coordinates, span, frames):
    """Move single coordinates of z from -span to span.

    The other coordinates keep their values.

    Args:
        algorithm: `algorithm.Algorithm` of the run; if its latents lie on a
            sphere, the result is projected to it.
        z: [N, latent_size].
        coordinates: ints.
        span: largest value of the coordinate.
        frames: number of values, both ends included.

    Returns:
        float32 [N * len(coordinates), frames, latent_size].

    Raises:
        errors.ConfigError: for a coordinate that z does not have.
    """
    for coordinate in coordinates:
        if coordinate >= algorithm.latent_size:
            raise errors.ConfigError(
                f'--coordinates={coordinate} is not in 0 to '
                f'{algorithm.latent_size - 1}'
            )
    rows = []
    for start in z:
        for coordinate in coordinates:
            row = np.repeat(start[None], frames, 0)
            row[:, coordinate] = np.linspace(-span, span, frames)
            rows.append(row)
    return _project(algorithm, np.stack(rows))


def parse_sum(text, flag='--sum'):
    """Parse a sum of seeds such as '3+5-7' or '1,2,3-4,5,6+7,8,9'.

    Seeds joined by commas are one term, the mean of their z.

    Returns:
        list of `Term`.

    Raises:
        errors.ConfigError: for anything else.
    """
    bare = text.replace(' ', '')
    if not re.fullmatch(r'[+-]?\d+(,\d+)*([+-]\d+(,\d+)*)*', bare, re.ASCII):
        raise errors.ConfigError(
            f"{flag}={text!r} is not a sum of seeds such as '3+5-7' or "
            "'1,2,3-4,5,6+7,8,9'"
        )
    return [
        Term(-1 if sign == '-' else 1, tuple(sampling.parse_seeds(seeds, flag)))
        for sign, seeds in re.findall(r'([+-]?)([\d,]+)', bare)
    ]


def combine(algorithm, terms, *, rescale=False, truncation=None):
    """Average the z of each term, and add the terms up.

    Args:
        algorithm: `algorithm.Algorithm` of the run; if its latents lie on a
            sphere, means and sum are projected to it.
        terms: list of `Term`.
        rescale: whether to scale the sum to the mean length of the seeds' z.
            A sum of three terms of three seeds has that length on average;
            other sums have a length that the generator was not trained on.
        truncation: as `sampling.latents_of`.

    Returns:
        (list of the terms' z [seeds, latent_size], means [terms, latent_size],
        sum [latent_size]).

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional GANs, https://arxiv.org/abs/1511.06434, 2015, section 6.3.
    """
    latents_of_terms = [
        sampling.latents_of(algorithm, term.seeds, truncation) for term in terms
    ]
    means = [z.mean(0) for z in latents_of_terms]
    total = sum(term.sign * mean for term, mean in zip(terms, means))
    if rescale:
        norms = np.linalg.norm(np.concatenate(latents_of_terms), axis=1)
        total = total * (norms.mean() / max(np.linalg.norm(total), 1e-12))
    return (
        latents_of_terms, _project(algorithm, means), _project(algorithm, total)
    )


def _project(algorithm, z):
    """Project z to the sphere if latents lie on one."""
    z = np.asarray(z, np.float32)
    if algorithm.latent != 'sphere':
        return z
    norm = np.linalg.norm(z, axis=-1, keepdims=True)
    return z * (np.sqrt(algorithm.latent_size) / np.maximum(norm, 1e-12))


def pictures_of_sum(
    algorithm, state, terms, labels=None, weights='ema', *, space='z',
    rescale=False, **truncation,
):
    """Generate a table of images: one row for each term, and one for the sum.

    Args:
        algorithm, state, weights: as `sampling.sample`.
        terms: list of `Term`.
        labels: one class for all; by default that of the first seed, and in w,
            of which the class is part, of each seed.
        space: one of `sampling.SPACES`, in which the sum is taken.
        rescale: as `combine`, in z only.
        truncation: `truncation` and `truncated_styles` of `sampling.sample`.

    Returns:
        (float32 [rows * columns, H, W, C], columns). A row has the images of
        the term's seeds, and that of their mean in the last column. The last
        row has the sum there. Unused places are white.

    Raises:
        errors.ConfigError: for a sum of w to rescale, and as `sampling.sample`.
    """
    sampling.check_space(space)
    labels = labels and labels[:1]
    if space == 'w':
        if rescale:
            raise errors.ConfigError(
                "rescale is for space='z'; a sum of w has no typical length"
            )
        latents_of_terms, means, total = styles.combine(
            algorithm, state, terms, labels, weights=weights, **truncation
        )
        truncation = {}
    else:
        latents_of_terms, means, total = combine(
            algorithm, terms, rescale=rescale,
            truncation=truncation.get('truncation'),
        )
    z = np.concatenate([*latents_of_terms, means, total[None]])
    labels = latents.labels_from_seeds(algorithm, terms[0].seeds[:1], labels)
    if labels is not None:
        labels = np.repeat(labels, len(z))
    images = sampling.generate(
        algorithm, state, z, labels, weights=weights, **truncation
    )
    columns = 1 + max(len(term.seeds) for term in terms)
    shape = (len(terms) + 1, columns, *images.shape[1:])
    table = np.ones(shape, np.float32)
    table[:, -1] = images[-len(terms) - 1:]
    start = 0
    for row, term in enumerate(terms):
        table[row, :len(term.seeds)] = images[start:start + len(term.seeds)]
        start += len(term.seeds)
    return table.reshape(-1, *images.shape[1:]), columns
