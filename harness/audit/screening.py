"""What is left aside, judged by a few images of each set: slow makings, and SSIM, which is slow to read.

The difference from what is measured whole, image by image, says how far a mean over the set would lie. A making that
cannot reach the best is ruled out. A candidate whose digits by PSNR plus all SSIM digits do not reach the best is not
read under SSIM at all; the others are read on a few images under every reading first, and on all images under the
readings that can still reach the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.grid import Candidate, Place, RowCell, Scores, VariantGrid, explained_digits, score
from harness.audit.images import RestoredSet, probes
from harness.audit.measuring import ssim_mask
from harness.audit.variants import SSIM_READINGS, Finish, Making, Reading, difference
from harness.errors import HarnessError

# Of a mean over few images: 4 standard errors, for with 3 images a Student's t of 99.7 % is about 13, of 94 % about 4.
# Only used to leave a variant aside, never to accept one.
SCREEN_ERRORS = 4.0
OUT_OF_BUDGET = "the budget was spent before it could be tried; run again to go on, or give --seconds"

SSIM_PROBES = 5
SMALL_SET = 8
"""SSIM is read under every reading on this many images of a set first; on sets up to this size on all at once."""


class Budget:
    """Seconds of restoring with slow methods, and what is spent of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0

    def over(self, share: float = 1) -> bool:
        """Whether more than a number of budgets is spent."""
        return self._spent > self._seconds * share

    def measure(self, source: RestoredSet, metrics: Iterable[str], images: Sequence[str]) -> None:
        """Measure images on the budget; what an earlier audit kept costs next to nothing."""
        start = time.monotonic()
        source.measure(metrics, images)
        self._spent += time.monotonic() - start


class Bound(msgspec.Struct, frozen=True):
    """The most digits that a making can explain, in words what was seen, or why nothing was."""

    digits: int
    words: str = ""
    obstacle: str = ""


def most_digits(grid: VariantGrid, making: Making, finish: Finish | None, known: int, budget: Budget) -> Bound:
    """Bound the digits that a making can explain, from a few images of each set, level by level.

    `grid`: Of a row whose stated making is measured.
    `making`: What is tried.
    `finish`: Only this finish, restored here; None for every one.
    `known`: Digits that are explained already; a bound below them ends the screening.
    `budget`: What may be spent.
    """
    digits: dict[Finish, dict[str, NDArray[np.int64]]] = {}
    seen: list[str] = []
    left = bound = grid.total
    for place in reversed(grid.places):
        try:
            source = grid.source(making, place, here=finish is not None)
            # Paired differences need the same images: a crop of a set has the same names.
            stated_images = grid.source(grid.stated, place).images
            names = [i for i in probes(stated_images, grid.settings.probe) if i in source.images]
            if budget.over():
                return Bound(grid.total, obstacle=OUT_OF_BUDGET)
            budget.measure(source, ("psnr", *grid.metrics), names)
        except HarnessError as error:
            return Bound(0, obstacle=str(error))
        for cell in (cell for cell in grid.cells if cell.place == place):
            left -= cell.target.digits
            for tried in source.finishes if finish is None else [finish]:
                values, errors = _estimate(grid, source, tried, cell, names)
                explained = explained_digits(values, cell.target, grid.tolerance(making, cell) + errors)
                by_metric = digits.setdefault(tried, {})
                by_metric[cell.metric] = by_metric.get(cell.metric, 0) + explained
                if tried == Finish(grid.saving):
                    index = grid.stated_reading(cell.metric) or 0
                    value = f"{values[index]:.{max(0, round(-math.log10(cell.target.unit))) + 1}f}"
                    seen.append(f"{cell.request.key} about {value} (± {errors[index]:.1g}), printed {cell.printed}")
        bound = left + max(sum(int(sums.max()) for sums in by_metric.values()) for by_metric in digits.values())
        if bound < known:
            break
    return Bound(bound, f"judged by {grid.settings.probe} images a level: " + "; ".join(seen[:2]))


