"""Stages in copies of a process that has everything loaded: as alone as in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from harness.run import warm, worker

# A plugin that is imported by every stage, and tells what it finds.
PLUGIN = """
import json, os, sys, time
from pathlib import Path
import numpy
import harness.names

found = {
    "first": not hasattr(harness.names, "mark"), "argv": sys.argv[1:], "cwd": os.getcwd(), "drawn": numpy.random.rand(),
    "pid": os.getpid(), "group": os.getpgid(0), "stdin": sys.stdin.read() + os.read(0, 1).decode(),
    "own": os.environ.get("OWN", ""), "interrupts": str(__import__("signal").getsignal(2)),
}
harness.names.mark = True
with open(os.environ["TOLD"], "a") as told:
    told.write(json.dumps(found) + "\\n")
print("told")
time.sleep(float(os.environ.get("SLEEP", "0")))
"""

Start = Callable[..., warm.Forked]


@pytest.fixture
def server() -> Iterator[warm.Warm]:
    made = warm.Warm()
    yield made
    made.close()


@pytest.fixture
def start(server: warm.Warm, tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "tells.py").write_text(PLUGIN)
    (tmp_path / "params.yaml").write_text("methods: [methods]\n")
    with open(tmp_path / "log", "a+b") as log:

        def begin(command: str = "harness list methods", **variables: str) -> warm.Forked:
            environment = {**os.environ, "TOLD": str(tmp_path / "told"), **variables}
            found = server.start(command, str(tmp_path), environment, log)
            assert found is not None
            return found

        yield begin


def _told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.is_file() and time.monotonic() < end:
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_stage_finds_nothing_of_another(start: Start, tmp_path: Path) -> None:
    for own in ("1", "2"):
        stage = start(OWN=own)
        assert stage.communicate() == (None, None) and stage.returncode == 0
    found = _told(tmp_path)
    assert all(one["first"] for one in found)
    assert {one["own"] for one in found} == {"1", "2"} and {one["cwd"] for one in found} == {str(tmp_path)}
    in_stages = [one for one in found if one["argv"] == ["list", "methods"]]
    assert len(in_stages) == len({one["pid"] for one in in_stages}) == len({one["drawn"] for one in in_stages}) >= 2
    assert {one["stdin"] for one in found} == {""}
    assert all(one["group"] == one["pid"] and "default_int" in one["interrupts"] for one in in_stages)
    assert "told" in (tmp_path / "log").read_text()


def test_exit_statuses_and_signals(start: Start, tmp_path: Path) -> None:
    stage = start("harness stage render 'no such table'")
    stage.communicate()
    assert stage.returncode == 2 and "no such table" in (tmp_path / "log").read_text()
    stage = start(SLEEP="60")
    _wait_for(tmp_path / "told")
    os.killpg(stage.pid, signal.SIGTERM)
    stage.communicate()
    assert stage.returncode == -signal.SIGTERM


def test_a_server_that_is_killed_takes_its_stage_along_and_is_replaced(
    server: warm.Warm, start: Start, tmp_path: Path
) -> None:
    stage = start(SLEEP="60")
    _wait_for(tmp_path / "told")
    assert server._server is not None
    server._server.kill()
    stage.communicate()
    assert stage.returncode == -signal.SIGKILL
    end = time.monotonic() + 20
    while _lives(stage.pid):
        assert time.monotonic() < end, "the stage goes on"
        time.sleep(0.02)
    environment = {**os.environ, "TOLD": str(tmp_path / "told"), "SLEEP": "60"}
    with open(tmp_path / "log", "ab") as log:
        # The first is started as DVC would.
        assert server.start("harness --version", str(tmp_path), environment, log) is None
        after = server.start("harness --version", str(tmp_path), environment, log)
    assert after is not None
    after.communicate()
    assert after.returncode == 0


def test_other_sources_or_another_environment_are_loaded_anew(
    server: warm.Warm, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded under other circumstances never runs; what only the stage reads takes the same server."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.py").write_text("")
    monkeypatch.setattr(warm, "PACKAGE", sources)
    servers = []

    def begin(**variables: str) -> None:
        start("harness --version", **variables).communicate()
        assert server._server is not None
        servers.append(server._server.pid)

    begin()
    begin(HARNESS_PROGRESS="elsewhere", DVC_STAGE="another")
    assert servers[0] == servers[1]
    begin(OMP_NUM_THREADS="3")
    assert servers[2] != servers[1]
    os.utime(sources / "a.py", (1, 1))
    begin(OMP_NUM_THREADS="3")
    assert servers[3] != servers[2]


def test_a_package_that_is_installed_is_known_to_the_next_stage(
    server: warm.Warm, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is installed from its sources is a line in a file that Python reads as it starts."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(packages))
    servers = []
    for _ in range(2):
        start("harness --version").communicate()
        assert server._server is not None
        servers.append(server._server.pid)
        (packages / "own.pth").write_text("")
    assert servers[0] != servers[1]


def test_a_stage_that_nobody_waited_for_tells_no_other_how_it_ended(start: Start) -> None:
    """Where the guard of a stage cannot be started, DVC never waits for the stage."""
    left = start("harness stage render 'no such table'")
    after = start("harness --version")
    assert after.pid > 0 and after.pid != left.pid
    after.communicate()
    assert after.returncode == 0


@pytest.mark.parametrize("command", ["harness list methods", "echo >> told; sleep 60"])
def test_a_stage_that_starts_as_its_run_is_stopped_is_ended(start: Start, tmp_path: Path, command: str) -> None:
    """A server may take seconds to load: whoever stopped the run has signalled its stages by then, and not this one."""
    node: Any = SimpleNamespace(step=SimpleNamespace(gpu=False), address="a")
    order = worker.Order(node, tmp_path, tmp_path, {}, force=False, pull=False, shared=False)
    (tmp_path / "stop").touch()
    environment = {**os.environ, "TOLD": str(tmp_path / "told"), "SLEEP": "60"}
    begun = time.monotonic()
    with (
        open(tmp_path / "log", "ab") as log,
        worker._commands(order, log, tmp_path / "progress") as begin,
        pytest.raises(worker._StoppedError),
    ):
        begin(["/bin/sh", "-c", command], cwd=str(tmp_path), env=environment)
    assert time.monotonic() - begun < 45 and not worker._groups


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end it")
def test_a_stage_ends_with_its_server_also_where_nobody_waits(server: warm.Warm, start: Start, tmp_path: Path) -> None:
    """A server that is killed between the two has told nobody of its copy."""
    stage = start(SLEEP="60")
    _wait_for(tmp_path / "told")
    assert server._server is not None
    server._server.kill()
    end = time.monotonic() + 20
    while _lives(stage.pid):
        assert time.monotonic() < end, "the stage goes on"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "command", ["echo a", "harness tables && true", "harness 'tables", "harness $A", "", "harness a > b"]
)
def test_only_plain_commands_of_the_harness_are_forked(server: warm.Warm, tmp_path: Path, command: str) -> None:
    with open(tmp_path / "log", "wb") as log:
        assert server.start(command, str(tmp_path), os.environ, log) is None
    assert server._server is None


def test_a_server_loads_no_torch() -> None:
    """Most stages that are light do not, and it reads how many threads it may have while it is loaded."""
    code = "import sys, harness.cli.forking; sys.exit('torch' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
