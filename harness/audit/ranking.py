"""Which variants explain the most of a printed row, which one is named, and how surprising its match is.

A row may be put together from two sources: a first paper's columns, and a later one's for the rest. Then no variant
explains all of it, and the columns where the best one fails are audited again as a row of their own (`find_mixture`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import Candidate, Target, VariantGrid, explained_digits
from harness.audit.outcomes import (
    CellAudit,
    Chance,
    ChoiceAudit,
    DimensionAudit,
    MixtureAudit,
    VariantAudit,
)
from harness.audit.variants import (
    INDEPENDENT,
    Finish,
    NoiseDraw,
    Reading,
    differences,
    making_choices,
    parts_changed,
    reading_choices,
    reading_of,
    variant_choices,
)

TOLD_APART = 0.05
"""Variants are the same numbers if no cell differs by this much of its last printed digit: a print tells them apart
once in twenty cells at best, and then by luck."""

DECOYS = 400
"""Decoys are drawn up to this number: the bound cannot fall below 0.75 % and needs to say no more."""

RANKED = 12
WRITTEN_OUT = 100
"""Variants that are written out before they are ranked, the best by digits first."""

FEWEST_CELLS = 2
"""Cells that a second variant must explain whole where the best one does not: one alone is easily an accident."""

UNREAD = 3
"""Candidates whose SSIM was left unread, for they cannot explain the whole row, that may still explain a part of it."""

Bounds = Sequence[tuple[Candidate, int]]
"""Candidates whose SSIM was not read, and the most digits that they could explain."""


class Variant(msgspec.Struct, frozen=True, eq=False):
    """A candidate under one reading of each metric; the picks are the readings' indices."""

    candidate: Candidate
    picks: dict[str, int]

    def read(self, grid: VariantGrid) -> dict[str, Reading]:
        """Its reading of each metric."""
        return {metric: grid.readings[metric][index] for metric, index in self.picks.items()}

    def choices(self, grid: VariantGrid) -> dict[str, str]:
        """Its value in each dimension."""
        return variant_choices(self.candidate.making, self.candidate.finish, self.read(grid))

    def by_cell(self, grid: VariantGrid, name: Literal["values", "digits"]) -> NDArray[Any]:
        """Its measured values, or the digits that it explains, one a cell of the grid."""
        scores = np.zeros(len(grid.cells), dtype=np.float64 if name == "values" else np.int64)
        for metric, index in self.picks.items():
            rows = [cell.metric == metric for cell in grid.cells]
            scores[rows] = getattr(self.candidate.scores[metric], name)[:, index]
        return scores

    @property
    def digits(self) -> int:
        """Digits that it explains."""
        return sum(int(self.candidate.scores[m].digits[:, index].sum()) for m, index in self.picks.items())

    @property
    def misfit(self) -> float:
        """What lies beyond half a unit, in units of the last digit, summed over the cells."""
        return sum(float(self.candidate.scores[m].misfit[index]) for m, index in self.picks.items())


# --- the best variant

Member = tuple[Candidate, dict[str, NDArray[np.int64]]]
"""A candidate among those that explain the most, and by metric the indices of the readings with which it does."""


def select_best(grid: VariantGrid, candidates: Sequence[Candidate]) -> tuple[Variant, list[Member]]:
    """Select the variants that explain the most digits, and the one of them that is named.

    If something explains every digit without a noise term, what needs the term is behind it.
    """
    best = max(candidate.digits() for candidate in candidates)
    exact = max(sum(int(c.scores[m].exact.sum(axis=0).max()) for m in grid.metrics) for c in candidates)
    members = []
    for candidate in candidates:
        total, chosen = 0, {}
        for metric in grid.metrics:
            scores = candidate.scores[metric]
            digits = (scores.exact if exact == grid.total else scores.digits).sum(axis=0)
            chosen[metric] = np.flatnonzero(digits == digits.max())
            total += int(digits.max())
        if total == best:
            members.append((candidate, chosen))
    return _choose(grid, members, whole=best == grid.total), members


def _choose(grid: VariantGrid, members: Sequence[Member], whole: bool) -> Variant:
    """Pick one of the variants that explain the most.

    Where every digit is explained they cannot be told apart: the one that is nearest to what the table says of its
    columns is named, and one luma and border for both metrics before two. Otherwise the smallest misfit counts.
    """
    requests = [cell.request for cell in grid.cells]
    column = {r.metric: reading_of(r.column_protocol) for r in requests if r.column_protocol}
    ranked = []
    for order, (candidate, indices) in enumerate(members):
        away = len(differences(candidate.making, grid.stated)) + (candidate.finish != Finish(grid.saving))
        for picked in itertools.product(*(indices[metric] for metric in grid.metrics)):
            variant = Variant(candidate, dict(zip(grid.metrics, map(int, picked), strict=True)))
            read = variant.read(grid)
            mixed = len({(r.luma, r.border) for r in read.values()}) - 1
            changed = sum(parts_changed(read[metric], column[metric]) for metric in read)
            misfit = 0.0 if whole else round(variant.misfit, 6)
            ranked.append(((misfit, mixed, changed + away, order, tuple(variant.picks.values())), variant))
    return min(ranked, key=lambda entry: entry[0])[1]


