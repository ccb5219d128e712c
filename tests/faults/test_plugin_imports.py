"""Plugins that misbehave while they are imported: every command ends, says which, and knows the other methods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import forked
import psutil
import pytest

METHOD = """
from harness.methods import method


@method("{name}", tasks=["jpeg"], on="array")
def build(task, level):
    {body}
    return lambda image: image
"""

IMPORT_SECONDS = 2


class Project:
    """A workspace with a good and a bad plugin."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "methods").mkdir()
        (root / "params.yaml").write_text(f"methods: [methods]\nlimits:\n  import_seconds: {IMPORT_SECONDS}\n")
        self.method("good")

    def method(self, name: str, *, first: str = "", body: str = "pass") -> None:
        (self.root / f"methods/{name}.py").write_text(first + METHOD.format(name=name, body=body))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {name: value for name, value in os.environ.items() if name != "HARNESS_PLUGINS_TRIED"}
        return forked.harness(*arguments, cwd=self.root, env={**known, **environment}, timeout=100)

    def names(self, done: subprocess.CompletedProcess[str]) -> set[str]:
        assert done.returncode == 0, done.stderr
        return {found["method"] for found in json.loads(done.stdout)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


LIST = ("list", "methods", "--task", "jpeg", "--format", "json")


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("while True: pass", f"it was not imported after {IMPORT_SECONDS} s, so it was stopped"),
        ("while True: print('y' * 1000)", f"it was not imported after {IMPORT_SECONDS} s, so it was stopped"),
        ("import subprocess; subprocess.run(['sleep', '986'])", f"it was not imported after {IMPORT_SECONDS} s"),
        ("import os; os._exit(0)", "it ended the process (exit status 0) while it was imported"),
        ("import os; os.abort()", "it crashed or killed the process (SIGABRT) while it was imported"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(1e6,), name='pump').start()",
            "it starts a thread ('pump') that goes on",
        ),
        ("raise KeyboardInterrupt", "it ended the process (exit status 1)"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_left_out(project: Project, first: str, said: str) -> None:
    project.method("bad", first=f"{first}\n")
    done = project.run(*LIST)
    names = project.names(done)
    assert {"good", "dncnn"} <= names
    assert "bad" not in names
    told = [line for line in done.stderr.splitlines() if line.startswith("could not be loaded: ")]
    assert len(told) == 1
    assert f"plugin methods/bad.py: {said}" in told[0]
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "986"]]


@pytest.mark.parametrize(
    "first",
    [
        "import os; os.write(1, b'{'); print('}' * 5_000_000)",
        "import os; os.fork()",
        "from concurrent.futures import ThreadPoolExecutor as E; pool = E(); pool.submit(int)",
        "import threading, time; threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()",
    ],
)
def test_a_plugin_that_only_looks_bad_is_kept(project: Project, first: str) -> None:
    """What it prints is no part of what a command prints, and only its beginning is shown."""
    project.method("bad", first=f"{first}\n")
    done = project.run(*LIST)
    assert {"good", "bad"} <= project.names(done)
    assert len(done.stderr) < 2000


def test_two_bad_plugins_are_both_found(project: Project) -> None:
    """The one that spoils the end of the process cannot hide behind the other."""
    project.method("aaa", first="import os; os._exit(3)\n")
    project.method("zzz", first="import atexit, time; atexit.register(time.sleep, 1e6)\n")
    done = project.run(*LIST)
    assert {"aaa", "good", "zzz"} & project.names(done) == {"good"}
    assert "methods/aaa.py: it ended the process (exit status 3)" in done.stderr
    assert "methods/zzz.py: a program that has imported it does not end" in done.stderr


def test_stages_try_nothing_again(project: Project) -> None:
    """What a command found is told to the processes it starts: no stage waits for the hung plugin again."""
    project.method("bad", first="open('tries', 'a').write('x')\nwhile True: pass\n")
    script = (
        "import subprocess, sys; from harness.tables.workspace import Workspace; Workspace.find().methods(); "
        f"subprocess.run([sys.executable, '-m', 'harness', *{LIST!r}], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project.root, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "it was not imported after" in done.stderr
    assert (project.root / "tries").read_text() == "x"
    # An edited plugin is another one.
    project.method("bad")
    tried = json.dumps({f"{(project.root / 'methods/bad.py').resolve()} 0": "hung"})
    assert "bad" in project.names(project.run(*LIST, HARNESS_PLUGINS_TRIED=tried))


def test_a_plugin_that_hangs_only_the_second_time(project: Project) -> None:
    """It passed in a process of its own; the import that counts has a limit too."""
    first = "import os\nif os.path.exists('seen'):\n    while True: pass\nopen('seen', 'w').close()\n"
    project.method("bad", first=first)
    done = project.run(*LIST)
    assert done.returncode == 2
    assert "plugin methods/bad.py could be imported before and now hangs" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("while True: pass", 2, "nothing was finished for 5 s, so it was stopped; what was tried is above"),
        ("import os; os._exit(0)", 2, "the method ended the process before it was done"),
        ("import ctypes; ctypes.string_at(0)", 2, "crashed in native code (SIGSEGV)"),
    ],
)
def test_check_method_ends(project: Project, body: str, code: int, said: str) -> None:
    project.method("bad", body=body)
    done = project.run("check", "bad", "--limit", "5")
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_plugin_stops_no_table(project: Project) -> None:
    """`harness diff` knows every other row, and says what is missing and why."""
    project.method("bad", first="import os; os._exit(0)\n")
    done = project.run("diff", "embedded")
    assert "plugin methods/bad.py: it ended the process" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_is_done_and_does_not_end() -> None:
    """A thread that a method left behind: the stage ends well, and says so."""
    script = (
        "import threading, time; from harness import supervision; supervision._GRACE_SECONDS = 1.0; "
        "stage = supervision.supervise('restore x', 1e5); "
        "threading.Thread(target=time.sleep, args=(1e6,)).start(); stage.done()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "everything was done, but the process did not end by itself" in done.stderr
