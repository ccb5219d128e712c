"""The description of a row's outcome: its cells under the best variant, what each dimension says, the runners-up."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import Candidate, VariantGrid
from harness.audit.outcomes import CellAudit, ChoiceAudit, DimensionAudit, VariantAudit
from harness.audit.ranking import Chance, chance, distinct
from harness.audit.selection import SelectedCandidate, Variant, describe_variant
from harness.audit.variants import INDEPENDENT, Finish, NoiseDraw, making_choices, reading_choices

RANKED = 12
WRITTEN_OUT = 100
"""Variants that are written out before they are ranked, the best by digits first."""


def describe_cells(grid: VariantGrid, variant: Variant) -> tuple[CellAudit, ...]:
    """Describe every cell under a variant."""
    found = []
    rows = dict.fromkeys(variant.picks, 0)
    candidate = variant.candidate
    for cell in grid.cells:
        scores, index, row = candidate.scores[cell.metric], variant.picks[cell.metric], rows[cell.metric]
        rows[cell.metric] += 1
        found.append(
            CellAudit(
                key=cell.request.key,
                dataset=cell.request.dataset,
                level=cell.request.level,
                metric=cell.metric,
                printed=cell.printed,
                measured=round(float(scores.values[row, index]), 6),
                explained=int(scores.digits[row, index]),
                digits=cell.target.digits,
                tolerance=round(float(grid.tolerance(candidate.making, cell)[index]), 6),
                images=len(grid.source_of(candidate, cell.place).images),
            )
        )
    return tuple(found)


def witnesses(grid: VariantGrid, variant: Variant) -> dict[str, tuple[str, float]]:
    """Give the smallest image of each cell with its value: what a test can check in seconds."""
    found = {}
    read = variant.read(grid)
    for cell in grid.cells:
        candidate = variant.candidate
        if cell.metric == "ssim":
            # SSIM of images that are equal was read once.
            candidate = candidate.ssim_of or candidate
        source = grid.source_of(candidate, cell.place)
        image = source.images[int(np.argmin(source.pixels(source.images)[:, 0]))]
        plain = msgspec.structs.replace(read[cell.metric], average="mean")
        # Readings of one image come first among those of a set.
        single = grid.readings[cell.metric].index(plain)
        value = source.values(cell.metric, candidate.finish, [image])[0, single]
        found[cell.request.key] = (image, round(float(value), 6))
    return found


def describe_stated(
    grid: VariantGrid,
    candidates: Sequence[Candidate],
    bounds: Sequence[tuple[Candidate, int]],
    equal: Sequence[tuple[Candidate, Candidate]],
) -> VariantAudit | None:
    """Describe the variant that the table's file says; None where it was not measured.

    Where PSNR left it no chance, its SSIM is read here under the one stated reading.

    Parameters
    ----------
    grid : VariantGrid
        Of the row.
    candidates : sequence of Candidate
        With scores of every metric.
    bounds : sequence of tuple
        Candidates whose SSIM was not read.
    equal : sequence of pairs of Candidate
        A candidate that was dropped, and the one of equal images that stands for it.
    """
    wanted = (grid.stated, Finish(grid.saving))
    for dropped, known in equal:
        if (dropped.making, dropped.finish) == wanted:
            wanted = (known.making, known.finish)
            break
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
        stated = with_one_reading(grid, stated, picks["ssim"])
    return describe_variant(grid, Variant(stated, picks))


def with_one_reading(grid: VariantGrid, candidate: Candidate, index: int) -> Candidate:
    """Score a candidate's SSIM under one reading."""
    wanted = np.zeros(len(grid.readings["ssim"]), dtype=bool)
    wanted[index] = True
    for place in grid.places:
        source = grid.source_of(candidate, place)
        source.measure(["ssim"], source.images, [candidate.finish], wanted)
    return msgspec.structs.replace(candidate, scores=candidate.scores | {"ssim": grid.scores(candidate, "ssim")})


# --- dimensions


