"""Results through a DVC remote: machine A computes and sends, machine B takes them and computes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc_projects import DvcProject, diamond, run

from harness.errors import HarnessError
from harness.run.project import Project


def machine_a(tmp_path: Path) -> DvcProject:
    """Computes everything, sends it, and commits what git keeps (the locks too)."""
    project = DvcProject(tmp_path / "a", diamond())
    run("dvc", "remote", "add", "-q", "--default", "shelf", str(tmp_path / "shelf"), cwd=project.root)
    project.make("end/dvc.yaml:all")
    assert Project(project.root).send_cached(project.nodes().values()) > 0
    run("git", "add", "-A", cwd=project.root)
    run("git", "commit", "-q", "-m", "Computed", cwd=project.root)
    return project


def machine_b(tmp_path: Path, a: DvcProject, *, locks: bool) -> DvcProject:
    """A clone with nothing computed."""
    run("git", "clone", "-q", str(a.root), str(tmp_path / "b"), cwd=tmp_path)
    b = DvcProject.__new__(DvcProject)
    b.root, b.files = tmp_path / "b", a.files
    for name in ("all", "sub/dvc.lock", "end/dvc.lock", "dvc.lock") if not locks else ():
        (b.root / name).unlink(missing_ok=True)
    return b


@pytest.mark.parametrize("locks", [True, False], ids=["locks in git", "locks never committed"])
def test_another_machine_computes_nothing(tmp_path: Path, locks: bool) -> None:
    a = machine_a(tmp_path)
    b = machine_b(tmp_path, a, locks=locks)
    assert b.changed()
    Project(b.root).fetch_cached(b.nodes().values())
    outcomes = b.make("end/dvc.yaml:all", pull=True)
    computed = {address for address, outcome in outcomes.items() if outcome.state == "computed"}
    # Without its lock DVC cannot know a run again that depends on nothing, or whose outputs are not cached (a rendered
    # table, which is in git).
    assert computed <= (set() if locks else {"a", "end/dvc.yaml:all"}), outcomes
    assert b.contents() == a.contents()
    assert b.changed() == set()


def test_without_a_remote(tmp_path: Path) -> None:
    project = DvcProject(tmp_path, diamond())
    with pytest.raises(HarnessError, match="no DVC remote; make one: dvc remote add"):
        Project(project.root).fetch_cached(project.nodes().values())
    with pytest.raises(HarnessError, match="no DVC remote"):
        Project(project.root).send_cached(project.nodes().values())
