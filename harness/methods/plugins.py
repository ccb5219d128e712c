"""Plugins: methods from outside this package, imported once they have shown that they can be.

A module runs when it is imported, and may then hang, end the process, crash, print without end or start a thread that
never ends. Every command imports the plugins, so one of them could stop all. So they are first imported in a process
of their own, which is given a time limit and then ended; a plugin that does not come through is left out with a
sentence that says why, and so is one that changes what every method of a process shares
(`harness.process_state`). What passed is told to the stages that a command starts, through the environment: a table's
hundreds of stages try nothing again.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from harness.files import file_sha256
from harness.methods.source_loading import load_from_source, source_loader
from harness.process_state import left_alone
from harness.records.workspace import IMPORT_SECONDS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "harness.methods"

# What was tried, for processes started from here: `ImportOutcome` by `Plugin.state`.
TRIED = "HARNESS_PLUGINS_TRIED"

# How long a program that has imported everything may take to end.
_END_SECONDS = 5.0
# How long it may take to begin, on a machine with much else to do.
_START_SECONDS = 60.0
# After this long a user is told what is being waited for.
_PATIENCE_SECONDS = 10.0
# How much is shown of what plugins print while they are imported.
_SHOWN_BYTES = 600

# The package is found where this process found it, and before the plugins' own folders can hide it.
_CHILD = (
    "import json, sys; about = json.loads(sys.argv[1]); sys.path[:] = about['path']; "
    "from harness.methods import registered; from harness.methods.plugins import import_and_tell; "
    "import_and_tell(about['parent'], about['plugins'], registered, about['first'])"
)


@dataclass(frozen=True)
class Plugin:
    """A module from outside, or a name in one.

    Attributes
    ----------
    kind : str
        ``file``, or ``entry point``.
    name : str
        The file's path, or ``name = module:attribute``.
    version : str
        What it must be tried again for: the hash of the file, or name and version of the installed package.
    """

    kind: str
    name: str
    version: str = ""

    @property
    def what(self) -> str:
        """How messages name it."""
        return f"plugin {self.name}" if self.kind == "file" else f"entry point '{self.name}'"

    @property
    def key(self) -> str:
        """What it is recognised by within a process."""
        return str(Path(self.name).resolve()) if self.kind == "file" else self.name

    @property
    def state(self) -> str:
        """What it is recognised by between processes."""
        return f"{self.key} {self.version}"

    def load(self) -> Any:
        """Import it."""
        load_from_source()
        if self.kind == "file":
            return _import_file(Path(self.name))
        from importlib.metadata import EntryPoint

        name, _, value = self.name.partition(" = ")
        return EntryPoint(name, value, ENTRY_POINTS).load()


# What the import of a method may need: the plugins that define tasks, in the order of import.
defined_first: list[Plugin] = []


class ImportOutcome(msgspec.Struct, frozen=True):
    """What came of trying a plugin's import: why it must not be imported (or nothing), and the methods it defines."""

    reason: str
    methods: tuple[str, ...] = ()


def installed_plugins(group: str = ENTRY_POINTS) -> Iterator[Plugin]:
    """List what installed packages announce under an entry-point group."""
    places = [Path(place) for place in sys.path]
    for of, name, version in _announced(*((place, place.stat().st_mtime_ns) for place in places if place.exists())):
        if of == group:
            yield Plugin("entry point", name, version)


@functools.lru_cache(1)
def _announced(*_: tuple[Path, int]) -> list[tuple[str, str, str]]:
    """Read once what packages announce to this one, until one is installed: it stands in hundreds of small files."""
    from importlib.metadata import distribution, distributions

    names = [of.metadata["Name"] for of in distributions() if any(map(_is_for_us, of.entry_points))]
    # Of a package that is there twice the first counts, as for an import.
    return [
        (point.group, f"{point.name} = {point.value}", f"{of.metadata['Name']} {of.version}")
        for of in map(distribution, dict.fromkeys(names))
        for point in of.entry_points
        if _is_for_us(point)
    ]


