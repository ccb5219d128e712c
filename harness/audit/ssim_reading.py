"""The reading of SSIM, which is slow, only where PSNR leaves a chance.

A candidate whose digits by PSNR plus all SSIM digits do not reach the best is not read at all. The others are read on
a few images of each set under every reading first, and on all images under the readings that can still reach the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import Candidate, VariantGrid
from harness.audit.ranking import Scores, score
from harness.audit.screening import SCREEN_ERRORS
from harness.audit.sources import RestoredSet, probes
from harness.audit.variants import SSIM_READINGS, Reading, difference

SSIM_PROBES = 5
SMALL_SET = 8
"""SSIM is read under every reading on this many images of a set first; on sets up to this size on all at once."""

SetLevel = tuple[str, int]


class SsimChances(msgspec.Struct, frozen=True):
    """What became of the candidates.

    Attributes
    ----------
    candidates : list of Candidate
        Those with scores of every metric, in their order.
    bounds : list of tuple
        A candidate that was not read, and the most digits that it could explain.
    """

    candidates: list[Candidate]
    bounds: list[tuple[Candidate, int]]


def read_ssim(grid: VariantGrid, candidates: Sequence[Candidate], progress: Callable[[str], None]) -> SsimChances:
    """Read the SSIM of candidates, the best by PSNR first; equal images are read once.

    Parameters
    ----------
    grid : VariantGrid
        Of the row.
    candidates : sequence of Candidate
        Measured under PSNR; slow ones under SSIM too.
    progress : callable
        Called with what is being read.
    """
    if "ssim" not in grid.metrics:
        return SsimChances(list(candidates), [])
    possible = sum(cell.target.digits for cell in grid.of_metric("ssim"))
    order = sorted(range(len(candidates)), key=lambda i: (-candidates[i].digits("psnr"), i))
    best = 0
    complete: dict[int, Candidate] = {}
    bounds: list[tuple[Candidate, int]] = []
    read: dict[bytes, Candidate] = {}
    anchor: Candidate | None = None
    for index in order:
        candidate = candidates[index]
        if "ssim" not in candidate.scores:
            by_psnr = candidate.digits("psnr")
            images = grid.images_print(candidate)
            if images in read:
                candidate = _with_ssim(candidate, read[images].scores["ssim"], read[images])
            elif by_psnr + possible < best:
                bounds.append((candidate, by_psnr + possible))
                continue
            else:
                progress(f"SSIM, {difference(candidate.making, grid.stated)}")
                anchor = anchor or candidate
                scores = _read_likely(grid, candidate, anchor, max(0, best - by_psnr))
                candidate = read[images] = _with_ssim(candidate, scores)
        complete[index] = candidate
        best = max(best, candidate.digits(*grid.metrics))
    return SsimChances([complete[index] for index in sorted(complete)], bounds)


def _with_ssim(candidate: Candidate, scores: Scores, ssim_of: Candidate | None = None) -> Candidate:
    return msgspec.structs.replace(candidate, scores=candidate.scores | {"ssim": scores}, ssim_of=ssim_of)


def _read_likely(grid: VariantGrid, candidate: Candidate, anchor: Candidate, needed: int) -> Scores:
    """Read SSIM on a few images of every set under every reading, and on all images where it can still reach.

    A reading that cannot explain `needed` digits in all keeps its estimate.
    """
    sets = {place: grid.source_of(candidate, place) for place in grid.places}
    if all(len(source.images) <= SMALL_SET for source in sets.values()):
        for source in sets.values():
            source.measure(["ssim"], source.images, [candidate.finish])
        return grid.scores(candidate, "ssim")
    values, errors = _estimates(grid, candidate, anchor, sets)
    targets = [cell.target for cell in grid.of_metric("ssim")]
    noise = np.array([grid.tolerance(candidate.making, cell) for cell in grid.of_metric("ssim")])
    scores = score(values, targets, noise + errors)
    exact = np.zeros(len(SSIM_READINGS), dtype=bool)
    while len(chosen := _likeliest(scores, exact, needed)):
        mask = np.zeros(len(SSIM_READINGS), dtype=bool)
        mask[chosen] = True
        for source in sets.values():
            source.measure(["ssim"], source.images, [candidate.finish], mask)
        found = grid.scores(candidate, "ssim")
        for name in ("values", "digits", "exact"):
            getattr(scores, name)[:, chosen] = getattr(found, name)[:, chosen]
        scores.misfit[chosen] = found.misfit[chosen]
        exact |= mask
        needed = max(needed, int(scores.digits[:, exact].sum(axis=0).max()))
    # What stays an estimate is shown as such, without the tolerance that kept it in the race.
    point = score(scores.values, targets, noise)
    scores.digits[:, ~exact] = point.digits[:, ~exact]
    scores.exact[:, ~exact] = point.exact[:, ~exact]
    scores.estimated = ~exact
    return scores


def _likeliest(scores: Scores, exact: NDArray[np.bool_], needed: int) -> NDArray[np.int64]:
    """Choose the readings to read next of those that can still explain `needed` digits; none where none can.

    The likeliest one is read alone at first: what it explains rules out others.
    """
    bounds = scores.digits.sum(axis=0)
    able = np.flatnonzero(~exact & (bounds >= max(needed, 1)))
    order = np.argsort(scores.misfit[able], kind="stable")
    return able[order[: None if exact.any() else 1]]


def _estimates(
    grid: VariantGrid, candidate: Candidate, anchor: Candidate, sets: dict[SetLevel, RestoredSet]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate SSIM under every reading from a few images of each set, with errors: both ``(cells, readings)``.

    The mean over a set is estimated from the anchor's Gaussian SSIM on all images, and from the differences from it on
    the few.
    """
    reading = _anchor_reading(grid, anchor)
    only = np.zeros(len(SSIM_READINGS), dtype=bool)
    only[reading] = True
    values, errors = [], []
    for cell in grid.of_metric("ssim"):
        source, base = sets[cell.place], grid.source_of(anchor, cell.place)
        few = probes(source.images, SSIM_PROBES)
        base.measure(["ssim"], base.images, [anchor.finish], only)
        source.measure(["ssim"], few, [candidate.finish])
        gaps = source.values("ssim", candidate.finish, few)
        whole = 0.0
        if set(few) <= set(base.images):
            gaps = gaps - base.values("ssim", anchor.finish, few)[:, [reading]]
            whole = float(base.values("ssim", anchor.finish, base.images)[:, reading].mean())
        values.append(whole + gaps.mean(axis=0))
        errors.append(SCREEN_ERRORS * gaps.std(axis=0, ddof=1) / math.sqrt(len(few)))
    return np.array(values), np.array(errors)


def _anchor_reading(grid: VariantGrid, anchor: Candidate) -> int:
    """The Gaussian SSIM on the luma and border that explain the most in PSNR."""
    if "psnr" in anchor.scores:
        best = grid.readings["psnr"][int(np.argmax(anchor.scores["psnr"].digits.sum(axis=0)))]
        return SSIM_READINGS.index(Reading("ssim-gauss", best.luma, best.border))
    return SSIM_READINGS.index(Reading("ssim-gauss", "", ""))
