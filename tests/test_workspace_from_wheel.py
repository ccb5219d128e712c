"""The wheel, installed without its checkout: a workspace in an empty folder, from `harness init` to the report."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


class Elsewhere:
    """A folder outside the checkout, and the command line of the installed wheel."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder, self.package = folder, package
        scripts = f"{package / 'bin'}{os.pathsep}{Path(sys.executable).parent}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")},
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(package),
        }

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def harness(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "harness", *arguments, code=code)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    shutil.copytree(ROOT / "harness", source / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    # The environment's own setuptools where it has one: nothing is then downloaded.
    try:
        import setuptools

        own = ["--no-build-isolation"] if int(setuptools.__version__.split(".")[0]) >= 77 else []
    except ModuleNotFoundError:
        own = []
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *own, "-w", str(made), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and not own:
        pytest.skip(f"no setuptools to build a wheel with: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    package = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(package)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, timeout=300)
    return Elsewhere(tmp_path_factory.mktemp("empty"), package)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for path in (ROOT / "harness").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packed == {path.relative_to(ROOT).as_posix() for path in files}
    assert {"harness/cli/templates/workflow.yml.j2", "harness/tables/own/embedded.yaml"} <= packed


def test_from_an_empty_folder_to_the_report(elsewhere: Elsewhere) -> None:
    folder = elsewhere.folder
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    assert "dvc.yaml" in elsewhere.harness("init")
    elsewhere.harness("new", "method", "my-net", "--task", "jpeg")
    where = ["--task", "jpeg", "--dataset", "embedded-gray", "--level", "10"]
    elsewhere.harness("new", "table", "mine", *where, "--method", "my-net", "--published", "embedded:JPEG")
    who = ["git", "-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    subprocess.run([*who, "add", "."], cwd=folder, check=True)
    subprocess.run([*who, "commit", "-q", "-m", "Mine"], cwd=folder, check=True)
    made = elsewhere.harness("repro", "mine", "--fail-on", "off")
    assert "mine: 2 of 2 numbers measured, 2 published beside them: 2 match" in made
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout
    runs = [json.loads(path.read_text()) for path in folder.glob("work/timing/jpeg/**/*.json")]
    assert runs and {run["revision"] for run in runs} == {head.strip()}
    assert f"next: cd {folder}" not in elsewhere.harness("init")
    elsewhere.harness("report")
    assert (folder / "results/site/index.html").is_file() and (folder / "results/mine.tex").is_file()
    written = [folder / "dvc.yaml", folder / "dvc.lock", *folder.glob("pipelines/**/dvc.*")]
    assert len(written) > 50
    for file in written:
        text = file.read_text()
        assert not re.search(r"""(?:^|[\s'"\[,{])/\w""", text) and str(elsewhere.package) not in text, file
    # Nothing that git would take for a source was left by a run.
    listed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    assert "work/" not in listed and "data/" not in listed


def test_dvc_and_edits_of_the_installed_package(elsewhere: Elsewhere) -> None:
    """Plain DVC finds nothing to do; code that is edited runs what it makes again, and nothing else."""
    said = elsewhere.run(sys.executable, "-m", "dvc", "repro", "mine")
    assert "Running stage 'pipelines/code/dvc.yaml:code'" in said
    assert "Stage 'mine' didn't change" in said and "Running stage 'pipelines/jpeg" not in said
    table = elsewhere.package / "harness/report/render.py"
    table.write_text(table.read_text() + "\n_EDITED = True\n")
    said = elsewhere.harness("repro", "mine", "--verbose")
    assert "Running stage 'mine'" in said and "Running stage 'pipelines/jpeg" not in said
    said = elsewhere.harness("repro", "mine", "--verbose")
    assert "Running stage" not in said