def describe_variant(grid: VariantGrid, variant: Variant) -> VariantAudit:
    """Write a variant out: its choices, and what it explains."""
    printed, units = (np.array([getattr(t, name) for t in grid.targets]) for name in ("value", "unit"))
    largest = float(np.fmax.reduce(np.abs(variant.by_cell(grid, "values") - printed) / units, initial=0.0))
    scores = [(variant.candidate.scores[metric], index) for metric, index in variant.picks.items()]
    return VariantAudit(
        choices=variant.choices(grid),
        protocols={metric: reading.label for metric, reading in variant.read(grid).items()},
        digits=variant.digits,
        whole=int((variant.by_cell(grid, "digits") == [target.digits for target in grid.targets]).sum()),
        exact=sum(int(of_metric.exact[:, index].sum()) for of_metric, index in scores),
        misfit=round(variant.misfit, 3),
        largest=round(largest, 3) if math.isfinite(largest) else 1e9,
        estimated=any(bool(of_metric.estimated[index]) for of_metric, index in scores),
    )


def describe_cells(grid: VariantGrid, variant: Variant) -> tuple[CellAudit, ...]:
    """Describe every cell under a variant."""
    candidate = variant.candidate
    scores = zip(grid.cells, variant.by_cell(grid, "values"), variant.by_cell(grid, "digits"), strict=True)
    return tuple(
        CellAudit(
            key=cell.request.key,
            dataset=cell.request.dataset,
            level=cell.request.level,
            metric=cell.metric,
            printed=cell.printed,
            measured=round(float(measured), 6),
            explained=int(digits),
            digits=cell.target.digits,
            tolerance=round(float(grid.tolerance(candidate.making, cell)[variant.picks[cell.metric]]), 6),
            images=len(grid.source_of(candidate, cell.place).images),
        )
        for cell, measured, digits in scores
    )


def witnesses(grid: VariantGrid, variant: Variant) -> dict[str, tuple[str, float]]:
    """Give the smallest image of each cell with its value: what a test can check in seconds."""
    values = {}
    for cell in grid.cells:
        candidate = variant.candidate
        if cell.metric == "ssim":
            # SSIM of images that are equal was read once.
            candidate = candidate.ssim_of or candidate
        source = grid.source_of(candidate, cell.place)
        image = source.images[int(np.argmin(source.pixels()[:, 0]))]
        row = source.values(cell.metric, candidate.finish, [image])[0]
        # The averages of a set go through the readings of one image in the same order.
        values[cell.request.key] = (image, round(float(row[variant.picks[cell.metric] % len(row)]), 6))
    return values


def describe_stated(
    grid: VariantGrid, candidates: Sequence[Candidate], bounds: Bounds, equal: Sequence[tuple[Candidate, Candidate]]
) -> VariantAudit | None:
    """Describe the variant that the table's file says; None where it was not measured.

    Where PSNR left it no chance, its SSIM is read here under the one stated reading. `equal` pairs each candidate that
    was dropped with the one of equal images that stands for it.
    """
    wanted = (grid.stated, Finish(grid.saving))
    stand_ins = ((known.making, known.finish) for dropped, known in equal if (dropped.making, dropped.finish) == wanted)
    wanted = next(stand_ins, wanted)
    picks = {}
    for metric in grid.metrics:
        index = grid.stated_reading(metric)
        if index is None:
            return None
        picks[metric] = index
    measured = [*candidates, *(candidate for candidate, _ in bounds)]
    stated = next((c for c in measured if (c.making, c.finish) == wanted), None)
    if stated is None:
        return None
    if any(metric not in stated.scores for metric in grid.metrics):
        stated = grid.with_one_ssim(stated, picks["ssim"])
    return describe_variant(grid, Variant(stated, picks))


