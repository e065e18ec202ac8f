"""Shared tools of the survival table: cases, comparison of runs."""

import contextlib
import io
import json
import logging
from typing import NamedTuple

import jax
import numpy as np

from gan_jax.runs import sampling


class Options(NamedTuple):
    """Options of the command line.

    Attributes:
        runs: number of killed runs.
        seed: random seed.
        jobs: number of processes that train at once.
    """

    runs: int = 50
    seed: int = 0
    jobs: int = 1


class Case(NamedTuple):
    """Result of one case of a section.

    Attributes:
        name: description of the case.
        failure: reason of its failure; '' if it passed.
        note: further information.
        skipped: reason why it was skipped; '' if it was run.
        marks: names of events of the run, counted below the table.
    """

    name: str
    failure: str = ''
    note: str = ''
    skipped: str = ''
    marks: tuple = ()


def lines_of(workdir):
    """Load metrics.jsonl, without an incomplete last line."""
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith('}')]


def timeless(lines):
    """Drop measurements of time from lines of metrics."""
    return [
        {k: v for k, v in line.items() if not k.startswith('perf/')}
        for line in lines
    ]


def states_difference(state, other):
    """Name the first arrays in which two states differ by a bit.

    Returns:
        str, '' if they are equal.
    """
    first, second = (
        {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
         for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (state, other)
    )
    if first.keys() != second.keys():
        return f'not in both states: {sorted(first.keys() ^ second.keys())}'
    differ = [name for name in first if not _same(first[name], second[name])]
    return f'{len(differ)} arrays differ: {differ[:3]}' if differ else ''


def _same(array, other):
    """Return whether two arrays have the same bytes; -0.0 is not 0.0."""
    array, other = np.asarray(array), np.asarray(other)
    return (array.shape, array.dtype, array.tobytes()) == (
        other.shape, other.dtype, other.tobytes()
    )


def difference(folder, other):
    """Describe how two run folders differ in newest state or metrics.

    Returns:
        str, '' if they are equal.
    """
    states = [sampling.load(place)[1] for place in (folder, other)]
    return states_difference(*states) or metrics_difference(
        lines_of(folder), lines_of(other)
    )


def metrics_difference(lines, others):
    """Describe how two lists of metrics differ, '' if they are equal."""
    lines, others = timeless(lines), timeless(others)
    if lines == others:
        return ''
    steps, expected = ([line['step'] for line in rows]
                       for rows in (lines, others))
    if steps != expected:
        odd = sorted(set(steps) ^ set(expected)) or 'the same, doubled'
        return f'metrics of other steps: {odd}'
    first = next(a['step'] for a, b in zip(lines, others) if a != b)
    return f'metrics differ from step {first} on'


def hush():
    """Hide log messages of libraries."""
    for name in ('absl', 'tensorboardX'):
        logging.getLogger(name).setLevel(logging.FATAL)


@contextlib.contextmanager
def quiet():
    """Capture the terminal output of a run; yields the text."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text
