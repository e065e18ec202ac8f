"""End a run on a signal, between two calls and after a save."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopper:
    """Knows of the first signal that came.

    Attributes:
        number: of the signal, or None.
    """

    def __init__(self):
        """Begin without a signal."""
        self.number = None

    def handle(self, number, frame):
        """Remember the first signal; a second ends the process at once."""
        del frame
        if self.number is not None:
            os._exit(128 + number)
        self.number = number


@contextlib.contextmanager
def on_signals(signals=SIGNALS):
    """Give a `Stopper` that signals reach while this holds.

    Only a process's main thread may handle signals; elsewhere nothing reaches
    it, and the caller's own handlers stand.
    """
    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {n: signal.signal(n, stopper.handle) for n in signals}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
