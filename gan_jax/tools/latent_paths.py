"""Ways through the space of latents, and sums in it."""

import re
from typing import NamedTuple, Tuple

import numpy as np

from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.runs import sampling


class Term(NamedTuple):
    """One part of a sum of latents.

    Attributes:
        sign: 1 or -1.
        seeds: whose z are averaged.
    """

    sign: int
    seeds: Tuple[int, ...]


def interpolate(
    algorithm, state, seeds, frames, *, loop=False, path='slerp', labels=None,
    **given,
):
    """Generate the ways from seed to seed, and back to the first for a loop.

    Args:
        algorithm, state: as `sampling.sample`.
        seeds: two or more.
        frames: images of each way, both ends included, >= 2.
        loop: whether the last seed goes on to the first.
        path, labels: as `sampling.interpolate`.
        given: further arguments of it.

    Returns:
        float32 [ways, frames, H, W, C], or [ways, frames, D] of points.

    Raises:
        errors.ConfigError: for fewer seeds, and as `sampling.interpolate`.
    """
    seeds = list(seeds)
    if len(seeds) < 2:
        raise errors.ConfigError(
            f'a way needs two or more --seeds, and {seeds} is one'
        )
    if loop:
        seeds.append(seeds[0])
        labels = labels if labels is None else [*labels, labels[0]]
    images = sampling.interpolate(
        algorithm, state, seeds, frames, path=path, labels=labels, **given
    )
    return images.reshape(-1, frames, *images.shape[1:])


def as_film(ways, loop=False):
    """Join ways end to end; an end that is the next start is shown once.

    Args:
        ways: [ways, frames, ...], of `interpolate`.
        loop: whether the last way ends where the first starts.

    Returns:
        [T, ...].
    """
    film = ways[:, :-1].reshape(-1, *ways.shape[2:])
    return film if loop else np.concatenate([film, ways[-1, -1:]])


def traverse(algorithm, z, coordinates, span, frames):
    """Move single coordinates of z from -span to span, the others staying.

    Args:
        algorithm: the value that trained; where its latents lie on a
            sphere, so do these.
        z: [N, latent_size].
        coordinates: ints.
        span: largest value.
        frames: values, the ends included.

    Returns:
        float32 [N * len(coordinates), frames, latent_size].

    Raises:
        errors.ConfigError: for a coordinate that z does not have.
    """
    for coordinate in coordinates:
        if coordinate >= algorithm.latent_size:
            raise errors.ConfigError(
                f'--coordinates={coordinate}: z has those of 0 to '
                f'{algorithm.latent_size - 1}'
            )
    rows = []
    for one in z:
        for coordinate in coordinates:
            row = np.repeat(one[None], frames, 0)
            row[:, coordinate] = np.linspace(-span, span, frames)
            rows.append(row)
    return _as_drawn(algorithm, np.stack(rows))


def parse_sum(text, flag='--sum'):
    """Read a sum such as '3+5-7' or '1,2,3-4,5,6+7,8,9'.

    Seeds that commas join are a term, the mean of their z.

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
        algorithm: the value that trained; where its latents lie on a
            sphere, the sum does.
        terms: list of `Term`.
        rescale: whether the sum gets the mean length of the seeds' z. That of
            three terms of three seeds has it on average; of other sums the
            generator has seen no such length.
        truncation: as `sampling.latents_of`.

    Returns:
        (list of [seeds, latent_size], list of [latent_size], the means,
        [latent_size], the sum).

    References:
        Radford et al., Unsupervised Representation Learning with Deep
        Convolutional GANs, https://arxiv.org/abs/1511.06434, 2015, section 6.3.
    """
    drawn = [
        sampling.latents_of(algorithm, term.seeds, truncation) for term in terms
    ]
    means = [z.mean(0) for z in drawn]
    total = sum(term.sign * mean for term, mean in zip(terms, means))
    if rescale:
        length = np.linalg.norm(np.concatenate(drawn), axis=1).mean()
        total = total * (length / max(np.linalg.norm(total), 1e-12))
    return drawn, _as_drawn(algorithm, means), _as_drawn(algorithm, total)


def _as_drawn(algorithm, z):
    """Bring z back to the sphere where latents lie on one."""
    z = np.asarray(z, np.float32)
    if algorithm.latent != 'sphere':
        return z
    norm = np.linalg.norm(z, axis=-1, keepdims=True)
    return z * (np.sqrt(algorithm.latent_size) / np.maximum(norm, 1e-12))


def pictures_of_sum(
    algorithm, state, terms, labels=None, weights='ema', **given
):
    """Generate a row for each term, its seeds and their mean, and the sum.

    Args:
        algorithm, state, weights: as `sampling.sample`.
        terms: list of `Term`.
        labels: one class for all; by default that of the first seed.
        given: further arguments of `combine`.

    Returns:
        (float32 [rows * columns, H, W, C], columns); means and, in the last
        row, the sum stand in the last column; white fills the rest.
    """
    drawn, means, total = combine(algorithm, terms, **given)
    z = np.concatenate([*drawn, means, total[None]])
    first = terms[0].seeds[:1]
    labels = latents.labels_of(algorithm, first, labels and labels[:1])
    if labels is not None:
        labels = np.repeat(labels, len(z))
    images = sampling.generate(algorithm, state, z, labels, weights=weights)
    columns = 1 + max(len(term.seeds) for term in terms)
    shape = (len(terms) + 1, columns, *images.shape[1:])
    table = np.ones(shape, np.float32)
    table[:, -1] = images[-len(terms) - 1:]
    start = 0
    for row, term in enumerate(terms):
        table[row, :len(term.seeds)] = images[start:start + len(term.seeds)]
        start += len(term.seeds)
    return table.reshape(-1, *images.shape[1:]), columns
