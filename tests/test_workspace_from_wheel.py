"""The wheel, installed without its checkout: a workspace in an empty folder, from `harness init` to the report."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"


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


def fenced(section: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a section: language, text, and the last name of a file in the sentence before."""
    found = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
        before = section[: match.start()].rpartition("```")[2]
        names = re.findall(r"`([\w./-]+\.(?:toml|py|tex))`", before)
        found.append((match[1], match[2], names[-1] if names else ""))
    return found


def test_a_paper_of_ones_own_in_ten_commands(wheel: Path, tmp_path: Path) -> None:
    """The tutorial's section, read from the page: its files are written, its commands run as they stand there."""
    pytest.importorskip("setuptools")
    if importlib.util.find_spec("pyiqa") is None:
        pytest.skip("pyiqa (extra 'iqa') is missing")
    section = PAGE.read_text(encoding="utf-8").split("\n### Your own paper, in ten commands\n")[1].split("\n## ")[0]
    blocks = fenced(section)
    commands = [line for language, text, _ in blocks if language == "sh" for line in text.splitlines()]
    assert len(commands) <= 10
    there = Elsewhere(tmp_path / "empty", tmp_path / "installed")
    there.folder.mkdir()
    # What the page's `pip` finds: the wheel, no index, and what this environment has already.
    there.environment |= {
        **dict.fromkeys(("PIP_NO_INDEX", "PIP_NO_DEPS", "PIP_DISABLE_PIP_VERSION_CHECK"), "1"),
        **{"PIP_FIND_LINKS": str(wheel.parent), "PIP_TARGET": str(there.package), "PIP_NO_BUILD_ISOLATION": "0"},
    }
    said = {}
    for language, text, name in blocks:
        if language != "sh":
            file = there.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for command in text.splitlines() if language == "sh" else ():
            if command.startswith("pip install ./"):
                parameters = save_checkpoint(there)
            if not command.startswith("pdflatex") or shutil.which("pdflatex"):
                said[command.split()[0], len(said)] = there.run("bash", "-c", command)
    cells = json.loads((there.folder / "results/mine.json").read_text())
    own = {(c["dataset"], c["metric"]): c for c in cells if c["row"] == "MyNet"}
    assert all(own["embedded-gray", metric]["verdict"] == "measured" for metric in ("psnr", "ssim", "ms-ssim"))
    assert list(own["embedded-gray", "psnr"]["own_files"]) == ["my_net.pth"]
    assert {c["row"] for c in cells if c["published"]} == {"DnCNN (panet-table3)", "RNAN (panet-table3)"}
    twice = json.loads((there.folder / "results/twice.json").read_text())
    assert {(c["degradation"], c["verdict"]) for c in twice} == {("double-jpeg", "measured")}
    table = (there.folder / "results/mine--paper.tex").read_text()
    value = Decimal(own["embedded-gray", "psnr"]["measured"]).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert str(value) in table and f"{round(parameters, -3) // 1000}K" in table and "29.40" in table
    assert (there.folder / "paper.pdf").is_file() or shutil.which("pdflatex") is None
    (again,) = [text for (program, _), text in said.items() if program == "dvc"]
    assert "Stage 'mine' didn't change" in again and "Running stage 'pipelines/jpeg" not in again


def save_checkpoint(there: Elsewhere) -> int:
    """What the student's training would have left, in the way that the page says; the number of parameters."""
    save = (
        "import sys, torch; sys.path.insert(0, 'my-net'); from my_net.network import MyNet; torch.manual_seed(0);"
        " network = MyNet(); [p.data.mul_(0.1) for p in network.parameters()];"
    )
    (line,) = re.findall(r"`(torch\.save\(.+?\))`", PAGE.read_text(encoding="utf-8"))
    return int(there.run(sys.executable, "-c", f"{save} {line}; print(sum(map(torch.numel, network.parameters())))"))
