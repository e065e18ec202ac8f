"""Options of a config: default, meaning, bounds, and what they need.

Whoever brings an option declares it: a loss beside its formula, a schedule
beside its function. `config` gathers them, `checks` holds a config to them.
"""

import math
from typing import Any, Callable, NamedTuple, Tuple

from gan_jax.core import errors

INT32 = 2**31 - 1  # counters of a state are int32
SMALLEST, LARGEST = 1.1754944e-38, 3.4028235e38  # sizes of a float32 but 0


class Bounds(NamedTuple):
    """The values that an option may have.

    Attributes:
        holds: value -> bool; a NaN holds nowhere.
        words: what follows "is not" where it does not hold.
    """

    holds: Callable[[Any], bool]
    words: str


class Need(NamedTuple):
    """What an option needs so that it has a use.

    Attributes:
        keys: of the config, one of which must hold.
        bounds: `Bounds` of its value.
    """

    keys: Tuple[str, ...]
    bounds: Bounds


class Demand(NamedTuple):
    """What a value of an option demands of another key.

    Attributes:
        when: `Bounds` of the values that demand it.
        key: the other key.
        bounds: `Bounds` of the other's value.
        reason: what follows "key=value": why.
    """

    when: Bounds
    key: str
    bounds: Bounds
    reason: str


class Option(NamedTuple):
    """One option; of an owner such as a loss, or of the config itself.

    Attributes:
        name: 'margin', as the owner's function takes it; 'loss.margin' in the
            config.
        default: value, of the type that the option has.
        meaning: a line in words.
        bounds: `Bounds`, or the names that it may be one of.
        needs: `Need`s, each of which must be met for it to have a use.
        demands: `Demand`s on other keys.
    """

    name: str
    default: Any
    meaning: str
    bounds: Any
    needs: Tuple[Need, ...] = ()
    demands: Tuple[Demand, ...] = ()


def count(least=1, most=INT32, off=False):
    """Return the bounds of a number of things, or 0 where that is `off`."""
    words = 'a positive number' if least == 1 else f'at least {least}'
    words = f'{"0 (off) or " if off else ""}{words}, at most {most:,}'
    return Bounds(
        lambda v: off and v == 0 or least <= v <= most, words
    )


def equal(value):
    """Return the bounds of one value."""
    return Bounds(lambda v: v == value, repr(value))


def needs(*keys, bounds=None):
    """Return the one need that some of the keys is on, or in bounds."""
    return (Need(keys, bounds or ON),)


ANY = Bounds(lambda v: True, 'anything')
COUNT = count()
STEPS = Bounds(
    lambda v: 0 <= v <= INT32, 'a number of steps below 2^31 (0 is off)'
)
FINITE = Bounds(math.isfinite, 'a finite number')
POSITIVE = Bounds(lambda v: 0 < v < math.inf, 'positive')
NOT_NEGATIVE = Bounds(lambda v: 0 <= v < math.inf, '0 or positive')
OFF_OR_POSITIVE = Bounds(lambda v: 0 <= v < math.inf, '0 (off) or positive')
SHARE = Bounds(lambda v: 0 <= v <= 1, 'in [0, 1]')
BELOW_1 = Bounds(lambda v: 0 <= v < 1, 'in [0, 1)')
ON, OFF = Bounds(bool, 'on'), Bounds(lambda v: not v, 'off')


def complaint(option, key, value):
    """Return what is wrong with a value, '' where nothing is.

    Args:
        option: `Option`.
        key: its name in the config.
        value: of the type of the default.
    """
    if not isinstance(option.bounds, Bounds):
        if value in option.bounds:
            return ''
        return errors.unknown_name(key, value, option.bounds)
    if not option.bounds.holds(value):
        return f'{key}={value} is not {option.bounds.words}'
    size = abs(value) if isinstance(value, float) else 0
    if size and not SMALLEST <= size <= LARGEST:
        return (
            f'{key}={value} is no float32, whose sizes are {SMALLEST:.2g} to '
            f'{LARGEST:.2g}'
        )
    return ''


def useless(option, values):
    """Return why an option has no use, '' where it has one.

    Args:
        option: `Option`.
        values: {key: value} of the whole config.
    """
    for need in option.needs:
        if not any(need.bounds.holds(values[key]) for key in need.keys):
            told = {repr(values[key]) for key in need.keys}
            return (
                f'has no use: it needs {" or ".join(need.keys)} to be '
                f'{need.bounds.words}, not {" or ".join(sorted(told))}'
            )
    return ''


def refusal(option, key, values):
    """Return what a value demands of another key in vain, or ''.

    Args:
        option: `Option`.
        key: its name in the config.
        values: {key: value} of the whole config.
    """
    for demand in option.demands:
        other = values[demand.key]
        if demand.when.holds(values[key]) and not demand.bounds.holds(other):
            return (
                f'{key}={values[key]!r} {demand.reason}; with it '
                f'{demand.key}={other!r} must be {demand.bounds.words}'
            )
    return ''
