"""How much memory there is to read into."""

import os
import pathlib

LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')  # of a container
STATE = pathlib.Path('/proc/meminfo')


def free():
    """Return the bytes of memory that can be taken without swapping.

    Of a container no more than its limit; where the system does not tell,
    all that the machine has.
    """
    found = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    try:
        for line in STATE.read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'MemAvailable':
                found.append(1024 * int(value.split()[0]))
    except (OSError, ValueError, IndexError):
        pass
    try:
        found.append(int(LIMIT.read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return min(found)
