"""Soak test: trains small networks for long and records process resources.

    python tests/soak.py 50000 500 folder

Samples and saves every 500 steps, and writes `folder/soak.json`. It has, at
every 100 steps, the anonymous memory and the part in use by malloc (both in
KiB), open files, threads and compiled programs; and how often each program was
compiled. With PYTHONMALLOC=malloc, Python's own blocks count as in use.
"""

import collections
import ctypes
import json
import logging
import os
import pathlib
import re
import sys
import time

import jax

import helpers
from gan_jax.training import train

MEMORY = re.compile(r'RssAnon:\s+(\d+) kB')


class MallInfo(ctypes.Structure):
    """The struct of glibc's mallinfo2, in bytes; see its manual page."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks',
        'uordblks', 'fordblks', 'keepcost',
    )]


class CountCompilations(logging.Handler):
    """Log handler that counts how often each function is compiled."""

    def __init__(self):
        """Create a handler with no counts."""
        super().__init__()
        self.counts = collections.Counter()

    def emit(self, record):
        """Count the compilation that a line of JAX's log reports."""
        match = re.match('Finished XLA compilation of (.+) in ',
                         record.getMessage())
        if match:
            self.counts[match[1]] += 1


def resources():
    """Return memory in KiB, open files and threads of this process."""
    status = pathlib.Path('/proc/self/status').read_text()
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallInfo
    info = mallinfo()
    return {
        'memory': int(MEMORY.search(status)[1]),
        'in_use': (info.uordblks + info.hblkhd) / 1024,
        'files': len(os.listdir('/proc/self/fd')),
        'threads': len(os.listdir('/proc/self/task')),
    }


def main(num_steps, every, folder):
    """Train in a folder and write the records there."""
    config = helpers.tiny_mlp()
    config.num_steps, config.keep_checkpoints = num_steps, 2
    config.log_every = 20
    config.sample_every = config.checkpoint_every = every
    counter = CountCompilations()
    logging.getLogger('jax').addHandler(counter)
    logging.getLogger('jax').propagate = False
    jax.config.update('jax_log_compiles', True)
    records = []

    def note(step, metrics):
        del metrics
        if step % 100 == 0:
            # A save under way holds files and threads; let it end.
            least = min((record['files'] for record in records), default=1e9)
            end = time.monotonic() + 10
            while resources()['files'] > least and time.monotonic() < end:
                time.sleep(0.05)
            compiled = sum(counter.counts.values())
            records.append({'step': step, **resources(), 'compiled': compiled})

    train.train(
        config, folder, images=helpers.random_images(), callback=note
    )
    (pathlib.Path(folder) / 'soak.json').write_text(
        json.dumps({'records': records, 'programs': counter.counts})
    )


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
