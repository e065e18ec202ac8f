"""Programs that take turns on one machine: A B A B, each in its process.

A worker answers questions of one line on its standard input, each with one line
of JSON on its standard output; while one works, the other waits for a line and
uses no core. What keeps it from an answer is a `Failure` that says why.
"""

from concurrent import futures
import contextlib
import json
import math
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from gan_jax.core import errors

LONGEST = 240  # characters of a reason
TAIL = 4000  # bytes of what a worker wrote on stderr that are shown


class Failure(RuntimeError):
    """Why a worker gave no answer, in one line."""


def serve(build):
    """Answer questions: `name argument …` calls that method of a subject.

    Arguments are integers. Ends with the input, or with an exception, which is
    sent in place of an answer.

    Args:
        build: function of nothing that returns the subject.
    """
    try:
        subject = build()
        for line in sys.stdin:
            name, *arguments = line.split()
            answer = getattr(subject, name)(*map(int, arguments))
            print(json.dumps({'answer': answer}), flush=True)
    except Exception as error:
        known = isinstance(error, errors.UserError)  # its words say enough
        reason = str(error) if known else f'{type(error).__name__}: {error}'
        print(json.dumps({'failure': reason}), flush=True)
        raise


def share_memory():
    """Let this process and its workers take memory of a GPU as they need it.

    By default JAX reserves three quarters of it when it first sees the device,
    and none would be left for the others. To be called before that.
    """
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')


class Worker:
    """A process that `serve`s, to be used as a context."""

    def __init__(self, *command, env=None):
        """Start `python command`, with these environment variables."""
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, *command], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, env=env,
        )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        # A child of the worker may hold this pipe open when the worker is gone.
        with self._process.stdout as stdout:
            for line in stdout:
                if line.startswith(('{"answer"', '{"failure"')):
                    self._answers.put(json.loads(line))
        self._answers.put({})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()  # it has nothing to save, whatever it does now
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._errors.close()

    def ask(self, *question, seconds=None, late='no answer in time'):
        """Wait for the answer.

        Args:
            question: name of a method and its arguments.
            seconds: to wait; the worker is killed after them. None for ever.
            late: reason of the failure then.

        Raises:
            Failure: where there is none. What the worker wrote on stderr is
                then shown there.
        """
        with contextlib.suppress(BrokenPipeError):  # it ended: told below
            self._process.stdin.write(' '.join(map(str, question)) + '\n')
            self._process.stdin.flush()
        answer = self._answer(
            math.inf if seconds is None else seconds, f'{question[0]}: {late}'
        )
        if 'answer' in answer:
            return answer['answer']
        try:
            code = self._process.wait(5)  # it may be writing why
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._errors.seek(0)
        written = self._errors.read().decode(errors='replace')
        sys.stderr.write(written[-TAIL:])
        reason = answer.get('failure') or _end(code, written)
        raise Failure(' '.join(reason.split())[:LONGEST])

    def _answer(self, seconds, late):
        """Return what the worker sends, {} where it ends, `late` after that."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            ended = self._process.poll() is not None
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=max(0, min(0.5, left)))
            if ended:
                return {}
            if left <= 0:
                self._process.kill()
                return {'failure': late}


def _end(code, written):
    """Return why a process ended that told nothing: its last words."""
    if code < 0:
        return f'killed by {signal.Signals(-code).name}'
    lines = written.strip().splitlines()
    return f'ended with exit code {code}' + (f': {lines[-1]}' if lines else '')


def at_once():
    """Return how many workers compile at once: a GPU stands idle meanwhile."""
    return max(1, (os.cpu_count() or 1) // 2)


def warm_up(starts):
    """Let each worker make a step, so that caches hold what it compiles.

    Memory of the same worker later is then that of a program which is read.

    Args:
        starts: list of functions that return a `Worker`.

    Returns:
        List of the workers, which have ended.

    Raises:
        Failure: of one of them, where its `ask` raises it.
    """
    with futures.ThreadPoolExecutor(at_once()) as pool:
        return list(pool.map(_warm_up, starts))


def _warm_up(start):
    with start() as worker:
        worker.ask('train', 1)
    return worker


def alternate(workers, question, rounds):
    """Ask each in turn, round by round.

    Args:
        workers: {name: `Worker`}.
        question: tuple for `ask`, or {name: tuple}.
        rounds: how often.

    Returns:
        {name: [answers by round]}, less those that are None.
    """
    answers = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            words = question[name] if isinstance(question, dict) else question
            answer = worker.ask(*words)
            if answer is not None:
                answers[name].append(answer)
    return answers


def quartiles(values):
    """Return the three quartiles of at least two values."""
    # Of two values alone the usual ones would lie outside of them.
    method = 'inclusive' if len(values) == 2 else 'exclusive'
    return statistics.quantiles(values, n=4, method=method)


def ratio(above, below, scale=1.0):
    """Compare two lists of times, paired by round; of each at least two.

    Returns:
        {'ratio': of the medians, 'quartiles': of the ratios within a round}.
    """
    rounds = [scale * a / b for a, b in zip(above, below)]
    medians = statistics.median(above) / statistics.median(below)
    return {
        'ratio': scale * medians,
        'quartiles': quartiles(rounds)[::2],
    }
