"""The findings: each number in a sentence is of the data, follows them, and is silent without them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness.assets.datasets import fetch
from harness.audit import claims as made
from harness.audit.claims import claims, marks_that_do_not_fit, printed_cells, sentences
from harness.audit.controls import CONTROLS, held_out_cells, measure_controls, measure_held_out
from harness.audit.findings import BIBLIOGRAPHY, DATA, PAGE, SHEET, hold_outs, read_committed, render_pages
from harness.audit.images import Bench
from harness.audit.outcomes import Committed, Control, Findings
from harness.audit.rows import audit_row
from harness.audit.settings import HELD_OUT, AuditSettings
from harness.records.loading import load_json
from harness.tables.published import published_number, published_tables, read_table
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]
NOTHING = Findings((), {}, {}, (), {})


@pytest.fixture(scope="module")
def found() -> Findings:
    return load_json(ROOT / DATA, Findings)


@pytest.fixture(scope="module")
def committed(found: Findings) -> Committed:
    return read_committed(Workspace(ROOT), found.audits)


def test_there_are_five_to_eight_and_each_is_whole(found: Findings, committed: Committed) -> None:
    every = claims(found, committed)
    assert 5 <= len(every) <= 8
    for claim in every:
        assert claim.cells and all(len(line) == len(claim.head) for line in claim.cells)
        for part in ("title", "claim", "effect", "consequence", "limitation", "command"):
            assert getattr(claim, part) and "{" not in getattr(claim, part), (claim.title, part)
        assert re.search(r"\d", claim.effect)


def test_no_measured_number_is_typed_into_a_sentence() -> None:
    """Names with digits (DIV2K, 8 bits, Table 8) are no measurements; decimals, percentages and dB would be."""
    for name, parts in sentences().items():
        for text in parts.values():
            assert not re.search(r"\d\.\d|\d ?%|\d dB|\d of \d", text), (name, text)


def test_without_cells_nothing_is_found() -> None:
    for function in (made.two_ssims, made.two_noises, made.one_noise_field):
        assert function(NOTHING, Committed()) is None
    assert made.two_savings(NOTHING) is None
    assert made.gray_networks_in_colour(Committed()) is None
    assert made.sizes(()) is None


def test_ssim_ranks_are_those_of_the_results(found: Findings, committed: Committed) -> None:
    claim = made.two_ssims(found, committed)
    assert claim is not None
    records = [r for r in committed.results["panet-table3"] if r["metric"] == "ssim" and r["measured"] is not None]
    places = sorted({(r["dataset"], r["level"]) for r in records if r["row"] == "ARCNN"})
    by_cell = {line[1]: line for line in claim.cells}
    for place in places:
        column = {r["row"]: r for r in records if (r["dataset"], r["level"]) == place}
        value = {row: r["measured_under_column_protocol"] or r["measured"] for row, r in column.items()}
        line = by_cell[column["ARCNN"]["printed"]]
        assert line[3] == f"{value['ARCNN']:.5f}"
        assert int(line[4]) == 1 + sum(r["published"] > column["ARCNN"]["published"] for r in column.values())
        assert int(line[5]) == 1 + sum(other > value["ARCNN"] for other in value.values())


def test_sentences_follow_the_data(found: Findings, committed: Committed) -> None:
    """Another measured number is another sentence; one that is no longer small or large as said makes no finding."""

    def moved(by: float) -> Findings:
        changed = tuple(msgspec.structs.replace(c, value=c.value + by) for c in found.controls)
        return msgspec.structs.replace(found, controls=changed)

    for function in (made.two_noises, made.one_noise_field):
        one, two = function(found, committed), function(moved(0.002), committed)
        assert one is not None and two is not None and function(moved(1), committed) is None
        assert one.effect != two.effect and one.cells != two.cells and one.title == two.title


def test_noise_differences_are_of_the_controls_and_the_results(found: Findings, committed: Committed) -> None:
    claim = made.two_noises(found, committed)
    assert claim is not None
    row = {(r["dataset"], r["level"]): r for r in committed.results["panet-table1"] if r["row"] == "FFDNet"}
    by_method = {c.method: c for c in found.controls if c.degradation == "awgn-seed0-8bit"}
    for method, control in by_method.items():
        gap = control.value - row[control.dataset, control.level]["measured"]
        assert f"{gap:+.3f} dB" in claim.effect, method


def test_marks_are_those_that_the_tables_contradict(committed: Committed) -> None:
    claim = marks_that_do_not_fit(committed)
    assert claim is not None
    count = sum(len(line[1].split(";")) for line in claim.cells)
    assert claim.claim.startswith(f"{count} cells")
    (line,) = [line for line in claim.cells if line[0] == "RNAN Table 5, SSIM"]
    assert "ARCNN" in line[3] and len(line[1].split(";")) == 5


def test_training_data_is_read_from_two_tables() -> None:
    claim = made.training_data()
    assert claim is not None
    large, small = printed_cells("rnan-table2", "RNAN (ours)"), printed_cells("rnan-table8", "RNAN")
    text = " ".join(part for line in claim.cells for part in line)
    for key in small:
        assert f"{large[key].value - small[key].value:+.2f}" in text


def test_the_controls_that_are_stored_are_those_that_are_asked(found: Findings) -> None:
    assert {c.question for c in found.controls} == {c.question for c in CONTROLS}
    for control in found.controls:
        assert 20 < control.value < 40 and control.images > 0


def test_a_control_is_the_mean_of_a_set(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: []\n")
    fetch("embedded-gray", tmp_path / "data")
    wanted = Control("jpeg", "jpeg", "embedded-gray", 10, "jpeg-y8", 0)
    (control,) = measure_controls(Workspace(tmp_path), wanted=(wanted,))
    (other,) = measure_controls(Workspace(tmp_path), wanted=(msgspec.structs.replace(wanted, level=40),))
    assert control.images > 0 and other.value > control.value + 1
    missing = msgspec.structs.replace(wanted, dataset="urban100", value=1.0)
    assert measure_controls(Workspace(tmp_path), (missing,), wanted=(missing,)) == (missing,)


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
"""


