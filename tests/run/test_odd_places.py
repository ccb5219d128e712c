"""Where a project lies, what it prints to, and what its parameters leave out: nothing of that ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import harness
from harness.errors import HarnessError
from harness.run.project import Project
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]

PLUGIN = """
from harness.methods import method


@method("weighted", tasks=["jpeg"], depends=["methods/weights.txt"])
def build(task, level):
    return lambda batch: batch
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("methods: [methods]\n")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/weighted.py").write_text(PLUGIN)
    (tmp_path / "methods/weights.txt").write_text("1")
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_project_without_git(folder: Path) -> None:
    """A checkout that was downloaded as an archive."""
    assert Project(folder).changed([]) == set()


@pytest.mark.parametrize("name", ["data", "work", "results"])
def test_a_folder_that_is_a_link(folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / name).symlink_to(tmp_path_factory.mktemp("disk"), target_is_directory=True)
    with pytest.raises(HarnessError, match=f"{name}: is a link, and DVC records nothing that lies outside of git"):
        Project(folder)


def test_what_a_method_depends_on_lies_in_the_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the folder where the command is run."""
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    workspace = Workspace.find()
    wanted = (folder / "methods/weights.txt",)
    assert workspace.method("weighted").depends == wanted
    assert workspace.methods()["weighted"].depends == wanted


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n", "{}  # nothing yet\n"])
def test_parameters_that_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert Workspace.find().params.methods == ()
    made = CliRunner().invoke(harness, ["new", "method", "mine", "--task", "jpeg"])
    assert made.exit_code == 0, made.exception
    assert Workspace(tmp_path).params.methods == ("methods",)


@pytest.mark.parametrize(
    ("encoding", "command"), [("ascii", ["table", "panet-table3"]), ("latin-1", ["report", "--summary"])]
)
def test_streams_of_few_letters(encoding: str, command: list[str]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-m", "harness", *command], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert b"panet-table3" in done.stdout


@pytest.mark.parametrize(
    "line", ["table panet-table3 >&-", "diff panet-table3 --format json >&-", "report badge >&- 2>&-"]
)
def test_closed_streams(line: str) -> None:
    line = f"{sys.executable} -m harness {line}"
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
