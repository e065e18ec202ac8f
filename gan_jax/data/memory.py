"""Amount of free memory, within the limit of a container.

Loading a data set that does not fit would swap or be killed.
"""

import os
import pathlib

LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')  # of a container
STATE = pathlib.Path('/proc/meminfo')


def free():
    """Return the bytes of memory that can be allocated without swapping.

    At most the limit of a container; if the system reports nothing, all memory
    of the machine.
    """
    amounts = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    try:
        for line in STATE.read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'MemAvailable':
                amounts.append(1024 * int(value.split()[0]))
    except (OSError, ValueError, IndexError):
        pass
    try:
        amounts.append(int(LIMIT.read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return min(amounts)
