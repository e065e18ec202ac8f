"""The output of a penalty with a memory that depends on what it computed."""

from typing import Any, NamedTuple

import jax


class PenaltyOutput(NamedTuple):
    """The output of a penalty that also returns values for its memory.

    Attributes:
        value: float32 scalar, before the weight.
        notes: pytree of arrays; `Penalty.update` receives its mean over
            microbatches and devices.
    """

    value: jax.Array
    notes: Any
