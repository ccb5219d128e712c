"""A table file that cannot be read stops what needs it, and nothing that was made for it is lost."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest

from harness.cli.authoring import write_table
from harness.cli.initialising import initialise
from harness.tables.workspace import Workspace


def harness(folder: Path, *arguments: str, fails: bool = False) -> str:
    done = forked.harness(*arguments, cwd=folder)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two tables, both made; then the file of one is broken."""
    folder = tmp_path_factory.mktemp("broken")
    initialise(folder)
    write_table(Workspace(folder), "one", "denoise-gray", ["embedded-gray"], [30], ["nlm"], [])
    write_table(Workspace(folder), "two", "jpeg", ["embedded-gray"], [10], ["jpeg"], [])
    harness(folder, "repro", "one", "two")
    file = folder / "tables/one.yaml"
    file.write_text(file.read_text().replace("level: 30", "levl: 30", 1))
    return folder


WRONG = "one.yaml, line 10 (at $.parts[0].columns[0]): unknown key 'levl'; did you mean 'level'"


@pytest.mark.parametrize(
    "command", [["repro", "one"], ["diff", "one"], ["table", "one"], ["train", "one"], ["pipeline"], ["doctor"]]
)
def test_what_needs_it_is_refused(workspace: Path, command: list[str]) -> None:
    pipelines = {file: file.read_bytes() for file in workspace.glob("**/dvc.yaml")}
    assert WRONG in harness(workspace, *command, fails=True)
    assert pipelines == {file: file.read_bytes() for file in workspace.glob("**/dvc.yaml")}


def test_other_tables_go_on_and_nothing_is_made_twice(workspace: Path) -> None:
    for command in (["diff", "two"], ["tables", "--own"], ["repro", "two"], ["init"]):
        told = harness(workspace, *command)
        assert f"left out: tables/{WRONG}" in told.replace(f"{workspace.resolve()}/", "")
    file = workspace / "tables/one.yaml"
    file.write_text(file.read_text().replace("levl: 30", "level: 30", 1))
    told = harness(workspace, "repro", "one", "--verbose")
    assert "restore@nlm--whole' didn't change" in told and "Stage 'one' didn't change" in told
