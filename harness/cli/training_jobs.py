"""Several training runs side by side: a process a run, and a GPU each where there are GPUs."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from harness.cli.printing import echo
from harness.errors import HarnessError, plural
from harness.process_state import core_count, told_to_stop
from harness.records.training_runs import LoopSettings, Options, TrainingPlan, TrainingRun
from harness.tables.workspace import Workspace

# Kills a run's processes where this process was killed: nobody would wait for them, and another might begin the same.
_GUARD = ("sh", "-c", 'read -r done || kill -s KILL -- "-$1"', "guard")


def train_side_by_side(
    workspace: Workspace,
    plans: Mapping[TrainingRun, TrainingPlan],
    jobs: int,
    loop: LoopSettings,
    *,
    device: str = "",
    arguments: tuple[str, ...] = (),
) -> None:
    """Train runs in processes of their own, as many at a time as there are jobs and GPUs.

    `plans`: How long each run is trained, on what, how.
    `device`: ``cpu`` leaves the GPUs alone.
    Raises HarnessError: A run failed; the others were made.
    Raises KeyboardInterrupt: Each has written a checkpoint.
    """
    from harness.run.resources import gpus, stage_environment

    devices = [] if device == "cpu" else gpus()
    jobs = min(jobs, len(plans), len(devices) or jobs)
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in devices[:jobs] or [""] * jobs:
        free.put(name)
    on = f"GPU{'s' * (jobs != 1)} {', '.join(devices[:jobs])}" if devices else "the CPU"
    echo(f"{plural(len(plans), 'run')}, {jobs} at a time, on {on}", err=True)
    if loop.workers is None and devices:
        loop = msgspec.structs.replace(loop, workers=min(8, core_count() // jobs))
    settings = [f"{name}={value}" for name, value in msgspec.structs.asdict(loop).items() if value is not None]
    running: dict[str, subprocess.Popen[str]] = {}
    stopped = threading.Event()

    def train(run: TrainingRun, plan: TrainingPlan) -> str:
        """Train one run; return why it failed, or nothing."""
        gpu = free.get()
        try:
            if stopped.is_set():
                return ""
            command = [sys.executable, "-m", "harness", "train", run.method, *_arguments(run, plan)]
            command += [*(("--device", device) if device else ()), *arguments]
            command += [word for setting in settings for word in ("--set", setting)]
            environment = os.environ | stage_environment(jobs) | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})
            process = subprocess.Popen(
                command,
                cwd=workspace.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,
            )
            running[run.name] = process
            guard = subprocess.Popen((*_GUARD, str(process.pid)), stdin=subprocess.PIPE, start_new_session=True)
            try:
                return _listen(run, process, gpu)
            finally:
                del running[run.name]
                guard.communicate(b"done\n")
        finally:
            free.put(gpu)

    def stop() -> None:
        stopped.set()
        for process in list(running.values()):
            process.send_signal(signal.SIGINT)

    # The runs write a checkpoint each.
    with told_to_stop(stop), ThreadPoolExecutor(jobs) as pool:
        failures = dict(zip(plans, pool.map(train, plans, plans.values()), strict=True))
    if stopped.is_set():
        raise KeyboardInterrupt
    failed = {run.name: why for run, why in failures.items() if why}
    if failed:
        first, why = next(iter(failed.items()))
        others = f" (nor {', '.join(list(failed)[1:])})" if len(failed) > 1 else ""
        raise HarnessError(f"{first} was not trained{others}: {why}; run the same command again to go on")


def _listen(run: TrainingRun, process: subprocess.Popen[str], gpu: str) -> str:
    """Pass on what a run says of itself; return its last words if it failed."""
    last = ""
    assert process.stderr is not None
    for line in process.stderr:
        line = line.rstrip()
        last = line or last
        if line.startswith(run.name):
            echo(line + (f"  (GPU {gpu})" if gpu else ""), err=True)
    if process.wait() == 0:
        return ""
    return last.removeprefix("error: ") or f"its process ended with the status {process.returncode}"


def _arguments(run: TrainingRun, plan: TrainingPlan) -> list[str]:
    """Write a run and its plan as arguments of ``harness train``."""
    found = ["--task", run.task, *(["--level", str(run.level)] if run.level else [])]
    for name, value in (("budget", plan.budget), ("iterations", plan.iterations), ("minutes", plan.minutes)):
        if value:
            found += [f"--{name}", str(value)]
    if plan.data:
        found += ["--dataset", plan.data]
    given, usual = msgspec.structs.asdict(plan.options), msgspec.structs.asdict(Options())
    for name, value in given.items():
        if value != usual[name]:
            found += ["--seed", str(value)] if name == "seed" else ["--set", f"{name}={str(value).lower()}"]
    beside = {name: getattr(plan, name) for name in ("start", "keep", "validation", "validation_images", "log")}
    for name, setting in (*plan.recipe.items(), *((name, value) for name, value in beside.items() if value)):
        found += ["--set", f"{name}={','.join(setting) if isinstance(setting, tuple) else setting}"]
    return found
