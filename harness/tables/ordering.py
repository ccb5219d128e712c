"""Whether an ablation's rows come out in the printed order: Kendall's rank correlation.

Networks trained for a fraction of their recipe's length reach other numbers than the paper's, but the order of their
rows (attention over none, blocks over pixels, more levels) can already be compared, if all had the same budget. Such
tables have steps of 0.02 to 0.04 dB, which another seed may make as well: with several seeds tau has an interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from harness.records.training_runs import LENGTHS, percent
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.published import Table
from harness.training.recipe import recipe, recipe_names

# Fewer rows have one order or two: nothing to correlate.
FEWEST_ROWS = 3


class Ordering(msgspec.Struct, frozen=True):
    """Rank correlation of one metric of one part.

    `tau`, `p`: Kendall's tau-b, and the exact two-sided p-value; None where they mean nothing (see `text`). With ties
        there is no exact p-value.
    `interval`: 95 %, by what the rows vary from seed to seed; None where a row has one seed.
    """

    tau: float | None
    p: float | None
    rows: int
    text: str
    interval: tuple[float, float] | None = None


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
    budgets = {r.trained_for for _, r in pairs.values()}
    budget = budgets.pop()
    if budgets or budget is None:
        text = f"{metric}: the rows were trained under different budgets, their order says nothing"
        return Ordering(None, None, count, text)
    iterations = f"{budget.iterations:,} iteration{'s' * (budget.iterations != 1)}"
    warmup = budget.warmup
    if not warmup and budget.recipe in recipe_names():  # records of earlier versions leave it to the recipe
        warmup = recipe(budget.recipe).schedule.warmup
    if budget.iterations <= warmup:
        text = (
            f"{metric}: the rows were trained for {iterations}, and the learning rate rises over the first {warmup:,}; "
            "their order says nothing"
        )
        return Ordering(None, None, count, text)
    printed = [value for value, _ in pairs.values()]
    measured = [r.measured for _, r in pairs.values() if isinstance(r.measured, Measurement)]
    values = [found.value for found in measured]
    left = "" if count == len(cells) else f" of {len(cells)}"
    tied = len(set(printed)) < count or len(set(values)) < count
    result = kendalltau(printed, values, method="asymptotic" if tied else "exact")
    tau = float(result.statistic)
    if tau != tau:
        return Ordering(None, None, count, f"{metric}: all {count}{left} cells have one value, there is no order")
    p = None if tied else float(result.pvalue)
    found = _interval(printed, measured)
    said = [f"tau = {tau:+.2f}", "no exact p, as values are equal" if p is None else f"exact p = {p:.2g}"]
    if found is not None:
        low, high, sd = found
        counts = sorted({len(one.seeds) for one in measured})
        seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        unit = " dB" if metric == "PSNR" else ""
        said.append(f"95 % interval {low:+.2f} to {high:+.2f} ({seeds} seeds, standard deviation {sd:.2g}{unit})")
    text = (
        f"{metric}: rank correlation with the printed order: Kendall's {', '.join(said)}, over {count}{left} cells, "
        f"each trained for {iterations} on {budget.data}{'' if found else ' with one seed'}"
    )
    if found is not None and found[0] <= 0 <= found[1]:
        text += "; the interval holds 0: with other seeds the order may be another"
    if budget.iterations < budget.recipe_iterations:
        share = percent(budget.iterations, budget.recipe_iterations)
        text += f"; a budget of {share} of {LENGTHS[budget.length_of]} says nothing about the order after all of them"
    return Ordering(tau, p, count, text, found[:2] if found else None)


def _interval(printed: Sequence[float], measured: Sequence[Measurement]) -> tuple[float, float, float] | None:
    """95 % interval of tau where every row has several seeds, and the standard deviation between seeds.

    Tukey's test tells which pairs of rows lie farther apart than seeds do, with 95 % for all pairs together; as a few
    seeds tell little of one row's spread, all rows share theirs. The other pairs may truly stand in either order: the
    ends of the interval are tau with all of them against the printed order, and with all of them in it.
    """
    from scipy.stats import studentized_range

    if any(found.seeds_sd is None for found in measured):
        return None
    seeds = np.array([len(found.seeds) for found in measured])
    freedom = int((seeds - 1).sum())
    squares = sum((len(found.seeds) - 1) * (found.seeds_sd or 0.0) ** 2 for found in measured)
    sd = float(np.sqrt(squares / freedom))
    values = np.array([found.value for found in measured])
    first, second = np.triu_indices(len(values), 1)
    asked = np.sign(np.asarray(printed)[first] - np.asarray(printed)[second])
    found = values[first] - values[second]
    least = studentized_range.ppf(0.95, len(values), freedom) * sd * np.sqrt((1 / seeds[first] + 1 / seeds[second]) / 2)
    told = np.abs(found) > least
    sure, either = float((asked * np.sign(found))[told].sum()), float(np.abs(asked)[~told].sum())
    norm = float(np.sqrt(np.abs(asked).sum() * len(asked)))
    return (sure - either) / norm, (sure + either) / norm, sd
