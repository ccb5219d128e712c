"""Locks that killed DVC processes leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.errors import Missing
from harness.files import write_json
from harness.records.cells import Group
from harness.records.restored import LevelRecord, RestoredRecord
from harness.records.rows import MeasuredRecord, write_rows
from harness.run.graph import Node, Step
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
    """By what the records name as data: no sentence is read."""

    def node(verb: str, name: str) -> Node:
        group = Group("deblur", "set", "pairs", name, "whole")
        return Node(name, "dvc.yaml", name, Step("", verb, group=group), (), (), False)

    def restored(name: str, missing: Missing | None, reason: str = "it is not here") -> Node:
        made = node("restore", name)
        assert made.step.group is not None
        record = RestoredRecord(made.step.group, "released", 1, "", "", {0: LevelRecord(reason, {}, missing)}, {})
        write_json(tmp_path / "work/restored" / made.step.group.place / "restored.json", record)
        return made

    def measured(name: str, missing: dict[str, Missing]) -> Node:
        made = node("measure", name)
        assert made.step.group is not None
        record = MeasuredRecord(
            made.step.group, "released", 1, {}, "", "", {}, 0, {0: {"psnr-aligned": "why"}}, None, {0: missing}
        )
        write_rows(tmp_path / "work/rows" / f"{made.step.group.place}.csv", record, [])
        return made

    nodes = [
        restored("there", Missing("package", "json")),
        restored("gone", Missing("package", "no_such_package")),
        restored("unnamed", Missing("package", "")),
        restored("weights", Missing("weights", "json", "x.pt")),
        restored("prose", None, "the package 'json' is not installed"),
        measured("aligned", {"psnr-aligned": Missing("package", "json")}),
        measured("small", {}),
        node("restore", "never"),
        Node("other", "dvc.yaml", "other", Step("harness restore --method json"), (), (), False),
    ]
    assert installed_since(tmp_path, nodes) == {"there", "aligned"}
