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
    Committed,
    DimensionAudit,
    Findings,
    MixtureAudit,
    OverlapFinding,
    ParameterFinding,
    Results,
    RowAudit,
    ScreenedAudit,
    Shift,
    TableFindings,
    VariantAudit,
    counted_cells,
    distinct_cells,
)
from harness.audit.overlap import TRAINED_ON
from harness.degradations import Noise, degradation

STRONG = 0.02
"""Up to this probability of an accident a match is called strong."""
SUGGESTIVE = 0.2
"""Up to this one it is called suggestive; above it, weak."""

EQUAL_PARAMETERS = 0.001
"""Relative difference up to which a printed number of parameters (three or four digits) is the counted one."""

FEW_SHARED = 0.25
"""Part of a test set from which on its overlap with a training set is named in the opening."""


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


_VERDICTS = {"open": "Left open", "ruled out": "Ruled out on a few images", "not possible": "Not possible"}


def screened_sentences(audit: RowAudit) -> list[str]:
    """Say what was left aside, a sentence for each verdict and reason, with the values of each dimension once."""
    groups: dict[tuple[str, str], list[ScreenedAudit]] = {}
    for screened in audit.screened:
        # The reason without what is of one image or cell only.
        reason = "" if screened.verdict == "ruled out" else screened.kind or screened.reason
        groups.setdefault((screened.verdict, reason), []).append(screened)
    said = []
    for (verdict, reason), members in groups.items():
        values: dict[str, dict[str, None]] = {}
        for member in members:
            for name, value in member.choices.items():
                # A draw comes with its input.
                if name != "noise draw" or "input" not in member.choices:
                    values.setdefault(name, {})[_value(name, value)] = None
        what = "; ".join(f"{name} {', '.join(tried)}" for name, tried in values.items())
        several = len(members) > sum(len(tried) for tried in values.values())
        count = f" ({len(members)} in all, alone and together)" if several else ""
        said.append(f"{_VERDICTS[verdict]}{f', {reason}' if reason else ''}: {what}{count}")
    return said


def _value(name: str, value: str) -> str:
    """A value without commas, which stand between values: sets that go together are joined by a plus."""
    return value.replace(", ", " + " if name == "dataset" else " ")


# --- what authors and reviewers should know


def summary(findings: Findings, committed: Committed) -> list[str]:
    """Say the strongest findings in Markdown, one paragraph each.

    The cells of the findings are counted as `harness.audit.outcomes.recounted` does.
    """
    paragraphs = {
        "Numbers that match": _matches(findings.audits, committed.results),
        "Columns that mix definitions of a metric": _mixed_metrics(committed.tables),
        "Two noises in one denoising table": _mixed_noise(committed.tables),
        "Rows of which another variant matches some columns better": _mixed_rows(findings.audits),
        "Strong matches that depend on how the input was made": _particular_makings(findings.audits),
        "Printed sizes that no count made here gives": _other_parameters(committed.parameters),
        "Test images that are training images": _seen_in_training(findings.overlaps),
    }
    return [f"**{title}.** {text}" for title, text in paragraphs.items() if text]


def _matches(audits: tuple[RowAudit, ...], results: Results) -> str:
    if not audits:
        return ""
    matched, measured = distinct_cells(audits, results)
    whole = [a for a in audits if a.explained]
    strengths = [strength(audit) for audit in whole]
    words = [f"{strengths.count(word)} {word}" for word in ("strong", "suggestive", "weak") if word in strengths]
    evidence = f"; as evidence for the protocol that is {listed(words)}" if words else ""
    text = (
        f"Of the {measured} different printed numbers of the {len(audits)} rows that could be "
        f"audited, {matched} match in every printed digit under the best variant found for the row. {len(whole)} of "
        f"the rows match whole{evidence}."
    )
    rest = []
    for audit in audits:
        if not audit.explained:
            cells = counted_cells(audit, results)
            rest.append(f"{audit.row} ({audit.table}, {sum(c.matches for c in cells)} of {len(cells)})")
    return text + (f" Some cells do not match in {listed(rest)}." if rest else "")


def _mixed_rows(audits: Iterable[RowAudit]) -> str:
    return " ".join(
        f"{audit.row} of {audit.table}: {mixture_sentence(audit.mixture, len(audit.cells))}"
        for audit in audits
        if audit.mixture is not None
    )


def _mixed_metrics(tables: Iterable[TableFindings]) -> str:
    """Columns that mix protocols; tables that print the same rows share a sentence."""
    groups: dict[tuple[object, ...], list[TableFindings]] = {}
    for table in tables:
        visible = visible_shifts(table.shifts)
        if visible:
            key = tuple(sorted((s.row, s.cell, s.printed, s.own, s.column) for s in visible))
            groups.setdefault(key, []).append(table)
    cases = []
    for members in sorted(groups.values(), key=lambda group: -len(visible_shifts(group[0].shifts))):
        visible = visible_shifts(members[0].shifts)
        for metric in dict.fromkeys(shift.metric for shift in visible):
            of_metric = [shift for shift in visible if shift.metric == metric]
            cases.append(_mixed_case(members, metric, of_metric))
    return " ".join(cases)


