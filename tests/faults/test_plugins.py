"""Methods that misbehave, run for real: each in a stage of its own, as DVC runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import psutil
import pytest

from harness.assets.datasets import fetch
from harness.assets.inputs import record_inputs, write_inputs
from harness.records.cells import NoiseDraws

PLUGIN = """
import os, signal, subprocess, sys
from harness.methods import method

print("printed while it is imported")


@method("bad", tasks=["jpeg"], on="array")
def build(task, level):
    def restore(image):
        if level == 20:
            {body}
        return image

    return restore
"""

WHERE = ("--task", "jpeg", "--dataset", "embedded-gray", "--degradation", "jpeg-y8", "--method", "bad")


class Project:
    """A workspace with one plugin and recorded inputs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        assert fetch("embedded-gray", root / "data").complete
        record = record_inputs(root / "data", "embedded-gray", "jpeg-y8", (10, 20), NoiseDraws())
        write_inputs(root / "work/inputs/jpeg/embedded-gray/jpeg-y8.json", record)
        (root / "methods").mkdir()
        self.limit(60)

    def limit(self, seconds: float) -> None:
        (self.root / "params.yaml").write_text(f"methods: [methods]\nlimits:\n  image_seconds: {seconds}\n")

    def plugin(self, body: str) -> None:
        (self.root / "methods/bad.py").write_text(PLUGIN.format(body=body))

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "harness", "stage", "restore", *WHERE, "--policy", "whole", "--levels", "10,20"]

    def restore(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return forked.harness(*self.command[3:], cwd=self.root, env={**os.environ, **environment}, timeout=60)

    @property
    def restored(self) -> Path:
        return self.root / "work/restored/jpeg/embedded-gray/jpeg-y8/bad--whole"

    @property
    def kept(self) -> list[str]:
        return sorted("/".join(p.parts[-3:]) for p in (self.root / "work/partial").rglob("*.png"))

    def completes(self) -> None:
        """The next run, with the fault gone, makes what is missing and nothing else."""
        self.plugin("pass")
        done = self.restore()
        assert done.returncode == 0, done.stderr
        assert len(json.loads((self.restored / "restored.json").read_text())["images"]) == 2


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("sys.exit(0)", 2, "at level 20 tried to end the program (exit status 0)"),
        ("os._exit(0)", 2, "the method ended the process before it was done"),
        ("__import__('ctypes').string_at(0)", 2, "crashed in native code (SIGSEGV)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "was killed (SIGKILL), most likely because memory ran out"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 2, "was stopped from outside"),
        ("raise MemoryError", 2, "out of memory, also with less computed at once"),
        ("raise KeyError('x')", 2, "failed: KeyError"),
    ],
)
def test_a_method_that_ends_is_told_and_nothing_is_recorded(project: Project, body: str, code: int, said: str) -> None:
    project.plugin(body)
    done = project.restore()
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not project.restored.exists()
    assert project.kept == ["10/draw0/camera.png"]
    project.completes()


@pytest.mark.parametrize("body", ["while True: pass", "subprocess.run(['sleep', '987'])"])
def test_a_hung_method_is_stopped_with_what_it_started(project: Project, body: str) -> None:
    project.limit(5)
    project.plugin(body)
    done = project.restore()
    assert done.returncode == 2
    assert "nothing was finished for 5 s, so it was stopped" in done.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]]
    assert project.kept == ["10/draw0/camera.png"]
    project.completes()


def test_a_method_that_forks_goes_on_once(project: Project) -> None:
    project.plugin("os.fork()")
    done = project.restore()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 images") == 1
    assert sorted(p.name for p in project.restored.parent.iterdir()) == ["bad--whole"]


def test_what_a_method_prints_spoils_nothing(project: Project) -> None:
    project.plugin("print('{'); os.write(1, b'raw')")
    assert project.restore().returncode == 0
    listed = subprocess.run(
        [sys.executable, "-m", "harness", "list", "methods"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "printed while" not in listed.stdout
    assert "printed while" in listed.stderr


WORK = """
import time
from harness.supervision import supervise
work = supervise("it", 8.0)
end = time.monotonic() + 12
print("begun", flush=True)
time.sleep(max(0, end - time.monotonic()))  # it may be stopped before it sleeps
work.done()
"""


def test_a_run_that_is_stopped_and_goes_on() -> None:
    """Ctrl-Z for longer than an image may take, then `fg`: nothing hung."""
    process = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(9)
    os.killpg(process.pid, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_killing_the_supervisor_ends_the_work(project: Project) -> None:
    """With kill -9 of the stage's process no forgotten copy goes on writing beside the next run."""
    project.plugin("__import__('time').sleep(300)")
    process = subprocess.Popen(project.command, cwd=project.root, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while not project.kept and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    _gone, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    project.completes()


def test_memory_that_suffices_for_less_at_once(project: Project) -> None:
    """The first attempt fails, the next succeeds; the run says so, and nothing of the first is kept."""
    project.plugin("build.tried = getattr(build, 'tried', 0) + 1\n            if build.tried == 1: raise MemoryError")
    done = project.restore()
    assert done.returncode == 0, done.stderr
    run = json.loads((project.root / "work/timing/jpeg/embedded-gray/jpeg-y8/bad--whole.json").read_text())
    assert run["retries"] == {"20/draw0/camera.png": "out of memory; restored with 1/4 of the tiles and buffers"}
