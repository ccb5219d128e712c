"""Metrics of plugins: measured, known by their code, and with their direction in marks and comparisons."""

from __future__ import annotations

import json
import re
from pathlib import Path

import forked
import msgspec
import numpy as np
import pytest

import harness
from harness.errors import HarnessError, InvalidArgumentError, NotAvailableError
from harness.methods.fingerprints import _body, _code_hash, _syntax, metric_facts
from harness.protocols import protocol
from harness.protocols.own import OWN_METRICS, better_of
from harness.records.rows import WHOLE_SET, read_rows
from harness.report.site.tables import measured_marks
from harness.tables.collected import place_of
from harness.tables.diff import CellResult
from harness.tables.published import CellNote
from harness.tables.requests import Request
from harness.tables.verdicts import Judgement
from harness.tables.workspace import Workspace

PLUGIN = """from pathlib import Path
import harness

@harness.metric("mean-error", version=1, better="lower", range=(0, 255), title="MAE")
def mean_error(reference, restored):
    Path({log!r}).open("a").write("x")
    return abs(reference.astype(float) - restored).mean() * {factor}

@harness.metric("colour-gap", version=1, better="lower", of="set")
def colour_gap(pairs):
    gaps = [reference.mean() - restored.mean() for reference, restored in pairs]
    return abs(sum(gaps) / len(gaps))
"""

METHOD = """import harness
@harness.method("{name}", tasks=["demosaic"], on="array")
def build(task, level):
    def restore(image):
        return image * {gain} + 0.5 * (1 - {gain})
    return restore
"""

TABLE = """name: mine
paper: ''
title: own metrics
source: made here
parts:
- task: demosaic
  columns:
  - {dataset: embedded, metric: psnr}
  - {dataset: embedded, metric: mean-error}
  - {dataset: embedded, metric: colour-gap}
  rows:
  - {name: plain, method: plain}
  - {name: pale, method: pale}
  - {name: grey, method: grey}
"""


def test_a_protocol_is_made_of_an_own_metric(_definitions_forgotten: None) -> None:
    @harness.metric("mean-error", version=3, better="lower", unit="levels", title="MAE")
    def mean_error(reference, restored):
        return np.abs(reference.astype(float) - restored).mean()

    one = np.zeros((12, 12, 3), np.uint8)
    other = one.copy()
    other[0] = 60
    assert harness.measure(one, other, "mean-error") == 5
    assert harness.measure(one, other, "mean-error-crop", scale=2) == 0
    found = protocol("mean-error-y-crop+6")
    assert (found.version, found.unit, found.better, found.family) == (
        "mean-error.3-y.1-crop+6.1",
        "levels",
        "lower",
        "mean-error",
    )
    assert found.describe().startswith("MAE in levels (lower is better); of the unrounded MATLAB luma")
    assert better_of("mean-error") == "lower" and better_of("psnr") == "higher"
    with pytest.raises(InvalidArgumentError, match="pooled"):
        protocol("mean-error-pooled")


def test_a_metric_may_write_into_its_arrays(_definitions_forgotten: None) -> None:
    @harness.metric("greedy", version=1, better="lower", reference=False, luma=False, crop=False)
    def greedy(restored):
        restored[:] = 7
        return restored.mean()

    one = np.full((9, 9), 3, np.uint8)
    assert harness.measure(one, one, "greedy") == 7 and one.max() == 3
    with pytest.raises(InvalidArgumentError, match="no luma"):
        protocol("greedy-y")
    with pytest.raises(InvalidArgumentError, match="no border"):
        protocol("greedy-crop")


