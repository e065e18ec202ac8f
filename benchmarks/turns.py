"""Worker processes that take turns on one machine: A B A B.

A worker answers each line of its standard input with a line of JSON on its
standard output. While one works, the others wait for input and use no CPU. If a
worker cannot answer, the caller gets a `Failure` with the reason.
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
TAIL = 4000  # characters of a worker's stderr that are shown


class Failure(RuntimeError):
    """Failure of a worker to answer, with the reason in one line."""


def serve(build):
    """Serve method calls: `name argument …` calls a method of a subject.

    Arguments are integers. It ends with the input, or with an exception, which
    is sent instead of an answer.

    Args:
        build: function without arguments that returns the subject.
    """
    try:
        subject = build()
        for line in sys.stdin:
            name, *arguments = line.split()
            answer = getattr(subject, name)(*map(int, arguments))
            print(json.dumps({'answer': answer}), flush=True)
    except Exception as error:
        known = isinstance(error, errors.UserError)  # its message is clear
        reason = str(error) if known else f'{type(error).__name__}: {error}'
        print(json.dumps({'failure': reason}), flush=True)
        raise


def share_memory():
    """Set up JAX to allocate memory of a GPU on demand, here and in workers.

    By default JAX reserves three quarters of it when it first uses the device,
    which would leave none for the others. Call this before that.
    """
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')


class Worker:
    """Process that calls `serve`, as a context manager."""

    def __init__(self, *command, env=None):
        """Start `python command` with the environment variables `env`."""
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, *command], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, env=env,
        )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        # A child of the worker may keep this pipe open after the worker ends.
        with self._process.stdout as stdout:
            for line in stdout:
                if line.startswith(('{"answer"', '{"failure"')):
                    self._answers.put(json.loads(line))
        self._answers.put({})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()  # it has nothing to save
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._errors.close()

    def ask(self, *question, seconds=None, late='no answer in time'):
        """Send a question and wait for the answer.

        Args:
            question: name of a method and its arguments.
            seconds: time limit, after which the worker is killed; None is none.
            late: reason of the failure in that case.

        Raises:
            Failure: if there is no answer. The worker's stderr is then printed.
        """
        # If the worker has ended, `_answer` returns the reason.
        with contextlib.suppress(BrokenPipeError):
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
        """Return the worker's message; {} if it ended, `late` if it is late."""
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
    """Return the reason why a process ended, by its exit code and stderr."""
    if code < 0:
        return f'killed by {signal.Signals(-code).name}'
    lines = written.strip().splitlines()
    return f'ended with exit code {code}' + (f': {lines[-1]}' if lines else '')


def at_once():
    """Return how many workers may compile at once; a GPU is idle meanwhile."""
    return max(1, (os.cpu_count() or 1) // 2)


def warm_up(starts):
    """Run one step of each worker, so that the cache has its programs.

    Later starts of the same worker read them from the cache, so that their
    memory does not include compilation.

    Args:
        starts: list of functions that return a `Worker`.

    Returns:
        List of the workers, which have ended.

    Raises:
        Failure: if the `ask` of a worker raises it.
    """
    with futures.ThreadPoolExecutor(at_once()) as pool:
        return list(pool.map(_warm_up, starts))


def _warm_up(start):
    with start() as worker:
        worker.ask('train', 1)
    return worker


def alternate(workers, question, rounds):
    """Call `ask` of each worker in turn, round by round.

    Args:
        workers: {name: `Worker`}.
        question: tuple for `ask`, or {name: tuple}.
        rounds: number of rounds.

    Returns:
        {name: [answers by round]}, without those that are None.
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
    # For two values the exclusive quartiles would be outside of their range.
    method = 'inclusive' if len(values) == 2 else 'exclusive'
    return statistics.quantiles(values, n=4, method=method)


def ratio(above, below, scale=1.0):
    """Compare two lists of times, paired by round, of at least two each.

    Returns:
        {'ratio': of the medians, 'quartiles': of the ratios within a round}.
    """
    rounds = [scale * a / b for a, b in zip(above, below)]
    medians = statistics.median(above) / statistics.median(below)
    return {
        'ratio': scale * medians,
        'quartiles': quartiles(rounds)[::2],
    }
