"""Memory that a step frees, kept for the next one; matters on CPU alone.

XLA takes the buffers of a step from malloc and gives them back at its end. The
C library of Linux (glibc) returns large blocks to the system, which maps the
next step's page by page and fills them with zeros: 14,000 pages and a
fourteenth of the time of a step of DCGAN at 32x32, batch 64, and 65,000 and an
eighth at 64x64 (benchmarks/README.md).
"""

import ctypes
import os

import jax

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 2**30  # bytes; larger blocks still go back when they are freed
CHOSEN = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_')


def keep():
    """Let freed memory stay with the process, up to its peak.

    For all of the process. Programs are then called in the caller's thread,
    since only the first thread's heap grows beyond 64 MiB; that has no effect
    where JAX has already looked for its devices. A choice by the environment
    (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_, glibc.malloc in
    GLIBC_TUNABLES) stands, and so it does where there is no glibc.

    Returns:
        bool, whether malloc took it.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'glibc.malloc' in tunables or any(k in os.environ for k in CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return False
    taken = [mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, LARGEST)]
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    return all(taken)
