"""Two runs side by side: what differs, by how much, and whether the images explain it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.repo import Repo
from small_workspace import GROUPS, TABLES

from harness.cli import harness
from harness.errors import HarnessError
from harness.records.rows import read_rows, write_rows
from harness.report.changes import changes_json, changes_text, compare_runs, write_page
from harness.report.render import render
from harness.tables.workspace import Workspace


def copy_of(workspace: Workspace, target: Path) -> Workspace:
    shutil.copytree(workspace.root, target, ignore=shutil.ignore_patterns("site", "data", "restored"))
    return Workspace(target)


@pytest.fixture(scope="module")
def copies(report_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    """Two copies of the workspace, not to be changed; in the second one method gained 0.25 dB on every image."""
    folder = tmp_path_factory.mktemp("copies")
    first, second = (copy_of(report_workspace, folder / name) for name in ("a", "b"))
    group = GROUPS[2]
    path = second.work / "rows" / group.place.with_name(group.place.name + ".csv")
    record, rows = read_rows(path)
    changed = []
    for row in rows:
        gain = 0.25 if row.protocol.startswith("psnr") and row.level == 50 else 0.0
        changed.append(type(row)(row.level, row.draw, row.image, row.protocol, row.value + gain))
    write_rows(path, record, changed)
    for workspace in (first, second):
        for table in TABLES:
            render(workspace, workspace.table(table))
    return first, second


def test_what_changed_is_found_and_nothing_else(copies: tuple[Workspace, Workspace]) -> None:
    first, second = copies
    found = compare_runs(first, str(first.root), str(second.root))
    assert [(c.key.method, c.key.level, c.key.protocol) for c in found.changes] == [("report-smear", 50, "psnr")]
    change = found.changes[0]
    assert change.delta == pytest.approx(0.25) and change.changed_images == 3
    assert change.interval is not None and change.interval.images == 3 and change.interval.excludes_zero
    assert "only 3 images" in change.remark
    assert found.unchanged > 10 and not found.gone and not found.new
    text = changes_text(found)
    assert "1 numbers differ (1 by more than the choice of images)" in text and "+0.25000" in text
    assert "10,000 resamples" in text and "3 of 3 changed" in text
    assert json.loads(changes_json(found))["changes"][0]["delta"] == change.delta
    same = compare_runs(first, str(first.root), str(first.root))
    assert not same.changes and not same.verdicts


def test_rendered_results_alone_are_compared_without_an_interval(copies: tuple[Workspace, Workspace]) -> None:
    first, second = copies
    found = compare_runs(first, str(first.results), str(second.results))
    assert [c.key.method for c in found.changes] == ["report-smear"]
    assert found.changes[0].interval is None and "per-image values" in found.changes[0].remark


def test_verdicts_that_changed_are_listed(copies: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    first, second = copies[0], copy_of(copies[1], tmp_path / "b")
    path = second.results / "report-mine.json"
    cells = json.loads(path.read_text())
    cells[0]["verdict"] = "off"
    del cells[-1]
    path.write_text(json.dumps(cells))
    found = compare_runs(first, str(first.root), str(second.root), ["report-mine"])
    changed = [(v.place.row, v.before and v.before.verdict, v.after and v.after.verdict) for v in found.verdicts]
    assert changed == [("Nobody", "not run", None), ("Noisy", "match", "off")]
    write_page(found, tmp_path / "changes.html")
    page = (tmp_path / "changes.html").read_text()
    assert "Verdicts that changed" in page and "<script>window" not in page


def test_missing_and_infinite_images(copies: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    first, second = copies[0], copy_of(copies[1], tmp_path / "b")
    group = GROUPS[1]
    path = second.work / "rows" / group.place.with_name(group.place.name + ".csv")
    record, rows = read_rows(path)
    dropped = rows[0].image
    write_rows(path, record, [row for row in rows if row.image != dropped])
    found = compare_runs(first, str(first.root), str(second.root))
    mine = [c for c in found.changes if c.key.method == "report-blur"]
    assert mine and all(c.interval and c.interval.images == 2 for c in mine)
    assert all("1 images are in one run only" in c.remark for c in mine)
    missing = second.work / "rows" / GROUPS[0].place.with_name(GROUPS[0].place.name + ".csv")
    missing.unlink()
    missing.with_suffix(".json").unlink()
    # Its rendered numbers are still compared; what no table shows is gone.
    gone = compare_runs(first, str(first.root), str(second.root)).gone
    assert {(key.method, key.protocol) for key in gone} == {("noisy", "ssim-gauss")}


def test_revisions_of_git(copies: tuple[Workspace, Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = copies
    repository = tmp_path / "repository"
    repository.mkdir()

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=repository, check=True, capture_output=True)

    git("init", "-q")
    for source in (first, second):
        for name in ("params.yaml", "methods", "tables", "results"):
            path = source.root / name
            if path.is_dir():
                # With the times of their sources, files of one size may look unchanged to git.
                shutil.copytree(path, repository / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(path, repository / name)
        git("add", "-A")
        git("commit", "-qm", "run")
    monkeypatch.chdir(repository)
    done = CliRunner().invoke(harness, ["report", "--compare", "HEAD~1", "HEAD", "--format", "json"])
    assert done.exit_code == 0, done.output
    changes = json.loads(done.stdout)
    assert [c["key"]["method"] for c in changes["changes"]] == ["report-smear"]
    assert changes["changes"][0]["interval"] is None
    for name in ("no-such-revision", "--help"):
        done = CliRunner().invoke(harness, ["report", "--compare", "HEAD", name])
        assert done.exit_code != 0
    with pytest.raises(HarnessError, match="neither a folder nor a git revision"):
        compare_runs(Workspace(repository), "HEAD", "--output=x")


def test_rows_of_a_revision_come_from_dvc(
    copies: tuple[Workspace, Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    project = Repo.init()
    for source in copies:
        # With the times of their sources, files of one size may look unchanged to git and to DVC.
        for path, name in ((source.root / "work" / "rows", "work/rows"), (source.results, "results")):
            shutil.copytree(path, repository / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
        project.add("work/rows")
        git("add", "-A")
        git("commit", "-qm", "run")
    project.close()
    shutil.rmtree(repository / "work" / "rows")
    found = compare_runs(Workspace(repository), "HEAD~1", "HEAD")
    assert [c.key.method for c in found.changes] == ["report-smear"]
    interval = found.changes[0].interval
    assert interval is not None and interval.images == 3 and found.changes[0].delta == pytest.approx(0.25)
    shutil.rmtree(repository / ".dvc" / "cache")
    found = compare_runs(Workspace(repository), "HEAD~1", "HEAD")
    assert found.changes and found.changes[0].interval is None, found.notes
    assert found.notes and all("not in the cache" in note or "DVC knows no rows" in note for note in found.notes)


def test_a_folder_without_results_is_refused(copies: tuple[Workspace, Workspace], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="holds no results"):
        compare_runs(copies[0], str(tmp_path / "empty"), str(copies[1].root))
    results = tmp_path / "empty" / "x.json"
    cell = json.loads((copies[1].results / "report-mine.json").read_text())[0]
    for text in ('[{"verdict": "match"}]', json.dumps([cell | {"measured": 10**400}]), "[" * 100_000 + "verdict"):
        results.write_text(text)
        with pytest.raises(HarnessError, match="not a table's results"):
            compare_runs(copies[0], str(tmp_path / "empty"), str(copies[1].root))
