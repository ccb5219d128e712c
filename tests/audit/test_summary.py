"""The opening of the findings, and the sentences on what was tried: made of the data, and silent where they are."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.audit.findings import DATA, read_committed
from harness.audit.outcomes import (
    CellAudit,
    Chance,
    ChoiceAudit,
    Committed,
    DimensionAudit,
    Findings,
    MixtureAudit,
    OverlapFinding,
    ParameterFinding,
    RowAudit,
    ScreenedAudit,
    Shift,
    TableFindings,
    VariantAudit,
)
from harness.audit.wording import (
    accident,
    chance_sentence,
    comparison_sentence,
    headline,
    listed,
    printed_parameters,
    screened_sentences,
    strength,
    summary,
)
from harness.audit.wording import values_by_score as by_score
from harness.records.loading import load_json
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]
NOTHING = Findings((), {}, {}, (), (), {})
STRONG = Chance(100, 60, 1, 8, 8, 60, 0)


def table(name: str, **changes: object) -> TableFindings:
    return msgspec.structs.replace(TableFindings(name, "A table", {}, {}, (), ()), **changes)


def row(name: str, whole: int, of: int, **changes: object) -> RowAudit:
    """A row of `of` cells on two sets under two metrics, of which the first `whole` match."""
    cells = tuple(
        CellAudit(
            f"s{i % 2}/{i}/{m}", f"s{i % 2}", i, m, "30.00", 30.0 + (i >= whole), 4 if i < whole else 1, 4, 0.0, 5
        )
        for i, m in ((i, ("psnr", "ssim")[i // 2 % 2]) for i in range(of))
    )
    best = VariantAudit({"input": "jpeg-y8", "method": "jpeg"}, {"psnr": "psnr"}, 4 * whole, whole, 4 * whole, 0.0, 0.3)
    found = RowAudit("t-table1", 0, name, "jpeg", name, cells=cells, digits=4 * of, best=best, chance=STRONG)
    return msgspec.structs.replace(found, **changes)


def said(found: Findings, **committed: object) -> str:
    return "\n".join(summary(found, Committed(**committed)))  # type: ignore[arg-type]


def test_nothing_is_said_of_nothing() -> None:
    assert summary(NOTHING, Committed()) == []


def test_cells_are_counted_and_no_digits() -> None:
    """BM3D's gray row: 24 of 32 digits were one cell of eight."""
    audits = (row("One", 8, 8), row("BM3D", 1, 8))
    text = said(msgspec.structs.replace(NOTHING, audits=audits))
    assert "Of the 16 different printed numbers of the 2 rows that could be audited, 9 match" in text
    assert "1 of the rows match whole; as evidence for the protocol that is 1 strong" in text
    assert "Some cells do not match in BM3D (t-table1, 1 of 8)." in text
    assert headline(audits[1]).endswith("1 of 8 cells")
    for sentence in (text, *(headline(a) for a in audits), *(chance_sentence(a) for a in audits)):
        assert "digits" not in sentence


def test_a_number_that_two_rows_print_counts_once() -> None:
    audits = (row("One", 8, 8), row("One", 8, 8, table="t-table2"))
    assert "Of the 8 different printed numbers" in said(msgspec.structs.replace(NOTHING, audits=audits))


def test_a_longer_list_alone_never_makes_a_stronger_word() -> None:
    order = ("weak", "suggestive", "strong")
    for cells in (2, 4, 8):
        for fooled in (0.0, 0.1, 0.3):
            counts = [n for n in range(14, 400) if Chance(0, n, 1, cells, cells, n, int(fooled * n)).bound <= 0.2]
            words = [
                strength(row("One", cells, cells, chance=Chance(9 * n, n, 1, cells, cells, n, int(fooled * n))))
                for n in counts
            ]
            if not fooled:
                ranks = [order.index(word) for word in words]
                assert ranks == sorted(ranks, reverse=True)
    few, many = (row("One", 8, 8, chance=Chance(9 * n, n, 1, 8, 8, n, 0)) for n in (40, 400))
    assert (strength(few), strength(many)) == ("strong", "suggestive")
    assert accident(few) < accident(many)


def test_independent_cells_and_fooled_decoys_decide_the_word() -> None:
    chance = Chance(100, 60, 1, 8, 8, 60, 0)
    assert strength(row("One", 8, 8, chance=chance)) == "strong"
    # Eight cells of one metric on one set are one independent cell.
    one_set = tuple(msgspec.structs.replace(c, dataset="s0", metric="psnr") for c in row("One", 8, 8).cells)
    alone = row("One", 8, 8, chance=chance, cells=one_set)
    assert (alone.independent, strength(alone)) == (1, "weak")
    fooled = msgspec.structs.replace(chance, fooled=6)
    assert strength(row("One", 8, 8, chance=fooled)) == "suggestive"
    assert strength(row("One", 7, 8, chance=chance)) == "partial"


def test_six_decoys_test_nothing() -> None:
    untested = row("One", 8, 8, chance=Chance(30, 6, 1, 8, 8, 6, 0))
    assert strength(untested) == "weak"
    assert "0 of 6 decoys were fooled (with 95 % confidence at most 39 %)" in chance_sentence(untested)