def _estimate(
    grid: VariantGrid, source: RestoredSet, finish: Finish, cell: RowCell, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate a cell under every reading, with its error.

    The mean over the set is the stated making's plus the mean difference on the probed images.
    """
    base = grid.source(grid.stated, cell.place)
    plain = finish if finish in base.finishes else base.finishes[0]
    base.measure([cell.metric], None, plain)
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


# --- SSIM


class ReadCandidates(msgspec.Struct, frozen=True):
    """What became of candidates under SSIM.

    `candidates`: Those with scores of every metric, in their order.
    `bounds`: A candidate that was not read, and the most digits that it could explain.
    """

    candidates: list[Candidate]
    bounds: list[tuple[Candidate, int]]


def read_ssim(grid: VariantGrid, candidates: Sequence[Candidate], progress: Callable[[str], None]) -> ReadCandidates:
    """Read the SSIM of candidates that are measured under PSNR, the best first; equal images are read once."""
    if "ssim" not in grid.metrics:
        return ReadCandidates(list(candidates), [])
    possible = sum(cell.target.digits for cell in grid.of_metric("ssim"))
    best = 0
    complete: dict[int, Candidate] = {}
    bounds: list[tuple[Candidate, int]] = []
    read: dict[bytes, Candidate] = {}
    anchor: Candidate | None = None
    for index, candidate in sorted(enumerate(candidates), key=lambda item: -item[1].digits("psnr")):
        if "ssim" not in candidate.scores:
            by_psnr = candidate.digits("psnr")
            images = grid.images_print(candidate)
            if images in read:
                scores = candidate.scores | {"ssim": read[images].scores["ssim"]}
                candidate = msgspec.structs.replace(candidate, scores=scores, ssim_of=read[images])
            elif by_psnr + possible < best:
                bounds.append((candidate, by_psnr + possible))
                continue
            else:
                progress(f"SSIM, {difference(candidate.making, grid.stated)}")
                anchor = anchor or candidate
                scores = candidate.scores | {"ssim": _read_likely(grid, candidate, anchor, max(0, best - by_psnr))}
                candidate = read[images] = msgspec.structs.replace(candidate, scores=scores)
        complete[index] = candidate
        best = max(best, candidate.digits())
    return ReadCandidates([complete[index] for index in sorted(complete)], bounds)


def _read_likely(grid: VariantGrid, candidate: Candidate, anchor: Candidate, needed: int) -> Scores:
    """Read SSIM on a few images of every set under every reading, and on all images where it can still reach.

    A reading that cannot explain `needed` digits in all keeps its estimate.
    """
    sets = {place: grid.source_of(candidate, place) for place in grid.places}
    if all(len(source.images) <= SMALL_SET for source in sets.values()):
        for source in sets.values():
            source.measure(["ssim"], None, candidate.finish)
        return grid.scores(candidate, "ssim")
    values, errors = _estimates(grid, candidate, anchor, sets)
    targets = [cell.target for cell in grid.of_metric("ssim")]
    noise = np.array([grid.tolerance(candidate.making, cell) for cell in grid.of_metric("ssim")])
    scores = score(values, targets, noise + errors)
    exact = np.zeros(len(SSIM_READINGS), dtype=bool)
    while len(chosen := _likeliest(scores, exact, needed)):
        mask = ssim_mask(chosen)
        for source in sets.values():
            source.measure(["ssim"], None, candidate.finish, mask)
        measured = grid.scores(candidate, "ssim")
        for name in ("values", "digits", "exact"):
            getattr(scores, name)[:, mask] = getattr(measured, name)[:, mask]
        scores.misfit[mask] = measured.misfit[mask]
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
    grid: VariantGrid, candidate: Candidate, anchor: Candidate, sets: dict[Place, RestoredSet]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate SSIM under every reading from a few images of each set, with errors: both ``(cells, readings)``.

    The mean over a set is estimated from the anchor's Gaussian SSIM on all images, under the luma and border that
    explain the most in PSNR, and from the differences from it on the few.
    """
    luma = border = ""
    if "psnr" in anchor.scores:
        best = grid.readings["psnr"][int(np.argmax(anchor.scores["psnr"].digits.sum(axis=0)))]
        luma, border = best.luma, best.border
    reading = SSIM_READINGS.index(Reading("ssim-gauss", luma, border))
    values, errors = [], []
    for cell in grid.of_metric("ssim"):
        source, base = sets[cell.place], grid.source_of(anchor, cell.place)
        few = probes(source.images, SSIM_PROBES)
        base.measure(["ssim"], None, anchor.finish, ssim_mask([reading]))
        source.measure(["ssim"], few, candidate.finish)
        gaps = source.values("ssim", candidate.finish, few)
        whole = 0.0
        if set(few) <= set(base.images):
            gaps = gaps - base.values("ssim", anchor.finish, few)[:, [reading]]
            whole = float(base.values("ssim", anchor.finish)[:, reading].mean())
        values.append(whole + gaps.mean(axis=0))
        errors.append(_errors(gaps))
    return np.array(values), np.array(errors)
