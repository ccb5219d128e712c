"""The server that forks a process for each stage of a worker (`harness.run.warm`), which go on as `harness stage …`."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys

import msgspec
import numpy

# Loaded for every copy. Not torch: most of the stages that are light do without.
import harness.cli.assets
import harness.cli.stages
import harness.run.measure
import harness.run.restore  # noqa: F401
from harness.cli.main import main
from harness.methods.fingerprints import code_files, code_hashes
from harness.run.warm import StageCommand
from harness.supervision import die_with


def serve() -> None:
    """Fork a process for each request on standard input until its other end is closed; a copy ends as its command."""
    die_with(os.getppid())
    code_hashes(code_files("harness.run.restore"))  # read once, and so known to every copy
    gc.freeze()
    server = os.getpid()
    with socket.socket(fileno=os.dup(0)) as connection, connection.makefile("rb") as requests:
        while True:
            _, files, *_ = socket.recv_fds(connection, 1, 1)
            if not files:
                return
            request = msgspec.json.decode(requests.readline(), type=StageCommand)
            stage = os.fork()
            if not stage:
                break
            with contextlib.suppress(OSError):
                os.setpgid(stage, stage)  # both do it, so that whoever is told of the group finds it
            os.close(files[0])
            connection.sendall(b"%d\n" % stage)
            status = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
            connection.sendall(b"%d\n" % status)
    _become(request, files[0], server)


def _become(request: StageCommand, log: int, server: int) -> None:
    """Be the stage from here on, with nothing of the server's but what it has loaded."""
    die_with(server)  # it may be gone before it told of this copy, and the stage is then started once more
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, log, log)):
        os.dup2(file, number)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = ["harness", *request.arguments]
    numpy.random.seed()  # noqa: NPY002 - else every copy's legacy generator would draw the same
    main()
