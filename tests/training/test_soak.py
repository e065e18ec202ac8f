"""Memory, files and threads of a long run do not grow.

Memory in use is reported by the C library. The memory of the process grows a
little more, because the small blocks of a save lie between larger ones. Both
are the minimum of every 1,000 steps, to exclude saves in progress. Still, 3.5
MiB are there at some steps and not at others, which would distort one line
through all of them; so lines are fitted to a fifth of the steps each, and the
median slope counts. About 20 KiB per save stay in use, strings that
`KvStore.Spec.to_json` of TensorStore 0.1.86 keeps and that Orbax requests for
each array; so the test saves as often as the default.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

import helpers
from conftest import ROOT


def soak(num_steps, every, folder):
    """Run `soak.py`; returns its records, as columns, and its programs."""
    done = subprocess.run(
        [sys.executable, ROOT / 'tests' / 'soak.py',
         *map(str, (num_steps, every, folder))],
        env={**helpers.environment(), 'PYTHONMALLOC': 'malloc'},
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / 'soak.json').read_text())
    records = content['records']
    assert [record['step'] for record in records] == list(
        range(100, num_steps + 1, 100)
    )
    columns = {
        key: np.array([record[key] for record in records])
        for key in records[0]
    }
    return columns, content['programs']


def assert_flat(columns, programs, warm):
    """Assert that files, threads and programs do not grow after `warm`."""
    assert programs.pop('jit(_fun)') == 1  # the train step
    late = columns['step'] > warm
    assert late.sum() >= 10
    for key in ('files', 'threads'):  # the least, between saves
        first, second = np.array_split(columns[key][late], 2)
        assert second.min() <= first.min() + 2, columns[key]
    assert np.ptp(columns['compiled'][late]) == 0


def test_files_threads_and_programs_do_not_grow(tmp_path):
    assert_flat(*soak(2000, 100, tmp_path), warm=500)


@pytest.mark.slow
def test_memory_in_use_hardly_grows(tmp_path):
    columns, programs = soak(50_000, 500, tmp_path)
    assert_flat(columns, programs, warm=10_000)
    late = columns['step'] > 10_000

    def slope(key):  # KiB in 10,000 steps
        least = columns[key][late].reshape(5, -1, 10).min(axis=2)
        thousands = np.arange(least.shape[1])
        return 10 * np.median(np.polyfit(thousands, least.T, 1)[0])

    assert slope('in_use') <= 1024  # in two runs 390 and 461
    assert slope('memory') <= 4096  # 684 and 686
