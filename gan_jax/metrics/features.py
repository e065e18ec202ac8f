"""Checks and flattening of the arrays that the metrics take."""

import numpy as np

from gan_jax.core import errors


def rows(values, name, least=1):
    """Flatten a set to rows, and check that metrics are defined for it.

    Args:
        values: [N, ...] numbers, of any type.
        name: plural noun for the values, for messages.
        least: smallest N.

    Returns:
        [N, D], of the same type; copied only if necessary.

    Raises:
        errors.DataError: for fewer than `least` rows.
        errors.NonFiniteError: for a value that is not finite.
    """
    values = np.asarray(values)
    if len(values) < least:
        raise errors.DataError(
            f'{name}: {len(values)} are too few; the minimum is {least}'
        )
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        raise errors.NonFiniteError(f'{name} contain NaN or infinite values')
    return values


def pair(values, other, names=('real features', 'fake features'), least=1):
    """Flatten two sets to rows, and check that they have the same columns.

    Args:
        values: [N, ...].
        other: [M, ...].
        names: plural nouns for both, for messages.
        least: smallest N and M.

    Returns:
        ([N, D], [M, D]).

    Raises:
        errors.DataError: for too few rows, or numbers of columns that differ.
        errors.NonFiniteError: for a value that is not finite.
    """
    values = rows(values, names[0], least)
    other = rows(other, names[1], least)
    if values.shape[1] != other.shape[1]:
        raise errors.DataError(
            f'{names[0]} have {values.shape[1]} columns and {names[1]} '
            f'{other.shape[1]}'
        )
    return values, other
