"""Running DVC."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
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
        Let DVC speak; otherwise only its errors and what the stages print are shown.

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
    command = [sys.executable, "-m", "dvc", *arguments, *([] if verbose else ["--quiet"])]
    process = subprocess.Popen(command, cwd=workspace.root, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # DVC got the same signal from the terminal and is stopping its stage; give it the time to release its lock.
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
