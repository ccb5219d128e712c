"""Running the command line in a process of its own that does not load torch and DVC anew.

Loading both takes three seconds, the commands of most tests far less. A server that has loaded them and done nothing
else forks a process for each command; where loading itself, the interpreter or signals are what a test is about, it
starts `python -m harness`.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.cli import main

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        *("torch", "torch._dynamo", "torch.utils.flop_counter", "dvc.repo", "dvc.stage", "distributed"),
        *("harness.cli.main", "harness.cli.pipeline", "harness.cli.training", "harness.training.loop"),
        *("harness.run.execution", "harness.run.pipeline", "harness.report.terminal"),
    ]
)


def harness(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `harness` in a folder: its exit status and what it said, as `subprocess.run` gives them."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = _forks.Process(target=_run, args=(arguments, cwd, dict(env or os.environ), files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        said = [file.read_text(encoding="utf-8") for file in files]
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _run(arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], files: list[Path]) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    if environment.get("OMP_NUM_THREADS"):
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    os.chdir(cwd)
    sys.argv = ["harness", *arguments]
    main()