def _is_for_us(point: EntryPoint) -> bool:
    return point.group.startswith("harness.")


def plugins_in(folder: Path) -> Iterator[Plugin]:
    """List a folder's modules, by name; those that begin with ``_`` are their helpers."""
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("_"):
            yield Plugin("file", str(file), file_sha256(file))


def refused(plugins: Iterable[Plugin], limit: float = IMPORT_SECONDS) -> dict[Plugin, str]:
    """Find the plugins that must not be imported: those that hang, end the process, or never let it end.

    Parameters
    ----------
    plugins : iterable of Plugin
        Those about to be imported.
    limit : float
        Seconds that an import may take.

    Returns
    -------
    dict
        Why, by plugin. One that merely raises is not among them: importing it does no harm.
    """
    plugins = list(plugins)
    # Where processes cannot be ended with what they started, nothing is tried.
    if not hasattr(os, "killpg"):
        return {}
    known = _tried()
    untried = [plugin for plugin in plugins if plugin.state not in known]
    if untried:
        known |= {plugin.state: outcome for plugin, outcome in _try(untried, limit).items()}
        os.environ[TRIED] = msgspec.json.encode(known).decode()
    return {plugin: known[plugin.state].reason for plugin in plugins if known[plugin.state].reason}


def names_of(plugin: Plugin) -> tuple[str, ...] | None:
    """Names of the methods that a plugin defines; None where it was not tried."""
    outcome = _tried().get(plugin.state)
    return None if outcome is None else outcome.methods


def _tried() -> dict[str, ImportOutcome]:
    try:
        return msgspec.json.decode(os.environ.get(TRIED, "{}"), type=dict[str, ImportOutcome])
    except msgspec.DecodeError:
        return {}


def _try(plugins: list[Plugin], limit: float) -> dict[Plugin, ImportOutcome]:
    """Import plugins in a process of their own until all that are left come through; no reason for those."""
    reasons: dict[Plugin, str] = {}
    names: dict[Plugin, tuple[str, ...]] = {}
    left = plugins
    while left:
        trial = _Trial(left, limit)
        found = trial.run()
        names |= trial.names
        if len(found) > 1 and found != trial.changes:
            # The process went wrong when all were imported, and nobody knows whose doing it is.
            found = dict(pair for plugin in found for pair in _Trial([plugin], limit).run().items())
        if not found:
            break
        reasons |= found
        left = [plugin for plugin in left if plugin not in found]
    return {plugin: ImportOutcome(reasons.get(plugin, ""), names.get(plugin, ())) for plugin in plugins}