@pytest.mark.parametrize("name", ["psnr", "ssim-mine", "my-y", "my-crop4", "pooled", "seconds", "My", "../x"])
def test_names_that_mean_something_else_are_refused(name: str, _definitions_forgotten: None) -> None:
    with pytest.raises(HarnessError):
        harness.metric(name, version=1, better="lower")(lambda a, b: 0.0)
    assert name not in OWN_METRICS


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (lambda a, b: 1 / 0, HarnessError, "ZeroDivisionError"),
        (lambda a, b: None, HarnessError, "not a number"),
        (lambda a, b: np.ones(3), HarnessError, "not a number"),
        (lambda a, b: float("nan"), HarnessError, "NaN"),
        (lambda a, b: __import__("not_there_at_all"), NotAvailableError, "not_there_at_all"),
    ],
)
def test_a_metric_that_fails_says_so(function, kind, text: str, _definitions_forgotten: None) -> None:
    harness.metric("fails", version=1, better="lower")(function)
    one = np.zeros((8, 8), np.uint8)
    with pytest.raises(kind, match=text):
        harness.measure(one, one, "fails")


def project(folder: Path, log: Path, factor: int = 1) -> Workspace:
    for name in ("plugins", "tables", "methods"):
        (folder / name).mkdir(exist_ok=True, parents=True)
    (folder / "params.yaml").write_text("methods: [methods]\nplugins: [plugins]\ntables: [tables]\n")
    (folder / "plugins" / "mine.py").write_text(PLUGIN.format(log=str(log), factor=factor))
    return Workspace(folder)


def test_a_metric_is_known_by_its_own_file(tmp_path: Path) -> None:
    facts = []
    for factor in (1, 2):
        workspace = project(tmp_path, tmp_path / "log", factor)
        workspace.define()
        assert OWN_METRICS.source("mean-error") == workspace.root / "plugins" / "mine.py"
        for cached in (_code_hash, _body, _syntax):
            cached.cache_clear()
        facts.append(metric_facts(OWN_METRICS["mean-error"])["code"])
    Workspace(tmp_path / "plugins").define()
    assert "mean-error" not in OWN_METRICS
    assert facts[0] != facts[1]


