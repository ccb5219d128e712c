"""Keeping the C library from returning memory between layers."""

from __future__ import annotations

import ctypes
import functools
import sys

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 2**20


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 512 MiB of freed memory, once; False where the C library has no such setting.

    The features of images are so large that glibc maps and unmaps them for every layer, and the page faults cost
    up to a third of the time of the convolutions (docs/performance.md).
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # 32 MiB is the largest threshold that glibc accepts on 64 bit.
    settings = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 512 * _MIB), (_TOP_PAD, 64 * _MIB))
    return all(mallopt(name, value) == 1 for name, value in settings)
