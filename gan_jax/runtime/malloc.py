"""Settings of glibc's malloc that keep freed memory between steps on CPU.

XLA allocates the buffers of each step by malloc and frees them at its end. By
default glibc returns large blocks to the system, which then maps and zeroes
fresh pages in the next step: 14,000 page faults and 1/14 of the time of a step
of DCGAN at 32x32, batch 64; 65,000 and 1/8 at 64x64 (benchmarks/README.md).
This module could go when XLA reuses its CPU buffers itself.
"""

import ctypes
import os

import jax

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 2**30  # bytes; larger blocks are still returned to the system
ENVIRONMENT_VARIABLES = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_')


def keep_freed_memory():
    """Keep freed memory in the process, up to its peak.

    Applies to the whole process. Asynchronous dispatch on CPU is turned off,
    because only the main thread's heap can grow beyond 64 MiB; this has an
    effect only before JAX initializes its devices. Nothing is changed where
    the environment sets malloc itself (MALLOC_MMAP_THRESHOLD_,
    MALLOC_TRIM_THRESHOLD_, or glibc.malloc in GLIBC_TUNABLES), or without
    glibc.

    Returns:
        bool, whether malloc accepted the settings.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'glibc.malloc' in tunables or any(
            name in os.environ for name in ENVIRONMENT_VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return False
    taken = [mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, LARGEST)]
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    return all(taken)
