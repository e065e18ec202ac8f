"""Declarations of config options: default, description, bounds, dependencies.

A module declares the options of its own parts, such as a loss beside its
formula. `config.key_table` collects all of them and `config.validation` checks
the values of a config.
"""

import math
from typing import Any, Callable, NamedTuple, Tuple

from gan_jax.core import errors

INT32 = 2**31 - 1  # the counters of a training state are int32
SMALLEST, LARGEST = 1.1754944e-38, 3.4028235e38  # normal float32


class Bounds(NamedTuple):
    """The set of values that an option may take.

    Attributes:
        holds: value -> bool, whether it is in the set; False for a NaN.
        words: description of the set, as in "is not a positive number".
    """

    holds: Callable[[Any], bool]
    words: str


class Need(NamedTuple):
    """A condition on other keys without which an option has no effect.

    Attributes:
        keys: config keys; at least one of them must be within `bounds`.
        bounds: `Bounds`.
    """

    keys: Tuple[str, ...]
    bounds: Bounds


class Demand(NamedTuple):
    """A restriction that some values of an option place on another key.

    Attributes:
        when: `Bounds` of the values that cause the restriction.
        key: the other key.
        bounds: `Bounds` that the other key's value must be within.
        reason: text after "key=value" that explains the restriction.
    """

    when: Bounds
    key: str
    bounds: Bounds
    reason: str


class Option(NamedTuple):
    """One option of a part, such as a loss, or of the config itself.

    Attributes:
        name: argument name, such as 'margin'; the config key is 'loss.margin'.
        default: value; its type is the type of the option.
        meaning: description in one line.
        bounds: `Bounds`, or a collection of the allowed names.
        needs: `Need`s, all of which must hold for the option to have an effect.
        demands: `Demand`s on other keys.
    """

    name: str
    default: Any
    meaning: str
    bounds: Any
    needs: Tuple[Need, ...] = ()
    demands: Tuple[Demand, ...] = ()


def count(least=1, most=INT32, off=False):
    """Return bounds of an integer in [least, most], or 0 if `off`."""
    words = 'a positive number' if least == 1 else f'at least {least}'
    words = f'{"0 (off) or " if off else ""}{words}, at most {most:,}'
    return Bounds(
        lambda v: off and v == 0 or least <= v <= most, words
    )


def equal(value):
    """Return bounds that hold for one value alone."""
    return Bounds(lambda v: v == value, repr(value))


def needs(*keys, bounds=None):
    """Return a `Need` in a tuple: one of the keys is on, or within bounds."""
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


def bounds_error(option, key, value):
    """Return the message for a value out of bounds, '' if it is within.

    Args:
        option: `Option`.
        key: of the option in the config.
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
            f'{key}={value} is not a float32, which ranges from '
            f'{SMALLEST:.2g} to {LARGEST:.2g}'
        )
    return ''


def unmet_need(option, values):
    """Return why an option has no effect, '' if it has one.

    Args:
        option: `Option`.
        values: {key: value} of the whole config.
    """
    for need in option.needs:
        if not any(need.bounds.holds(values[key]) for key in need.keys):
            actual = {repr(values[key]) for key in need.keys}
            return (
                f'has no effect: it needs {" or ".join(need.keys)} to be '
                f'{need.bounds.words}, not {" or ".join(sorted(actual))}'
            )
    return ''


def unmet_demand(option, key, values):
    """Return the message for an unmet `Demand`, '' if all are met.

    Args:
        option: `Option`.
        key: of the option in the config.
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
