"""Audits in words: sentences for documents, tables for the terminal.

A match is said as strongly as it is, and no more. Every sentence is made of what was measured; a finding that the data
do not hold is not said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.audit.outcomes import (
    Chance,
    DimensionAudit,
    MixtureAudit,
    RowAudit,
    VariantAudit,
)

STRONG = 0.02
"""Up to this probability of an accident a match is called strong."""
SUGGESTIVE = 0.2
"""Up to this one it is called suggestive; above it, weak."""


def accident(audit: RowAudit) -> float:
    """Estimate how easily a match is an accident: what decides the words `strong`, `suggestive` and `weak`.

    The larger of two numbers. One is the chance that some variant matches the row's independent cells by accident
    (`harness.audit.outcomes.Chance.coincidence`): it falls with every independent cell and *grows* with every variant
    that gives other numbers. The other is the share of decoys that were fooled. Neither gets smaller because more
    variants were tried, so a longer list alone never makes a stronger word.
    """
    assert audit.chance is not None
    return max(audit.chance.coincidence(audit.independent), audit.chance.share)


def strength(audit: RowAudit) -> str:
    """Name the strength of a match: ``strong``, ``suggestive``, ``weak``, or ``partial`` where cells do not match.

    Where the decoys are too few to say that less than `SUGGESTIVE` of them would be fooled (below 14 if none is), the
    match is not tested, and called weak.
    """
    if not audit.explained:
        return "partial"
    if audit.chance is None or audit.chance.bound > SUGGESTIVE:
        return "weak"
    probability = accident(audit)
    return "strong" if probability <= STRONG else "suggestive" if probability <= SUGGESTIVE else "weak"


def percent(share: float) -> str:
    """Write a probability."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def decoy_sentence(chance: Chance) -> str:
    """Say how many decoys were fooled, and the most that this can mean."""
    were = "was" if chance.fooled == 1 else "were"
    bound = f"(with 95 % confidence at most {percent(chance.bound)})"
    return f"{chance.fooled} of {chance.decoys} decoys {were} fooled {bound}"


def chance_sentence(audit: RowAudit) -> str:
    """Say how surprising a match is; of a row that does not match whole, only what was tried."""
    chance = audit.chance
    assert chance is not None
    said = f"{chance.tried} variants were tried; {chance.distinct} of them give different numbers"
    if not audit.explained:
        return said + "; not every cell matches."
    if not chance.decoys:
        return said + ": too few to say how surprising the match is."
    cells = f"{audit.independent} independent cell{'s' * (audit.independent != 1)}"
    words = {
        "strong": "the match is strong evidence",
        "suggestive": "the match is suggestive, not proof",
        "weak": "the match is weak evidence",
    }
    return (
        f"{said}. That one of them matches {cells} by accident has a chance of at most "
        f"{percent(chance.coincidence(audit.independent))}; {decoy_sentence(chance)}: {words[strength(audit)]}."
    )


def mixture_sentence(mixture: MixtureAudit, cells: int) -> str:
    """Say which columns a second variant matches better, and how surprising that is."""
    how = ", ".join(f"{name} {value}" for name, value in mixture.choices.items())
    said = (
        f"{listed(mixture.places)}: another variant ({how}) matches {mixture.whole} of {mixture.chance.cells} cells; "
        f"with it {mixture.row_whole} of the row's {cells} cells match"
    )
    return said + (f"; {decoy_sentence(mixture.chance)}." if mixture.chance.decoys else ".")


def headline(audit: RowAudit) -> str:
    """Say in one sentence what makes the row's numbers."""
    if audit.best is None:
        return audit.reason
    best = audit.best
    protocols = " and ".join(best.protocols.values())
    how = [best.choices["input"]]
    if best.choices["method"] != audit.method:
        how.append(f"method {best.choices['method']}")
    dataset = best.choices.get("dataset", "")
    columns = ", ".join(dict.fromkeys(cell.dataset for cell in audit.cells))
    if dataset and dataset != columns:
        how.append(f"on {dataset}")
    if best.choices.get("saved", "") not in ("", "8-bit, rounded"):
        how.append(best.choices["saved"])
    if best.choices.get("range", "") == "16..235":
        how.append("clipped to 16..235")
    verb = "matched by" if audit.explained else "nearest:"
    return f"{verb} {protocols}; {', '.join(how)}: {best.whole} of {len(audit.cells)} cells"


def listed(names: Iterable[str]) -> str:
    """Join names as in a sentence: ``A, B and C``."""
    known = list(names)
    return " and ".join(", ".join(known).rsplit(", ", 1)) if all(", " not in n for n in known) else "; ".join(known)


def values_by_score(audit: RowAudit) -> list[str]:
    """Order the values of each dimension that changes something, the nearest to the printed numbers first."""
    said = []
    for dimension in audit.dimensions:
        if len({choice.digits for choice in dimension.values}) < 2:
            continue
        values: dict[int, list[str]] = {}
        for choice in dimension.values:
            values.setdefault(choice.digits, []).append(_value(dimension.name, choice.value))
        said.append(f"{dimension.name}: " + "; then ".join(", ".join(values[score]) for score in sorted(values)[::-1]))
    return said


