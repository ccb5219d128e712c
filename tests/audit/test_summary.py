"""The opening of the findings, and the sentences on what was tried: made of the data, and silent where they are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.audit.findings import DATA, TRAINED_ON, Findings, OverlapFinding, ParameterFinding, Shift, TableFindings
from harness.audit.outcomes import ChoiceAudit, DimensionAudit, MixtureAudit, RowAudit, ScreenedAudit, VariantAudit
from harness.audit.ranking import Chance
from harness.audit.summary import printed_parameters, summary
from harness.audit.wording import digits_by_value, listed, screened_sentences
from harness.records import load_json

NOTHING = Findings((), {}, {}, (), (), (), (), {})
STRONG = Chance(100, 60, 1, 8, 8, 60, 0)


def table(name: str, **changes: object) -> TableFindings:
    return msgspec.structs.replace(TableFindings(name, "A table", {}, {}, (), ()), **changes)


def row(name: str, digits: int, of: int, **changes: object) -> RowAudit:
    best = VariantAudit({}, {}, digits, 8, digits, 0.0, 0.3)
    found = RowAudit("t-table1", 0, name, "jpeg", "jpeg", digits=of, best=best, chance=STRONG)
    return msgspec.structs.replace(found, **changes)


def said(found: Findings) -> str:
    return "\n".join(summary(found, [o for o in found.overlaps if o.one in TRAINED_ON]))


def test_nothing_is_said_of_nothing() -> None:
    assert summary(NOTHING, []) == []


def test_explained_rows_are_counted_and_others_named() -> None:
    text = said(msgspec.structs.replace(NOTHING, audits=(row("One", 32, 32), row("Two", 30, 32))))
    assert "62 of 64 printed digits of the 2 rows" in text
    assert "1 rows to the last digit; for 1 of these" in text
    assert "Digits stay unexplained in Two (t-table1, 30 of 32)." in text


def test_a_row_of_two_protocols_is_named() -> None:
    mixture = MixtureAudit(
        ("live1/10",), {"saved": "8-bit, rounded"}, {}, 15, 3, 31, 7, Chance(100, 60, 1, 4, 3, 60, 6)
    )
    text = said(msgspec.structs.replace(NOTHING, audits=(row("One", 30, 32, mixture=mixture), row("Two", 32, 32))))
    assert "**Rows that look put together from two sources.** One of t-table1: live1/10: explained better" in text
    assert "(saved 8-bit, rounded): 3 of 4 cells; with it 7 of the row's" in text
    assert "in about 11 % of the cases" in text
    assert "Two of" not in text


def test_a_mixed_column_is_named_once_for_tables_with_the_same_rows() -> None:
    shifts = (Shift("JPEG", "live1/10/ssim", "ssim-8x8", "ssim-gauss", "0.7905", 0.79054, 0.773),)
    changes = ("live1/10/ssim: printed A > B; under one protocol B > A",)
    tables = tuple(table(name, shifts=shifts, changes=changes) for name in ("one-table1", "two-table1"))
    text = said(msgspec.structs.replace(NOTHING, tables=tables))
    assert text.count("JPEG") == 1
    assert "SSIM of one-table1 and two-table1: JPEG prints `ssim-8x8` in a column of `ssim-gauss`" in text
    assert "-0.0175" in text
    assert "in 1 of 1 columns" in text


def test_a_shift_below_the_printed_digits_is_no_finding() -> None:
    shifts = (Shift("Bicubic", "set5/2/psnr", "psnr-y8-crop", "psnr-y-crop", "33.66", 33.6612, 33.6614),)
    assert said(msgspec.structs.replace(NOTHING, tables=(table("one-table1", shifts=shifts),))) == ""


def test_two_noises_are_told_by_channels() -> None:
    apart = {"awgn-seed0-8bit-gray": ["A"], "awgn-seed0-float": ["B"]}
    mixed = {"awgn-seed0-8bit": ["A"], "awgn-seed0-float": ["B", "C"]}
    assert said(msgspec.structs.replace(NOTHING, tables=(table("one-table1", inputs=apart),))) == ""
    text = said(msgspec.structs.replace(NOTHING, tables=(table("one-table1", inputs=mixed),)))
    assert "one-table1: A on 8-bit noisy images, B and C on unclipped noise" in text


def test_what_a_strong_match_needs() -> None:
    dimensions = (
        DimensionAudit("range", (ChoiceAudit("16..235", 32, False, True), ChoiceAudit("0..255", 31, True, False))),
        DimensionAudit("saved", (ChoiceAudit("not rounded", 32, False, True), ChoiceAudit("raw", 32, False, True))),
    )
    text = said(msgspec.structs.replace(NOTHING, audits=(row("Bicubic", 32, 32, dimensions=dimensions),)))
    assert "Bicubic (t-table1) needs a luma clipped to 16..235." in text
    weak = row("Bicubic", 32, 32, dimensions=dimensions, chance=msgspec.structs.replace(STRONG, fooled=30))
    assert "16..235" not in said(msgspec.structs.replace(NOTHING, audits=(weak,)))


def test_parameters_that_differ() -> None:
    assert printed_parameters("7,409K") == printed_parameters(" 7409k") == 7_409_000
    parameters = (
        ParameterFinding("t", "A", "7,409K", 8_959_555),
        ParameterFinding("u", "A (ours)", "7409K", 8_959_555),
        ParameterFinding("t", "B", "5957K", 5_957_279),
    )
    text = said(msgspec.structs.replace(NOTHING, parameters=parameters))
    assert "A and A (ours): printed 7,409K, counted 8,959,555 (+20.9 %)" in text
    assert "B" not in text


def test_overlaps_with_training_sets_only() -> None:
    overlaps = (
        OverlapFinding("bsd400", "rain100l", 67, 75, 400, 100, {"same": 75}, ()),
        OverlapFinding("bsd400", "set5", 1, 1, 400, 5, {"same": 1}, ()),
        OverlapFinding("kodak24", "live1", 19, 19, 24, 29, {"same": 19}, ()),
    )
    text = said(msgspec.structs.replace(NOTHING, overlaps=overlaps))
    assert "75 of 100 images of rain100l are in bsd400; so are 1 of 5 of set5." in text
    assert "live1" not in text


def test_the_projects_data_give_five_findings_or_more() -> None:
    path = Path(__file__).parents[2] / DATA
    if not path.is_file():
        pytest.skip(f"{DATA} was not made yet; run harness findings")
    found = load_json(path, Findings)
    assert len(summary(found, [o for o in found.overlaps if o.one in TRAINED_ON])) >= 5


def test_lists_in_sentences() -> None:
    assert listed(["A"]) == "A"
    assert listed(["A", "B", "C"]) == "A, B and C"
    assert listed(["A, old", "B"]) == "A, old; B"


def test_what_was_left_aside_is_one_sentence_a_reason() -> None:
    here = "not in work/restored, and --inputs stored restores no other input"
    screened = [
        ScreenedAudit({"input": f"noise-{i}", "noise draw": "independent, seed 0"} | other, "open", here)
        for i in range(20)
        for other in ({}, {"dataset": "kodak24-crop500, cbsd68"})
    ]
    screened.append(ScreenedAudit({"saving": "not rounded"}, "open", "the budget ended at image 5 of 24"))
    screened.append(ScreenedAudit({"method": "other"}, "ruled out", "on 4 images"))
    audit = row("One", 30, 32, screened=tuple(screened))
    first, second, third = screened_sentences(audit)
    assert first.startswith("Left open, not in work/restored: input noise-0, noise-1,")
    assert first.endswith("dataset kodak24-crop500 + cbsd68 (40 in all, alone and together)")
    assert second == "Left open, the budget ended before: saving not rounded"
    assert third == "Ruled out on a few images: method other"


def test_dimensions_that_change_nothing_are_not_listed() -> None:
    same = DimensionAudit("luma of PSNR", tuple(ChoiceAudit(v, 30, False, True) for v in ("none", "y")))
    other = DimensionAudit(
        "border of PSNR",
        (
            ChoiceAudit("none", 30, False, True),
            ChoiceAudit("crop", 28, False, False),
            ChoiceAudit("crop+6", 28, True, False),
        ),
    )
    audit = row("One", 30, 32, dimensions=(same, other))
    assert digits_by_value(audit) == ["border of PSNR: none 30; crop 28; crop+6 ≤ 28"]
