"""From measured rows to verdicts: protocols of their own, averages, exit status, every output form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import harness.methods as registry
from harness.cells import Group
from harness.cli import harness
from harness.errors import CheckFailedError
from harness.methods import Method
from harness.report.render import csv_text, json_text, latex, markdown
from harness.stages.cost import Cost, CostRecord, write_cost
from harness.stages.render import render, results_of
from harness.stages.restored import LevelRecord
from harness.stages.rows import ImageRow, MeasuredRecord, write_rows
from harness.workspace import Workspace

VERSIONS = {"psnr": "psnr.1", "ssim-gauss": "ssim-gauss.1", "ssim-8x8": "ssim-8x8.1"}

TABLE = {
    "name": "doe-table1",
    "paper": "doe",
    "title": "Two sets & a <b>mean</b>",
    "source": "Doe et al. Nowhere",
    "parts": [
        {
            "task": "jpeg",
            "protocol": {"psnr": "psnr", "ssim": "ssim-gauss"},
            "columns": [
                {"dataset": "live1", "level": 10, "metric": "psnr"},
                {"dataset": "live1", "level": 10, "metric": "ssim"},
                {"dataset": "classic5", "level": 10, "metric": "psnr"},
                {"metric": "psnr", "label": "Average"},
                {"metric": "parameters"},
            ],
            "rows": [
                {
                    "name": "Mixed",
                    "method": "mixed",
                    "values": ["30.00", "_0.9000_", "**32.00**", "31.00", "12K"],
                    "protocol": {"ssim": "ssim-8x8"},
                    "evidence": "measured under both",
                },
                {
                    "name": "Other | weights",
                    "method": "other",
                    "values": ["28.00", "N/A", "29.00", "28.50", "5K"],
                    "cells": {
                        "live1/10/psnr": {"incomparable": "retrained by others"},
                        "classic5/10/psnr": {"suspect": "a misprint of 29.50"},
                    },
                },
                {"name": "Lost", "values": ["1.00", "0.1000", "-", "1.00", "1K"], "not_run": "no code is known"},
            ],
        }
    ],
}


def write(workspace: Workspace, method: str, dataset: str, values: dict[str, list[float]], reason: str = "") -> None:
    group = Group("jpeg", dataset, "jpeg-y8", method, "whole")
    rows = [
        ImageRow(10, 0, f"image{index}", VERSIONS[name], value)
        for name, of_images in values.items()
        for index, value in enumerate(of_images)
    ]
    record = MeasuredRecord(
        group=group,
        origin="released",
        degradation_version=1,
        protocols=VERSIONS,
        code="c",
        reason=reason,
        levels={10: LevelRecord("", {"w/file.mat": "ab" * 32})},
        images=2,
    )
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, sorted(rows))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    known = dict(registry._registry)
    for name in ("mixed", "other"):
        known[name] = Method(name, ("jpeg",), lambda task, level: None, network=lambda task, level: None)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(registry, "_registry", known)
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/doe-table1.yaml").write_text(yaml.safe_dump(TABLE))
    made = Workspace(tmp_path)
    write(made, "mixed", "live1", {"psnr": [29.0, 31.004], "ssim-gauss": [0.8, 0.9], "ssim-8x8": [0.85, 0.95]})
    write(made, "mixed", "classic5", {"psnr": [32.03], "ssim-gauss": [0.8], "ssim-8x8": [0.8]})
    write(made, "other", "live1", {"psnr": [35.0], "ssim-gauss": [0.9], "ssim-8x8": [0.9]})
    write(made, "other", "classic5", {"psnr": [30.0], "ssim-gauss": [0.9], "ssim-8x8": [0.9]})
    write_cost(made.work, CostRecord("mixed", (Cost("jpeg", 10, 12_345, 1, 96),)))
    monkeypatch.chdir(tmp_path)
    return made


def cells(workspace: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    results = results_of(workspace, workspace.table("doe-table1"))
    return {(r.request.row, r.request.key): json.loads(json_text([r]))[0] for r in results}


def test_verdicts_of_a_table(workspace: Workspace) -> None:
    found = cells(workspace)
    verdicts = {key: cell["verdict"] for key, cell in found.items()}
    assert verdicts == {
        ("Mixed", "live1/10/psnr"): "match",
        ("Mixed", "live1/10/ssim"): "match",
        ("Mixed", "classic5/10/psnr"): "close",
        ("Mixed", "psnr"): "close",
        ("Mixed", "parameters"): "match",
        ("Other | weights", "live1/10/psnr"): "incomparable",
        ("Other | weights", "live1/10/ssim"): "incomparable",
        ("Other | weights", "classic5/10/psnr"): "off",
        ("Other | weights", "psnr"): "incomparable",
        ("Other | weights", "parameters"): "not run",
        ("Lost", "live1/10/psnr"): "not run",
        ("Lost", "live1/10/ssim"): "not run",
        ("Lost", "psnr"): "not run",
        ("Lost", "parameters"): "not run",
    }
    mixed = found["Mixed", "live1/10/ssim"]
    assert (mixed["protocol"], mixed["column_protocol"]) == ("ssim-8x8", "ssim-gauss")
    assert mixed["measured"] == pytest.approx(0.9)
    assert mixed["measured_under_column_protocol"] == pytest.approx(0.85)
    assert "not comparable with the other rows" in mixed["reason"]
    assert found["Mixed", "psnr"]["measured"] == pytest.approx((30.002 + 32.03) / 2)
    assert found["Other | weights", "live1/10/psnr"]["reason"] == "retrained by others"
    assert found["Other | weights", "live1/10/ssim"]["published"] is None
    assert "suspect: a misprint of 29.50" in found["Other | weights", "classic5/10/psnr"]["reason"]
    assert found["Lost", "live1/10/psnr"]["reason"] == "no code is known"
    assert mixed["weights"] == {"w/file.mat": "ab" * 32}
    assert found["Mixed", "parameters"]["measured"] == 12345


def test_every_form_tells_the_same(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    results = results_of(workspace, table)
    lines = list(csv.DictReader(io.StringIO(csv_text(results))))
    records = json.loads(json_text(results))
    assert [line["verdict"] for line in lines] == [record["verdict"] for record in records]
    assert [float(line["measured"]) for line in lines if line["measured"]] == [
        record["measured"] for record in records if record["measured"] is not None
    ]
    text = markdown(table, results)
    assert "0.90000 ✓" in text
    assert "*0.9000*" in text
    assert "**32.00**" in text
    assert "12.3K" in text
    assert "5 cells" not in text.split("Not run")[0]
    assert "Other \\| weights" in text
    tex = latex(table, results)
    assert r"\textbf{32.00}" in tex
    assert r"\underline{0.9000}" in tex
    assert r"Two sets \& a" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1


def test_names_cannot_inject_markup(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    text = markdown(table, results_of(workspace, table))
    assert "<b>" not in text.replace("<br>", "")
    assert "&lt;b&gt;mean" in text


def test_the_command_exits_1_for_off_cells(workspace: Workspace) -> None:
    runner = CliRunner()
    answer = runner.invoke(harness, ["diff", "doe-table1"])
    assert isinstance(answer.exception, CheckFailedError)
    assert answer.exception.exit_code == 1
    assert "1 of 14 cells of doe-table1 are off" in str(answer.exception)
    good = runner.invoke(harness, ["diff", "doe-table1", "--row", "mixed", "--format", "json"])
    assert good.exit_code == 0
    assert {cell["row"] for cell in json.loads(good.stdout)} == {"Mixed"}
    for form in ("csv", "md", "tex"):
        assert runner.invoke(harness, ["diff", "doe-table1", "--row", "Mixed", "--format", form]).exit_code == 0


def test_rendering_twice_gives_the_same_bytes(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    first, second = (
        (render(workspace, table), {p.name: p.read_bytes() for p in workspace.results.iterdir()})[1] for _ in range(2)
    )
    assert first == second
    assert set(first) == {f"doe-table1.{suffix}" for suffix in ("md", "tex", "csv", "json")}


def test_rows_as_a_frame(workspace: Workspace) -> None:
    from harness.frames import measured_rows

    frame = measured_rows(workspace)
    assert len(frame) == 2 * 3 + 3 + 3 + 3
    mixed = frame[(frame.method == "mixed") & (frame.dataset == "live1") & (frame.protocol == "psnr")]
    assert mixed.value.mean() == pytest.approx(30.002)
    means = json.loads(CliRunner().invoke(harness, ["rows", "--mean", "--format", "json"]).stdout)
    assert {m["count"] for m in means} == {1, 2}


def test_what_an_own_table_could_not_measure_is_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a published number there is still a reason: every cell of an own table was asked for."""
    parts = [
        {
            "task": "jpeg",
            "columns": [{"dataset": "live1", "level": 10, "metric": "psnr"}],
            "rows": [{"name": "Mixed", "method": "mixed"}, {"name": "Again", "method": "jpeg"}],
        }
    ]
    own = {"name": "mine", "paper": "", "title": "Mine", "source": "here", "parts": parts}
    (workspace.root / "tables/mine.yaml").write_text(yaml.safe_dump(own))
    results = results_of(workspace, workspace.table("mine"))
    assert [(result.request.row, result.verdict) for result in results] == [
        ("Mixed", "incomparable"),
        ("Again", "not run"),
    ]
    harness.main(["diff", "mine"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "not run: Again (1 cells): not computed here yet; run harness repro" in told
    assert "mine: 1 measured without a published number" in told
