"""Overlap between sets, and the page of findings: the rendering of its data and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import camera, coffee

pytest.importorskip("imagehash")

from harness.assets.datasets import fetch
from harness.audit.findings import (
    APPENDIX,
    DATA,
    PAGE,
    check_pages,
    read_committed,
    refresh,
    render_pages,
    write_findings,
)
from harness.audit.outcomes import Committed, CountedCell, Findings, counted_cells, recounted
from harness.audit.overlap import SetImages, find_overlap, read_set
from harness.audit.rows import audit_row
from harness.audit.settings import AuditSettings
from harness.errors import CheckFailedError, HarnessError
from harness.metrics.luminance import luma
from harness.records.loading import load_json
from harness.tables.published import published_tables, read_table
from harness.tables.requests import requests
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]


def gray(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return luma(image, "none", "full")


def found(one: dict[str, NDArray[np.float64]], other: dict[str, NDArray[np.float64]]) -> list[tuple[str, str, str]]:
    return [(m.image, m.other, m.kind) for m in find_overlap(SetImages("one", one), SetImages("other", other))]


def test_whole_images_in_any_size_and_orientation() -> None:
    photograph, another = gray(camera()), gray(coffee())
    half = photograph.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert found({"a": photograph}, {"small": half, "no": another}) == [("a", "small", "same")]
    assert found({"a": photograph}, {"turned": np.rot90(half)}) == [("a", "turned", "flipped")]
    assert found({"a": photograph}, {"no": another}) == []


def test_crops_at_any_place() -> None:
    photograph, another = gray(camera()), gray(coffee())
    piece = photograph[101:291, 57:237]
    assert found({"a": photograph}, {"piece": piece}) == [("a", "piece", "crop")]
    assert found({"piece": piece}, {"a": photograph, "no": another}) == [("piece", "a", "crop")]
    assert found({"no": another}, {"piece": piece}) == []


def test_noise_is_no_photograph() -> None:
    rng = np.random.default_rng(0)
    assert found({"a": rng.uniform(0, 255, (90, 120))}, {"b": rng.uniform(0, 255, (64, 64))}) == []


def test_sets_that_share_photographs(mirror: Path, tmp_path: Path) -> None:
    """Set14's face is Set5's head, and its monarch is Set5's butterfly around the crop."""
    for name in ("set5", "set14"):
        assert fetch(name, tmp_path).complete
    pairs = find_overlap(read_set("set5", tmp_path), read_set("set14", tmp_path))
    assert {(m.image, m.other, m.kind) for m in pairs} == {
        ("head_GT", "face", "same"),
        ("butterfly_GT", "monarch", "crop"),
    }


TABLE = """
name: panet-table3
paper: panet
title: One row
source: a test
parts:
  - task: jpeg
    protocol: {psnr: psnr, ssim: ssim-gauss}
    columns:
      - {metric: psnr, dataset: embedded-gray, level: 10}
      - {metric: ssim, dataset: embedded-gray, level: 10}
    rows:
      - {name: JPEG, method: jpeg, values: ["28.43", "0.7814"]}
      - {name: Wrong, method: jpeg, values: ["28.13", "0.7814"]}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Findings of one right and one wrong row."""
    from harness.audit.images import Bench

    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: []\n")
    fetch("embedded-gray", root / "data")
    path = root / "panet-table3.yaml"
    path.write_text(TABLE)
    table = read_table(path)
    workspace = Workspace(root)
    audits = tuple(audit_row(Bench(workspace), table, 0, name, AuditSettings()) for name in ("JPEG", "Wrong"))
    return Findings(
        audits=audits,
        same={"panet-table3/JPEG": ["rnan-table5/JPEG"]},
        not_audited={"no weights": ["panet-table3/PANet"]},
        overlaps=(),
        sets={"set5": 5, "urban100": 0},
    )


def test_page_says_what_is_explained_and_what_is_not(data: Findings) -> None:
    pages = render_pages(data, Committed())
    page = pages[APPENDIX / "panet-table3.md"]
    assert "| JPEG | 2 of 2 |" in page
    assert "rnan-table5/JPEG" in page
    assert "| Wrong | embedded-gray/10/psnr | 28.13 |" in page
    assert "says why): PANet." in page
    assert "not here: Urban100" in pages[APPENDIX / "sets-and-tiles.md"]
    for text in pages.values():
        assert "{{" not in text.replace("{{the restoration-harness maintainers}}", "")
        assert "\n\n\n" not in text


