"""Two programs that take turns on one machine: A B A B, each in its process.

A worker answers questions of one line on its standard input, each with one line
of JSON on its standard output; while one works, the other waits for a line and
uses no core.
"""

from concurrent import futures
import json
import os
import statistics
import subprocess
import sys


def serve(subject):
    """Answer questions: `name argument …` calls that method of the subject.

    Arguments are integers. Ends with the input.
    """
    for line in sys.stdin:
        name, *arguments = line.split()
        answer = getattr(subject, name)(*map(int, arguments))
        print(json.dumps({'answer': answer}), flush=True)


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
        self._process = subprocess.Popen(
            [sys.executable, *command], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, *question):
        """Wait for the answer.

        Raises:
            RuntimeError: where the process ended; it has told why on stderr.
        """
        try:
            self._process.stdin.write(' '.join(map(str, question)) + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the loop below finds no answer
        for line in self._process.stdout:
            if line.startswith('{"answer"'):
                return json.loads(line)['answer']
        raise RuntimeError(
            f'{" ".join(self._process.args)} ended with {self._process.wait()}'
        )


def warm_up(starts):
    """Let each worker make a step, so that caches hold what it compiles.

    Memory of the same worker later is then that of a program which is read. As
    many compile at once as half of the cores, for a GPU stands idle meanwhile.

    Args:
        starts: list of functions that give a `Worker`.
    """
    at_once = max(1, (os.cpu_count() or 1) // 2)
    with futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(_warm_up, starts))  # raises what one of them did


def _warm_up(start):
    with start() as worker:
        worker.ask('train', 1)


def alternate(workers, question, rounds):
    """Ask each in turn, round by round.

    Args:
        workers: {name: `Worker`}.
        question: tuple for `ask`, or {name: tuple}.
        rounds: how often.

    Returns:
        {name: [answers by round]}.
    """
    answers = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            asked = question[name] if isinstance(question, dict) else question
            answers[name].append(worker.ask(*asked))
    return answers


def ratio(above, below, scale=1.0):
    """Compare two lists of times, paired by round.

    Returns:
        {'ratio': of the medians, 'quartiles': of the ratios within a round}.
    """
    rounds = [scale * a / b for a, b in zip(above, below)]
    medians = statistics.median(above) / statistics.median(below)
    return {
        'ratio': scale * medians,
        'quartiles': statistics.quantiles(rounds, n=4)[::2],
    }
