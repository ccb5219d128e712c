"""How many cores a process may use."""

from __future__ import annotations

import os
from pathlib import Path

# Set by a parallel run for each of its workers, so that together they use the machine once.
VARIABLE = "HARNESS_CORES"

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def core_count() -> int:
    """Count the cores that this process may use.

    The first that is known of: HARNESS_CORES, a container's quota (cgroup 2, rounded up), the process's affinity, the
    machine's cores.
    """
    given = os.environ.get(VARIABLE, "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return max(1, count)
