"""The screening of slow makings: how many digits one could explain at most, told from a few images of each set.

The difference from the stated making, image by image, says how far its mean over the set would lie. What cannot reach
the best is ruled out; what can is restored while the budget lasts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import RowCell, VariantGrid
from harness.audit.ranking import Target, explained_digits
from harness.audit.sources import RestoredSet, probes
from harness.audit.variants import Finish, Making
from harness.errors import HarnessError

# Of a mean over few images: 4 standard errors, for with 3 images a Student's t of 99.7 % is about 13, of 94 % about 4.
# Only used to leave a variant aside, never to accept one.
SCREEN_ERRORS = 4.0
OUT_OF_BUDGET = "the budget was spent before it could be tried; run again to go on, or give --budget"

STATED_SHARE = 5
"""Budgets that the stated making may use up by itself."""
BATCH = 4
"""Images that are restored between two looks at the clock."""


class Budget:
    """Seconds of restoring with slow methods, and what is spent of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0

    def over(self, share: float = 1) -> bool:
        """Whether more than a number of budgets is spent."""
        return self._spent > self._seconds * share

    def restart(self) -> None:
        """Forget what is spent."""
        self._spent = 0.0

    def measure(self, source: RestoredSet, metrics: Iterable[str], images: Sequence[str]) -> None:
        """Measure images on the budget; what an earlier audit kept costs next to nothing."""
        start = time.monotonic()
        source.measure(metrics, images)
        self._spent += time.monotonic() - start


class Bound(msgspec.Struct, frozen=True):
    """The most that a making can explain.

    Attributes
    ----------
    digits : int
        Digits.
    words : str
        What was seen, for readers.
    obstacle : str
        Why nothing was seen; empty otherwise.
    """

    digits: int
    words: str = ""
    obstacle: str = ""


def measured_metrics(grid: VariantGrid) -> list[str]:
    """List what an output of a slow method is measured under: everything at once."""
    return list(dict.fromkeys(("psnr", *grid.metrics)))


def most_digits(grid: VariantGrid, making: Making, finish: Finish | None, known: int, budget: Budget) -> Bound:
    """Bound the digits that a making can explain, from a few images of each set, level by level.

    Parameters
    ----------
    grid : VariantGrid
        Of a row whose stated making is measured.
    making : Making
        What is tried.
    finish : Finish or None
        Only this finish, restored here; None for every one.
    known : int
        Digits that are explained already; a bound below them ends the screening.
    budget : Budget
        What may be spent.
    """
    here = finish is not None
    digits: dict[Finish, dict[str, NDArray[np.int64]]] = {}
    seen: list[str] = []
    left = bound = grid.total
    for place in reversed(grid.places):
        try:
            source = grid.source(making, place, here)
            # Paired differences need the same images: a crop of a set has the same names.
            stated_images = grid.source(grid.stated, place).images
            names = [i for i in probes(stated_images, grid.settings.probe) if i in source.images]
            if budget.over():
                return Bound(grid.total, obstacle=OUT_OF_BUDGET)
            budget.measure(source, measured_metrics(grid), names)
        except HarnessError as error:
            return Bound(0, obstacle=str(error))
        for cell in (cell for cell in grid.cells if cell.place == place):
            left -= cell.target.digits
            for tried in source.finishes() if finish is None else [finish]:
                values, errors = _estimate(grid, source, tried, cell, names)
                explained = explained_digits(values, cell.target, grid.tolerance(making, cell) + errors)
                of_metric = digits.setdefault(tried, {})
                of_metric[cell.metric] = of_metric.get(cell.metric, 0) + explained
                if tried == Finish(grid.saving):
                    seen.append(_closeness(grid, cell, values, errors))
        bound = left + max(sum(int(of.max()) for of in of_metric.values()) for of_metric in digits.values())
        if bound < known:
            break
    words = f"judged by {grid.settings.probe} images a level: "
    return Bound(bound, words + "; ".join(seen[:2]))


def _estimate(
    grid: VariantGrid, source: RestoredSet, finish: Finish, cell: RowCell, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate a cell under every reading, with its error.

    The mean over the set is the stated making's plus the mean difference on the probed images.
    """
    base = grid.source(grid.stated, cell.place)
    plain = finish if finish in base.finishes() else base.finishes()[0]
    base.measure([cell.metric], base.images, [plain])
    whole = grid.set_values(base, plain, cell.metric)
    gaps = source.values(cell.metric, finish, names) - base.values(cell.metric, plain, names)
    times = len(whole) // gaps.shape[1]
    return whole + np.tile(gaps.mean(axis=0), times), np.tile(_errors(gaps), times)


def _errors(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors of the mean of differences ``(images, readings)``; infinite for a single image."""
    if len(gaps) < 2:
        return np.full(gaps.shape[1:], np.inf)
    errors: NDArray[np.float64] = SCREEN_ERRORS * gaps.std(axis=0, ddof=1) / math.sqrt(len(gaps))
    return errors


def _closeness(grid: VariantGrid, cell: RowCell, values: NDArray[np.float64], errors: NDArray[np.float64]) -> str:
    index = grid.stated_reading(cell.metric) or 0
    value, error = _decimals(values[index], cell.target), errors[index]
    return f"{cell.request.key} about {value} (± {error:.1g}), printed {cell.printed}"


def _decimals(value: float, printed: Target) -> str:
    return f"{value:.{max(0, round(-math.log10(printed.unit))) + 1}f}"
