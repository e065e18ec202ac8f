"""Checks of the arrays that metrics are given."""

import numpy as np

from gan_jax.core import errors


def rows(values, name, least=1):
    """Flatten a set to a table, and refuse what no metric is defined for.

    Args:
        values: [N, ...] numbers, of any type.
        name: what they are, for messages.
        least: smallest N.

    Returns:
        [N, D]; of the same type and not copied where it need not be.

    Raises:
        errors.DataError: for fewer than `least` rows.
        errors.NonFiniteError: for a value that is not finite.
    """
    values = np.asarray(values)
    if len(values) < least:
        raise errors.DataError(
            f'{name}: {len(values)} are too few, this takes at least {least}'
        )
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        raise errors.NonFiniteError(f'{name} hold a value that is not finite')
    return values


def pair(values, other, names=('real features', 'fake features'), least=1):
    """Flatten two sets to tables with equally many columns.

    Args:
        values: [N, ...].
        other: [M, ...].
        names: what they are, for messages.
        least: smallest N and M.

    Returns:
        ([N, D], [M, D]).

    Raises:
        errors.DataError: for too few rows, or where columns do not match.
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
