"""Locks that killed DVC processes leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.run.graph import Node
from harness.run.project import drop_dead_locks
from harness.run.targets import installed_since


def test_locks_of_dead_processes_are_dropped(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    # Killed and not collected: a zombie until this test ends.
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{zombie.pid}/stat").exists() and ") Z " not in Path(f"/proc/{zombie.pid}/stat").read_text():
        pass
    mine = {"pid": os.getpid(), "cmd": "dvc repro"}
    dead = [{"pid": process.pid, "cmd": "dvc repro"} for process in (gone, zombie)]
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"write": {"a": dead[0], "b": mine}, "read": {"c": [dead[1], mine], "d": dead}}))
    drop_dead_locks(tmp_path)
    assert json.loads(path.read_text()) == {"write": {"b": mine}, "read": {"c": [mine]}}
    zombie.wait()


def test_a_half_written_lock_file_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text('{"write": {"a"')
    drop_dead_locks(tmp_path)
    assert not path.exists()
    drop_dead_locks(tmp_path)


def test_living_locks_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    text = json.dumps({"write": {"a": {"pid": os.getpid(), "cmd": "x"}}, "read": {}})
    path.write_text(text)
    before = path.stat().st_mtime_ns
    drop_dead_locks(tmp_path)
    assert (path.read_text(), path.stat().st_mtime_ns) == (text, before)


def test_what_a_package_was_missing_for_runs_again_once_it_is_there(tmp_path: Path) -> None:
    def node(name: str, verb: str, reason: str) -> Node:
        (tmp_path / name).mkdir()
        (tmp_path / name / "restored.json").write_text(json.dumps({"levels": {"0": {"reason": reason}}}))
        return Node(name, "dvc.yaml", name, f"harness {verb} --method {name}", (), (name,), False)

    def measured(name: str, reason: str) -> Node:
        (tmp_path / f"{name}.json").write_text(json.dumps({"unmeasured": {"0": {"psnr-aligned": reason}}}))
        outs = (f"{name}.csv", f"{name}.json")
        return Node(name, "dvc.yaml", name, f"harness measure {name}", (), outs, False)

    nodes = [
        node("there", "restore", "the package 'json' is not installed; pip install 'restoration-harness[json]'"),
        node("added", "restore", "spandrel does not read it; the package wave adds some"),
        node("gone", "restore", "the package 'no_such_package' is not installed; pip install it"),
        node("other", "restore", "the weights are not here"),
        measured("aligned", "the package 'json' is not installed, and RealBlur is measured after an alignment by it"),
        measured("small", "image 'a': smaller than the window"),
        Node("never", "dvc.yaml", "never", "harness restore --method never", (), ("never",), False),
    ]
    assert installed_since(tmp_path, nodes) == {"there", "added", "aligned"}
