"""The process that runs stages one after another, and the other end of its pipe.

Loading DVC takes longer than most of its bookkeeping, so a worker is started once for each job and gets a line of JSON
for each stage. It holds no state that matters: when it is killed another takes its place.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.errors import HarnessError

# How long a worker that was told to stop may take; DVC is then giving back its locks.
_GRACE_SECONDS = 20.0


class Order(msgspec.Struct, frozen=True):
    """One stage to be run: see `harness.run.project.Project.reproduce`.

    Attributes
    ----------
    file, name : str
        The dvc.yaml and the stage in it.
    log : str
        File that gets what the stage prints.
    force, pull : bool
        As for `dvc repro`.
    environment : dict
        Variables for the stage; an empty text takes one away.
    """

    file: str
    name: str
    log: str
    force: bool = False
    pull: bool = False
    environment: dict[str, str] = {}


class StageOutcome(msgspec.Struct, frozen=True):
    """What became of a stage.

    Attributes
    ----------
    state : str
        ``computed`` (its command ran), ``restored`` (results of an earlier run were taken), ``unchanged``, ``failed``.
    said : str
        The last line that it printed.
    message : str
        Why it failed.
    status : int
        Exit status of its command where that failed.
    seconds : float
        Wall time, DVC's bookkeeping included.
    """

    state: str
    said: str = ""
    message: str = ""
    status: int = 0
    seconds: float = 0.0


class WorkerDiedError(Exception):
    """A worker process ended in the middle of a stage."""


class Worker:
    """A worker process, for one thread at a time.

    Parameters
    ----------
    root : path
        The workspace.
    shared : bool
        Whether other machines work in the same workspace.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        command = [sys.executable, "-m", "harness.run.worker", str(root), str(os.getpid())]
        self.process = subprocess.Popen(
            [*command, "shared"] if shared else command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, order: Order) -> StageOutcome:
        """Run a stage and wait for it.

        Raises
        ------
        WorkerDiedError
            The process ended in between, mostly because it was killed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            self.close(kill=True)
            raise WorkerDiedError(f"the worker process {self.process.pid} was killed or crashed")
        return msgspec.json.decode(line, type=StageOutcome)

    def close(self, *, kill: bool = False) -> None:
        """End the process: at once, or when its stage has ended."""
        if kill:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
        try:
            self.process.wait(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _die_with_driver(driver: int) -> None:
    """End this process and its stage when the driver is gone: a run that was killed must not go on unseen."""
    import psutil

    while os.getppid() == driver:
        time.sleep(0.5)
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue
    os._exit(1)


@contextlib.contextmanager
def _own_log(log: Path) -> Iterator[BinaryIO]:
    """Open a new log under a stage's name: another run of the same stage, or one that was, has another file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    part = log.with_name(f".{log.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with open(part, "a+b") as file:
        os.replace(part, log)
        yield file


def _drop(log: Path, file: BinaryIO) -> None:
    """Remove a log that is empty, unless the name is another run's by now."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(log), os.fstat(file.fileno())):
            log.unlink()


def _perform(project: object, order: Order) -> StageOutcome:
    """Run a stage with its output going to the log."""
    from harness.run.project import Project, StageFailedError

    assert isinstance(project, Project)
    start = time.perf_counter()
    for name, value in order.environment.items():
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    log = Path(order.log)
    with _own_log(log) as file:
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            state = project.reproduce(
                order.file,
                order.name,
                force=order.force,
                pull=order.pull,
                say=lambda text: os.write(kept[1], f"{text}\n".encode()),
            )
            failed: StageFailedError | None = None
        except StageFailedError as error:
            state, failed = "failed", error
        finally:
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
        file.seek(0)
        text = file.read().decode("utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines and failed is None:
            _drop(log, file)
    said = lines[-1] if lines else ""
    seconds = time.perf_counter() - start
    if failed is not None:
        own = next((line for line in reversed(lines) if line.startswith("error: ")), "")
        message = own.removeprefix("error: ") or (f"{failed}: {said}" if said else str(failed))
        return StageOutcome("failed", said, message, failed.status, seconds)
    return StageOutcome(state, said, seconds=seconds)


def main() -> None:
    """Run the stages that arrive on standard input until it is closed."""
    root, driver = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_die_with_driver, args=(driver,), daemon=True).start()
    # Stages inherit the standard streams; the orders are none of their business.
    orders, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    os.chdir(root)
    project: object = None
    for line in orders:
        order = msgspec.json.decode(line, type=Order)
        try:
            if project is None:
                from harness.run.project import Project

                project = Project(Path("."), shared="shared" in sys.argv[3:])
            outcome = _perform(project, order)
        except KeyboardInterrupt:
            outcome = StageOutcome("failed", message="interrupted", status=130)
        except (HarnessError, OSError) as error:
            outcome = StageOutcome("failed", message=str(error), status=1)
        replies.write(msgspec.json.encode(outcome) + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