def describe_dimensions(
    grid: VariantGrid, candidates: Sequence[Candidate], bounds: Bounds, members: Sequence[Member]
) -> tuple[DimensionAudit, ...]:
    """Say for every dimension with more than one value which of them the numbers admit."""
    most: dict[str, dict[str, tuple[int, bool]]] = {}

    def note(choices: dict[str, str], digits: int, bound: bool = False) -> None:
        for name, value in choices.items():
            known = most.setdefault(name, {}).get(value)
            if known is None or (digits, not bound) > (known[0], not known[1]):
                most[name][value] = (digits, bound)

    for candidate in candidates:
        total = candidate.digits()
        note(making_choices(candidate.making, candidate.finish), total)
        for metric in grid.metrics:
            digits, estimated = candidate.scores[metric].digits.sum(axis=0), candidate.scores[metric].estimated
            rest = total - int(digits.max())
            for index, reading in enumerate(grid.readings[metric]):
                note(reading_choices(metric, reading), rest + int(digits[index]), bool(estimated[index]))
    for candidate, bound in bounds:
        note(making_choices(candidate.making, candidate.finish), bound, bound=True)
    admitted: set[tuple[str, str]] = set()
    for candidate, indices in members:
        admitted |= making_choices(candidate.making, candidate.finish).items()
        for metric, chosen in indices.items():
            for index in chosen:
                admitted |= reading_choices(metric, grid.readings[metric][index]).items()
    return tuple(
        DimensionAudit(
            name,
            tuple(
                ChoiceAudit(value, digits, bound, (name, value) in admitted)
                for value, (digits, bound) in sorted(values.items(), key=lambda item: -item[1][0])
            ),
        )
        for name, values in most.items()
        if len(values) > 1
    )


# --- all variants with one luma and border


class ConsistentVariants(msgspec.Struct, frozen=True, eq=False):
    """The variants with one luma and border for both metrics, and their values ``(variants, cells)``."""

    variants: list[Variant]
    values: NDArray[np.float64]

    def chance(self, grid: VariantGrid, cells: Sequence[int], digits: int, whole: int) -> Chance:
        """Say how surprising it is that one of them explains so much of some cells, given everything that was tried.

        Other seeds of one noise are no other protocols, and do not count.
        """
        plain = (NoiseDraw(), NoiseDraw(INDEPENDENT))
        counted = np.array([variant.candidate.making.noise in plain for variant in self.variants])
        values = self.values[counted if counted.any() else ~counted][:, cells]
        tolerance = grid.stated_tolerance()
        return chance(values, [grid.targets[i] for i in cells], digits, whole, [tolerance[i] for i in cells])


def consistent_variants(grid: VariantGrid, candidates: Sequence[Candidate]) -> ConsistentVariants:
    """List the variants with one luma and border for both metrics, or all where there is one metric."""
    picked = [
        dict(zip(grid.metrics, (index for index, _ in one_a_metric), strict=True))
        for one_a_metric in itertools.product(*(enumerate(grid.readings[metric]) for metric in grid.metrics))
        if len({(reading.luma, reading.border) for _, reading in one_a_metric}) == 1
    ]
    blocks, variants = [], []
    for candidate in candidates:
        block = np.empty((len(picked), len(grid.cells)))
        for metric in grid.metrics:
            columns = [index for index, cell in enumerate(grid.cells) if cell.metric == metric]
            block[:, columns] = candidate.scores[metric].values[:, [picks[metric] for picks in picked]].T
        blocks.append(block)
        variants += [Variant(candidate, picks) for picks in picked]
    return ConsistentVariants(variants, np.concatenate(blocks))


def rank_variants(grid: VariantGrid, tried: ConsistentVariants) -> tuple[VariantAudit, ...]:
    """Rank variants; of those that give equal numbers one is kept."""
    different = [tried.variants[i] for i in distinct(tried.values, [target.unit for target in grid.targets])]
    promising = sorted(different, key=lambda variant: (-variant.digits, variant.misfit))[:WRITTEN_OUT]
    ranked = sorted(
        (describe_variant(grid, variant) for variant in promising),
        key=lambda audit: (-audit.digits, -audit.whole, -audit.exact, audit.misfit),
    )
    return tuple(ranked[:RANKED])


def distinct(vectors: NDArray[np.float64], units: Sequence[float]) -> NDArray[np.int64]:
    """Give one index, the first, of each group of rows of ``(variants, cells)`` values that are the same numbers.

    The units are the printed ones of the cells.
    """
    scaled = np.nan_to_num(vectors, nan=-1.0) / np.asarray(units)
    # Most variants repeat others exactly; what is left is compared with each other.
    _, first = np.unique(np.rint(scaled * 1e6), axis=0, return_index=True)
    kept: list[int] = []
    for index in np.sort(first):
        if not kept or np.abs(scaled[kept] - scaled[index]).max(axis=1).min() >= TOLD_APART:
            kept.append(int(index))
    return np.array(kept, dtype=np.int64)


