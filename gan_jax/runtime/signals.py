"""Signal handling: a run saves its state and stops at the next opportunity.

A handler only records the signal. The training loop reads it after each call,
and a sweep after each segment between tasks.
"""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopper:
    """The first signal that the process received.

    Attributes:
        number: of the signal, or None.
    """

    def __init__(self):
        """Create a stopper that has received no signal."""
        self.number = None

    def handle(self, number, frame):
        """Record the first signal; a second one ends the process at once."""
        del frame
        if self.number is not None:
            os._exit(128 + number)
        self.number = number


@contextlib.contextmanager
def on_signals(signals=SIGNALS):
    """Handle signals by a `Stopper` inside a `with` block.

    Only the main thread of a process may handle signals; in another thread the
    handlers are left as they are and the `Stopper` receives nothing.
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