class _Trial:
    """One process that imports plugins, watched.

    Parameters
    ----------
    plugins : list of Plugin
        In the order of import.
    limit : float
        Seconds for each.
    """

    def __init__(self, plugins: list[Plugin], limit: float) -> None:
        self._plugins = plugins
        self._limit = limit
        self._now = -1  # the plugin that is being imported; len(plugins) when all are
        self._threads: dict[int, str] = {}
        self.changes: dict[Plugin, str] = {}
        self.names: dict[Plugin, tuple[str, ...]] = {}
        self._said = b""
        self._said_bytes = 0
        self._told = b""

    def run(self) -> dict[Plugin, str]:
        """Import, and say which plugins are to blame for what; nothing where all went well.

        Several are named where the process went wrong only after all were imported.
        """
        about = {
            "path": sys.path,
            "parent": os.getpid(),
            "plugins": [[plugin.kind, plugin.name] for plugin in self._plugins],
            "first": [[plugin.kind, plugin.name] for plugin in defined_first],
        }
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, json.dumps(about)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            hung = self._watch(child)
        finally:
            # Also what it started and left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            status = child.wait()
            for pipe in (child.stdout, child.stderr):
                assert pipe is not None
                pipe.close()
        self._show()
        return self._judge(hung, status)

    def _watch(self, child: subprocess.Popen[bytes]) -> bool:
        """Read what the process tells and prints until it ends; True where it had to be given up."""
        start = last = time.monotonic()
        waiting_untold = True
        with selectors.DefaultSelector() as selector:
            for pipe, take in self._streams(child):
                os.set_blocking(pipe, False)
                selector.register(pipe, selectors.EVENT_READ, take)
            while child.poll() is None:
                for key, _ in selector.select(0.1):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fd)
                        continue
                    key.data(data)
                    if key.data == self._hear:
                        last = time.monotonic()
                now = time.monotonic()
                if now - last > self._patience:
                    return True
                if waiting_untold and now - start > _PATIENCE_SECONDS and 0 <= self._now < len(self._plugins):
                    waiting_untold = False
                    sys.stderr.write(f"waiting for the import of {self._plugins[self._now].what}\n")
                if not selector.get_map():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(0.1)
            for pipe, take in self._streams(child):
                # What it started may print for ever.
                for _ in range(64):
                    try:
                        take(os.read(pipe, 1 << 16))
                    except BlockingIOError:
                        break
        return False

    @property
    def _patience(self) -> float:
        """Seconds to wait for the next sign."""
        if self._now < 0:
            return _START_SECONDS
        return self._limit if self._now < len(self._plugins) else _END_SECONDS

    def _streams(self, child: subprocess.Popen[bytes]) -> list[tuple[int, Callable[[bytes], None]]]:
        """File descriptors of what the process tells and of what plugins print, and what takes them."""
        assert child.stdout is not None
        assert child.stderr is not None
        return [(child.stdout.fileno(), self._hear), (child.stderr.fileno(), self._keep)]

    def _hear(self, data: bytes) -> None:
        *lines, self._told = (self._told + data).split(b"\n")
        for line in lines:
            kind, _, rest = line.decode(errors="replace").partition(" ")
            if kind == "import":
                self._now = int(rest)
            elif kind == "thread":
                number, _, name = rest.partition(" ")
                self._threads.setdefault(int(number), name)
            elif kind == "changes":
                number, _, what = rest.partition(" ")
                self.changes[self._plugins[int(number)]] = f"its import {what}"
            elif kind == "methods":
                number, *names = rest.split()
                self.names[self._plugins[int(number)]] = tuple(names)

    def _keep(self, data: bytes) -> None:
        self._said_bytes += len(data)
        self._said += data[: _SHOWN_BYTES - len(self._said)]

    def _show(self) -> None:
        """Pass on the beginning of what was printed."""
        text = self._said.decode(errors="replace").rstrip()
        if not text:
            return
        more = self._said_bytes - len(self._said)
        rest = f"\n… and {more:,} bytes more" if more else ""
        whose = self._plugins[0].what if len(self._plugins) == 1 else "plugins"
        sys.stderr.write(
            f"printed while {whose} {'was' if len(self._plugins) == 1 else 'were'} imported:\n{text}{rest}\n"
        )

    def _judge(self, hung: bool, status: int) -> dict[Plugin, str]:
        if 0 <= self._now < len(self._plugins):
            plugin = self._plugins[self._now]
            if hung:
                return {
                    plugin: f"it was not imported after {self._limit:g} s, so it was stopped; raise "
                    "`limits: import_seconds` in params.yaml if it is that slow"
                }
            return {plugin: f"{_ending(status)} while it was imported"}
        if self._now < 0:
            # A process that could not even begin says nothing about the plugins; their import tells.
            return {}
        if hung and self._threads:
            return {
                self._plugins[number]: f"it starts a thread ('{name}') that goes on, so that no command would end; "
                "start it when the method is built, or with daemon=True"
                for number, name in self._threads.items()
            }
        if hung:
            return dict.fromkeys(self._plugins, "a program that has imported it does not end")
        if status < 0:
            return dict.fromkeys(self._plugins, f"a program that has imported it {_ending(status).removeprefix('it ')}")
        return dict(self.changes)