def test_page_is_checked_against_its_data(data: Findings, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: []\n")
    workspace = Workspace(tmp_path)
    with pytest.raises(HarnessError):
        check_pages(workspace)
    write_findings(workspace, data)
    check_pages(workspace)
    for path in (PAGE, APPENDIX / "panet-table3.md", APPENDIX / "of-another-run.md"):
        page = tmp_path / path
        before = page.read_text() if page.is_file() else None
        page.write_text((before or "") + "More.\n")
        with pytest.raises(CheckFailedError, match="harness report findings --render"):
            check_pages(workspace)
        if before is not None:
            page.write_text(before)


def test_one_row_is_audited_again_and_the_rest_kept(data: Findings, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.yaml").write_text(TABLE.replace("panet-table3", "mine"))
    fetch("embedded-gray", tmp_path / "data")
    audits = tuple(msgspec.structs.replace(a, table="mine", digits=99) for a in data.audits)
    known = msgspec.structs.replace(data, audits=audits)
    found = refresh(Workspace(tmp_path), known, "mine", "JPEG", AuditSettings())
    assert [audit.digits for audit in found.audits] == [8, 99]
    assert found.not_audited == data.not_audited
    with pytest.raises(HarnessError, match="no audit of row 'Nobody' of mine"):
        refresh(Workspace(tmp_path), known, "mine", "Nobody", AuditSettings())


def test_the_projects_page_is_what_its_command_renders() -> None:
    """Rendering restores nothing: evidence, results and published tables are in the repository."""
    check_pages(Workspace(ROOT))


def test_the_page_follows_the_committed_results(tmp_path: Path) -> None:
    """What one protocol changes is no stored sentence: with another result the page is another."""
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=shutil.ignore_patterns("site", "*.tex", "*.md"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images"))
    (tmp_path / "params.yaml").write_text("tables: []\n")
    check_pages(Workspace(tmp_path))
    path = tmp_path / "results/panet-table3.json"
    records = json.loads(path.read_text())
    for record in records:
        if (record["row"], record["dataset"], record["level"], record["metric"]) == ("ARCNN", "live1", 10, "ssim"):
            record["measured_under_column_protocol"] = 0.9
    path.write_text(json.dumps(records))
    with pytest.raises(CheckFailedError, match="harness report findings --render"):
        check_pages(Workspace(tmp_path))


def test_no_order_of_equal_prints() -> None:
    """DnCNN and FFDNet print the same 31.39 on Kodak24 at sigma 30."""
    tables = {t.table: t for t in read_committed(Workspace(ROOT)).tables}
    for name in ("panet-table1", "rnan-table2"):
        assert not any(change.startswith("kodak24/30") for change in tables[name].changes)
    assert len(tables["panet-table3"].changes) == 8
    assert "DnCNN > FFDNet" not in (ROOT / PAGE).read_text(encoding="utf-8")


def test_rows_of_other_weights_have_no_protocol() -> None:
    """KiT's PreNet row was retrained by others."""
    methods = Workspace(ROOT).methods()
    found = load_json(ROOT / DATA, Findings)
    for audit in found.audits:
        asked = [r for r in requests(published_tables()[audit.table], methods) if r.row == audit.row]
        assert not any(r.special.incomparable for r in asked), audit.row
    assert any("kit-table3/PreNet" in rows for rows in found.not_audited.values())


def test_a_row_of_other_weights_is_not_audited(tmp_path: Path) -> None:
    from harness.audit.images import Bench

    (tmp_path / "params.yaml").write_text("tables: []\n")
    fetch("embedded-gray", tmp_path / "data")
    path = tmp_path / "panet-table3.yaml"
    path.write_text(TABLE.replace("{name: JPEG,", "{name: JPEG, incomparable: retrained by others,"))
    audit = audit_row(Bench(Workspace(tmp_path)), read_table(path), 0, "JPEG", AuditSettings())
    assert (audit.best, audit.reason) == (None, "retrained by others")


def test_stored_audits_are_of_what_is_printed_and_beside_it() -> None:
    """The page's evidence and the tables' files: the same prints, the same measured numbers."""
    found = load_json(ROOT / DATA, Findings)
    for audit in found.audits:
        rows = [row for part in published_tables()[audit.table].parts for row in part.rows if row.name == audit.row]
        printed = {
            part.column_key(column, row): value.strip("*_")
            for part in published_tables()[audit.table].parts
            for row in part.rows
            for column, value in zip(part.columns, row.values, strict=True)
            if row.name == audit.row
        }
        # Of variants that come equally near the two may name different ones.
        same = [row.audit for row in rows if row.audit is not None and row.audit.saving == audit.saving]
        beside = {key: cell for stored in same for key, cell in stored.cells.items()}
        assert set(beside) <= {cell.key for cell in audit.cells}
        for cell in audit.cells:
            assert printed[cell.key] == cell.printed
            if cell.key in beside:
                assert beside[cell.key].measured == pytest.approx(cell.measured, abs=2e-6), (audit.row, cell.key)


def test_evidence_beside_a_row_counts_cells_that_match_in_every_digit() -> None:
    checked = 0
    for name, table in published_tables().items():
        for part in table.parts:
            by_name: dict[str, list[CountedCell]] = {}
            for row in part.rows:
                values = {part.column_key(c, row): v.strip("*_") for c, v in zip(part.columns, row.values, strict=True)}
                of_row = row.audit.cells if row.audit is not None else {}
                by_name.setdefault(row.name, []).extend(
                    CountedCell(key, values[key], cell.measured, 0.0, True) for key, cell in of_row.items()
                )
            for row in part.rows:
                cells = by_name[row.name]
                if row.audit is not None and len(cells) == row.audit.cell_count:
                    assert row.audit.whole_cells == sum(cell.matches for cell in cells), (name, row.name)
                    checked += 1
    assert checked > 20


def test_cells_that_the_audit_left_out_are_counted() -> None:
    """LapSRN's x3 cells have another input; two of the four do not match, and one by a choice."""
    found, results = load_json(ROOT / DATA, Findings), read_committed(Workspace(ROOT)).results
    (audit,) = [a for a in found.audits if a.row == "LapSRN"]
    counted = {cell.key: cell.matches for cell in counted_cells(audit, results)}
    assert len(counted) == 12
    assert {key for key, matches in counted.items() if not matches} == {
        "set5/4/ssim", "set14/4/ssim", "set14/3/psnr", "set14/3/ssim", "set5/3/ssim",
    }  # fmt: skip
    again = recounted(audit, results)
    assert not again.explained and again.best is not None and again.best.whole == 6
    assert "| LapSRN | 7 of 12 |" in (ROOT / APPENDIX / "csnln-table1.md").read_text(encoding="utf-8")


def test_a_printed_zero_is_a_digit() -> None:
    assert CountedCell("a", "0.8850", 0.88504, 0.0, True).matches
    assert not CountedCell("a", "0.8850", 0.88525, 0.0, True).matches


def test_the_page_and_the_docs_claim_no_digits() -> None:
    for path in (ROOT / PAGE, ROOT / "docs/protocols.md"):
        assert not re.search(r"\d+ of \d+ (printed )?digits|≤? \d+ digits", path.read_text(encoding="utf-8")), path


def test_the_variants_told_beside_a_row_are_those_of_the_findings() -> None:
    """The counts beside a row in its table's file are of the same search as the page's."""
    found = {(audit.table, audit.row, audit.part): audit.chance for audit in load_json(ROOT / DATA, Findings).audits}
    compared = 0
    for table in published_tables().values():
        for index, part in enumerate(table.parts):
            for row in part.rows:
                chance = found.get((table.name, row.name, index))
                if row.audit is not None and chance is not None:
                    told = (row.audit.tried, row.audit.distinct, row.audit.as_good, row.audit.decoys, row.audit.fooled)
                    made = (chance.tried, chance.distinct, chance.as_good, chance.decoys, chance.fooled)
                    assert told == made, (table.name, row.name, row.level)
                    compared += 1
    assert compared > 10
