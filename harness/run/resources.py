"""What a machine has and what a stage needs: memory, cores, GPUs. Dask keeps count of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from harness.process_state import core_count
from harness.records.runs import machine_memory, run_file
from harness.run.graph import Node

GIB = 2**30

# Peak resident memory of a stage that was never run here, by its subcommand. Measured on the sets of the tables: a
# network in tiles 0.6 to 1.8 GiB, a whole 1 Mpixel image up to 3 GiB; classical methods and measuring below 0.5 GiB.
UNKNOWN_MEMORY = {"restore": 3 * GIB, "train": 6 * GIB, "measure": GIB // 2, "inputs": GIB // 2}
LITTLE_MEMORY = GIB // 4

# Left to the system and to the driver.
RESERVE = GIB


def memory_of(node: Node, work: Path) -> int:
    """Estimate the memory that a stage takes, bytes: a quarter more than the last time, or a guess for its kind."""
    known = int(_recorded(node, work, "peak_memory"))
    return known + known // 4 or UNKNOWN_MEMORY.get(node.step.verb, LITTLE_MEMORY)


def seconds_of(node: Node, work: Path) -> float:
    """Wall time that a stage took the last time; 0 where it is not known."""
    return _recorded(node, work, "wall_seconds")


def _recorded(node: Node, work: Path, key: str) -> float:
    """Read a number from the record of a stage's last run; 0 where there is none."""
    if node.step.group is not None:
        with suppress(OSError, msgspec.DecodeError, AttributeError, TypeError, ValueError, RecursionError):
            record = msgspec.json.decode(run_file(work, node.step.group, node.step.verb).read_bytes())
            # A run that added a level took less than one of all levels.
            runs = [record, record.get("before") or {}]
            return max(0.0, *(float(run.get(key, 0.0)) for run in runs))
    return 0.0


def free_memory() -> int:
    """Memory that stages may take together now, bytes."""
    free = min(int(psutil.virtual_memory().available), machine_memory())
    return max(free - RESERVE, GIB // 2)


def worker_shares(needs: Iterable[int], memory: int, jobs: int) -> list[int]:
    """Share memory among the workers of this machine: together never more than there is, and each stage fits in one.

    `needs`: What each stage takes, bytes; none more than `memory`.
    `memory`: What all may take together, bytes.
    Returns: Bytes by worker, the largest first; fewer than `jobs` where the memory or the stages do not suffice.

    >>> worker_shares([3, 1, 6, 3], memory=11, jobs=4)
    [6, 3, 1, 1]
    """
    wanted = sorted(needs, reverse=True)
    shares: list[int] = []
    while len(shares) < min(jobs, len(wanted)):
        left = memory - sum(shares)
        fitting = next((need for need in wanted[len(shares) :] if need <= left), None)
        if fitting is None:
            break
        shares.append(fitting)
    return shares


def gpus() -> list[str]:
    """Name the GPUs that may be used, as CUDA_VISIBLE_DEVICES takes them; torch is not loaded for it."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [part.strip() for part in chosen.split(",") if part.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU (\d+):", listed, re.MULTILINE)


def stage_environment(jobs: int) -> dict[str, str]:
    """Share the cores among stages that run side by side; a number of threads that the user chose is left alone."""
    if jobs <= 1:
        return {}
    share = str(max(1, core_count() // jobs))
    names = ("HARNESS_CORES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: share for name in names if not os.environ.get(name)}