def left_words(audit: RowAudit) -> str:
    """Count what was left aside, by verdict; empty where nothing was."""
    verdicts = [screened.verdict for screened in audit.screened]
    return listed(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))


def _value(name: str, value: str) -> str:
    """A value without commas, which stand between values: sets that go together are joined by a plus."""
    return value.replace(", ", " + " if name == "dataset" else " ")


# --- the terminal

WIDE = 150


def audit_as_plain(audit: RowAudit) -> dict[str, Any]:
    """Plain values of an audit, with what its sentences say of it."""
    plain: dict[str, Any] = msgspec.to_builtins(audit)
    plain |= {"explained": audit.explained, "headline": headline(audit)}
    if audit.chance is not None:
        plain["chance"] |= {
            "accident": accident(audit),
            "bound": audit.chance.bound,
            "independent": audit.independent,
            "strength": strength(audit),
            "sentence": chance_sentence(audit),
        }
    return plain


def print_audits(audits: list[RowAudit], ranking: int = 5) -> None:
    """Print audits to standard output; rows that could not be evaluated share a line per reason."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, WIDE))
    not_audited: dict[str, list[str]] = {}
    for audit in audits:
        if audit.best is not None:
            _print_audit(console, audit, ranking)
        else:
            not_audited.setdefault(audit.reason, []).append(audit.row)
    for reason, rows in not_audited.items():
        console.print(f"[dim]not audited: {', '.join(rows)}: {reason}[/dim]", markup=True)


def _print_audit(console: Console, audit: RowAudit, ranking: int) -> None:
    console.print()
    console.rule(Text(f"{audit.table}  {audit.row}", style="bold"), align="left", style="dim")
    console.print(Text(headline(audit), style="green" if audit.explained else "yellow"))
    console.print(_cells(audit))
    if audit.mixture is not None:
        console.print(Text(mixture_sentence(audit.mixture, len(audit.cells)), style="cyan"))
    dimensions = [dimension for dimension in audit.dimensions if len(dimension.values) > 1]
    if dimensions:
        console.print(_dimensions(dimensions))
    if ranking and len(audit.ranking) > 1:
        console.print(_ranking(audit.ranking[:ranking]))
    left_out: dict[str, int] = {}
    for reason in audit.left_out.values():
        left_out[reason] = left_out.get(reason, 0) + 1
    remarks = [f"{left.verdict}: {', '.join(left.choices.values())}: {left.reason}" for left in audit.screened]
    remarks += [f"not tried: {text}" for text in audit.not_tried]
    remarks += [f"{count} cells left out: {reason}" for reason, count in left_out.items()]
    for text in remarks:
        console.print(Text(f"  {text}", style="dim"))
    if audit.chance is not None:
        console.print(Text(chance_sentence(audit), style="cyan"))


def _table(*titles: str, right: Collection[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left")
    return table


def _cells(audit: RowAudit) -> Table:
    numbers = ("published", "measured", "difference", "match")
    table = _table("cell", *numbers, right=numbers)
    for cell in audit.cells:
        decimals = len(cell.printed.partition(".")[2]) + 1
        whole = cell.explained == cell.digits
        noise = f" ± {cell.tolerance:.{decimals}f}" if cell.tolerance else ""
        table.add_row(
            cell.key,
            cell.printed,
            f"{cell.measured:.{decimals}f}",
            f"{cell.measured - float(cell.printed):+.{decimals}f}{noise}",
            Text("yes" if whole else "no", style="green" if whole else "yellow"),
        )
    return table


def _dimensions(dimensions: list[DimensionAudit]) -> Table:
    table = _table("dimension", "the numbers admit", "others, by falling score")
    for dimension in dimensions:
        admitted, count = ", ".join(dimension.admitted), len(dimension.values)
        if len(dimension.admitted) == count:
            admitted = f"any of {count}: no difference at the printed digits" if count > 4 else f"any: {admitted}"
        others = ", ".join(choice.value for choice in dimension.values if not choice.agrees)
        decided = len(dimension.admitted) == 1
        table.add_row(dimension.name, Text(admitted, style="bold" if decided else ""), Text(others, style="dim"))
    return table


def _ranking(variants: tuple[VariantAudit, ...]) -> Table:
    numbers = ("rank", "cells", "score", "misfit")
    table = _table(*numbers, "variant (as far as it differs from the first)", right=numbers)
    for rank, variant in enumerate(variants, 1):
        first = variants[0] if rank > 1 else None
        words = [
            f"{name} {value}"
            for name, value in variant.choices.items()
            if " of " not in name and name != "dataset" and (first is None or first.choices.get(name) != value)
        ]
        words += [p for m, p in variant.protocols.items() if first is None or first.protocols.get(m) != p]
        score = f"{'~' if variant.estimated else ''}{variant.digits}"
        table.add_row(str(rank), str(variant.whole), score, f"{variant.misfit:.1f}", "; ".join(words))
    return table
