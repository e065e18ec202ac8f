"""Mistakes that a person can mend: one clear line, one exit code each."""

import difflib


class UserError(Exception):
    """A mistake of input, not of code; shown as one line, no traceback."""

    exit_code = 1


class ConfigError(UserError):
    """A flag or config key is wrong."""

    exit_code = 2


class NonFiniteError(UserError):
    """Training met a value that is not finite."""

    exit_code = 3


class DataError(UserError):
    """A data set is missing or cannot be read."""

    exit_code = 4


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or does not fit the config."""

    exit_code = 5


def nearest(name, choices):
    """Give "; did you mean 'x'?" for a near match among choices, else ''."""
    matches = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ''


def unknown_name(key, name, choices):
    """Say that a name is not one of the choices, and which one is nearest."""
    return (
        f'{key}={name!r} is not one of {sorted(choices)}'
        f'{nearest(name, choices)}'
    )
