"""Signal handling: the first is recorded, the second ends the process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gan_jax.runtime import signals


@pytest.mark.parametrize('number', signals.SIGNALS)
def test_first_signal_is_recorded_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with signals.on_signals() as stopper:
        assert stopper.number is None
        os.kill(os.getpid(), number)
        assert stopper.number == number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize('number', signals.SIGNALS)
def test_second_signal_ends_the_process_at_once(number):
    script = (
        'import os, time\n'
        'from gan_jax.runtime import signals\n'
        'with signals.on_signals():\n'
        f'    os.kill(os.getpid(), {int(number)})\n'
        '    print("saving", flush=True)\n'
        f'    os.kill(os.getpid(), {int(number)})\n'
        '    time.sleep(60)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True,
        timeout=30,
    )
    assert done.stdout == 'saving\n'
    assert done.returncode == 128 + number


def test_other_threads_handle_no_signals():
    records = []

    def work():
        with signals.on_signals() as stopper:
            records.append((stopper.number, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert records == [(None, before)]
