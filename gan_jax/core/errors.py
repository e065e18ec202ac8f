"""Exceptions that a user can act on.

Each is shown as one line without a traceback and has an exit code of its own.
A bug in the library raises an ordinary exception instead.
"""

import difflib


class UserError(Exception):
    """Base class: a mistake in the input, shown as one line."""

    exit_code = 1


class ConfigError(UserError):
    """A flag or config key is wrong."""

    exit_code = 2


class NonFiniteError(UserError):
    """A value became NaN or infinite."""

    exit_code = 3


class DataError(UserError):
    """A data set is missing or cannot be read."""

    exit_code = 4


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or does not fit the config."""

    exit_code = 5


class DamagedError(CheckpointError):
    """The files of a checkpoint differ from those that were saved."""


class ReleaseError(CheckpointError):
    """A release is damaged, hostile or of another kind."""

    exit_code = 8


class CollapseError(UserError):
    """Mode collapse was detected and the config says to stop."""

    exit_code = 6


class SetupError(UserError):
    """A check of the setup before training failed."""

    exit_code = 7


class DiskError(UserError):
    """The disk is full or refuses to be written."""

    exit_code = 74


class HostError(UserError):
    """Another process of a multi-host run was lost."""


class LockedError(UserError):
    """Another process uses the run folder."""

    exit_code = 75


class StoppedError(UserError):
    """A signal ended the run after a checkpoint was saved."""

    def __init__(self, message, signal_number):
        """Set the message and the exit code, 128 + the signal's number."""
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(name, choices):
    """Return "; did you mean 'x'?" for a close match among choices, else ''."""
    matches = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ''


def unknown_name(key, name, choices):
    """Return the message for a name that is not one of the choices."""
    return (
        f'{key}={name!r} is not one of {sorted(choices)}'
        f'{nearest(name, choices)}'
    )
