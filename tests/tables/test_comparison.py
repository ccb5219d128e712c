"""Rows of a table against one of them: what is compared, what is refused and why, every form of the output."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import harness.methods as registry
from harness.cli import harness
from harness.errors import HarnessError
from harness.methods import Method
from harness.records.cells import Group
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.report.render import latex, render
from harness.tables.collected import results_of
from harness.tables.comparison import Comparison, as_record, compare_rows
from harness.tables.measurements import Measurements
from harness.tables.workspace import Workspace

METHODS = ("base", "better", "alike", "eight", "volume", "half", "perfect", "cut", "lost")
TABLE: dict[str, Any] = {
    "name": "mine",
    "paper": "",
    "title": "Mine",
    "source": "here",
    "parts": [
        {
            "task": "denoise-rgb",
            "degradation": "awgn-float",
            "protocol": {"psnr": "psnr", "ssim": "ssim-gauss"},
            "columns": [
                {"dataset": "kodak24", "level": 50, "metric": "psnr"},
                {"dataset": "kodak24", "level": 50, "metric": "ssim"},
                {"metric": "psnr", "label": "Average"},
            ],
            "rows": [
                {"name": "Base", "method": "base"},
                {"name": "Better & more", "method": "better"},
                {"name": "Alike", "method": "alike"},
                {"name": "Eight bits", "method": "eight", "degradation": "awgn-8bit"},
                {"name": "Other SSIM", "method": "volume", "protocol": {"ssim": "ssim-8x8"}},
                {"name": "Half", "method": "half"},
                {"name": "Perfect", "method": "perfect"},
                {"name": "Cut", "method": "cut", "saving": "truncate"},
                {"name": "Lost", "method": "lost"},
            ],
        }
    ],
}
VERSIONS = {"psnr": "psnr.1", "ssim-gauss": "ssim-gauss.1", "ssim-8x8": "ssim-8x8.1"}


def write(
    workspace: Workspace,
    method: str,
    psnr: dict[tuple[int, str], float],
    degradation: str = "awgn-float",
    saving: str = "round",
    version: int = 1,
) -> None:
    group = Group("denoise-rgb", "kodak24", degradation, method, "whole", saving)
    rows = [
        ImageRow(50, draw, image, VERSIONS[name], value if name == "psnr" else value / 40)
        for (draw, image), value in psnr.items()
        for name in VERSIONS
    ]
    record = MeasuredRecord(group, "none", version, VERSIONS, "c", "", {50: LevelRecord("", {})}, len(psnr))
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, sorted(rows))


def values(shift: float = 0.0, spread: float = 0.05, images: int = 24, seed: int = 0) -> dict[tuple[int, str], float]:
    hard = np.random.default_rng(99).normal(29, 3, 24)
    gain = np.random.default_rng(seed).normal(shift, spread, 24)
    return {(0, f"kodim{i + 1:02}"): float(hard[i] + gain[i]) for i in range(images)}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    known = dict(registry._registry)
    for name in METHODS:
        known[name] = Method(name, ("denoise-rgb",), lambda task, level: None)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(registry, "_registry", known)
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/mine.yaml").write_text(yaml.safe_dump(TABLE))
    made = Workspace(tmp_path)
    write(made, "base", values())
    write(made, "better", values(0.1, seed=1))
    write(made, "alike", values(seed=2))
    write(made, "eight", values(0.2, seed=3), degradation="awgn-8bit")
    write(made, "volume", values(seed=4))
    write(made, "half", values(images=12, seed=5))
    write(made, "perfect", values(seed=6) | {(0, "kodim01"): float("inf")})
    write(made, "cut", values(-0.1, seed=7), saving="truncate")
    monkeypatch.chdir(tmp_path)
    return made


def compare(workspace: Workspace, against: str) -> dict[tuple[str, str], Comparison]:
    table = workspace.table("mine")
    found = compare_rows(table, results_of(workspace, table), Measurements(workspace.work), against)
    return {(c.cell.request.row, c.cell.request.metric): c for c in found if c.cell.request.dataset}


def test_rows_are_compared_image_by_image(workspace: Workspace) -> None:
    found = compare(workspace, "base")
    assert found["Base", "psnr"].outcome == "reference"
    better = found["Better & more", "psnr"]
    differences = np.subtract(list(values(0.1, seed=1).values()), list(values().values()))
    assert better.difference == pytest.approx(differences.mean())
    assert better.low is not None and better.high is not None and better.difference is not None
    assert 0 < better.low < better.difference < better.high
    assert (better.outcome, better.images, better.draws) == ("better", 24, 1)
    assert better.p is not None and better.p < 0.01
    # Between images the values differ by 3 dB: only pairs can see a tenth.
    assert np.std(list(values().values())) > 2
    assert found["Alike", "psnr"].outcome == "not separable"
    assert found["Cut", "psnr"].outcome == "worse"
    assert found["Cut", "psnr"].remark == "saved truncate, and round of 'Base'"
    assert ("Lost", "psnr") not in found


def test_what_differs_in_more_than_the_method_is_refused(workspace: Workspace) -> None:
    found = compare(workspace, "Base")
    assert found["Eight bits", "psnr"].refused == "other inputs: awgn-8bit, and awgn-float of 'Base'"
    assert found["Other SSIM", "ssim"].refused == "other protocols: ssim-8x8, and ssim-gauss of 'Base'"
    assert found["Other SSIM", "psnr"].outcome == "not separable"
    assert found["Half", "psnr"].refused == "other images: 12, and 24 of 'Base', 12 of them in one row only"
    assert "kodim01 has an infinite value" in found["Perfect", "psnr"].refused
    assert {found["Eight bits", "psnr"].outcome, found["Half", "ssim"].outcome} == {"refused"}
    write(workspace, "alike", values(seed=2), version=2)
    assert "other versions of the inputs" in compare(workspace, "Base")["Alike", "psnr"].refused


def test_means_over_sets_and_recorded_numbers_are_refused(workspace: Workspace) -> None:
    table = workspace.table("mine")
    render(workspace, table)
    found = compare_rows(table, results_of(workspace, table), Measurements(workspace.work), "Base")
    average = next(c for c in found if not c.cell.request.dataset and c.cell.request.row == "Alike")
    assert average.refused == "a mean over sets; the sets are compared one by one"
    for path in (workspace.work / "rows").rglob("alike--whole.*"):
        path.unlink()
    refused = compare(workspace, "Base")["Alike", "psnr"].refused
    assert refused.startswith("the values of 'Alike' image by image are not here, only its recorded mean")


def test_few_images_cannot_be_told_apart(workspace: Workspace) -> None:
    write(workspace, "base", values(images=5))
    write(workspace, "better", values(1.0, seed=1, images=5))
    better = compare(workspace, "Base")["Better & more", "psnr"]
    assert (better.p, better.floor, better.outcome) == (0.0625, 0.0625, "not separable")
    assert better.remark == "5 images cannot give a p below 0.0625, however large the difference"
    write(workspace, "base", values(images=1))
    write(workspace, "better", values(images=1))
    assert compare(workspace, "Base")["Better & more", "psnr"].refused.startswith("one image")


def test_noise_draws_of_an_image_are_no_further_images(workspace: Workspace) -> None:
    base, better = values(images=6), values(0.1, seed=1, images=6)
    for row, of_row, change in (("base", base, 0.0), ("better", better, 0.3)):
        further = {(draw, image): value + change * draw for (_, image), value in of_row.items() for draw in (1, 2)}
        write(workspace, row, of_row | further)
    found = compare(workspace, "Base")["Better & more", "psnr"]
    assert (found.images, found.draws, found.floor) == (6, 3, 2**-5)
    first = np.subtract(list(better.values()), list(base.values())).mean()
    assert found.difference == pytest.approx(first + 0.3)
    assert found.remark == "only 6 images; means over 3 noise draws"
    # A draw that some images lack is left out for all.
    write(workspace, "base", base | {(1, "kodim01"): 99.0})
    assert compare(workspace, "Base")["Better & more", "psnr"].difference == pytest.approx(first)


def test_the_result_depends_on_what_is_compared_alone(workspace: Workspace) -> None:
    there = compare(workspace, "Base")["Better & more", "psnr"]
    assert compare(workspace, "base")["Better & more", "psnr"].low == there.low
    back = compare(workspace, "Better & more")["Base", "psnr"]
    assert (back.difference, back.p) == (pytest.approx(-(there.difference or 0)), there.p)
    assert there.low is not None and there.high is not None
    assert (back.low, back.high) == (pytest.approx(-there.high), pytest.approx(-there.low))


def test_the_best_of_a_column(workspace: Workspace) -> None:
    for path in (workspace.work / "rows").rglob("*"):
        if path.name.startswith(("eight", "half", "perfect")):
            path.unlink()
    found = compare(workspace, "best")
    assert found["Better & more", "psnr"].outcome == "reference"
    assert found["Alike", "psnr"].outcome == "worse"
    # The highest SSIM was measured under another protocol than the column's.
    write(workspace, "volume", values(1.0, seed=4))
    found = compare(workspace, "best")
    assert found["Better & more", "ssim"].outcome == "reference"
    assert found["Other SSIM", "ssim"].outcome == "refused"
    assert found["Other SSIM", "psnr"].outcome == "reference"


def test_unknown_and_unmeasured_rows_are_told(workspace: Workspace) -> None:
    with pytest.raises(HarnessError, match=r"unknown row of mine 'bass'.*Base"):
        compare(workspace, "bass")
    with pytest.raises(HarnessError, match="nothing of row 'Lost' of mine was measured"):
        compare(workspace, "lost")


def test_every_form_of_the_command(workspace: Workspace) -> None:
    def run(*arguments: str) -> str:
        answer = CliRunner().invoke(harness, ["diff", "mine", "--against", "Base", *arguments])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    text = run()
    assert "better" in text and "not separable" in text and "other inputs: awgn-8bit" in text
    assert "Each p stands for itself" in " ".join(text.split())
    assert "refused: Half (3 cells): other images: 12" not in text  # a mean over sets has a reason of its own
    assert "refused: Half (2 cells): other images: 12, and 24 of 'Base', 12 of them in one row only\n" in text
    markdown = run("--format", "md")
    assert "| Better & more" in markdown and "\n- refused: Half (2 cells): other images" in markdown
    records = json.loads(run("--format", "json"))
    assert all(record["against"] == "Base" and record["row"] != "Base" for record in records)
    found = {(r["row"], r["metric"], r["dataset"]): r for r in records}
    better = found["Better & more", "psnr", "kodak24"]
    assert better == as_record(compare(workspace, "Base")["Better & more", "psnr"])
    assert better["difference"] == pytest.approx(better["value"] - better["reference_value"])
    assert found["Eight bits", "psnr", "kodak24"]["difference"] is None
    lines = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [line["outcome"] for line in lines] == [record["outcome"] for record in records]
    only = json.loads(run("--format", "json", "--row", "alike", "--dataset", "kodak24"))
    assert {record["row"] for record in only} == {"Alike"}


def test_the_latex_table_marks_what_is_not_separable(workspace: Workspace) -> None:
    table = workspace.table("mine")
    results = results_of(workspace, table)
    plain = latex(table, results)
    assert "dagger" not in plain and "Compared" not in plain
    marked = CliRunner().invoke(harness, ["diff", "mine", "--against", "Base", "--format", "tex"]).stdout
    assert (
        r"Compared with Base, image by image: $\dagger$ not separable (two-sided sign-flip test, $p > 0.05$)" in marked
    )
    assert r"$\ddagger$ not comparable (other inputs, protocol or images, or no values by image)." in marked
    for (row, _), compared in compare(workspace, "Base").items():
        sign = {"Alike": r"$^{\dagger}$", "Eight bits": r"$^{\ddagger}$", "Base": "", "Better & more": ""}.get(row)
        if sign is not None and compared.cell.request.metric == "psnr":
            assert f"& {as_record(compared)['value']:.3f}{sign} " in marked
    other = CliRunner().invoke(harness, ["diff", "mine", "--against", "better & more", "--format", "tex"]).stdout
    assert r"Compared with Better \& more, image by image: $\ddagger$ not comparable" in other
    # Nothing else changes: without the marks and the sentence it is the same table.
    bare = marked.replace(r"$^{\dagger}$", "").replace(r"$^{\ddagger}$", "")
    assert bare[bare.index(r"\label") :] == plain[plain.index(r"\label") :]


def test_the_marked_table_compiles(workspace: Workspace, tmp_path: Path) -> None:
    from tests.report.test_latex import compile_tex

    table = workspace.table("mine")
    compile_tex(tmp_path, latex(table, results_of(workspace, table), list(compare(workspace, "Base").values())))


def test_rows_as_a_parquet_file(workspace: Workspace) -> None:
    import pandas as pd

    runner = CliRunner()
    arguments = ["export", "rows", "--method", "alike", "--format", "parquet"]
    refused = runner.invoke(harness, arguments)
    assert isinstance(refused.exception, HarnessError) and "--out" in str(refused.exception)
    pytest.importorskip("pyarrow")
    assert runner.invoke(harness, [*arguments, "--out", "rows.parquet"]).exit_code == 0
    frame = pd.read_parquet("rows.parquet")
    assert len(frame) == 24 * 3
    assert runner.invoke(harness, ["export", "rows", "--method", "alike", "--out", "rows.csv"]).stdout == ""
    assert pd.read_csv("rows.csv").value.tolist() == frame.value.tolist()


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from harness.cli.main import harness
try:
    harness(["export", "rows", "--format", "parquet", "--out", "rows.parquet"], standalone_mode=False)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_parquet_needs_an_extra_and_says_so(workspace: Workspace) -> None:
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW],
        cwd=workspace.root,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    said = "NotAvailableError pyarrow is not installed; pip install 'restoration-harness[parquet]'"
    assert done.stdout.strip() == said
    assert not Path("rows.parquet").exists()