def test_a_row_of_two_protocols_is_named() -> None:
    mixture = MixtureAudit(
        ("live1/10",), {"saved": "8-bit, rounded"}, {}, 15, 3, 31, 7, Chance(100, 60, 1, 4, 3, 60, 6)
    )
    text = said(msgspec.structs.replace(NOTHING, audits=(row("One", 7, 8, mixture=mixture), row("Two", 8, 8))))
    assert "One of t-table1: live1/10: another variant (saved 8-bit, rounded) matches 3 of 4 cells" in text
    assert "with it 7 of the row's 8 cells match; 6 of 60 decoys were fooled" in text
    assert "Two of" not in text


def test_a_mixed_column_is_named_once_for_tables_with_the_same_rows() -> None:
    shifts = (Shift("JPEG", "live1/10/ssim", "ssim-8x8", "ssim-gauss", "0.7905", 0.79054, 0.773),)
    changes = ("live1/10/ssim: printed A > B; under one protocol B > A",)
    tables = tuple(table(name, shifts=shifts, changes=changes) for name in ("one-table1", "two-table1"))
    text = said(NOTHING, tables=tables)
    assert text.count("JPEG") == 1
    assert "SSIM of one-table1 and two-table1: JPEG prints `ssim-8x8` in a column of `ssim-gauss`" in text
    assert "-0.0175" in text
    assert "in 1 of 1 columns" in text


def test_a_shift_below_the_printed_digits_is_no_finding() -> None:
    shifts = (Shift("Bicubic", "set5/2/psnr", "psnr-y8-crop", "psnr-y-crop", "33.66", 33.6612, 33.6614),)
    assert said(NOTHING, tables=(table("one-table1", shifts=shifts),)) == ""


def test_not_comparable_needs_a_difference() -> None:
    """Eight cells of RNAN Table 6 are equal under both protocols; of LapSRN's four, two are not."""
    tables = {t.table: t for t in read_committed(Workspace(ROOT)).tables}
    for metric in ("psnr", "ssim"):
        assert comparison_sentence(tables["rnan-table6"], metric).startswith("In none of the 4 cells")
    assert "In 16 of the 16 cells" in comparison_sentence(tables["panet-table3"], "ssim")
    assert comparison_sentence(tables["kit-table1"], "ssim") == "By how much they differ is not measured."
    for line in (ROOT / "docs/findings.md").read_text(encoding="utf-8").splitlines():
        assert "not comparable" not in line or not line.startswith("- ") or "a printed digit changes" in line


def test_two_noises_are_told_by_channels() -> None:
    apart = {"awgn-seed0-8bit-gray": ["A"], "awgn-seed0-float": ["B"]}
    mixed = {"awgn-seed0-8bit": ["A"], "awgn-seed0-float": ["B", "C"]}
    assert said(NOTHING, tables=(table("one-table1", inputs=apart),)) == ""
    text = said(NOTHING, tables=(table("one-table1", inputs=mixed),))
    assert "one-table1: A on 8-bit noisy images, B and C on unclipped noise" in text


def test_what_a_strong_match_needs() -> None:
    dimensions = (
        DimensionAudit("range", (ChoiceAudit("16..235", 32, False, True), ChoiceAudit("0..255", 31, True, False))),
        DimensionAudit("saved", (ChoiceAudit("not rounded", 32, False, True), ChoiceAudit("raw", 32, False, True))),
    )
    text = said(msgspec.structs.replace(NOTHING, audits=(row("Bicubic", 8, 8, dimensions=dimensions),)))
    assert "Bicubic (t-table1) needs a luma clipped to 16..235." in text
    weak = row("Bicubic", 8, 8, dimensions=dimensions, chance=msgspec.structs.replace(STRONG, fooled=30))
    assert "16..235" not in said(msgspec.structs.replace(NOTHING, audits=(weak,)))


def test_parameters_that_differ() -> None:
    assert printed_parameters("7,409K") == printed_parameters(" 7409k") == 7_409_000
    parameters = (
        ParameterFinding("t", "A", "7,409K", 8_959_555),
        ParameterFinding("u", "A (ours)", "7409K", 8_959_555),
        ParameterFinding("t", "B", "5957K", 5_957_279),
    )
    text = said(NOTHING, parameters=parameters)
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
    found = load_json(ROOT / DATA, Findings)
    assert len(summary(found, read_committed(Workspace(ROOT)))) >= 5


def test_lists_in_sentences() -> None:
    assert listed(["A"]) == "A"
    assert listed(["A", "B", "C"]) == "A, B and C"
    assert listed(["A, old", "B"]) == "A, old; B"


def test_what_was_left_aside_is_one_sentence_a_reason() -> None:
    kind = "not in work/restored"
    here = f"{kind}, and --inputs stored restores no other input"
    screened = [
        ScreenedAudit(
            {"input": f"noise-{i}", "noise draw": "independent, seed 0"} | other, "open", here, "not in work/restored"
        )
        for i in range(20)
        for other in ({}, {"dataset": "kodak24-crop500, cbsd68"})
    ]
    screened.append(
        ScreenedAudit({"saving": "not rounded"}, "open", "the budget ended at image 5 of 24", "the budget ended before")
    )
    screened.append(ScreenedAudit({"method": "other"}, "ruled out", "on 4 images"))
    audit = row("One", 7, 8, screened=tuple(screened))
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
    assert by_score(row("One", 7, 8, dimensions=(same, other))) == ["border of PSNR: none; then crop, crop+6"]
