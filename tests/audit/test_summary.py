"""The opening of the findings, and the sentences on what was tried: made of the data."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.audit.claims import opening
from harness.audit.outcomes import (
    CellAudit,
    Chance,
    ChoiceAudit,
    Committed,
    DimensionAudit,
    Findings,
    RowAudit,
    ScreenedAudit,
    VariantAudit,
)
from harness.audit.wording import (
    accident,
    chance_sentence,
    headline,
    left_words,
    listed,
    strength,
)
from harness.audit.wording import values_by_score as by_score

ROOT = Path(__file__).parents[2]
NOTHING = Findings((), {}, {}, (), {})
STRONG = Chance(100, 60, 1, 8, 8, 60, 0)


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


def test_cells_are_counted_and_no_digits() -> None:
    """BM3D's gray row: 24 of 32 digits were one cell of eight."""
    audits = (row("One", 8, 8), row("BM3D", 1, 8))
    text = opening(msgspec.structs.replace(NOTHING, audits=audits), Committed())
    assert "Of the 16 different printed numbers of the 2 rows that could be audited, 9 match" in text
    assert "1 rows match whole; as evidence for the protocol that is 1 strong" in text
    assert headline(audits[1]).endswith("1 of 8 cells")
    for sentence in (text, *(headline(a) for a in audits), *(chance_sentence(a) for a in audits)):
        assert "digits" not in sentence


def test_a_number_that_two_rows_print_counts_once() -> None:
    audits = (row("One", 8, 8), row("One", 8, 8, table="t-table2"))
    text = opening(msgspec.structs.replace(NOTHING, audits=audits), Committed())
    assert "Of the 8 different printed numbers" in text


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


def test_lists_in_sentences() -> None:
    assert listed(["A"]) == "A"
    assert listed(["A", "B", "C"]) == "A, B and C"
    assert listed(["A, old", "B"]) == "A, old; B"


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


def test_what_was_left_aside_is_counted() -> None:
    screened = tuple(ScreenedAudit({"input": "a"}, verdict, "") for verdict in ("open", "open", "ruled out"))
    assert left_words(row("One", 7, 8, screened=screened)) == "2 open and 1 ruled out"
    assert left_words(row("One", 8, 8)) == ""
