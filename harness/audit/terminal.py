"""An audit in the terminal: what was found, the evidence cell by cell, what each dimension says, the runners-up."""

from __future__ import annotations

from typing import Any

from harness.audit.outcomes import DimensionAudit, RowAudit, VariantAudit
from harness.audit.wording import chance_sentence, headline, mixture_sentence, same_for_readers

WIDE = 150


def print_audits(audits: list[RowAudit], ranking: int = 5) -> None:
    """Print audits to standard output; rows that could not be evaluated share a line per reason."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, WIDE))
    for audit in audits:
        if audit.best is not None:
            _print_audit(console, audit, ranking)
    reasons: dict[str, list[str]] = {}
    for audit in audits:
        if audit.best is None:
            reasons.setdefault(audit.reason, []).append(audit.row)
    for reason, rows in reasons.items():
        console.print(f"[dim]not audited: {', '.join(rows)}: {reason}[/dim]", markup=True)


def _print_audit(console: Any, audit: RowAudit, ranking: int) -> None:
    from rich.text import Text

    assert audit.best is not None
    console.print()
    console.rule(Text(f"{audit.table}  {audit.row}", style="bold"), align="left", style="dim")
    colour = "green" if audit.explained else "yellow"
    console.print(Text(headline(audit), style=colour))
    console.print(_evidence(audit))
    if audit.mixture is not None:
        console.print(Text(mixture_sentence(audit.mixture, len(audit.cells)), style="cyan"))
    dimensions = _dimensions(audit)
    if dimensions is not None:
        console.print(dimensions)
    if ranking and len(audit.ranking) > 1:
        console.print(_ranking(audit, ranking))
    for screened in audit.screened:
        what = ", ".join(screened.choices.values())
        console.print(Text(f"  {screened.verdict}: {what}: {screened.reason}", style="dim"))
    for text in audit.not_tried:
        console.print(Text(f"  not tried: {text}", style="dim"))
    left: dict[str, list[str]] = {}
    for key, reason in audit.left_out.items():
        left.setdefault(reason, []).append(key)
    for reason, keys in left.items():
        console.print(Text(f"  {len(keys)} cells left out: {reason}", style="dim"))
    if audit.chance is not None:
        console.print(Text(chance_sentence(audit), style="cyan"))


def _evidence(audit: RowAudit) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for title in ("cell", "published", "measured", "difference", "match"):
        table.add_column(title, justify="left" if title == "cell" else "right")
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


def _dimensions(audit: RowAudit) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [dimension for dimension in audit.dimensions if len(dimension.values) > 1]
    if not shown:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("dimension")
    table.add_column("the numbers admit")
    table.add_column("others, by falling score")
    for dimension in shown:
        admitted, others = _sides(dimension)
        decided = len(dimension.admitted) == 1
        table.add_row(dimension.name, Text(admitted, style="bold" if decided else ""), Text(others, style="dim"))
    return table


def _sides(dimension: DimensionAudit) -> tuple[str, str]:
    if len(dimension.admitted) == len(dimension.values):
        return same_for_readers(dimension), ""
    others = [c.value for c in dimension.values if not c.agrees]
    return ", ".join(dimension.admitted), ", ".join(others)


def _ranking(audit: RowAudit, count: int) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("rank", justify="right")
    table.add_column("cells", justify="right")
    table.add_column("score", justify="right")
    table.add_column("misfit", justify="right")
    table.add_column("variant (as far as it differs from the first)")
    first = audit.ranking[0]
    for index, variant in enumerate(audit.ranking[:count], 1):
        table.add_row(
            str(index),
            str(variant.whole),
            f"{'~' if variant.estimated else ''}{variant.digits}",
            f"{variant.misfit:.1f}",
            _what(variant, first if index > 1 else None),
        )
    return table


def _what(variant: VariantAudit, first: VariantAudit | None) -> str:
    making = {k: v for k, v in variant.choices.items() if " of " not in k}
    if first is not None:
        making = {k: v for k, v in making.items() if first.choices.get(k) != v}
    protocols = [p for m, p in variant.protocols.items() if first is None or first.protocols.get(m) != p]
    return "; ".join([*(f"{name} {value}" for name, value in making.items() if name != "dataset"), *protocols])
