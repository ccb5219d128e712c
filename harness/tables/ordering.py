"""Whether an ablation's rows come out in the printed order: Kendall's rank correlation.

Networks trained for a fraction of their recipe's length reach other numbers than the paper's, but the order of their
rows (attention over none, blocks over pixels, more levels) can already be compared, if all had the same budget.
"""

from __future__ import annotations

import msgspec

from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.published import Table

# Fewer rows have one order or two: nothing to correlate.
FEWEST_ROWS = 3


class Ordering(msgspec.Struct, frozen=True):
    """Rank correlation of one metric of one part.

    Attributes
    ----------
    tau, p : float or None
        Kendall's tau-b and the exact two-sided p-value; None where they mean nothing (see `text`).
    rows : int
        Rows compared.
    text : str
        In words.
    """

    tau: float | None
    p: float | None
    rows: int
    text: str


def orderings(table: Table, results: list[CellResult]) -> list[Ordering]:
    """Compare the measured order of an ablation's cells with the printed one, part by part and metric by metric."""
    if table.kind != "ablation":
        return []
    found: dict[tuple[int, str], list[CellResult]] = {}
    for result in results:
        if result.request.printed is not None:
            found.setdefault((result.request.part, result.request.metric), []).append(result)
    return [ordering for cells in found.values() if (ordering := _ordering(cells)) is not None]


def _ordering(cells: list[CellResult]) -> Ordering | None:
    from scipy.stats import kendalltau

    # A row that a table prints twice, as PANet's Tables 6 to 9 do among each other, counts once.
    pairs = {
        (r.request.method, r.request.dataset, r.request.level): (float(r.request.printed.value), r)
        for r in cells
        if r.request.printed is not None and isinstance(r.measured, Measurement)
    }
    if not pairs:
        return None
    metric = cells[0].request.metric.upper()
    count = len(pairs)
    if count < FEWEST_ROWS:
        return Ordering(None, None, count, f"{metric}: {count} of {len(cells)} cells measured, too few to compare")
    budgets = {(r.trained.iterations, r.trained.data, r.trained.recipe) for _, r in pairs.values() if r.trained}
    if len(budgets) > 1 or any(r.trained is None for _, r in pairs.values()):
        text = f"{metric}: the rows were trained under different budgets, their order says nothing"
        return Ordering(None, None, count, text)
    printed = [value for value, _ in pairs.values()]
    measured = [r.measured.value for _, r in pairs.values() if isinstance(r.measured, Measurement)]
    result = kendalltau(printed, measured)
    tau, p = float(result.statistic), float(result.pvalue)
    iterations, data, _ = next(iter(budgets))
    left = "" if count == len(cells) else f" of {len(cells)}"
    if tau != tau:
        return Ordering(None, None, count, f"{metric}: all {count}{left} cells have one value, there is no order")
    text = (
        f"{metric}: rank correlation with the printed order: Kendall's tau = {tau:+.2f}, p = {p:.2g}, over "
        f"{count}{left} cells, each trained for {iterations:,} iteration{'s' * (iterations != 1)} on {data}"
    )
    return Ordering(tau, p, count, text)
