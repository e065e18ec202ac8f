"""Values of a graph, and shapes whose size of a batch is symbolic."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

END = np.iinfo(np.int64).max  # beyond each axis, for Slice


class Value(NamedTuple):
    """A result that is known when the graph runs.

    A size of its shape may be 1 where the jaxpr has another: the operators
    broadcast it where they can, and `Builder.expand` where they cannot.

    Attributes:
        name: in the graph.
        shape: of ints, and of a symbolic size.
        dtype: NumPy's.
    """

    name: str
    shape: tuple
    dtype: np.dtype


def dtype_of(value):
    """Return the dtype in the graph, where numbers below float32 are float32.
    """
    if value.dtype == jnp.bfloat16 or value.dtype == np.float16:
        return np.dtype(np.float32)
    return np.dtype(value.dtype)


def is_known(shape):
    """Return whether no size of a shape is symbolic."""
    return all(isinstance(n, (int, np.integer)) for n in shape)


def same(first, second):
    """Return whether two shapes are equal, symbolic sizes too."""
    return len(first) == len(second) and all(
        is_known([a]) == is_known([b]) and a == b
        for a, b in zip(first, second)
    )


def place_from_end(place, length):
    """Return a place along an axis, counted from the end if it is symbolic."""
    if is_known([place]):
        return place
    from_end = place - length
    return END if same([from_end], [0]) else from_end


def broadcast_shape(*shapes):
    """Return the shape of arrays that are broadcast, of the same rank."""
    rank = max(map(len, shapes))
    shapes = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(
        next((n for n in sizes if not same([n], [1])), 1)
        for sizes in zip(*shapes)
    )
