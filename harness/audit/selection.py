"""The selection of the variants that explain the most, and of one among equals that is named."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import Candidate, VariantGrid
from harness.audit.outcomes import VariantAudit
from harness.audit.variants import Finish, Reading, differences, parts_changed, reading_of, variant_choices


class Variant(msgspec.Struct, frozen=True, eq=False):
    """A candidate under one reading of each metric.

    Attributes
    ----------
    candidate : Candidate
        Which images.
    picks : dict
        Index of the reading by metric.
    """

    candidate: Candidate
    picks: dict[str, int]

    def read(self, grid: VariantGrid) -> dict[str, Reading]:
        """Its reading of each metric."""
        return {metric: grid.readings[metric][index] for metric, index in self.picks.items()}

    def choices(self, grid: VariantGrid) -> dict[str, str]:
        """Its value in each dimension."""
        return variant_choices(self.candidate.making, self.candidate.finish, self.read(grid))

    @property
    def digits(self) -> int:
        """Digits that it explains."""
        return sum(int(self.candidate.scores[m].digits[:, index].sum()) for m, index in self.picks.items())

    @property
    def exact(self) -> int:
        """Digits that it explains without a noise term."""
        return sum(int(self.candidate.scores[m].exact[:, index].sum()) for m, index in self.picks.items())

    @property
    def misfit(self) -> float:
        """What lies beyond half a unit, in units of the last digit, summed over the cells."""
        return sum(float(self.candidate.scores[m].misfit[index]) for m, index in self.picks.items())


class SelectedCandidate(msgspec.Struct, frozen=True, eq=False):
    """A candidate among those that explain the most, and by metric the readings with which it does."""

    candidate: Candidate
    readings: dict[str, NDArray[np.int64]]


class Selection(msgspec.Struct, frozen=True, eq=False):
    """The variants that explain the most.

    Attributes
    ----------
    members : list of SelectedCandidate
        All of them.
    best : Variant
        The one that is named.
    """

    members: list[SelectedCandidate]
    best: Variant


def select_best(grid: VariantGrid, candidates: Sequence[Candidate]) -> Selection:
    """Select the variants that explain the most digits.

    If something explains every digit without a noise term, what needs the term is behind it.
    """
    digits = max(candidate.digits(*grid.metrics) for candidate in candidates)
    exact = max(sum(int(c.scores[m].exact.sum(axis=0).max()) for m in grid.metrics) for c in candidates)
    by_exact = exact == grid.total
    members = _members(grid, candidates, grid.total if by_exact else digits, by_exact)
    return Selection(members, _choose(grid, members, whole=digits == grid.total))


def _members(grid: VariantGrid, candidates: Sequence[Candidate], most: int, by_exact: bool) -> list[SelectedCandidate]:
    members = []
    for candidate in candidates:
        total, chosen = 0, {}
        for metric in grid.metrics:
            scores = candidate.scores[metric]
            digits = (scores.exact if by_exact else scores.digits).sum(axis=0)
            chosen[metric] = np.flatnonzero(digits == digits.max())
            total += int(digits.max())
        if total == most:
            members.append(SelectedCandidate(candidate, chosen))
    return members


def _choose(grid: VariantGrid, members: Sequence[SelectedCandidate], whole: bool) -> Variant:
    """Pick one of the variants that explain the most.

    Where every digit is explained they cannot be told apart: the one that is nearest to what the table says of its
    columns is named, and one luma and border for both metrics before two. Otherwise the smallest misfit counts.
    """
    requests = [cell.request for cell in grid.cells]
    column = {r.metric: reading_of(r.column_protocol) for r in requests if r.column_protocol}
    ranked = []
    for order, member in enumerate(members):
        candidate = member.candidate
        away = len(differences(candidate.making, grid.stated)) + (candidate.finish != Finish(grid.saving))
        for picked in itertools.product(*(member.readings[metric] for metric in grid.metrics)):
            variant = Variant(candidate, dict(zip(grid.metrics, (int(p) for p in picked), strict=True)))
            read = variant.read(grid)
            mixed = len({(r.luma, r.border) for r in read.values()}) - 1
            changed = sum(parts_changed(read[metric], column[metric]) for metric in read)
            misfit = 0.0 if whole else round(variant.misfit, 6)
            tie = (misfit, mixed, changed + away, order, tuple(variant.picks.values()))
            ranked.append((tie, variant))
    return min(ranked, key=lambda entry: entry[0])[1]


def describe_variant(grid: VariantGrid, variant: Variant) -> VariantAudit:
    """Write a variant out: its choices, and what it explains."""
    whole, largest = 0, 0.0
    for metric, index in variant.picks.items():
        scores = variant.candidate.scores[metric]
        for row, cell in enumerate(grid.of_metric(metric)):
            whole += bool(scores.digits[row, index] == cell.target.digits)
            largest = max(largest, abs(float(scores.values[row, index]) - cell.target.value) / cell.target.unit)
    read = variant.read(grid)
    return VariantAudit(
        choices=variant.choices(grid),
        protocols={metric: reading.label for metric, reading in read.items()},
        digits=variant.digits,
        whole=whole,
        exact=variant.exact,
        misfit=round(variant.misfit, 3),
        largest=round(largest, 3) if math.isfinite(largest) else 1e9,
        estimated=any(bool(variant.candidate.scores[m].estimated[index]) for m, index in variant.picks.items()),
    )
