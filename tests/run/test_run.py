"""Locks that killed DVC processes leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dvc_projects import DvcProject

from harness.errors import HarnessError, Missing
from harness.files import write_json
from harness.records.cells import Group
from harness.records.restored import LevelRecord, RestoredRecord
from harness.records.rows import MeasuredRecord, write_rows
from harness.run.dvc_private import drop_dead_locks
from harness.run.graph import Node, Step
from harness.run.project import Project, StageFailedError
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


def test_the_lock_of_a_process_whose_number_another_has_now_is_dropped(tmp_path: Path) -> None:
    """After a reboot, or in a container that was started again: the living process is younger than the lock."""
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"write": {"b": {"pid": os.getpid(), "cmd": "x"}}, "read": {}}))
    born = psutil.Process().create_time()
    os.utime(path, (born - 60, born - 60))
    drop_dead_locks(tmp_path)
    assert json.loads(path.read_text()) == {"write": {}, "read": {}}


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


def test_the_exit_status_is_that_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However DVC words a failure."""
    from dvc.stage import exceptions

    monkeypatch.setattr(
        exceptions.StageCmdFailedError,
        "__init__",
        lambda self, command, status=None: Exception.__init__(self, f"{command} came to grief after 42"),
    )
    made = DvcProject(tmp_path, {"dvc.yaml": {"a": {"cmd": "exit 7", "outs": ["a"]}}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageFailedError, match="came to grief") as failed:
        Project(made.root).reproduce("dvc.yaml", "a")
    assert failed.value.status == 7


def test_only_files_that_were_never_pushed_are_forgiven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.exceptions import DownloadError, DvcException

    made = DvcProject(tmp_path / "project", {"dvc.yaml": {"a": {"cmd": "echo 1 > a", "outs": ["a"]}}})
    subprocess.run(["dvc", "remote", "add", "-d", "-q", "store", str(tmp_path / "store")], cwd=made.root, check=True)
    project = Project(made.root)

    def fetch(error: DvcException) -> None:
        def refuse(**_: object) -> int:
            raise error

        monkeypatch.setattr(project._repo, "fetch", refuse)
        project.fetch_cached(made.nodes().values())

    fetch(DownloadError(3))
    with pytest.raises(HarnessError, match="could not be pulled: the login failed"):
        fetch(DvcException("the login failed"))
