"""Which processes of this package live: each keeps a file locked until it ends, however it ends.

A number alone does not say it: it may be another process's one day, and a clock may have been set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

_shown: dict[Path, Any] = {}  # by file


def show_life(root: Path) -> None:
    """Keep a file in a workspace locked until this process ends; on a system without such locks do nothing."""
    path = _file(root, os.getpid())
    if path in _shown:
        return
    with suppress(OSError, ImportError):
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            with suppress(OSError), open(other, "rb") as file, _locked(file) as ended:
                if ended:
                    other.unlink()
        for _ in range(20):  # another process may look at it just now, or take it away as not held
            shown = open(path, "wb")  # noqa: SIM115 (it stays open)
            with suppress(OSError):
                fcntl.flock(shown, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(shown.fileno()), os.stat(path)):
                    _shown[path] = shown
                    return
            shown.close()
            time.sleep(0.01)
        path.unlink(missing_ok=True)  # one that is not held would say that this process has ended


def lives(root: Path, pid: int, written: float) -> bool:
    """Return whether a process lives that wrote its number at a time, or before it."""
    try:
        with open(_file(root, pid), "rb") as file, _locked(file) as ended:
            return not ended
    except OSError:
        pass  # DVC's own command, or an older version's
    try:
        process = psutil.Process(pid)
        # A younger process cannot have written its number.
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1)
    except psutil.Error:
        return False


def _file(root: Path, pid: int) -> Path:
    return root.resolve() / ".dvc/tmp/harness" / str(pid)


@contextmanager
def _locked(file: Any) -> Iterator[bool]:
    """Try to lock a file for a moment; False where a process holds it. OSError where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        raise OSError("no locks") from None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