def _mixed_case(tables: list[TableFindings], metric: str, shifts: list[Shift]) -> str:
    gaps = [shift.under_column - shift.measured for shift in shifts]
    rows = list(dict.fromkeys(shift.row for shift in shifts))
    verb = "prints" if len(rows) == 1 else "print"
    own, column = _names(f"`{s.own}`" for s in shifts), _names(f"`{s.column}`" for s in shifts)
    text = (
        f"{metric.upper()} of {listed(t.table for t in tables)}: {listed(rows)} {verb} {own} in a column of {column}; "
        f"from the one to the other the same images move by {_range(min(gaps, key=abs), max(gaps, key=abs))}"
    )
    changed = [change for change in tables[0].changes if change.split(":")[0].endswith(f"/{metric}")]
    if changed:
        count = len({shift.cell for shift in shifts})
        text += f", and the rows stand in another order in {len(changed)} of {count} columns ({changed[0]})"
    return text + "."


def visible_shifts(shifts: Iterable[Shift]) -> list[Shift]:
    """Keep the shifts that change a printed digit."""

    def at_print(value: float, shift: Shift) -> str:
        return f"{value:.{len(shift.printed.partition('.')[2])}f}"

    return [s for s in shifts if at_print(s.measured, s) != at_print(s.under_column, s)]


def comparison_sentence(table: TableFindings, metric: str) -> str:
    """Say whether the protocols that share a column give different printed digits on the same images."""
    shifts = [shift for shift in table.shifts if shift.metric == metric]
    changed = len(visible_shifts(shifts))
    if not shifts:
        return "By how much they differ is not measured."
    both = f"the {len(shifts)} cells that were measured under their own protocol and the column's"
    if not changed:
        return f"In none of {both} does a printed digit change."
    return f"In {changed} of {both} a printed digit changes: these values are not comparable."


def _names(names: Iterable[str]) -> str:
    return listed(dict.fromkeys(names))


def _range(low: float, high: float) -> str:
    return f"{high:+.4f}" if f"{low:+.4f}" == f"{high:+.4f}" else f"{low:+.4f} to {high:+.4f}"


def _mixed_noise(tables: Iterable[TableFindings]) -> str:
    mixed: dict[str, dict[str, None]] = {}
    for table in tables:
        for gray in ("", "rgb2gray", "luma"):
            clipped: list[str] = []
            unclipped: list[str] = []
            for name, rows in table.inputs.items():
                noise = degradation(name)
                if isinstance(noise, Noise) and noise.gray == gray:
                    (unclipped if "float" in name else clipped).extend(rows)
            if clipped and unclipped:
                count, first, last = len(unclipped), unclipped[0], unclipped[-1]
                rows_named = listed(unclipped) if count < 3 else f"{count} rows from {first} to {last}"
                said = f"{listed(clipped)} on 8-bit noisy images, {rows_named} on unclipped noise"
                said += " (as measured, or by lineage where nothing was)"
                mixed.setdefault(said, {})[table.table] = None
    return "; ".join(f"{listed(names)}: {said}" for said, names in mixed.items()) + "." if mixed else ""


def _particular_makings(audits: Iterable[RowAudit]) -> str:
    """Rows whose match is strong and needs another clipping, rounding, window or input than the usual one."""
    cases = [
        f"{audit.row} ({audit.table}) needs {listed(needs)}"
        for audit in audits
        if audit.best is not None and strength(audit) == "strong" and (needs := _needs(audit))
    ]
    return f"{'; '.join(cases)}. Every other value tried loses matches." if cases else ""


def _needs(audit: RowAudit) -> list[str]:
    """What is decided by the digits and is not the field's usual way."""
    decided = {d.name: d.admitted[0] for d in audit.dimensions if len(d.admitted) == 1}
    needs = []
    if decided.get("kind of SSIM", "ssim-gauss") != "ssim-gauss":
        needs.append(f"`{decided['kind of SSIM']}`")
    if "input" in decided and ("y8" in decided["input"] or "bayer" in decided["input"]):
        needs.append(f"the input `{decided['input']}`")
    if decided.get("range") == "16..235":
        needs.append("a luma clipped to 16..235")
    if decided.get("saved", "8-bit, rounded") != "8-bit, rounded":
        needs.append(f"images {decided['saved']}")
    return needs


def _other_parameters(parameters: Iterable[ParameterFinding]) -> str:
    wrong: dict[tuple[float, int], list[ParameterFinding]] = {}
    for item in parameters:
        printed = printed_parameters(item.printed)
        if abs(item.counted / printed - 1) > EQUAL_PARAMETERS:
            wrong.setdefault((printed, item.counted), []).append(item)
    cases = [
        f"{_names(i.row for i in items)}: printed {items[0].printed}, counted {counted:,} "
        f"({100 * (counted / printed - 1):+.1f} %)"
        for (printed, counted), items in sorted(wrong.items(), key=lambda case: -abs(case[0][1] / case[0][0] - 1))
    ]
    return f"{'; '.join(cases)}." if cases else ""


def printed_parameters(text: str) -> float:
    """Read a printed number of parameters such as ``7,409K``."""
    return float(text.replace(",", "").strip().rstrip("Kk")) * 1000


def _seen_in_training(overlaps: Iterable[OverlapFinding]) -> str:
    trained = [o for o in overlaps if o.one in TRAINED_ON]
    large = [o for o in trained if o.other_count >= FEW_SHARED * o.other_size]
    if not large:
        return ""
    cases = [f"{o.other_count} of {o.other_size} images of {o.other} are in {o.one}" for o in large]
    few = [f"{o.other_count} of {o.other_size} of {o.other}" for o in trained if o not in large]
    return listed(cases) + (f"; so are {listed(few)}." if few else ".")


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
