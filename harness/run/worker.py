"""What Dask calls for each stage, in a worker process of this machine or in a thread of a cluster's worker."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from harness.errors import HarnessError
from harness.files import write_text
from harness.run.graph import Node
from harness.run.project import Project, StageFailedError
from harness.run.resources import gpus
from harness.run.warm import Command, StartCommand, Warm

TOPIC = "harness-stages"

# How often a stage is begun whose worker is killed.
_MOST_BEGINS = 3

# Kills a process group, unless a line comes before the pipe from the worker is closed.
_GUARD = ("sh", "-c", 'read -r done || kill -s KILL -- "-$1"', "guard")


class Order(msgspec.Struct, frozen=True):
    """One stage to be run: see `harness.run.project.Project.reproduce`.

    `run`: Folder of the run: a file ``stop`` ends it, and stages that were begun and have finished are noted there.
    `environment`: Variables for the stage; an empty text takes one away.
    `shared`: Whether machines share the workspace.
    """

    node: Node
    root: Path
    run: Path
    environment: dict[str, str]
    force: bool
    pull: bool
    shared: bool

    @property
    def log(self) -> Path:
        """File that gets what the stage prints."""
        return self.root / "work/logs" / f"{self.node.address.replace('/', '-').replace(':', '--')}.log"

    @property
    def stopped(self) -> bool:
        """Whether no stage may begin any more."""
        return (self.run / "stop").exists()


class StageOutcome(msgspec.Struct, frozen=True):
    """What became of a stage.

    `state`: ``computed`` (its command ran), ``restored`` (results of an earlier run were taken), ``unchanged``,
        ``failed``, ``skipped`` (it was not begun).
    `said`: The last line that it printed.
    `status`: Exit status of its command where that failed.
    `seconds`: Wall time, DVC's bookkeeping included.
    """

    state: str
    said: str = ""
    message: str = ""
    status: int = 0
    seconds: float = 0.0


_NEED_FAILED = StageOutcome("skipped", message="something it needs failed")
_STOPPED = StageOutcome("skipped", message="another stage failed")


class _StoppedError(Exception):
    """The run was stopped while a stage waited for another run."""


def dask_setup(_: object) -> None:
    """Leave Ctrl-C to the driver; Dask calls this in the worker processes of this machine."""
    signal.signal(signal.SIGINT, lambda *_: None)


def run_stage(order: Order, *needed: StageOutcome) -> StageOutcome:
    """Run a stage, unless one that it needs failed or the run was stopped.

    When a worker is killed Dask calls this again, also for finished stages whose outcomes that worker held.
    """
    if any(outcome.state in ("failed", "skipped") for outcome in needed):
        return _NEED_FAILED
    finished = order.run / f"{order.log.stem}.json"
    if finished.is_file():
        return msgspec.json.decode(finished.read_bytes(), type=StageOutcome)
    if order.stopped:
        return _STOPPED
    with open(order.run / f"{order.log.stem}.begun", "ab") as begun:
        begun.write(b".")
        times = begun.tell()
    if times > _MOST_BEGINS:
        killed = f"the worker process was killed or crashed, {_MOST_BEGINS} times in this stage"
        outcome = StageOutcome("failed", message=killed, status=1)
    else:
        outcome = _perform(order)
    write_text(finished, msgspec.json.encode(outcome).decode())
    return outcome


def _perform(order: Order) -> StageOutcome:
    from distributed import get_worker

    start = time.perf_counter()
    progress = order.log.with_suffix(".progress")
    about = {"run": str(order.run), "address": order.node.address, "progress": str(progress)}
    get_worker().log_event(TOPIC, about)
    told: set[str] = set()

    def tell(text: str) -> None:
        if order.stopped:
            raise _StoppedError
        if text not in told:
            print(text, file=sys.stderr, flush=True)
            told.add(text)

    failure: StageFailedError | None = None
    with _own_log(order.log) as log, _commands(order, log, progress) as start_command:
        try:
            project = _project(order.root, order.shared)
            state = project.reproduce(
                order.node.file, order.node.name, force=order.force, pull=order.pull, say=tell, start=start_command
            )
        except _StoppedError:
            return _STOPPED
        except StageFailedError as error:
            state, failure = "failed", error
        except (HarnessError, OSError) as error:
            return StageOutcome("failed", message=str(error), status=1)
        log.seek(0)
        lines = [line for line in log.read().decode("utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1] if lines else ""
    seconds = time.perf_counter() - start
    if failure is None:
        return StageOutcome(state, said, seconds=seconds)
    own = next((line for line in reversed(lines) if line.startswith("error: ")), "")
    message = own.removeprefix("error: ") or (f"{failure}: {said}" if said else str(failure))
    return StageOutcome(state, said, message, failure.status, seconds)


_of_thread = threading.local()


def _project(root: Path, shared: bool) -> Project:
    """Open a workspace once for each thread: loading DVC takes longer than most of its bookkeeping."""
    os.chdir(root)  # DVC's cache of runs needs a current folder inside
    if getattr(_of_thread, "key", None) != (root, shared):
        _of_thread.project, _of_thread.key = Project(root, shared=shared), (root, shared)
    return _of_thread.project  # type: ignore[no-any-return]


def _warm() -> Warm:
    """Keep a server for each thread: it starts one stage at a time."""
    if getattr(_of_thread, "warm", None) is None:
        _of_thread.warm = Warm()
    return _of_thread.warm  # type: ignore[no-any-return]


@contextlib.contextmanager
def _own_log(log: Path) -> Iterator[BinaryIO]:
    """Open a new log under a stage's name: another run of the same stage has another file. None is left empty."""
    log.parent.mkdir(parents=True, exist_ok=True)
    part = log.with_name(f".{log.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with open(part, "a+b") as file:
        os.replace(part, log)
        yield file
        own = os.fstat(file.fileno())
        with contextlib.suppress(OSError):
            if not own.st_size and os.path.samestat(os.stat(log), own):
                log.unlink()


@functools.cache
def _devices(_visible: str | None) -> queue.SimpleQueue[str] | None:
    """Queue the GPUs that a value of CUDA_VISIBLE_DEVICES leaves to this process; None where there are none."""
    devices: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in gpus():
        devices.put(name)
    return None if devices.empty() else devices


_groups: dict[int, Path] = {}  # the run, by process group


@contextlib.contextmanager
def _commands(order: Order, log: BinaryIO, progress: Path) -> Iterator[StartCommand]:
    """Start a stage's commands with its log, environment and GPU, in process groups that do not outlive this worker."""
    devices = _devices(os.environ.get("CUDA_VISIBLE_DEVICES")) if order.node.step.gpu else None
    device = devices.get() if devices else ""
    own = order.environment | {"HARNESS_PROGRESS": str(progress)} | ({"CUDA_VISIBLE_DEVICES": device} if device else {})
    started: dict[int, subprocess.Popen[bytes]] = {}

    def start(command: Any, **options: Any) -> Command:
        options["env"] = {name: value for name, value in options["env"].items() if name not in own}
        options["env"] |= {name: value for name, value in own.items() if value}
        # DVC calls the shell with the stage's command for its last word.
        process: Command | None = _warm().start(command[-1], options["cwd"], options["env"], log)
        if process is None:
            options |= {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(command, **options, process_group=0)
        guard = (*_GUARD, str(process.pid))
        try:
            started[process.pid] = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
            _groups[process.pid] = order.run
            # Whoever stopped the run while a server was loaded could not signal this group.
            if order.stopped:
                raise _StoppedError
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process

    try:
        yield start
    finally:
        for group, guard in started.items():
            del _groups[group]
            guard.communicate(b"done\n")
        progress.unlink(missing_ok=True)
        if devices:
            devices.put(device)


def signal_stages(run: Path, number: int) -> None:
    """Send a signal to all processes of a run's stages that this worker runs."""
    for group, of_run in list(_groups.items()):
        if of_run == run:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
