"""A table under one protocol: from rows or restored images, ranks recomputed, what cannot be run shown as such."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import open_dataset
from harness.cli import main
from harness.degradations.jpeg import jpeg
from harness.errors import HarnessError
from harness.files import write_json
from harness.images import pixels_sha256, write_png
from harness.metrics import psnr, ssim, to_uint8
from harness.records.cells import Group
from harness.records.restored import LevelRecord, RestoredRecord
from harness.report.one_protocol import forms, rank_changes
from harness.tables.diff import comparability
from harness.tables.measurements import Measurement, NotRun
from harness.tables.one_protocol import OneProtocolCell, choose_protocols, input_groups, one_protocol
from harness.tables.published import published_number
from harness.tables.requests import requests
from harness.tables.workspace import Workspace

TABLE = """
name: mixed
paper: ""
title: Two rows
source: a test
parts:
  - task: jpeg
    protocol: {psnr: psnr, ssim: ssim-gauss}
    columns:
      - {metric: psnr, dataset: embedded-gray, level: 10}
      - {metric: ssim, dataset: embedded-gray, level: 10}
    rows:
      - {name: JPEG, method: jpeg, values: ["27.00", "0.9000"], protocol: {ssim: ssim-8x8}}
      - {name: Other, method: arcnn, values: ["28.00", "0.8000"]}
      - {name: Gone, values: ["29.00", "0.9500"]}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: [tables]\n")
    (root / "tables").mkdir()
    (root / "tables/mixed.yaml").write_text(TABLE)
    assert fetch("embedded-gray", root / "data").complete
    clean = open_dataset("embedded-gray", root / "data").read("camera")
    coarse = jpeg(clean, 10)
    better = to_uint8((coarse.astype(np.float64) + clean) / 2)
    for method, pixels in (("jpeg", coarse), ("arcnn", better)):
        group = Group("jpeg", "embedded-gray", "jpeg-y8", method, "whole")
        folder = root / "work" / "restored" / group.place
        write_png(folder / "10/draw0/camera.png", pixels)
        record = RestoredRecord(
            group=group,
            origin="none",
            degradation_version=1,
            code="",
            reason="",
            levels={10: LevelRecord("", {})},
            images={"10/draw0/camera.png": pixels_sha256(pixels)},
        )
        write_json(folder / "restored.json", record)
    return Workspace(root)


def values(cells: list[OneProtocolCell]) -> dict[tuple[str, str], float | None]:
    return {(cell.request.row, cell.request.metric): cell.value for cell in cells}


def test_every_row_under_the_columns_protocol(workspace: Workspace) -> None:
    cells = one_protocol(workspace, workspace.table("mixed"), "column")
    clean = open_dataset("embedded-gray", workspace.data).read("camera")
    found = values(cells)
    assert found["JPEG", "psnr"] == pytest.approx(psnr(clean, jpeg(clean, 10)), abs=1e-12)
    # Printed under ssim-8x8, but measured here as the column says.
    assert found["JPEG", "ssim"] == pytest.approx(ssim(clean, jpeg(clean, 10)), abs=1e-12)
    assert found["Gone", "psnr"] is None
    (gone, _) = [cell for cell in cells if cell.request.row == "Gone"]
    assert isinstance(gone.measured, NotRun)
    assert "no code or weights" in gone.measured.reason


def test_every_row_under_a_named_protocol(workspace: Workspace) -> None:
    cells = one_protocol(workspace, workspace.table("mixed"), "ssim-8x8-crop6")
    clean = open_dataset("embedded-gray", workspace.data).read("camera")
    inner = (slice(6, -6), slice(6, -6))
    found = values(cells)
    assert found["JPEG", "ssim"] == pytest.approx(ssim(clean[inner], jpeg(clean, 10)[inner], "8x8"), abs=1e-12)
    assert found["JPEG", "psnr"] == pytest.approx(psnr(clean, jpeg(clean, 10)), abs=1e-12)


