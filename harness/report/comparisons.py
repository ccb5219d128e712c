"""Rows of a table compared with one of them: the text, CSV and JSON of `harness diff --against`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.tables.comparison import Comparison
from harness.tables.diff import measured_decimals, measured_text
from harness.tables.paired import CONFIDENCE, ENUMERATED, FLIPS, RESAMPLES, SIGNIFICANCE

HEADS = (
    *("row", "dataset", "level", "metric", "measured", "reference", "difference", "95 % interval", "p", "images"),
    *("outcome", "remark"),
)
FIELDS = (
    *("table", "row", "against", "dataset", "level", "metric", "protocol", "degradation", "value", "reference_value"),
    *("difference", "low", "high", "p", "p_floor", "images", "draws", "outcome", "refused", "remark"),
)


def refusals(compared: Sequence[Comparison]) -> list[str]:
    """Say what was not compared, and why, once for all cells of a row that share the reason."""
    counted = Counter((comparison.cell.request.row, comparison.refused) for comparison in compared)
    return [
        f"refused: {row} ({cells} cell{'s' * (cells != 1)}): {reason}"
        for (row, reason), cells in counted.items()
        if reason
    ]


def _line(comparison: Comparison, several: bool) -> tuple[str, ...]:
    request, other = comparison.cell.request, comparison.reference
    decimals = max(measured_decimals(request), measured_decimals(other.request))
    return (
        request.row,
        request.dataset,
        str(request.level or ""),
        request.metric,
        measured_text(comparison.cell),
        measured_text(other) + (f" ({other.request.row})" if several else ""),
        f"{comparison.difference:+.{decimals}f}",
        f"[{comparison.low:+.{decimals}f}, {comparison.high:+.{decimals}f}]",
        f"{comparison.p:.3g}",
        str(comparison.images),
        comparison.outcome,
        comparison.remark,
    )


def comparisons_text(compared: Sequence[Comparison], style: str = "simple") -> str:
    """Write comparisons as a table of text (`style` is tabulate's), and below it how they were made."""
    from tabulate import tabulate

    several = len({comparison.reference.request.row for comparison in compared}) > 1
    lines = [_line(comparison, several) for comparison in compared if not comparison.refused]
    widths = [None] * (len(HEADS) - 1) + [60] if style == "simple" else None
    table = tabulate(lines, HEADS, disable_numparse=True, maxcolwidths=widths, tablefmt=style) if lines else ""
    # A line break between items of a list, which Markdown would join otherwise.
    why = "\n".join(refusals(compared)) if style == "simple" else "\n".join(f"- {text}" for text in refusals(compared))
    return "\n\n".join(filter(None, [table, why, method_note(compared)])) + "\n"


def method_note(compared: Sequence[Comparison]) -> str:
    """Say how intervals and p-values were made, and what they do not tell."""
    count = sum(comparison.p is not None for comparison in compared)
    if not count:
        return "Nothing could be compared."
    return (
        f"{count} comparisons, paired by image: difference = row - reference; {CONFIDENCE:.0%} percentile bootstrap "
        f"interval over images ({RESAMPLES:,} resamples, widened for few images); p: two-sided, signs of the "
        f"differences flipped in every way up to {ENUMERATED} images, in {FLIPS:,} random ways beyond. Each p stands "
        f"for itself: of {count} equal pairs up to {count * SIGNIFICANCE:.1f} would be called better or worse (with "
        "fewer than six images none). Other trainings of a network are not in it."
    )
