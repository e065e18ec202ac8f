"""Facts about a run that the rules of diagnosis need beside its metrics.

`KINDS` are the meanings that the outputs of D may have under a loss; each loss
declares one. This module knows no rule, no metric and no config.
"""

import math
from typing import NamedTuple, Optional, Tuple

# 'none' is for algorithms without a discriminator, 'undeclared' for a loss that
# declares no meaning.
KINDS = (
    'balance', 'critic', 'energy', 'margin', 'none', 'probability', 'relative',
    'square', 'undeclared',
)
ALL = frozenset(KINDS)
PLAYERS = ALL - {'none'}  # there are two, whatever D's outputs mean
GAMES = PLAYERS - {'undeclared'}
BOUNDED = frozenset({'margin', 'probability', 'relative', 'square'})


class Game(NamedTuple):
    """Properties of the loss, the data and the networks of a run.

    Attributes:
        kind: one of `KINDS`.
        equilibrium: (D's loss, G's loss) where D cannot tell real from fake;
            None if the loss has no such value.
        floor: lowest possible loss of D, 0 for hard targets.
        unit: loss of D where all its outputs are undecided.
        middle: undecided output of D.
        reach: distance from `middle` to the output that means real.
        saturates: whether G's loss is flat where D is sure of fakes.
        clipped: whether D's weights are clipped.
        bounded: whether the data have bounds, as images do and points do not,
            and the last layer of G is meant to have them: it is not linear.
        g_size: number of parameters of G.
        d_size: number of parameters of D.
    """

    kind: str = 'probability'
    equilibrium: Optional[Tuple[float, float]] = None
    floor: float = 0.0
    unit: float = 2 * math.log(2)
    middle: float = 0.0
    reach: float = 1.0
    saturates: bool = False
    clipped: bool = False
    bounded: bool = True
    g_size: int = 0
    d_size: int = 0
