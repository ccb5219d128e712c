"""Locks that killed DVC processes leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
from harness.run.reproduction import installed_since


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


HOLDER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from harness.run.dvc_private import open_repo
root = Path(sys.argv[1])
repo = open_repo(root, in_git=False)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("lives", [True, False])
def test_the_system_says_who_lives_and_no_clock(tmp_path: Path, lives: bool) -> None:
    """A living run keeps its locks when the clock jumps; those of a killed one go, whoever has its number now."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    run = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None and run.stdout.readline() == "\n"
    path, known = tmp_path / ".dvc/tmp/rwlock", tmp_path / ".dvc/tmp/harness"
    assert [file.name for file in known.iterdir()] == [str(run.pid)]
    number = run.pid
    if not lives:
        run.kill()
        run.communicate()
        number = os.getpid()  # has the number of the killed run, and is older than the lock
        (known / str(run.pid)).rename(known / str(number))
    text = json.dumps({"write": {"b": {"pid": number, "cmd": "x"}}, "read": {}})
    path.write_text(text)
    if lives:  # the lock looks older than its holder
        os.utime(path, (1, 1))
    drop_dead_locks(tmp_path)
    assert json.loads(path.read_text()) == (json.loads(text) if lives else {"write": {}, "read": {}})
    if lives:
        run.communicate("")


def test_rows_are_not_read_while_another_run_makes_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """DVC deletes them first: a table printed in that moment would be empty."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    project = Project(tmp_path)
    rows = tmp_path / "work/rows/jpeg/live1/a.csv"
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1, text=True)
    assert other.stdout is not None and other.stdout.readline() == "\n"
    lock = tmp_path / ".dvc/tmp/rwlock"
    lock.write_text(json.dumps({"write": {str(rows): {"pid": other.pid, "cmd": "x"}}, "read": {}}))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(project.read_rows, [("jpeg", "live1")], rows.exists)
        said = ""
        while f"process {other.pid}" not in said and not reading.done():
            said += capfd.readouterr().err
        # What is made of another set is nothing to wait for.
        assert project.read_rows([("jpeg", "classic5")], lambda: 7) == 7
        rows.parent.mkdir(parents=True)
        rows.touch()
        lock.write_text("{}")
        assert reading.result(timeout=60)
    other.communicate("")


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
