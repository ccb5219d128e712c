"""Writing evidence into a table's file: comments and every other line stay."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.audit.evidence import better, edit_row, write_audits
from harness.audit.outcomes import CellAudit, Chance, RowAudit, VariantAudit
from harness.errors import HarnessError
from harness.tables.published import published_tables, read_table, table_file
from harness.tables.workspace import Workspace

TEXT = """\
name: mine
paper: ""
title: A table   # of mine
source: a test
parts:
  # the only part
  - task: jpeg
    protocol: {psnr: psnr, ssim: ssim-gauss}
    columns:
      - {metric: psnr, dataset: live1, level: 10}
      - {metric: ssim, dataset: live1, level: 10}
    rows:
      # the degraded images
      - name: "JPEG"   # as printed
        method: jpeg
        values: ["27.77", "0.7905"]
        # why
        evidence: &why >-
          Two
          lines.

      # the second row
      - {name: "Other", method: arcnn, values: ["28.98", "0.8217"]}   # in one line
      - name: "Third"
        method: dncnn
        protocol: {ssim: ssim-gauss}
        values: ["29.19", "0.8123"]
        evidence: *why
        cells:
          live1/10/psnr: {note: "far"}
"""


def variant(protocols: dict[str, str], digits: int, degradation: str = "jpeg-y8") -> VariantAudit:
    choices = {"input": degradation, "method": "jpeg", "saved": "8-bit, rounded", "range": "0..255"}
    return VariantAudit(choices, protocols, digits, digits // 4, digits, 0.0, 0.4)


def outcome(row: str, best: VariantAudit, stated: VariantAudit) -> RowAudit:
    cells = tuple(
        CellAudit(f"live1/10/{metric}", "live1", 10, metric, "1.00", 1.0, 4, 4, 0.0, 29) for metric in ("psnr", "ssim")
    )
    return RowAudit(
        "mine",
        0,
        row,
        "jpeg",
        "jpeg",
        cells=cells,
        digits=8,
        best=best,
        stated=stated,
        chance=Chance(100, 15, 1, 2, 2, 15, 0),
        witnesses={cell.key: ("bikes", 1.5) for cell in cells},
        policy="whole",
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/mine.yaml").write_text(TEXT)
    return Workspace(tmp_path)


PLAIN = {"psnr": "psnr", "ssim": "ssim-gauss"}
OTHER = {"psnr": "psnr", "ssim": "ssim-8x8"}


@pytest.mark.parametrize("row", ["JPEG", "Other", "Third"])
def test_a_better_variant_becomes_the_rows_protocol(workspace: Workspace, row: str) -> None:
    found = outcome(row, variant(OTHER, 8, "jpeg-rgb2gray"), variant(PLAIN, 5))
    (said,) = write_audits(workspace, "mine", [found])
    assert "input jpeg-y8 → jpeg-rgb2gray" in said
    path = workspace.root / "tables/mine.yaml"
    (written,) = [r for r in read_table(path).parts[0].rows if r.name == row]
    assert written.protocol == {"ssim": "ssim-8x8"}
    assert written.degradation == "jpeg-rgb2gray"
    assert written.audit is not None
    assert written.audit.cells["live1/10/ssim"].image == "bikes"
    assert written.audit.digits == 8


@pytest.mark.parametrize("row", ["JPEG", "Other", "Third"])
def test_only_new_lines_appear_where_the_stated_variant_holds(workspace: Workspace, row: str) -> None:
    same = variant(PLAIN, 8)
    (said,) = write_audits(workspace, "mine", [outcome(row, same, same)])
    assert said == f"{row}: as stated; evidence written"
    text = (workspace.root / "tables/mine.yaml").read_text()
    lines = iter(text.splitlines())
    for line in TEXT.splitlines():
        # Every old line is still there, in its order; a row in one line grows.
        assert any(new == line or new.startswith(line.split("}   #")[0]) for new in lines), line
    for remark in (
        "of mine",
        "the only part",
        "the degraded images",
        "why\n",
        "the second row",
        "in one line",
    ):
        assert text.count(f"# {remark}") == 1


@pytest.mark.parametrize("row", ["JPEG", "Other", "Third"])
def test_writing_twice_changes_nothing(workspace: Workspace, row: str) -> None:
    found = outcome(row, variant(OTHER, 8), variant(PLAIN, 5))
    write_audits(workspace, "mine", [found])
    first = (workspace.root / "tables/mine.yaml").read_text()
    write_audits(workspace, "mine", [found])
    assert (workspace.root / "tables/mine.yaml").read_text() == first


def test_nothing_to_write(workspace: Workspace) -> None:
    none = RowAudit("mine", 0, "JPEG", "jpeg", "jpeg", reason="not here")
    assert write_audits(workspace, "mine", [none]) == ["mine.yaml: nothing to write"]
    assert (workspace.root / "tables/mine.yaml").read_text() == TEXT


def test_better_means_more_cells() -> None:
    assert better(outcome("JPEG", variant(OTHER, 8), variant(PLAIN, 5)))
    assert not better(outcome("JPEG", variant(OTHER, 8), variant(PLAIN, 8)))
    near = msgspec.structs.replace(variant(OTHER, 6), whole=0)
    assert not better(outcome("JPEG", near, variant(PLAIN, 5)))


def test_a_likely_accident_changes_nothing(workspace: Workspace) -> None:
    found = outcome("JPEG", variant(OTHER, 6), variant(PLAIN, 5))
    (said,) = write_audits(workspace, "mine", [msgspec.structs.replace(found, chance=Chance(100, 30, 9, 2, 0, 30, 12))])
    assert said.startswith("JPEG: left as it is")
    assert "40 %" in said
    assert (workspace.root / "tables/mine.yaml").read_text() == TEXT


def test_a_key_that_begins_a_row_is_not_moved() -> None:
    text = TEXT.replace(
        '- name: "Third"\n        method: dncnn\n        protocol: {ssim: ssim-gauss}',
        ('- protocol: {ssim: ssim-gauss}\n        name: "Third"\n        method: dncnn'),
    )
    with pytest.raises(HarnessError, match="first key of its row"):
        edit_row(text, 0, 2, {"protocol": {"ssim": "ssim-8x8"}})


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_published_files_survive_edits(seed: int) -> None:
    """Whatever row of a published table is edited: all the rest is what it was."""
    import yaml

    rng = random.Random(seed)
    name = rng.choice(sorted(published_tables()))
    text = table_file(name).read_text(encoding="utf-8")
    before = yaml.load(text, Loader=yaml.CSafeLoader)
    part = rng.randrange(len(before["parts"]))
    line = rng.randrange(len(before["parts"][part]["rows"]))
    edited = edit_row(text, part, line, {"audit": {"cells": {"a/1": {"measured": 1.5}}}, "saving": "round"})
    after = yaml.load(edited, Loader=yaml.CSafeLoader)
    row = after["parts"][part]["rows"][line]
    assert row.pop("audit") == {"cells": {"a/1": {"measured": 1.5}}}
    assert row.pop("saving") == "round"
    before["parts"][part]["rows"][line].pop("saving", None)
    before["parts"][part]["rows"][line].pop("audit", None)
    assert after == before
    comments = [part for part in text.splitlines() if part.strip().startswith("#")]
    assert [part for part in edited.splitlines() if part.strip().startswith("#")] == comments
