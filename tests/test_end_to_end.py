"""A table through DVC in a fresh copy of the project, as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import forked
import pytest
import yaml

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent


class Checkout:
    """A copy of the project without data, and its command line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")},
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root),
        }

    def run(self, *command: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment | environment, capture_output=True, text=True, timeout=300
        )
        if code is not None:
            assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def harness(self, *arguments: str, code: int | None = 0, **environment: str) -> str:
        done = self.run(sys.executable, "-m", "harness", *arguments, code=code, **environment)
        return done.stdout if code == 0 else done.stdout + done.stderr

    def read(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command that only reads, which does not need the copy's own code."""
        done = forked.harness(*arguments, cwd=self.root, env=self.environment)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done.stdout if not code else done.stdout + done.stderr

    def diff(self, table: str, *arguments: str) -> list[dict[str, object]]:
        cells: list[dict[str, object]] = json.loads(self.read("diff", table, "--format", "json", *arguments, code=None))
        return cells


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    root = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    copy = Checkout(root)
    copy.harness("repro", "embedded")
    return copy


def test_the_embedded_table_is_reproduced(checkout: Checkout) -> None:
    cells = checkout.diff("embedded")
    assert Counter(cell["verdict"] for cell in cells) == {"match": 24, "trained": 2, "not run": 6}
    learned = {cell["metric"]: cell for cell in cells if cell["verdict"] == "trained"}
    assert str(learned["psnr"]["origin"]).startswith("trained: 62 % of this project's own recipe's iterations")
    assert float(str(learned["psnr"]["measured"])) > 25
    for suffix in ("md", "csv", "json", "tex"):
        assert (checkout.root / f"results/embedded.{suffix}").stat().st_size > 500


def test_a_second_run_does_nothing(checkout: Checkout) -> None:
    computed = [checkout.root / "work" / name for name in ("inputs", "restored", "rows", "timing")]
    before = {p: p.stat().st_mtime_ns for folder in computed for p in folder.rglob("*") if p.is_file()}
    assert before
    said = checkout.harness("repro", "embedded", "--verbose")
    assert "Running stage 'measure" not in said
    assert before == {p: p.stat().st_mtime_ns for folder in computed for p in folder.rglob("*") if p.is_file()}


FROM_PYTHON = """
import doctest, harness, harness.run.reproduction
print(doctest.testmod(harness.run.reproduction))
made = harness.repro("embedded", root="tests", row="Noisy")
print({cell.verdict for cell in made["embedded"]})
rows = harness.rows("tests")
print(round(rows[(rows.method == "noisy") & (rows.level == 10) & (rows.protocol == "psnr")].value.mean(), 2))
try:
    harness.repro()
except harness.errors.HarnessError as error:
    print(error)
"""


def test_python_makes_it_too(checkout: Checkout) -> None:
    """The example of `repro` runs, and so does a folder below the workspace; the rows behind its cells are there."""
    rendered = (checkout.root / "results/embedded.json").read_bytes()
    said = checkout.run(sys.executable, "-c", FROM_PYTHON).stdout
    told = ["TestResults(failed=0, attempted=3)", "{'match'}", "28.38", "no table is named; harness tables lists them"]
    assert said.splitlines() == told
    assert (checkout.root / "results/embedded.json").read_bytes() == rendered


def test_plain_dvc_makes_it_too(checkout: Checkout) -> None:
    (checkout.root / "results/embedded.md").unlink()
    said = checkout.run("dvc", "repro").stdout
    assert "Running stage 'embedded'" in said
    assert (checkout.root / "results/embedded.md").is_file()


def test_editing_the_report_measures_nothing_again(checkout: Checkout) -> None:
    for name in ("harness/report/grid.py", "harness/tables/verdicts.py"):
        path = checkout.root / name
        path.write_text(path.read_text() + "\nADDED = 1\n")
    (checkout.root / "harness/report/templates/table.md.j2").open("a").write("{# added #}\n")
    said = checkout.harness("repro", "embedded", "--verbose")
    assert "Running stage 'embedded'" in said
    assert "Running stage 'pipelines/jpeg/embedded-gray/dvc.yaml:measure" not in said
    assert "restore@jpeg--whole' didn't change" in said


def test_a_repaired_metric_restores_nothing_again(checkout: Checkout) -> None:
    """The measure stages run, the restore stages do not; mending a docstring runs neither."""
    path = checkout.root / "harness/metrics/structural.py"
    path.write_text(path.read_text() + "\nADDED = 1\n")
    said = checkout.harness("repro", "embedded", "--verbose")
    assert "Running stage 'pipelines/jpeg/embedded-gray/dvc.yaml:measure@jpeg--whole'" in said
    assert "restore@jpeg--whole' didn't change" in said
    path.write_text(path.read_text().replace('"""', '"""A mended sentence. ', 1) + "# a comment\n")
    said = checkout.harness("repro", "embedded", "--verbose")
    assert "measure@jpeg--whole' didn't change" in said


def test_results_stand_when_a_sample_of_them_does(checkout: Checkout) -> None:
    """Edited code that restores the same pixels keeps the rest; code that does not is found out."""
    # A table of the JPEG rows alone: the others would take the same way, a network among them.
    table = yaml.safe_load((checkout.root / "harness/tables/own/embedded.yaml").read_text())
    parts = [part for part in table["parts"] if part["task"] == "jpeg"]
    (checkout.root / "tables").mkdir(exist_ok=True)
    (checkout.root / "tables/jpegs.yaml").write_text(yaml.safe_dump(table | {"name": "jpegs", "parts": parts}))
    params = checkout.root / "params.yaml"
    params.write_text(params.read_text().replace("tables: []", "tables: [tables]"))
    path = checkout.root / "harness/run/apply.py"
    text = path.read_text()
    path.write_text(text + "\nADDED = 1\n")
    folder = checkout.root / "work/restored/jpeg/embedded-gray/jpeg-y8/jpeg--whole"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.png")}
    said = checkout.harness("pipeline", "revalidate", "jpegs", "--sample", "1")
    assert "kept: jpeg/embedded-gray/jpeg-y8/jpeg--whole: 4 of" in said
    said = checkout.harness("repro", "jpegs", "--verbose")
    assert "restore@jpeg--whole' didn't change" in said
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*.png")}
    timing = checkout.root / "work/timing/jpeg/embedded-gray/jpeg-y8/jpeg--whole.json"
    assert json.loads(timing.read_text())["confirmed"][-1]["images"] == 4
    assert "nothing is outdated" in checkout.harness("pipeline", "revalidate", "jpegs")

    # A revalidation that is ended before it tells DVC has written its record already.
    record = json.loads(timing.read_text())
    timing.unlink()
    timing.write_text(json.dumps(record | {"confirmed": record["confirmed"] * 2}))
    path.write_text(text + "\nADDED = 2\n")
    said = checkout.harness("pipeline", "revalidate", "jpegs", "--sample", "1")
    assert "kept: jpeg/embedded-gray/jpeg-y8/jpeg--whole: 4 of" in said

    edited = text.replace("array.astype(np.float64) / 255)) * 255", "array / 255)) * 250")
    assert edited != text
    path.write_text(edited)
    said = checkout.harness("pipeline", "revalidate", "jpegs", code=1)
    assert "differs: jpeg/embedded-gray/jpeg-y8/jpeg--whole: 4 of 4 images, such as" in said
    path.write_text(text)
    (checkout.root / "tables/jpegs.yaml").unlink()
    checkout.harness("repro", "embedded")


def test_without_data_cells_are_not_run_and_say_why(checkout: Checkout) -> None:
    said = checkout.harness("repro", "panet-table3", "--row", "JPEG", "--dataset", "classic5", code=1)
    assert "nothing of panet-table3 could be compared: it prints 8 numbers" in said
    cells = checkout.diff("panet-table3", "--row", "JPEG", "--dataset", "classic5")
    assert len(cells) == 8
    assert {cell["verdict"] for cell in cells} == {"not run"}
    assert all("classic5" in str(cell["reason"]) for cell in cells)


def test_data_that_appears_is_used(checkout: Checkout, mirror: Path) -> None:
    """The same command after a mirror has come: nothing has to be deleted or forced."""
    checkout.harness("repro", "panet-table3", "--row", "JPEG", "--dataset", "classic5", HARNESS_MIRROR=str(mirror))
    cells = checkout.diff("panet-table3", "--row", "JPEG", "--dataset", "classic5")
    assert [cell["verdict"] for cell in cells] == ["match"] * 8


def test_two_tables_share_what_they_have_in_common(checkout: Checkout, mirror: Path) -> None:
    """The JPEG rows of both papers are one row on one set: no stage runs twice, both tables are printed."""
    tables, cells = ("panet-table3", "rnan-table5"), ("--row", "JPEG", "--dataset", "classic5")
    said = checkout.harness("repro", *tables, *cells, "--verbose", HARNESS_MIRROR=str(mirror))
    assert said.count("pipelines/jpeg/classic5/dvc.yaml:restore@jpeg--whole'") == 1
    assert all(f"{name}: " in said for name in tables)
    said = checkout.harness("repro", "panet-table3", "rnan-tabel5", code=2)
    assert "did you mean 'rnan-table5'" in said


def test_interrupting_loses_nothing(checkout: Checkout, mirror: Path) -> None:
    """Kill a run while it restores; the finished images are taken up by the next run, which completes."""
    environment = checkout.environment | {"HARNESS_MIRROR": str(mirror)}
    command = [sys.executable, "-m", "harness", "repro", "panet-table3", "--row", "JPEG", "--dataset", "live1"]
    process = subprocess.Popen(
        command, cwd=checkout.root, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    partial = checkout.root / "work/partial/jpeg/live1"
    deadline = time.monotonic() + 120
    while not list(partial.rglob("*.png")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {"/".join(path.parts[-3:]) for path in partial.rglob("*.png")}
    assert finished, "the run was killed before it had restored an image, or after it had finished"
    checkout.harness(*command[3:], HARNESS_MIRROR=str(mirror))
    cells = checkout.diff("panet-table3", "--row", "JPEG", "--dataset", "live1")
    assert [cell["verdict"] for cell in cells] == ["match"] * 8
    timing = json.loads((checkout.root / "work/timing/jpeg/live1/jpeg-y8/jpeg--whole.json").read_text())
    assert {name for name, seconds in timing["seconds"].items() if seconds == 0} == finished
    # They stay for a run with a further level, and for nothing else.
    assert len(list(partial.rglob("*.png"))) == len(timing["seconds"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("repro", "panet-tabel3"), 2, "unknown table 'panet-tabel3'; did you mean 'panet-table3'"),
        (("dif", "panet-table3"), 2, "unknown command 'dif'; did you mean 'diff'"),
        (("diff", "panet-table3", "--row", "JPG"), 2, "unknown row of panet-table3 'JPG'; did you mean 'JPEG'"),
        (("diff", "panet-table3", "--dataset", "live"), 2, "did you mean 'live1'"),
        (("diff",), 2, "Missing argument"),
        (("stage", "restore", "--levels", "ten"), 2, "not a list of whole numbers"),
        (("measure", "--task", "jpg"), 2, "Missing option"),
    ],
)
def test_mistakes(checkout: Checkout, arguments: tuple[str, ...], code: int, said: str) -> None:
    answer = checkout.read(*arguments, code=code)
    assert said in answer
    assert "Traceback" not in answer


def test_outside_a_project(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "diff", "embedded"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "no params.yaml here or above" in done.stderr and "`harness init`" in done.stderr


def test_a_damaged_restored_image_is_named(checkout: Checkout) -> None:
    folder = checkout.root / "work/restored/jpeg/embedded-gray/jpeg-y8/jpeg--whole"
    image = next(folder.rglob("*.png"))
    kept = image.read_bytes()
    where = ["--task", "jpeg", "--dataset", "embedded-gray", "--degradation", "jpeg-y8"]
    how = ["--method", "jpeg", "--policy", "whole", "--protocols", "psnr,ssim-gauss,ssim-8x8"]
    command = ["stage", "measure", *where, *how]
    os.chmod(image, 0o644)
    try:
        image.write_bytes(kept[: len(kept) // 2])
        assert "not a readable image" in checkout.harness(*command, code=2)
        image.unlink()
        assert f"{image.name}: no such image" in checkout.harness(*command, code=2)
    finally:
        image.write_bytes(kept)
    checkout.harness(*command)


PLUGIN = """
import numpy as np
from harness.methods import method


@method("halfway", tasks=["jpeg"], title="Halfway <b>", paper="Doe et al., 2026", on="array")
def build(task, level):
    return lambda image: (image + image.mean()) / 2
"""


def test_an_installed_package_brings_a_method(checkout: Checkout, tmp_path: Path) -> None:
    """A package from elsewhere, installed with pip: in the list, through DVC into a table, and in the diff."""
    package = tmp_path / "package"
    (package / "halfway").mkdir(parents=True)
    (package / "halfway/__init__.py").write_text(PLUGIN)
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "halfway"\nversion = "1"\n'
        '[project.entry-points."harness.methods"]\nhalfway = "halfway"\n'
    )
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    checkout.run(*pip, str(package))
    path = {"PYTHONPATH": f"{checkout.root}{os.pathsep}{site}"}
    assert "halfway" in checkout.harness("list", "methods", **path)
    checkout.harness("check", "halfway", **path)
    new = ["new", "table", "mine", "--task", "jpeg", "--dataset", "embedded-gray", "--level", "10"]
    checkout.harness(*new, "--method", "halfway", "--method", "jpeg", "--published", "embedded:JPEG", **path)
    checkout.harness("repro", "mine", **path)
    diff = checkout.harness("diff", "mine", "--format", "json", **path)
    rows = {cell["row"]: cell for cell in json.loads(diff) if cell["metric"] == "psnr"}
    assert rows["JPEG (embedded)"]["verdict"] == "match"
    assert rows["JPEG"]["measured"] == rows["JPEG (embedded)"]["measured"]
    assert 5 < rows["Halfway <b>"]["measured"] < 25
    assert "<b>" not in (checkout.root / "results/mine.md").read_text()
    # An edit of the plugin makes its cells anew, and no others.
    module = site / "halfway/__init__.py"
    module.write_text(PLUGIN.replace("/ 2", "/ 2 + 0.1"))
    said = checkout.harness("repro", "mine", "--verbose", **path)
    assert "Running stage 'pipelines/jpeg/embedded-gray/dvc.yaml:restore@halfway--whole'" in said
    assert "dvc.yaml:restore@jpeg--whole' didn't change" in said


def test_a_folder_of_images_is_a_method(checkout: Checkout) -> None:
    checkout.harness("new", "method", "my-images", "--task", "jpeg", "--on", "images")
    folder = checkout.root / "methods/my_images/embedded-gray/20"
    folder.mkdir(parents=True)
    restored = checkout.root / "work/restored/jpeg/embedded-gray/jpeg-y8/jpeg--whole/20/draw0"
    shutil.copy(restored / "camera.png", folder / "camera.png")
    new = ["new", "table", "images", "--task", "jpeg", "--dataset", "embedded-gray", "--level", "20"]
    checkout.harness(*new, "--method", "my-images", "--published", "embedded:JPEG")
    checkout.harness("repro", "images")
    values = {(c["row"], c["metric"]): c["measured"] for c in checkout.diff("images")}
    for metric in ("psnr", "ssim"):
        assert values["my-images", metric] == values["JPEG (embedded)", metric]
    # Another image at the same place is noticed.
    shutil.copy(restored.parent.parent / "10/draw0/camera.png", folder / "camera.png")
    checkout.harness("repro", "images")
    cells = {(c["row"], c["metric"]): c["measured"] for c in checkout.diff("images")}
    assert cells["my-images", "psnr"] < values["my-images", "psnr"]


def test_images_of_ones_own_are_measured(checkout: Checkout, tmp_path: Path) -> None:
    restored = checkout.root / "work/restored/jpeg/embedded-gray/jpeg-y8/jpeg--whole/10/draw0/camera.png"
    shutil.copy(restored, tmp_path / "camera.png")
    where = ["measure", "--restored", str(tmp_path), "--task", "jpeg", "--dataset", "embedded-gray", "--level"]
    said = checkout.read(*where, "10")
    measured = {c["metric"]: c["measured"] for c in checkout.diff("embedded", "--row", "JPEG") if c["level"] == 10}
    assert f"{measured['psnr']:.5f}" in said
    assert "give one with --level" in checkout.read(*where, "15", code=2)
    (tmp_path / "camera.png").rename(tmp_path / "photograph.png")
    assert "no restored image for 'camera'" in checkout.read(*where, "10", code=2)
