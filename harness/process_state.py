"""What all code of a process shares: torch's switches, the current folder, the standard streams, its cores.

A method that changes one of them reaches every other method of the process, and the numbers in their rows. So a method
must leave them as it found them: a change is undone and told, with the name of what was changed. Environment variables
are undone without a word, because many libraries set some (`environment_kept`). The global random numbers are no part
of this: methods that draw some are seeded for each image.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import locale
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from harness.errors import HarnessError


class LeftChangedError(HarnessError):
    """Code of a method left a change in what its process shares."""


class Switch(NamedTuple):
    """One thing that is shared: how to read it, and how to put it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> Switch:
    return Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not signal.getsignal(number) and handler is not None:
            signal.signal(number, handler)


def _files() -> list[tuple[int, int] | None]:
    """Device and inode of what the file descriptors of the standard streams stand for."""
    found: list[tuple[int, int] | None] = []
    for number in range(3):
        try:
            about = os.fstat(number)
        except OSError:
            found.append(None)
        else:
            found.append((about.st_dev, about.st_ino))
    return found


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _denormals() -> bool:
    return sys.float_info.min / 2 > 0


def _set_denormals(kept: bool) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(not kept)


_ALWAYS: dict[str, Switch] = {
    "the current folder": Switch(_folder, os.chdir),
    "whether numbers below 1e-38 are kept (denormals)": Switch(_denormals, _set_denormals),
    "the locale": Switch(lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    "the handlers of signals": Switch(_handlers, _set_handlers),
}
# What they hold means nothing to a reader.
_UNTOLD = ("the handlers of signals",)
_NUMPY = "numpy's handling of floating-point errors"
# Well-kept packages set it when they are loaded, and no digit depends on it: it is put back, and no fault.
_PRINTING = "how numpy prints"


def _has(owner: Any, name: str) -> bool:
    try:
        return hasattr(owner, name)
    except RuntimeError:  # it is there, and what it stands for was turned in two ways
        return True


@functools.cache
def _torch_switches(torch: Any) -> dict[str, Switch]:
    def device(value: Any) -> None:
        torch.set_default_device(None if value.type == "cpu" else value)

    found = {
        "torch's default dtype": Switch(torch.get_default_dtype, torch.set_default_dtype),
        "torch's default device": Switch(torch.get_default_device, device),
        "whether torch keeps gradients": Switch(torch.is_grad_enabled, torch.set_grad_enabled),
        "torch's number of threads": Switch(torch.get_num_threads, torch.set_num_threads),
        "torch's deterministic algorithms": Switch(
            torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
        ),
        "torch's float32 matmul precision": Switch(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        ),
    }
    for kind in ("cpu", "cuda"):
        found[f"torch's autocast ({kind})"] = Switch(
            functools.partial(torch.is_autocast_enabled, kind), functools.partial(torch.set_autocast_enabled, kind)
        )
    backends = torch.backends
    for where, owner, names in (
        ("backends", backends, ("fp32_precision",)),
        ("backends.cudnn", backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
        ("backends.cuda.matmul", backends.cuda.matmul, ("allow_tf32", "allow_fp16_reduced_precision_reduction")),
        ("backends.mkldnn", backends.mkldnn, ("enabled",)),
        ("backends.mkldnn.matmul", getattr(backends.mkldnn, "matmul", None), ("fp32_precision",)),
        ("backends.mkldnn.conv", getattr(backends.mkldnn, "conv", None), ("fp32_precision",)),
    ):
        # Not every version of torch has all of them.
        found |= {f"torch.{where}.{name}": _attribute(owner, name) for name in names if _has(owner, name)}
    for name in ("flash", "mem_efficient", "math"):
        found[f"torch.backends.cuda.{name}_sdp"] = Switch(
            getattr(backends.cuda, f"{name}_sdp_enabled"), getattr(backends.cuda, f"enable_{name}_sdp")
        )
    return found


def _switches() -> dict[str, Switch]:
    """List what is shared; libraries that are not loaded share nothing."""
    found = dict(_ALWAYS)
    pillow = sys.modules.get("PIL.ImageFile")
    if pillow is not None:
        found["PIL.ImageFile.LOAD_TRUNCATED_IMAGES"] = _attribute(pillow, "LOAD_TRUNCATED_IMAGES")
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "seterr"):
        found[_NUMPY] = Switch(numpy.geterr, lambda before: numpy.seterr(**before))
        found[_PRINTING] = Switch(numpy.get_printoptions, lambda before: numpy.set_printoptions(**before))
    torch = sys.modules.get("torch")
    # While torch is being loaded its module is there and empty.
    if torch is not None and hasattr(torch, "set_num_threads") and hasattr(torch.backends, "cudnn"):
        found |= _torch_switches(torch)
    return found


class _Loading(importlib.abc.MetaPathFinder):
    """Notes torch's switches in the moment in which torch was loaded: what loads it may turn them at once."""

    def __init__(self) -> None:
        self.fresh: dict[str, Any] = {
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES": False,
            _NUMPY: {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
        }
        self._busy = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch" or self._busy:
            return None
        self._busy = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._busy = False
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_note(module: ModuleType) -> None:
            load(module)
            self.fresh |= _values(_torch_switches(module))

        spec.loader.exec_module = load_and_note  # type: ignore[method-assign]
        return spec


_loading = _Loading()


def _values(switches: Mapping[str, Switch]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, switch in switches.items():
        try:
            found[name] = switch.read()
        except Exception as error:  # torch refuses to read a switch whose newer counterpart was turned
            found[name] = str(error)
    return found


class Snapshot:
    """What a process shares, as it is now in this thread; `put_back` ends it."""

    def __init__(self) -> None:
        if _loading not in sys.meta_path:
            sys.meta_path.insert(0, _loading)
        self._values = _values(_switches())
        self._streams = [(stream, stream is None or stream.closed) for stream in (sys.stdout, sys.stderr)]
        self._files = _files()
        self._copies = [None if file is None else os.dup(number) for number, file in enumerate(self._files)]

    def put_back(self) -> list[str]:
        """Undo what was changed since, as far as it can be; tell what, one text each."""
        switches = _switches()
        changed = []
        for name, now in _values(switches).items():
            before = self._values.get(name, _loading.fresh.get(name))
            # A library that was loaded since, and of which nothing is known, has nothing to be compared with.
            if before is None or now == before:
                continue
            if name != _PRINTING:
                changed.append(name if name in _UNTOLD else f"{name} ({_plain(before)} -> {_plain(now)})")
            # A handler belongs to the main thread; what is left of a failure here is told all the same.
            with contextlib.suppress(Exception):
                switches[name].write(before)
        if self._put_streams_back():
            changed.append("the standard streams")
        return changed

    def _put_streams_back(self) -> bool:
        changed = _files() != self._files
        for number, copy in enumerate(self._copies):
            if copy is not None:
                if changed:
                    os.dup2(copy, number)
                os.close(copy)
        for number, (name, (stream, closed)) in enumerate(zip(("stdout", "stderr"), self._streams, strict=True), 1):
            if stream is not None and stream.closed and not closed:
                stream = os.fdopen(number, "w", closefd=False)
            changed = changed or getattr(sys, name) is not stream
            setattr(sys, name, stream)
        return changed


def _plain(value: object) -> str:
    return " ".join(str(value).split())


@contextlib.contextmanager
def left_alone(what: str) -> Iterator[None]:
    """Let code of a method run, and refuse it where it leaves a change behind.

    `what`: Begins the message, such as ``"method 'my-net'"``.
    Raises LeftChangedError: Something that all methods of a process share was changed; it is put back.
    """
    before = Snapshot()
    try:
        yield
    except BaseException:
        before.put_back()
        raise
    changed = before.put_back()
    if changed:
        raise LeftChangedError(f"{what} {told(changed)}".strip())


def told(changed: Sequence[str]) -> str:
    """Say what was changed and what to do."""
    return (
        f"changes what every method of this process shares: {'; '.join(changed)}; "
        "put it back where it was changed, for example with a context manager inside the restoring function"
    )


@contextlib.contextmanager
def environment_kept(given: Mapping[str, str | None] | None = None) -> Iterator[dict[str, str | None]]:
    """Put the environment variables back after the block, which may get some of its own.

    `given`: Variables for the block; None takes one away.
    Yields: Filled after the block with what it changed, in the same form.
    """
    before = dict(os.environ)
    _apply(given or {})
    changed: dict[str, str | None] = {}
    try:
        yield changed
    finally:
        names = before.keys() | os.environ.keys()
        changed |= {name: os.environ.get(name) for name in names if os.environ.get(name) != before.get(name)}
        _apply({name: before.get(name) for name in changed})


def _apply(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def core_count() -> int:
    """Count the cores that this process may use.

    The first that is known of: HARNESS_CORES, a container's quota (cgroup 2, rounded up), the process's affinity, the
    machine's cores.
    """
    given = os.environ.get("HARNESS_CORES", "")  # a parallel run gives each of its workers a share
    if given.isdigit() and int(given) > 0:
        return int(given)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return max(1, count)


@contextmanager
def told_to_stop(stop: Callable[[], object]) -> Iterator[None]:
    """Call a function at either signal, instead of ending, while the block runs; in the main thread only."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