def chance(
    vectors: NDArray[np.float64],
    targets: Sequence[Target],
    best_digits: int,
    best_whole: int,
    tolerance: Sequence[float] | None = None,
) -> Chance:
    """Estimate how easily a row is explained by accident.

    The question is: if the true protocol is not on the list, but is of the kind of those that are, how often does one
    of the list explain the row as well as the best one does? Each decoy is a variant of the list, printed with the
    row's digits and taken off the list with everything that gives the same numbers. This keeps what an independence
    assumption would lose: cells of one row rise and fall together, and variants come in near relations.

    `vectors`: ``(variants, cells)`` values of every variant tried.
    `targets`: What the cells print.
    `best_digits`, `best_whole`: Digits, and whole cells, that the best variant explains.
    `tolerance`: Noise term of each cell.
    """
    loose = tolerance or [0.0] * len(targets)
    complete = vectors[np.isfinite(vectors).all(axis=1)]
    different = complete[distinct(complete, [t.unit for t in targets])]
    count = len(different)

    def lost_digits(printed: Sequence[Target]) -> NDArray[np.int64]:
        lost = [t.digits - explained_digits(different[:, i], t, loose[i]) for i, t in enumerate(printed)]
        total: NDArray[np.int64] = np.sum(lost, axis=0)
        return total

    allowed = sum(t.digits for t in targets) - best_digits
    decoys = np.arange(count) if count > 1 else np.array([], dtype=np.int64)
    if count > DECOYS:
        decoys = np.random.Generator(np.random.Philox(key=0)).choice(count, DECOYS, replace=False)
    fooled = 0
    for index in decoys:
        rounded = (round(value / t.unit) * t.unit for value, t in zip(different[index], targets, strict=True))
        decoy = [Target(value, t.unit, t.digits) for value, t in zip(rounded, targets, strict=True)]
        fooled += bool((np.delete(lost_digits(decoy), index) <= allowed).any())
    return Chance(
        tried=len(vectors),
        distinct=count,
        as_good=int((lost_digits(targets) <= allowed).sum()),
        cells=len(targets),
        whole=best_whole,
        decoys=len(decoys),
        fooled=fooled,
    )


# --- rows of two protocols


def find_mixture(
    grid: VariantGrid, candidates: Sequence[Candidate], bounds: Bounds, best: Variant
) -> MixtureAudit | None:
    """Find the variant that explains the most of the columns where the best one fails; None where none gains enough.

    The SSIM of candidates in `bounds` is read under the best variant's reading where their PSNR promises most.
    """
    tried = consistent_variants(grid, [*candidates, *_promising(grid, bounds, best)])
    loose = grid.stated_tolerance()
    printed = np.array([target.digits for target in grid.targets])
    digits = np.stack([explained_digits(tried.values[:, i], t, loose[i]) for i, t in enumerate(grid.targets)], axis=1)
    first = best.by_cell(grid, "digits")
    place = np.array([grid.places.index(cell.place) for cell in grid.cells])
    # By place: what each variant explains beyond the best one.
    gain = np.stack([(digits - first)[:, place == p].sum(axis=1) for p in range(len(grid.places))], axis=1)
    gain = np.maximum(gain, 0)
    if not gain.any():
        return None
    choices = best.choices(grid)

    def changed(index: int) -> dict[str, str]:
        return {name: v for name, v in tried.variants[index].choices(grid).items() if choices.get(name) != v}

    gaining = (int(index) for index in np.flatnonzero(gain.sum(axis=1)))
    chosen = min(gaining, key=lambda v: (-int(gain[v].sum()), len(changed(v)), v))
    places = np.flatnonzero(gain[chosen])
    here = np.isin(place, places)
    explained = digits[chosen, here]
    whole = int((explained == printed[here]).sum())
    if whole - int((first[here] == printed[here]).sum()) < FEWEST_CELLS:
        return None
    together = np.where(here, digits[chosen], first)
    cells = [int(index) for index in np.flatnonzero(here)]
    return MixtureAudit(
        places=tuple("/".join(str(part) for part in grid.places[p]) for p in places),
        choices=changed(chosen),
        measured={grid.cells[i].request.key: round(float(tried.values[chosen, i]), 6) for i in cells},
        digits=int(explained.sum()),
        whole=whole,
        row_digits=int(together.sum()),
        row_whole=int((together == printed).sum()),
        chance=tried.chance(grid, cells, int(explained.sum()), whole),
    )


def _promising(grid: VariantGrid, bounds: Bounds, best: Variant) -> list[Candidate]:
    """Read the SSIM of the candidates whose PSNR explains the most digits beyond the best variant's."""
    if "psnr" not in best.picks or "ssim" not in best.picks:
        return []
    known = best.candidate.scores["psnr"].digits[:, [best.picks["psnr"]]]
    gains = [int(np.maximum(candidate.scores["psnr"].digits - known, 0).sum(axis=0).max()) for candidate, _ in bounds]
    chosen = sorted((order for order, gain in enumerate(gains) if gain), key=lambda order: -gains[order])[:UNREAD]
    return [grid.with_one_ssim(bounds[order][0], best.picks["ssim"]) for order in chosen]