def test_a_protocol_is_fixed_on_one_set_and_tested_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that is at hand is held out: its cells are measured by one call under the protocol that the audit fixed."""
    (tmp_path / "params.yaml").write_text("tables: []\n")
    for name in ("embedded-gray", "embedded"):
        fetch(name, tmp_path / "data")
    workspace = Workspace(tmp_path)
    path = tmp_path / "panet-table3.yaml"
    path.write_text(TABLE)
    audit = audit_row(Bench(workspace), read_table(path), 0, "JPEG", AuditSettings())
    path.write_text(TABLE.replace("dataset: embedded-gray", "dataset: embedded").replace("28.43", "11.11"))
    monkeypatch.setattr("harness.audit.controls.published_tables", lambda: {"panet-table3": read_table(path)})
    asked = held_out_cells(audit, workspace.methods(), ("embedded",))
    assert [(cell.key, cell.measured) for cell in asked] == [("embedded/10/psnr", None), ("embedded/10/ssim", None)]
    cells = measure_held_out(workspace, [audit], sets=("embedded",))
    assert [cell.key for cell in cells] == [cell.key for cell in asked]
    again = measure_controls(workspace, wanted=(Control("jpeg", "jpeg", "embedded", 10, "jpeg-y8", 0),))
    assert cells[0].measured == again[0].value and cells[0].printed == "11.11"
    monkeypatch.setattr("harness.audit.findings.HELD_OUT", ("embedded",))
    known = Committed(to_hold_out={"panet-table3/JPEG": asked})
    before = hold_outs(msgspec.structs.replace(NOTHING, audits=(audit,)), known)
    after = hold_outs(msgspec.structs.replace(NOTHING, audits=(audit,), held_out=cells), known)
    assert [line.sets for line in before] == [("not run here (2)",)]
    assert [line.sets for line in after] == [("0 of 2",)]
    assert audit.chance is not None and f"{audit.chance.tried:,}" in after[0].tried


def test_no_stored_audit_saw_a_held_out_set(found: Findings) -> None:
    assert not {cell.dataset for audit in found.audits for cell in audit.cells} & set(HELD_OUT)


def test_the_page_says_what_was_not_run(found: Findings, committed: Committed) -> None:
    pages = render_pages(msgspec.structs.replace(found, held_out=()), committed)
    assert pages[PAGE].count("not run here") == sum(
        any(cell.dataset == name for cell in cells) for cells in committed.to_hold_out.values() for name in HELD_OUT
    )
    assert "harness report findings --only hold-out" in pages[PAGE]
    assert len(pages[PAGE].split()) < 3000  # two pages


def test_the_appendix_repeats_no_table(found: Findings, committed: Committed) -> None:
    pages = render_pages(found, committed)
    for path, text in pages.items():
        if path.parent.name == "audit" and path.stem in published_tables():
            assert len(text.splitlines()) < 50, path
            assert text.count("Not audited") <= 1


def test_the_sheet_is_one_page(tmp_path: Path) -> None:
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("no pdflatex was found; install texlive-latex-base and texlive-latex-recommended")
    shutil.copy(ROOT / SHEET, tmp_path)
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", SHEET.name],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "(1 page," in log and "Overfull" not in log


def test_every_finding_is_on_the_sheet(found: Findings, committed: Committed) -> None:
    pages = render_pages(found, committed)
    every = claims(found, committed)
    assert pages[SHEET].count(r"\item ") == len(every)
    # A finding without a cell in its sentences lists them: each printed value of its table stands on the sheet.
    listed = [claim for claim in every if claim.told]
    assert [claim.title.split()[0] for claim in listed] == ["Bold", "Printed"]
    for claim in listed:
        for line in claim.cells:
            printed = line[2:4] if claim.title.startswith("Bold") else line[1:3]
            for value in re.findall(r"\d[\d.,]*\d", " ".join(printed)):
                assert value in pages[SHEET], (claim.title, value)
    assert pages[BIBLIOGRAPHY].startswith("@misc{")


NUMBERS = {"six": 6, "eight": 8, "eleven": 11, "twelve": 12}


def test_counts_in_evidence_are_current(committed: Committed) -> None:
    """ "All eight digit for digit" beside a row is what its measured numbers say."""
    checked = 0
    for name, table in published_tables().items():
        for part in table.parts:
            for row in part.rows:
                records = [r for r in committed.results.get(name, ()) if r["row"] == row.name]
                hits = sum(r["verdict"] == "match" and r["metric"] in ("psnr", "ssim") for r in records)
                fits = hits + sum(r["verdict"] == "fits" for r in records)
                text = " ".join(row.evidence.split())
                said = re.search(r"all (\w+)(?: cells equal in PSNR| digit for digit)", text)
                if said:
                    count = NUMBERS.get(said[1]) or int(said[1])
                    input_ = row.degradation or part.degradation
                    run = [r for r in records if r["degradation"] == input_ and r["measured"] is not None]
                    verdicts = [r["verdict"] for r in run if r["metric"] in ("psnr", "ssim") and r["printed"]]
                    # A table with fewer columns of the same numbers says what the whole row is.
                    most = sum(published_number(value) is not None for value in row.values)
                    assert verdicts == ["match"] * min(count, most), (name, row.name)
                    checked += 1
                if "eleven of twelve cells are equal" in text:
                    assert hits == 11 and sum(r["measured"] is not None for r in records) == 12
                    checked += 1
                both = re.search(r"With both ways (\d+) of (\d+) cells are equal", text)
                left = re.search(r"not counted, which leaves (\d+)", text)
                if both and left:
                    assert (fits, len(records), hits) == (int(both[1]), int(both[2]), int(left[1]))
                    checked += 1
    assert checked >= 8
