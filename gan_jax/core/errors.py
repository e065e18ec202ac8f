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


class DamagedError(CheckpointError):
    """A checkpoint's files are not those that were saved."""


class CollapseError(UserError):
    """The generator's modes have collapsed, and the config stops there."""

    exit_code = 6


class SetupError(UserError):
    """A check of the setup before training failed."""

    exit_code = 7


class DiskError(UserError):
    """The disk takes no more saves."""

    exit_code = 74


class HostError(UserError):
    """Another process of a run over several hosts is lost."""


class LockedError(UserError):
    """Another process works in the folder."""

    exit_code = 75


class StoppedError(UserError):
    """A signal ended the run after a save."""

    def __init__(self, message, signal_number):
        """Tell how to go on; exit with 128 + the signal's number."""
        super().__init__(message)
        self.exit_code = 128 + signal_number


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
