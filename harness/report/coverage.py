"""How much of the papers was measured, as one table and one sentence that every page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.errors import CheckFailedError, HarnessError
from harness.files import write_text
from harness.report.grid import MEANINGS
from harness.tables import reach
from harness.tables.collected import collect
from harness.tables.counting import Counts, Coverage, coverage
from harness.tables.published import published_tables
from harness.tables.workspace import Workspace

BEGIN, END = "<!-- counts: written by `harness tables --write-counts README.md` -->", "<!-- end of counts -->"


def papers_coverage(workspace: Workspace, *, here: bool = True) -> Coverage:
    """Count the numbers of every published table; a user's own tables are no part of it.

    Parameters
    ----------
    workspace : Workspace
        Where.
    here : bool
        Whether what was measured here counts, or only what results/ recorded, as in a file that is in git.
    """
    return coverage(collect(workspace, published_tables(), here=here), workspace.methods())


def coverage_rows(found: Coverage) -> list[tuple[str, int, int]]:
    """List what became of the printed numbers: in words, distinct numbers, printed places."""
    verdicts = [v for v in found.all.places if v != "not run" and found.all.places[v]]
    rows = [(f"{v}: {MEANINGS[v]}", found.all.distinct[v], found.all.places[v]) for v in verdicts]
    for name, counts in found.by_reach.items():
        rows.append((f"not run: {reach.MEANINGS[name]}", counts.distinct["not run"], counts.places["not run"]))
    return [*rows, ("all", found.all.numbers, found.all.all_places)]


class Share(msgspec.Struct, frozen=True):
    """A part of the printed numbers: its `kind` (one word), how many different `numbers`, and what it is in `words`."""

    kind: str
    numbers: int
    words: str


def shares(by_reach: Mapping[reach.Reach, Counts]) -> list[Share]:
    """Divide numbers into those that were reproduced, measured otherwise, and not run, by what they take."""
    every = [counts.distinct for counts in by_reach.values()]
    match = sum(distinct["match"] for distinct in every)
    measured = sum(sum(distinct.values()) - distinct["not run"] for distinct in every)
    found = [
        Share("match", match, "reproduced to the printed digit"),
        Share("measured", measured - match, "measured, with another verdict"),
        *(Share(name, of.distinct["not run"], f"not run: {reach.MEANINGS[name]}") for name, of in by_reach.items()),
    ]
    return [share for share in found if share.numbers]


def headline(found: Coverage) -> str:
    """Say how many of the numbers that anybody can measure are reproduced."""
    public = found.by_reach["public"]
    if not public.numbers:
        return f"None of these {found.all.numbers:,} published numbers can be had from public files"
    return f"{public.distinct['match']:,} of the {public.numbers:,} published numbers that can be had are reproduced"


def headline_text(found: Coverage) -> str:
    """Say what the headline counts, and what becomes of all other printed numbers."""
    needs = {
        "supplied": "need images or weights that you supply",
        "training": "must be trained",
        "none": "are out of reach",
    }
    others = [f"{of.numbers:,} {needs[name]}" for name, of in found.by_reach.items() if name in needs and of.numbers]
    public = found.by_reach["public"]
    beyond = found.all.distinct["match"] - public.distinct["match"]
    return (
        f"Of {found.all.numbers:,} different printed numbers {public.numbers:,} can be had: every file that they take "
        "is public and pinned by checksum"
        + (f"; {', '.join(others)}" if others else "")
        + (f" ({beyond:,} of those are reproduced, too)" if beyond else "")
        + "."
    )


def coverage_text(found: Coverage) -> str:
    """Say the same in a few sentences."""
    everything, own = found.all, found.own
    measured = everything.numbers - everything.distinct["not run"]
    by_hand = found.by_reach["supplied"].numbers - found.by_reach["supplied"].distinct["not run"]
    return (
        f"{everything.distinct['match']} of {everything.numbers:,} different published numbers are reproduced to the "
        f"printed digit; {measured} were measured, {by_hand} of them with files that have no public source "
        f"with a checksum. Of the {own.numbers} image numbers of the papers' own networks "
        f"(PANet, PA-EDSR, RNAN, CSNLN, KiT, with their ablations) {own.numbers - own.distinct['not run'] or 'none'} "
        "was measured: their weights must be fetched, supplied or trained."
    )


def counts_block(found: Coverage) -> str:
    """Write sentences and table as Markdown, between the two marks of a file that shows them."""
    first, _, rest = coverage_text(found).partition("; ")
    lines = [BEGIN, "", f"**{first}**; {rest}", "", "| | different numbers | printed places |", "|:--|--:|--:|"]
    lines += [f"| {words} | {numbers:,} | {places:,} |" for words, numbers, places in coverage_rows(found)]
    return "\n".join([*lines, "", END])


def write_counts(path: Path, block: str, *, check: bool) -> bool:
    """Put a block of counts between its marks in a file; with `check`, only compare. Return whether it changed.

    Raises
    ------
    HarnessError
        The file has no marks.
    CheckFailedError
        With `check`: the file says something else.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise HarnessError(f"{path}: no lines '{BEGIN}' and '{END}'; put them where the counts shall stand")
    if BEGIN + old + END == block:
        return False
    if check:
        raise CheckFailedError(f"{path}: the counts are not those of the results; run `harness tables --write-counts`")
    write_text(path, before + block + after)
    return True
