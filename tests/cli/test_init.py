"""`harness init` makes a folder a workspace, overwrites nothing, and its pipelines name no place outside it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import harness as command
from harness.cli.initialising import FILES, initialise
from harness.cli.main import NEW
from harness.errors import HarnessError
from harness.methods.fingerprints import PACKAGE
from harness.run.environment import examine
from harness.run.pipeline import pipeline_stages, write_stage_files
from harness.run.reproduction import make_targets
from harness.run.sources import fingerprints, is_own, write_fingerprints
from harness.tables.published import select
from harness.tables.workspace import Workspace

ROOT = PACKAGE.parent


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as the command makes it, in no git."""
    folder = tmp_path_factory.mktemp("fresh")
    initialise(folder)
    return folder


def test_a_second_time_changes_nothing(fresh: Path) -> None:
    before = contents(fresh)
    assert set(FILES) <= set(before) and {"dvc.yaml", ".dvc/config", "pipelines/code/dvc.yaml"} <= set(before)
    done = initialise(fresh)
    assert done.written == () and set(FILES) | {"dvc.yaml", ".dvc/config"} <= set(done.kept)
    assert contents(fresh) == before


def test_what_is_there_is_named_and_left(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    theirs = {
        "README.md": "Ours.\n",
        ".gitignore": "*.o\n",
        "params.yaml": "methods: []\n",
        "dvc.yaml": "stages:\n  theirs:\n    cmd: echo theirs\n",
        "pipelines/theirs/dvc.yaml": "stages:\n  more:\n    cmd: echo more\n",
        ".dvc/config": "[core]\n    no_scm = true\n",
    }
    for name, text in theirs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = CliRunner().invoke(command, ["init", str(tmp_path)]).output
    assert {name: (tmp_path / name).read_text() for name in theirs} == theirs
    kept = next(line for line in said.splitlines() if line.startswith("there already"))
    assert all(name in kept for name in theirs if not name.startswith("pipelines/"))
    # The note is a command; what it adds to a file without a last line end is what was missing.
    (tmp_path / ".gitignore").write_text("*.o\n/data/")
    said += CliRunner().invoke(command, ["init", str(tmp_path)]).output
    printf = [line.partition("add to it: ")[2] for line in said.splitlines() if "add to it: " in line]
    subprocess.run(["sh", "-c", printf[-1]], check=True)
    lines = (tmp_path / ".gitignore").read_text().split()
    assert lines == ["*.o", "/data/", "/work/", "/results/site/", "/submissions/"]
    assert "add to it" not in CliRunner().invoke(command, ["init", str(tmp_path)]).output
    assert "dvc config --unset core.no_scm" in said
    assert "names no folder for methods and tables" in said
    assert f"next: cd {tmp_path}" in said
    # Where the top is theirs, our first table has a file of its own.
    assert (tmp_path / "pipelines/tables/embedded/dvc.yaml").is_file()
    (tmp_path / "pipelines/code/dvc.yaml").write_text("stages:\n  theirs:\n    cmd: echo theirs\n")
    with pytest.raises(HarnessError, match="not written by harness"):
        write_stage_files(Workspace(tmp_path))


def test_dvc_knows_whether_there_is_git(fresh: Path, tmp_path: Path) -> None:
    assert "no_scm = true" in (fresh / ".dvc/config").read_text()
    git(tmp_path, "init", "-q")
    assert initialise(tmp_path).notes == ()
    assert "no_scm" not in (tmp_path / ".dvc/config").read_text()
    (tmp_path / "params.yaml").unlink()
    assert "move the workflow there" in " ".join(initialise(tmp_path / "x/y").notes)
    assert "no_scm" not in (tmp_path / "x/y/.dvc/config").read_text()


def test_refused_where_there_is_a_workspace(fresh: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="lies in the workspace"):
        initialise(fresh / "methods")
    with pytest.raises(HarnessError, match="is a checkout of the project"):
        initialise(ROOT)
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="is no folder"):
        initialise(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_its_pages_and_workflow_name_commands_that_exist(fresh: Path) -> None:
    workflow = yaml.safe_load((fresh / ".github/workflows/tables.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["tables"]["steps"] if "run" in step]
    texts = "\n".join([*steps, *((fresh / name).read_text() for name in FILES if name.endswith(".md"))])
    named = set(re.findall(r"\bharness ((?:new )?[a-z]+)", texts))
    known = {name for name in command.list_commands(None)} | {f"new {kind}" for kind in NEW}  # type: ignore[arg-type]
    assert {"doctor", "repro", "report", "new method", "new table", "check"} <= named <= known


def test_no_pipeline_names_a_place_outside(fresh: Path) -> None:
    files = [fresh / "dvc.yaml", *fresh.glob("pipelines/**/dvc.yaml")]
    assert len(files) > 50
    for file in files:
        text = file.read_text()
        assert str(PACKAGE) not in text and str(fresh) not in text
        assert not re.search(r"""(?:^|[\s'"\[,{])/\w""", text), file
        assert "harness/" not in text, file
    (code,) = pipeline_stages(Workspace(fresh))[PurePosixPath("pipelines/code/dvc.yaml")].values()
    assert code["always_changed"] and "deps" not in code


def test_tables_and_recipes_of_the_package_are_fingerprints(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline_stages(Workspace(fresh))
    assert "work/code/table-embedded.json" in made[PurePosixPath("dvc.yaml")]["embedded"]["deps"]
    found = fingerprints(Workspace(fresh))
    assert {"table-embedded", "recipe-panet-jpeg", "measure", "method-jpeg"} <= found.keys()
    wanted = {dep for stages in made.values() for stage in stages.values() for dep in stage.get("deps", ())}
    assert {Path(dep).stem for dep in wanted if dep.startswith("work/code/")} <= found.keys()
    edited = tmp_path / "edited.yaml"
    edited.write_text("another table")
    monkeypatch.setattr("harness.run.sources.table_file", lambda name: edited)
    changed = fingerprints(Workspace(fresh))
    assert changed["table-embedded"] != found["table-embedded"] and changed["measure"] == found["measure"]


def test_fingerprints_are_written_where_they_differ(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"measure": ["1"], "render": ["2"]}
    monkeypatch.setattr("harness.run.sources.fingerprints", lambda workspace: wanted)
    folder = fresh / "work/code"
    folder.mkdir(parents=True)
    (folder / "method-gone.json").write_text("[]")
    (folder / "render.json").write_text('["2')
    write_fingerprints(Workspace(fresh))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    wanted["render"] = ["3"]
    write_fingerprints(Workspace(fresh))
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert before.keys() == after.keys() == {"measure.json", "render.json"}
    assert before["measure.json"] == after["measure.json"] and before["render.json"] != after["render.json"]


def test_an_installed_plugin_and_its_files_are_known_by_fingerprint(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights beside a plugin in site-packages are at another path on every machine."""
    weights, own = tmp_path / "net.pth", fresh / "methods/own.pth"
    weights.write_bytes(b"1")
    own.write_bytes(b"2")
    workspace = Workspace(fresh)
    known = workspace.methods()["noisy"]
    methods = {"noisy": replace(known, depends=(weights, own))}
    tables = {"embedded": select(workspace.table("embedded"), row="Noisy")}
    monkeypatch.setattr(Workspace, "methods", lambda self: methods)
    monkeypatch.setattr(Workspace, "tables", lambda self: tables)
    stages = pipeline_stages(workspace)[PurePosixPath("pipelines/denoise-rgb/embedded/dvc.yaml")]
    (restore,) = (stage for name, stage in stages.items() if name.startswith("restore"))
    assert "methods/own.pth" in restore["deps"] and not any("net.pth" in dep for dep in restore["deps"])
    before = fingerprints(workspace)["method-noisy"]
    weights.write_bytes(b"3")
    assert fingerprints(workspace)["method-noisy"] != before
    weights.unlink()
    assert "net.pth absent" in fingerprints(workspace)["method-noisy"]


def test_an_environment_in_the_workspace_is_none_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / ".venv/lib/site-packages"
    monkeypatch.setattr("harness.run.sources.sysconfig.get_path", lambda kind: str(installed))
    assert is_own(tmp_path, tmp_path / "methods/mine.py")
    assert not is_own(tmp_path, installed / "plugin.py") and not is_own(tmp_path, Path("/elsewhere/plugin.py"))


def test_own_tables_are_at_the_top(tmp_path: Path) -> None:
    """A bare `dvc repro` makes them."""
    initialise(tmp_path)
    (tmp_path / "tables/mine.yaml").write_text(
        (PACKAGE / "tables/own/embedded.yaml").read_text().replace("name: embedded", "name: mine", 1)
    )
    made = pipeline_stages(Workspace(tmp_path))
    assert list(made[PurePosixPath("dvc.yaml")]) == ["embedded", "mine"]
    assert made[PurePosixPath("dvc.yaml")]["mine"]["deps"][0] == "tables/mine.yaml"
    assert PurePosixPath("pipelines/tables/panet-table3/dvc.yaml") in made


def test_without_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs none works; what needs one names the command that makes it."""
    import shutil

    from harness.assets.datasets import fetch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "elsewhere"))
    fetch("embedded", tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere/datasets/embedded", tmp_path / "mine")
    runner = CliRunner()
    where = ["--task", "denoise-rgb", "--dataset", "embedded", "--level", "50", "--protocols", "psnr"]
    measured = runner.invoke(command, ["measure", "--restored", "mine", *where], catch_exceptions=False)
    assert measured.exit_code == 0 and "mean" in measured.output and "inf" in measured.output
    listed = runner.invoke(command, ["tables"], catch_exceptions=False).output
    assert "in its repository and not in the package" in listed
    assert "bicubic" in runner.invoke(command, ["list", "methods", "--task", "sr"], catch_exceptions=False).output
    found = {finding.what: finding for finding in examine(Workspace.find(needed=False))}
    assert "`harness init`" in found["workspace"].detail and found["harness"].state == "fine" and "data" not in found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "mine"]
    with pytest.raises(HarnessError, match="no workspace; `harness init` makes one"):
        Workspace.find()
    with pytest.raises(HarnessError, match="run `harness init`"):
        make_targets(Workspace(tmp_path), {}, None)  # type: ignore[arg-type]


def test_doctor_in_a_workspace(fresh: Path) -> None:
    found = {finding.what: finding for finding in examine(Workspace(fresh))}
    assert found["harness"].state == "fine" and "installed in" in found["harness"].detail
    assert found["pipelines"].state == "fine" and found["git"].state == "note"


def test_a_checkout_whose_code_does_not_run_is_wrong(tmp_path: Path) -> None:
    """DVC would track the code beside the pipelines."""
    for name in ("params.yaml", "harness/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {finding.what: finding for finding in examine(Workspace(tmp_path))}
    assert found["harness"].state == "wrong" and "pip install -e ." in found["harness"].detail
    with pytest.raises(HarnessError, match="install this checkout"):
        pipeline_stages(Workspace(tmp_path))
