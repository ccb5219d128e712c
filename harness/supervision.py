"""Supervising a stage that runs a method's code: a method may hang, crash, end its process, or be killed.

The stage's process forks once, before anything large is loaded. The copy does the work and tells through a pipe that
it goes on; the first process waits, ends a copy that hangs, and says what happened in a sentence. When the first
process is killed, the copy dies with it, so that no forgotten process works on beside the next run.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from harness.errors import HarnessError

# Exit status of a stage whose work was killed, as a shell gives it: 128 + SIGKILL. A driver takes it for a lack of
# memory.
KILLED = 137

_BEAT, _DONE = b".", b"!"
_POLL_SECONDS = 0.5
# How long a stage that was told to stop, or that is done, may take to end.
_GRACE_SECONDS = 20.0
# A process that looks every half second and did not for so long was stopped itself.
_STOPPED_SECONDS = 5.0


class KilledError(HarnessError):
    """The work was killed from outside: mostly by a system that ran out of memory."""

    exit_code = KILLED


class Supervised:
    """What the working process tells its supervisor.

    `pipe`: Write end of the pipe; None where there is no supervisor.
    """

    def __init__(self, pipe: int | None = None) -> None:
        self._pipe = pipe

    def goes_on(self) -> None:
        """Report that something was finished: the time limit starts again."""
        self._tell(_BEAT)

    def done(self) -> None:
        """Report that everything was finished; an end before this is taken for a failure."""
        self._tell(_DONE)

    def _tell(self, what: bytes) -> None:
        if self._pipe is not None:
            try:
                os.write(self._pipe, what)
            except OSError:
                raise HarnessError("the supervising process is gone; what was finished is kept") from None


_KEPT = "finished images are kept"
_SLOW = "Raise `limits: image_seconds` in params.yaml if the method is that slow"


def supervise(what: str, limit: float, *, kept: str = _KEPT, slow: str = _SLOW) -> Supervised:
    """Go on in a supervised copy of this process; the first process never returns from here.

    Call it while the process has one thread.

    `what`: Begins every message, such as ``"restore my-net set5"``.
    `limit`: Seconds that may pass between two signs of progress.
    `kept`: What messages say of what was finished.
    `slow`: What to do where nothing hangs and the limit is too low.
    Returns: To be told of progress, in the copy.
    Raises HarnessError: In the first process: the copy hung, crashed, or ended before it was done. `KilledError` where
        it was killed.
    Raises SystemExit: In the first process, with the status of the copy.
    """
    if not hasattr(os, "fork"):
        return Supervised()
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        die_with(parent)
        return Supervised(writing)
    os.close(writing)
    status, done, ended = _watch(child, reading, limit, _abandoned())
    if ended == "hung":
        raise HarnessError(f"{what}: nothing was finished for {limit:g} s, so it was stopped; {kept}. {slow}")
    if ended == "lingers":
        sys.stderr.write(
            f"{what}: everything was done, but the process did not end by itself and was ended after "
            f"{_GRACE_SECONDS:g} s: a thread of the method goes on\n"
        )
        sys.exit(0)
    if ended == "abandoned":
        raise HarnessError(f"{what}: stopped, because the process that started it is gone; {kept}")
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        raise KilledError(
            f"{what}: was killed (SIGKILL), most likely because memory ran out; {kept}. Run again "
            "with fewer jobs (-j) or a tiled policy (chop)"
        )
    if code in (-signal.SIGINT, -signal.SIGTERM):
        raise HarnessError(f"{what}: was stopped from outside; {kept}, run again to go on")
    if code < 0:
        raise HarnessError(
            f"{what}: crashed in native code ({signal.Signals(-code).name}); {kept}, nothing was "
            "recorded for the others"
        )
    if not done and code == 0:
        raise HarnessError(f"{what}: the method ended the process before it was done; nothing was recorded")
    sys.exit(code)


def _watch(child: int, pipe: int, limit: float, abandoned: Callable[[], bool]) -> tuple[int, bool, str]:
    """Wait for a child; give its status, whether it was done, and why it was ended (empty where it ended itself)."""
    told_to_stop: list[float] = []

    def stop(number: int, _: FrameType | None) -> None:
        told_to_stop.append(time.monotonic())
        # From a terminal the child has had SIGINT as well; a second one would break off its tidying up.
        if number == signal.SIGTERM:
            _signal(child, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    last, done, why, open_pipe = time.monotonic(), False, "", True
    looked = last
    try:
        while True:
            ready = select.select([pipe] if open_pipe else [], [], [], _POLL_SECONDS if open_pipe else 0.005)[0]
            if ready:
                said = os.read(pipe, 4096)
                done = done or _DONE in said
                last = time.monotonic()
                open_pipe = bool(said)
            # With the pipe closed the child is ending; otherwise ask, because a process it forked may hold the pipe.
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return status, done, why
            now = time.monotonic()
            if now - looked > _STOPPED_SECONDS:
                # This process was stopped (Ctrl-Z, a debugger), and the copy most likely, too.
                last = min(now, last + now - looked)
            looked = now
            if not why:
                if done and now - last > _GRACE_SECONDS:
                    why = "lingers"
                elif now - last > limit:
                    why = "hung"
                elif abandoned():
                    why = "abandoned"
                elif told_to_stop and now - told_to_stop[0] > _GRACE_SECONDS:
                    why = "stopped"
                if why:
                    kill_tree(child)
    finally:
        os.close(pipe)
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_tree(pid: int) -> None:
    """Kill a process and what it started (a method may run another program)."""
    import psutil

    try:
        family = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.Error:
        return
    for process in family:
        try:
            process.kill()
        except psutil.Error:
            continue


def _abandoned() -> Callable[[], bool]:
    """Make a test for whether DVC, which started this stage, is gone; a stage run by hand is never abandoned."""
    started_by = os.getppid()
    if "DVC_STAGE" not in os.environ:
        return lambda: False
    return lambda: os.getppid() != started_by


def die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the broken pipe ends it at the next image."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1  # <linux/prctl.h>
        try:
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)
        except (OSError, AttributeError):
            return
        if os.getppid() != parent:  # it died in between
            os._exit(1)
