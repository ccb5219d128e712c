"""Running DVC."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_text
from harness.workspace import Workspace


def run_dvc(workspace: Workspace, arguments: Sequence[str], *, verbose: bool = False) -> int:
    """Run a DVC command in a workspace, with the environment's own `harness` first on the path.

    Parameters
    ----------
    workspace : Workspace
        Where to run.
    arguments : sequence of str
        Such as ``["repro", "pipelines/tables/dvc.yaml:panet-table3"]``.
    verbose : bool
        Let DVC tell what it does; otherwise only its errors and what the stages print are shown.

    Returns
    -------
    int
        DVC's exit status.

    Raises
    ------
    HarnessError
        The workspace is no DVC repository.
    """
    if not (workspace.root / ".dvc").is_dir():
        raise HarnessError(f"{workspace.root.resolve()}: not a DVC repository; run `dvc init` (in git) once")
    environment = dict(os.environ)
    scripts = str(Path(sys.executable).parent)
    environment["PATH"] = scripts + os.pathsep + environment.get("PATH", "")
    _drop_dead_locks(workspace.root / ".dvc" / "tmp" / "rwlock")
    command = [sys.executable, "-m", "dvc", *arguments]
    # What DVC tells of its own goes to standard output, its errors and the stages' own lines to standard error.
    process = subprocess.Popen(
        command, cwd=workspace.root, env=environment, stdout=None if verbose else subprocess.DEVNULL
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # DVC got the same signal from the terminal and is stopping its stage; give it the time to release its lock.
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _drop_dead_locks(path: Path) -> None:
    """Forget the locks of DVC processes that were killed.

    DVC notices a process that is gone, but takes one that was killed and not yet collected by its parent (a zombie, as
    in a container without an init process) for a living one, and every later run for blocked.
    """
    import json

    import psutil

    def alive(holder: object) -> bool:
        if not isinstance(holder, dict) or not isinstance(holder.get("pid"), int):
            return False
        try:
            return bool(psutil.Process(holder["pid"]).status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    locks: object = None
    for _ in range(2):
        try:
            locks = json.loads(path.read_text(encoding="utf-8"))
            break
        except OSError:
            return
        except ValueError:
            # Half-written by a process that was killed, unless one is writing at this very moment.
            time.sleep(0.5)
    else:
        path.unlink(missing_ok=True)
        return
    if not isinstance(locks, dict):
        return
    readers = {file: [h for h in held if alive(h)] for file, held in locks.get("read", {}).items()}
    kept = {
        "write": {file: holder for file, holder in locks.get("write", {}).items() if alive(holder)},
        "read": {file: held for file, held in readers.items() if held},
    }
    if kept != {"write": locks.get("write", {}), "read": locks.get("read", {})}:
        write_text(path, json.dumps(kept))