def test_ranks_of_what_was_run_only(workspace: Workspace) -> None:
    cells = one_protocol(workspace, workspace.table("mixed"), "column")
    ranks = {(c.request.row, c.request.metric): (c.rank, c.printed_rank) for c in cells}
    assert ranks["JPEG", "ssim"] == (2, 1)
    assert ranks["Other", "ssim"] == (1, 2)
    assert ranks["Other", "psnr"] == (1, 1)
    assert ranks["Gone", "ssim"] == (0, 0)
    assert rank_changes(cells) == [
        "embedded-gray/10/ssim: printed JPEG > Other; under one protocol Other > JPEG",
    ]
    assert input_groups(cells) == {"jpeg-y8": ["JPEG", "Other"]}


def test_equal_prints_have_no_order(workspace: Workspace) -> None:
    def with_prints(*printed: str) -> list[str]:
        cells = [c for c in one_protocol(workspace, workspace.table("mixed"), "column") if c.request.metric == "ssim"]
        rows = iter(printed)
        return rank_changes(
            [
                msgspec.structs.replace(
                    c, request=msgspec.structs.replace(c.request, printed=published_number(next(rows)))
                )
                for c in cells
                if c.value is not None
            ]
        )

    assert with_prints("0.9000", "0.9000") == []
    assert with_prints("0.9000", "0.9001") == []
    assert with_prints("0.9001", "0.9000") == [
        "embedded-gray/10/ssim: printed JPEG > Other; under one protocol Other > JPEG"
    ]


def test_forms(workspace: Workspace) -> None:
    table = workspace.table("mixed")
    cells = one_protocol(workspace, table, "column")
    texts = forms(table, cells)
    records = json.loads(texts["json"])
    assert [r["row"] for r in records] == ["JPEG", "JPEG", "Other", "Other", "Gone", "Gone"]
    assert records[1]["printed_protocol"] == "ssim-8x8"
    assert records[1]["protocol"] == "ssim-gauss"
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert [row["measured"] == "" for row in rows] == [False] * 4 + [True] * 2
    text = texts["md"]
    assert "<sub>0.9000</sub><br>*0." in text
    assert "<sub>0.9500</sub> |" in text
    assert "Not run" in text
    tex = texts["tex"]
    assert r"\textcolor{gray}{0.9500}" in tex
    assert r"\textbf{" in tex


def test_command_prints_and_writes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace.root)
    with pytest.raises(SystemExit):
        main(["table", "mixed", "--one-protocol", "column"])
    said = capsys.readouterr().out
    assert "under psnr.1|b0|all-channels|unrounded, ssim-gauss.1|b0|all-channels|unrounded" in said
    assert "not run: Gone (2 cells)" in said
    with pytest.raises(SystemExit):
        main(["table", "mixed", "--one-protocol", "psnr,ssim-8x8", "--write"])
    written = sorted(path.name for path in Path("results").iterdir())
    assert written == [f"mixed--psnr--ssim-8x8.{suffix}" for suffix in ("csv", "json", "md", "tex")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("ssim-9x9", "did you mean 'ssim-8x8'"), ("psnr,psnr-y", "both measure psnr"), ("", "unknown metric")],
)
def test_mistakes_are_named(wanted: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        choose_protocols(wanted)


def test_column_chooses_nothing() -> None:
    assert choose_protocols("column") == {}


@pytest.mark.parametrize(
    ("own", "column", "said"),
    [(0.70273, 0.70273, "the same"), (0.70273, 0.70266, "the same"), (0.70273, 0.7019, "not comparable")],
)
def test_not_comparable_needs_a_difference(workspace: Workspace, own: float, column: float, said: str) -> None:
    (request, *_) = [r for r in requests(workspace.table("mixed"), workspace.methods()) if r.metric == "ssim"]
    measured, under = Measurement(own, 1, None), Measurement(column, 1, None)
    assert comparability(measured, under, request).startswith(said)
    assert comparability(measured, None, request) == "not comparable with the other rows"