def _ending(status: int) -> str:
    if status >= 0:
        return f"it ended the process (exit status {status})"
    return f"it crashed or killed the process ({signal.Signals(-status).name})"


def import_and_tell(
    parent: int, plugins: list[list[str]], registered: Callable[[], set[str]], first: list[list[str]]
) -> None:
    """Import plugins one after another and tell on standard output how far it got; this process tries, no other.

    Those of `first` passed before; what they define is there for the others.
    """
    from harness.process_state import Snapshot, environment_kept, told
    from harness.supervision import die_with

    die_with(parent)
    own = os.getpid()
    telling = os.dup(1)
    os.dup2(2, 1)

    def tell(text: str) -> None:
        os.write(telling, f"{text}\n".encode(errors="replace"))

    for kind, name in first:
        with contextlib.suppress(Exception), environment_kept():
            Plugin(kind, name).load()
    threads: dict[threading.Thread, int] = {}
    for number, (kind, name) in enumerate(plugins):
        tell(f"import {number}")
        known, before = registered(), Snapshot()
        with environment_kept():
            try:
                Plugin(kind, name).load()
            except (Exception, SystemExit):
                # The import that counts tells the reason.
                pass
            except BaseException:
                os._exit(1)
        if os.getpid() != own:
            os._exit(0)
        if changed := before.put_back():
            tell(f"changes {number} {told(changed)}")
        tell(f"methods {number} {' '.join(sorted(registered() - known))}")
        for thread in _lasting_threads():
            threads.setdefault(thread, number)
    tell(f"import {len(plugins)}")
    # Only if this process does not end: Python may know how to stop them (those of an executor).
    for thread, number in threads.items():
        tell(f"thread {number} {thread.name}")


def _lasting_threads() -> list[threading.Thread]:
    """List the threads that a program waits for before it ends."""
    return [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]


@contextlib.contextmanager
def importing(plugin: Plugin, limit: float = IMPORT_SECONDS) -> Iterator[None]:
    """Import a plugin that passed inside this block: what it prints was shown, and it is still not waited for forever.

    Its output, to Python's or the system's streams, must not get into the tables and JSON that commands write.

    Raises
    ------
    HarnessError
        It changes what every method of a process shares.
    """
    if not hasattr(os, "killpg"):
        with contextlib.redirect_stdout(sys.stderr), left_alone("its import"):
            yield
        return
    own = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [_copy(number) for number in range(3)]
    nothing = os.open(os.devnull, os.O_RDWR)

    def give_up() -> None:
        text = f"error: {plugin.what} could be imported before and now hangs; nothing was done, run the command again\n"
        if kept[2] is not None:
            os.write(kept[2], text.encode())
        os._exit(2)

    watch = threading.Timer(limit, give_up)
    watch.daemon = True
    watch.start()
    try:
        for number in range(3):
            os.dup2(nothing, number)
        with contextlib.redirect_stdout(sys.stderr), left_alone("its import"):
            yield
    finally:
        if os.getpid() != own:
            # The plugin forked; the copy must not go on with the command.
            os._exit(0)
        watch.cancel()
        watch.join()
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        for number, copy in enumerate(kept):
            if copy is None:
                os.close(number)
            else:
                os.dup2(copy, number)
                os.close(copy)
        if nothing > 2:
            os.close(nothing)


def _copy(number: int) -> int | None:
    """Copy a file descriptor, if there is one of this number."""
    try:
        return os.dup(number)
    except OSError:
        return None


def _import_file(file: Path) -> ModuleType:
    # Its own name space: two folders may both hold a my_method.py.
    name = f"harness_plugin_{abs(hash(str(file.resolve()))):x}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file, loader=source_loader(name, file))
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
