"""Train small networks for long; tell what the process holds as it goes.

    python tests/soak.py 50000 500 folder

It logs all the way, samples and saves at every 500 steps, and leaves
`folder/soak.json`: at every 100 steps the anonymous memory and, of that, what
is in use by blocks of the C library, both in KiB, open files, threads and
programs compiled so far, and each program with how often it was. Where
PYTHONMALLOC is malloc, Python's own blocks are among those in use.
"""

import collections
import ctypes
import json
import logging
import os
import pathlib
import re
import sys

import jax

import helpers
from gan_jax.training import train

MEMORY = re.compile(r'RssAnon:\s+(\d+) kB')


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 gives, in bytes; see its manual page."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks',
        'uordblks', 'fordblks', 'keepcost',
    )]


class CountCompilations(logging.Handler):
    """Count how often each function is compiled."""

    def __init__(self):
        """Begin with none."""
        super().__init__()
        self.counts = collections.Counter()

    def emit(self, record):
        """Count what a line of JAX's log tells of."""
        match = re.match('Finished XLA compilation of (.+) in ',
                         record.getMessage())
        if match:
            self.counts[match[1]] += 1


def held():
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
    """Train so many steps in a folder; leave what was held in it."""
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
            compiled = sum(counter.counts.values())
            records.append({'step': step, **held(), 'compiled': compiled})

    train.train(
        config, folder, images=helpers.random_images(), callback=note
    )
    (pathlib.Path(folder) / 'soak.json').write_text(
        json.dumps({'records': records, 'programs': counter.counts})
    )


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
