"""Stages as copies of a process that has loaded what each of them needs: a light stage is mostly its start.

`harness.cli.forking` is that server. Each worker has one of its own, started with the environment of its stages. It
imports nothing of a method's, a plugin's or the user's, runs nothing, and starts no thread of its own (OpenBLAS, which
may keep some ready, makes them anew in a copy); so what a stage does to its process stays in its copy, as it did in a
process of its own. Where the server is gone, and for whatever is no plain command of the harness, a stage is started as
DVC would.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import msgspec

import harness

PACKAGE = Path(harness.__file__).parent

# What differs from stage to stage, and nothing reads while it is loaded.
_OF_A_STAGE = frozenset({"CUDA_VISIBLE_DEVICES", "DVC_STAGE", "HARNESS_FORCE", "HARNESS_PROGRESS", "HARNESS_SHRINK"})

_START = (sys.executable, "-P", "-c", "from harness.cli.forking import serve; serve()")


class StageCommand(msgspec.Struct, frozen=True):
    """A command of the harness without its name, where it runs, and all its variables."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Forked:
    """A stage's process, for whoever started it: what is used of `subprocess.Popen`.

    Attributes
    ----------
    pid : int
        Its id, and that of its process group.
    returncode : int or None
        None until `communicate` has waited for it; negative for a signal.
    """

    def __init__(self, pid: int, said: RawIOBase) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._said = said

    def communicate(self) -> tuple[None, None]:
        """Wait for its end."""
        status = b""
        with contextlib.suppress(OSError):
            status = self._said.readline()
        if not status:
            # The server was killed, and nobody else learns how the stage ends.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.returncode = int(status or -signal.SIGKILL)
        return None, None


Command = subprocess.Popen[bytes] | Forked
StartCommand = Callable[..., Command]


class Warm:
    """Starts stages of one worker, one at a time."""

    def __init__(self) -> None:
        self._key: object = None
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._last: Forked | None = None

    def start(self, command: str, folder: str, environment: Mapping[str, str], log: BinaryIO) -> Forked | None:
        """Start a command of the harness in a process group of its own.

        Parameters
        ----------
        command : str
            As a shell reads it.
        folder : str
            Where it runs.
        environment : mapping
            All its variables.
        log : binary file
            Gets what it prints.

        Returns
        -------
        Forked or None
            None where it has to be started otherwise.
        """
        try:
            words = shlex.split(command)
            if not hasattr(os, "fork") or words[:1] != ["harness"] or shlex.join(words) != command:
                return None
            request = StageCommand(words[1:], folder, dict(environment))
            connection = self._connect(environment)
            socket.send_fds(connection, [b"."], [log.fileno()])
            connection.sendall(msgspec.json.encode(request) + b"\n")
            said = connection.makefile("rb", buffering=0)
            self._last = Forked(int(said.readline()), said)
            return self._last
        except (OSError, ValueError):
            self.close()
            return None

    def _connect(self, environment: Mapping[str, str]) -> socket.socket:
        """Give the way to a server with this environment that has loaded the sources as they are now."""
        # A folder of packages changes as one is installed, perhaps from its sources, which Python learns as it starts.
        installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
        sources = [(path, path.stat().st_mtime_ns) for path in (*PACKAGE.rglob("*.py"), *installed)]
        key = {name: value for name, value in environment.items() if name not in _OF_A_STAGE}, sorted(sources)
        # Nobody waited for the last stage: what is said next is how it ended.
        unheard = self._last is not None and self._last.returncode is None
        if self._socket is None or key != self._key or unheard:
            self.close()
            self._socket, theirs = socket.socketpair()
            with theirs:
                self._server = subprocess.Popen(
                    list(_START),
                    env=key[0],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    process_group=0,
                )
            self._key = key
        return self._socket

    def close(self) -> None:
        """End the server."""
        if self._socket is not None and self._server is not None:
            self._socket.close()
            self._server.kill()
            self._server.wait()
        self._socket = self._server = self._last = None

    __del__ = close