def describe_dimensions(
    grid: VariantGrid,
    candidates: Sequence[Candidate],
    bounds: Sequence[tuple[Candidate, int]],
    members: Sequence[SelectedCandidate],
) -> tuple[DimensionAudit, ...]:
    """Say for every dimension with more than one value which of them the numbers admit.

    Parameters
    ----------
    grid : VariantGrid
        Of the row.
    candidates : sequence of Candidate
        With scores of every metric.
    bounds : sequence of tuple
        Candidates whose SSIM was not read, and the most digits that they could explain.
    members : sequence of SelectedCandidate
        The variants that explain the most.
    """
    most: dict[str, dict[str, tuple[int, bool]]] = {}

    def note(choices: dict[str, str], digits: int, bound: bool = False) -> None:
        for name, value in choices.items():
            known = most.setdefault(name, {}).get(value)
            if known is None or (digits, not bound) > (known[0], not known[1]):
                most[name][value] = (digits, bound)

    for candidate in candidates:
        sums = {metric: candidate.scores[metric].digits.sum(axis=0) for metric in grid.metrics}
        total = candidate.digits(*grid.metrics)
        note(making_choices(candidate.making, candidate.finish), total)
        for metric, digits in sums.items():
            rest = total - int(digits.max())
            estimated = candidate.scores[metric].estimated
            for index, reading in enumerate(grid.readings[metric]):
                note(reading_choices(metric, reading), rest + int(digits[index]), bool(estimated[index]))
    for candidate, bound in bounds:
        note(making_choices(candidate.making, candidate.finish), bound, bound=True)
    admitted = _admitted(grid, members)
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


def _admitted(grid: VariantGrid, members: Sequence[SelectedCandidate]) -> set[tuple[str, str]]:
    """Dimensions and their values that occur among the variants that explain the most."""
    found: set[tuple[str, str]] = set()
    for member in members:
        found |= making_choices(member.candidate.making, member.candidate.finish).items()
        for metric, indices in member.readings.items():
            for index in indices:
                found |= reading_choices(metric, grid.readings[metric][index]).items()
    return found


# --- all variants with one luma and border


def rank_variants(grid: VariantGrid, candidates: Sequence[Candidate]) -> tuple[VariantAudit, ...]:
    """Rank the variants with one luma and border for both metrics; of those that give equal numbers one is kept."""
    vectors, variants = consistent_variants(grid, candidates)
    different = [variants[i] for i in distinct(vectors, [cell.target.unit for cell in grid.cells])]
    promising = sorted(different, key=lambda variant: (-variant.digits, variant.misfit))[:WRITTEN_OUT]
    ranked = sorted(
        (describe_variant(grid, variant) for variant in promising),
        key=lambda audit: (-audit.digits, -audit.whole, -audit.exact, audit.misfit),
    )
    return tuple(ranked[:RANKED])


def chance_of(grid: VariantGrid, candidates: Sequence[Candidate], best: VariantAudit) -> Chance:
    """Say how surprising the best variant's match is, given everything that was tried."""
    vectors, variants = consistent_variants(grid, candidates)
    targets = [cell.target for cell in grid.cells]
    return chance(vectors[of_one_draw(variants)], targets, best.digits, best.whole, grid.stated_tolerance())


def of_one_draw(variants: Sequence[Variant]) -> NDArray[np.bool_]:
    """Mark the variants that count as protocols: other seeds of one noise are no others. All, where none would."""
    found = np.array([v.candidate.making.noise in (NoiseDraw(), NoiseDraw(INDEPENDENT)) for v in variants])
    return found if found.any() else np.ones_like(found)


def consistent_variants(
    grid: VariantGrid, candidates: Sequence[Candidate]
) -> tuple[NDArray[np.float64], list[Variant]]:
    """List the variants with one luma and border for both metrics, with their values ``(variants, cells)``."""
    picked = _consistent_picks(grid)
    blocks, variants = [], []
    for candidate in candidates:
        block = np.empty((len(picked), len(grid.cells)))
        for metric in grid.metrics:
            columns = [index for index, cell in enumerate(grid.cells) if cell.metric == metric]
            block[:, columns] = candidate.scores[metric].values[:, [picks[metric] for picks in picked]].T
        blocks.append(block)
        variants += [Variant(candidate, picks) for picks in picked]
    return np.concatenate(blocks), variants


def _consistent_picks(grid: VariantGrid) -> list[dict[str, int]]:
    """Pairs of readings of PSNR and SSIM with one luma and border; or the readings of the one metric there is."""
    if len(grid.metrics) == 1:
        metric = grid.metrics[0]
        return [{metric: index} for index in range(len(grid.readings[metric]))]
    return [
        {"psnr": p, "ssim": s}
        for p, one in enumerate(grid.readings["psnr"])
        for s, other in enumerate(grid.readings["ssim"])
        if (one.luma, one.border) == (other.luma, other.border)
    ]
