"""Styles of a style-based generator: mixing, directions, walks and sums of w.

It computes styles and asks `sampling` for the images. It writes no files.
"""

from typing import NamedTuple

import numpy as np

from gan_jax.algorithms import latents
from gan_jax.core import errors
from gan_jax.metrics import principal
from gan_jax.runs import sampling

NUM_SAMPLES = 16_384  # w from which mean and directions are estimated
DIRECTIONS = ('principal', 'coordinates')


class Directions(NamedTuple):
    """Orthonormal axes of the space of w.

    Attributes:
        mean: [D], mean of w, of all classes.
        axes: [k, D], orthonormal.
        std: [k], standard deviation of w along each axis.
    """

    mean: np.ndarray
    axes: np.ndarray
    std: np.ndarray


def mean_of(algorithm, state, weights='ema'):
    """Return the mean of w that truncation leads to, float32 [D].

    Args:
        algorithm, state, weights: as `sampling.sample`.

    Raises:
        errors.ConfigError: where the generator has no styles.
    """
    return sampling.styles_of(
        algorithm, state, [0], weights=weights, truncation=0.0
    )[0, 0]


def directions(algorithm, state, kind='principal', *, weights='ema'):
    """Estimate axes of w from `NUM_SAMPLES` samples, of all classes.

    Args:
        algorithm, state, weights: as `sampling.sample`.
        kind: one of `DIRECTIONS`: the principal components of w, largest
            variance first, or its coordinates.

    Returns:
        `Directions`.

    Raises:
        errors.ConfigError: where the generator has no styles.

    References:
        Härkönen et al., GANSpace: Discovering Interpretable GAN Controls,
        https://arxiv.org/abs/2004.02546, 2020.
    """
    w = sampling.styles_of(
        algorithm, state, range(NUM_SAMPLES), weights=weights
    )[:, 0]
    if kind == 'principal':
        return Directions(*principal.fit(w, w.shape[1]))
    return Directions(w.mean(0), np.eye(w.shape[1], dtype=w.dtype), w.std(0))


def traverse(styles, axes, numbers, span, frames, *, places=None):
    """Move w along single directions, from -span to span.

    The place of w along the other directions does not change.

    Args:
        styles: [N, num_styles, D].
        axes: `Directions`.
        numbers: ints, which directions; one row for each.
        span: largest distance from the mean of w along the direction, in
            standard deviations.
        frames: number of places, both ends included.
        places: ints, the styles that move; None for all.

    Returns:
        float32 [N * len(numbers), frames, num_styles, D].

    Raises:
        errors.ConfigError: for a direction that does not exist.

    References:
        Härkönen et al., GANSpace: Discovering Interpretable GAN Controls,
        https://arxiv.org/abs/2004.02546, 2020, section 2. There the distance
        is from the start; here it is from the mean, as in
        `latent_paths.traverse`, so that all rows have the same ends.
    """
    places = list(range(styles.shape[1])) if places is None else places
    rows = []
    for start in styles:
        for number in numbers:
            if number >= len(axes.axes):
                raise errors.ConfigError(
                    f'--coordinates={number} is not in 0 to '
                    f'{len(axes.axes) - 1}'
                )
            axis = axes.axes[number]
            distances = np.linspace(-span, span, frames) * axes.std[number]
            row = np.repeat(start[None].astype(np.float64), frames, 0)
            now = (row[:, places] - axes.mean) @ axis  # [frames, places]
            row[:, places] += (distances[:, None] - now)[..., None] * axis
            rows.append(row)
    return np.stack(rows).astype(np.float32)


def mix(first, second, places):
    """Replace some styles by those of others.

    Args:
        first, second: [..., num_styles, D], of shapes that broadcast.
        places: ints, the styles that are taken from `second`.

    Returns:
        [..., num_styles, D].

    References:
        Karras et al., A Style-Based Generator Architecture for Generative
        Adversarial Networks, https://arxiv.org/abs/1812.04948, 2018, section
        3.1.
    """
    chosen = np.isin(np.arange(first.shape[-2]), places)[:, None]
    return np.where(chosen, second, first)


def mixing_grid(
    algorithm, state, rows, columns, places, *, labels=None, weights='ema',
    **truncation,
):
    """Generate the table of style mixing.

    The first column shows the samples of the row seeds, the first row those of
    the column seeds. Each other image has the styles `places` of its column's
    seed, and all other styles of its row's.

    Args:
        algorithm, state, weights: as `sampling.sample`.
        rows, columns: seeds.
        places: ints, the styles that are taken from the column's seed.
        labels: class of each row seed, then of each column seed; by default the
            seed modulo the number of classes.
        truncation: as `sampling.to_styles`.

    Returns:
        (float32 [(len(rows) + 1) * (len(columns) + 1), H, W, C], number of
        columns); the first place is white.

    Raises:
        errors.ConfigError: where the generator has no styles.
    """
    latents.check_styles(algorithm, 'mixing')
    seeds = [*rows, *columns]
    styles = sampling.styles_of(
        algorithm, state, seeds, labels, weights=weights, **truncation
    )
    images = sampling.generate(
        algorithm, state, grid_styles(styles, len(rows), places),
        weights=weights,
    )
    return grid_of(images, len(rows), len(columns))


def grid_styles(styles, num_rows, places):
    """Return the styles of all images of `mixing_grid`, for `grid_of`.

    Args:
        styles: [N, num_styles, D], of the row seeds and then the column seeds.
        num_rows: number of row seeds, below N.
        places: ints, the styles that are taken from the column's seed.

    Returns:
        [M, num_styles, D]: those given, then the mixed ones, row by row.
    """
    first, second = np.split(styles, [num_rows])
    mixed = mix(first[:, None], second[None], places)
    return np.concatenate([styles, mixed.reshape(-1, *styles.shape[1:])])


def grid_of(images, num_rows, num_columns):
    """Return images of `grid_styles` in the form of `mixing_grid`."""
    shape = images.shape[1:]
    table = np.ones((num_rows + 1, num_columns + 1, *shape), np.float32)
    table[1:, 0], table[0, 1:], mixed = np.split(
        images, [num_rows, num_rows + num_columns]
    )
    table[1:, 1:] = mixed.reshape(num_rows, num_columns, *shape)
    return table.reshape(-1, *shape), num_columns + 1


def combine(algorithm, state, terms, labels=None, *, weights='ema',
            **truncation):
    """Average the styles of each term, and add their offsets from the mean w.

    A sum whose signs add up to 1, such as w_1 - w_2 + w_3, is the plain sum.

    Args:
        algorithm, state, weights: as `sampling.sample`.
        terms: list of `latent_paths.Term`.
        labels: one class for all seeds, in a list; None for those of the seeds.
        truncation: as `sampling.to_styles`.

    Returns:
        (list of the terms' styles [seeds, num_styles, D], means
        [terms, num_styles, D], sum [num_styles, D]).
    """
    styles = [sampling.styles_of(
        algorithm, state, term.seeds, labels and labels * len(term.seeds),
        weights=weights, **truncation,
    ) for term in terms]
    means = np.stack([each.mean(0) for each in styles])
    centre = mean_of(algorithm, state, weights)
    signs = np.array([term.sign for term in terms], np.float32)
    return styles, means, centre + np.tensordot(signs, means - centre, 1)
