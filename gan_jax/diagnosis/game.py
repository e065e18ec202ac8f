"""The kind of game that rules judge: its loss, its sizes, its bounds.

A `Game` holds what rules must know of a run beside its metrics. `KINDS` are
the meanings that the outputs of D may have under a loss.
"""

import math
from typing import NamedTuple, Optional, Tuple

# What D's outputs may mean under a loss, which declares it; 'none' is of no
# game, and 'undeclared' of a loss that leaves it open.
KINDS = (
    'balance', 'critic', 'energy', 'margin', 'none', 'probability', 'relative',
    'square', 'undeclared',
)
ALL = frozenset(KINDS)
PLAYERS = ALL - {'none'}  # there are two, whatever D's outputs mean
GAMES = PLAYERS - {'undeclared'}
BOUNDED = frozenset({'margin', 'probability', 'relative', 'square'})


class Game(NamedTuple):
    """What rules know of a run beside its metrics.

    Attributes:
        kind: of `KINDS`.
        equilibrium: (D's loss, G's loss) where real and fake cannot be told
            apart; None where the loss has no such value.
        floor: D's least loss, 0 for hard targets.
        unit: D's loss where it says neither of all.
        middle, reach: D's output that says neither, and how far from there
            it says real.
        saturates: whether G's loss is flat where D is sure of fakes.
        clipped: whether D's weights are clipped.
        bounded: whether the data have bounds, as images have and points not.
        g_size, d_size: parameters.
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