def run(folder: Path, *arguments: str) -> str:
    done = forked.harness(*arguments, cwd=folder)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def file_times(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*.png")}


def test_a_table_with_own_metrics(tmp_path: Path) -> None:
    folder, log = tmp_path / "lab", tmp_path / "log"
    run(tmp_path, "init", "lab")
    project(folder, log)
    for name, gain in {"plain": 1.0, "pale": 0.5, "grey": 0.1}.items():
        (folder / "methods" / f"{name}.py").write_text(METHOD.format(name=name, gain=gain))
    (folder / "tables" / "mine.yaml").write_text(TABLE)
    run(folder, "repro", "mine")
    cells = json.loads((folder / "results" / "mine.json").read_text())
    values = {(cell["row"], cell["metric"]): cell for cell in cells}
    assert {cell["verdict"] for cell in cells} == {"measured"}, cells
    assert values["plain", "mean-error"]["protocol_version"] == "mean-error.1"
    assert values["plain", "colour-gap"]["images"] == values["plain", "psnr"]["images"] > 1
    columns = {m: {r: values[r, m]["measured"] for r in ("plain", "pale", "grey")} for m in ("psnr", "mean-error")}
    compared = json.loads(run(folder, "diff", "mine", "--against", "best", "--format", "json"))
    references = {c["metric"]: c["against"] for c in compared}
    assert references["psnr"] == max(columns["psnr"], key=columns["psnr"].__getitem__)
    assert references["mean-error"] == min(columns["mean-error"], key=columns["mean-error"].__getitem__)
    refused = [c["refused"] for c in compared if c["metric"] == "colour-gap" and c["outcome"] == "refused"]
    assert refused and all("not per image" in text for text in refused)
    file = next((folder / "work" / "rows").rglob("*pale*.csv"))
    record, rows = read_rows(file)
    assert {row.protocol for row in rows if row.image == WHOLE_SET} == {"colour-gap.1"}
    assert "code" in record.made_with["mean-error"]
    kept = len(list((folder / "work" / "partial" / "measured").rglob("*.json")))
    before, restored = len(log.read_text()), file_times(folder / "work" / "restored")
    project(folder, log, factor=2)
    run(folder, "repro", "mine")
    assert len(log.read_text()) == 2 * before
    # Values of the metric as it was before are gone.
    assert len(list((folder / "work" / "partial" / "measured").rglob("*.json"))) == kept > 0
    assert file_times(folder / "work" / "restored") == restored
    again, rows_again = read_rows(file)
    assert again.made_with["mean-error"] != record.made_with["mean-error"]
    first = {(r.image, r.protocol): r.value for r in rows}
    for row in rows_again:
        factor = 2 if row.protocol == "mean-error.1" else 1
        assert row.value == pytest.approx(first[row.image, row.protocol] * factor)
    # A kept value is taken up, and measured again where a digit of it has changed on the disk.
    of = record.group
    where = ("--task", of.task, "--dataset", of.dataset, "--degradation", of.degradation, "--policy", of.policy)
    measure = ("stage", "measure", *where, "--method", of.method, "--protocols", ",".join(record.protocols))
    measured = len(log.read_text())
    run(folder, *measure)
    assert len(log.read_text()) == measured and read_rows(file)[1] == rows_again
    values = list((folder / "work/partial/measured" / of.place).glob("*.json"))
    for value in values:
        value.write_text(re.sub(r'("kept": \d)', r"\g<1>0", value.read_text()))
    run(folder, *measure)
    assert len(log.read_text()) == measured + len(values) and read_rows(file)[1] == rows_again


def test_a_set_metric_is_cut_as_the_task_says(_definitions_forgotten: None, tmp_path: Path) -> None:
    """In a super-resolution task of one's own, whatever its name, ``crop`` is the scale, as it is image by image."""
    from harness.assets.datasets import fetch
    from harness.assets.inputs import record_inputs
    from harness.methods import Method
    from harness.records.cells import Group, NoiseDraws
    from harness.run.measure import measure
    from harness.run.restore import restore

    @harness.metric("set-shape", version=1, better="lower", of="set")
    def set_shape(pairs):
        shapes = {reference.shape[:2] for reference, restored in pairs if reference.shape == restored.shape}
        return sum(1000 * height + width for height, width in shapes)

    harness.task("enlarge", degradation="bicubic-replicate", level_name="scale", levels=[4])
    fetch("embedded", tmp_path)
    inputs = record_inputs(tmp_path, "embedded", "bicubic-replicate", (4,), NoiseDraws(0, 0))
    method = Method("test", ("enlarge",), lambda task, scale: lambda image: image.repeat(4, 0).repeat(4, 1), on="array")
    group = Group("enlarge", "embedded", "bicubic-replicate", "test", "whole")
    where = {"data": tmp_path, "partial": tmp_path / "partial", "target": tmp_path / "restored"}
    restore(group, method, (4,), inputs, code="", noise=NoiseDraws(0, 0), **where)
    protocols = ("set-shape", "set-shape-crop", "set-shape-crop2")
    _, rows = measure(tmp_path / "restored", data=tmp_path, protocols=protocols)
    whole, cut, two = (next(row.value for row in rows if row.protocol == protocol(p).version) for p in protocols)
    shapes = (whole - two) / (4 * 1001)
    assert shapes >= 1 and whole - cut == shapes * 8 * 1001


def test_marks_follow_the_direction(_definitions_forgotten: None) -> None:
    from harness.tables.measurements import Measurement
    from harness.tables.one_protocol import OneProtocolCell, ranked

    harness.metric("mean-error", version=1, better="lower")(lambda a, b: 0.0)
    asked = Request(
        "t", 0, 0, "row", "row", "embedded/mean-error", "demosaic", "mean-error", "embedded", 0, "m", None,
        "mean-error", "mean-error", None, "", CellNote(), "",
    )  # fmt: skip
    cells = [OneProtocolCell(asked, "mean-error", Measurement(value, 2, None)) for value in (3.0, 1.0, 2.0)]
    assert [cell.rank for cell in ranked(cells)] == [3, 1, 2]
    results = [
        CellResult(
            msgspec.structs.replace(asked, line=line), cell.measured, Judgement("not run", None, ""), None, {}, ""
        )
        for line, cell in enumerate(cells)
    ]
    marks = measured_marks(results)
    assert [marks.get(place_of(result.request), "") for result in results] == ["", "best", "second"]
