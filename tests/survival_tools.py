"""What the sections of the survival table share: cases, runs compared."""

import contextlib
import io
import json
import logging
from typing import NamedTuple

import jax
import numpy as np

from gan_jax.runs import sampling


class Options(NamedTuple):
    """What a person may ask of the table.

    Attributes:
        runs: killed runs.
        seed: of everything that is drawn.
        jobs: processes that train at once.
    """

    runs: int = 50
    seed: int = 0
    jobs: int = 1


class Case(NamedTuple):
    """One line of a section.

    Attributes:
        name: what was tried.
        failure: what went wrong; '' is nothing.
        note: what else there is to say.
        skipped: why it was not tried; '' is tried.
        marks: names of what befell the run, counted under the table.
    """

    name: str
    failure: str = ''
    note: str = ''
    skipped: str = ''
    marks: tuple = ()


def lines_of(workdir):
    """Read metrics.jsonl, without a line that is being written."""
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith('}')]


def timeless(lines):
    """Drop what a clock gives from lines of metrics."""
    return [
        {k: v for k, v in line.items() if not k.startswith('perf/')}
        for line in lines
    ]


def states_difference(state, other):
    """Name the first arrays that two states do not share bit for bit.

    Returns:
        str, '' where there is none.
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
    """Return whether two arrays are one, by bytes: -0.0 is not 0.0."""
    array, other = np.asarray(array), np.asarray(other)
    return (array.shape, array.dtype, array.tobytes()) == (
        other.shape, other.dtype, other.tobytes()
    )


def difference(folder, other):
    """Describe how two run folders differ in newest state or in metrics.

    Returns:
        str, '' where they do not.
    """
    states = [sampling.load(place)[1] for place in (folder, other)]
    return states_difference(*states) or metrics_difference(
        lines_of(folder), lines_of(other)
    )


def metrics_difference(lines, others):
    """Describe how two lists of metrics differ; '' where they do not."""
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
    """Keep libraries' notices from the terminal."""
    for name in ('absl', 'tensorboardX'):
        logging.getLogger(name).setLevel(logging.FATAL)


@contextlib.contextmanager
def quiet():
    """Keep what a run says to a person from the terminal; yields the text."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text
