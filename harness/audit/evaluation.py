"""The evaluation of a row's makings: the stated one first, fast ones on every image, slow ones after a screening.

Restored images are made once for all finishes and readings. Fast methods are read under PSNR here; their SSIM is read
later, where PSNR leaves a chance (`harness.audit.ssim_reading`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.audit.grid import Candidate, VariantGrid
from harness.audit.outcomes import ScreenedAudit
from harness.audit.screening import BATCH, OUT_OF_BUDGET, STATED_SHARE, Budget, measured_metrics, most_digits
from harness.audit.ssim_reading import read_ssim
from harness.audit.variants import Finish, Making, difference, differences, makings
from harness.errors import HarnessError

BUDGET_ENDED = "the budget ended before"


class Evaluation:
    """What was evaluated for a row, and what was left aside.

    Attributes
    ----------
    candidates : list of Candidate
        Measured on every image, in the order they were tried. Empty where the stated making could not be had.
    screened : list of ScreenedAudit
        Makings and finishes that were left aside, and why.
    not_tried : list of str
        Kinds of variants that were not tried at all, in words.
    """

    def __init__(self, grid: VariantGrid, progress: Callable[[str], None]) -> None:
        self.candidates: list[Candidate] = []
        self.screened: list[ScreenedAudit] = []
        self.not_tried: list[str] = []
        self._grid, self._progress = grid, progress
        self._inputs = grid.settings.inputs
        self._budget = Budget(grid.settings.budget)

    def run(self) -> None:
        """Evaluate every making of the row; without the stated one there is no audit."""
        grid, stated = self._grid, self._grid.stated
        light = grid.bench.light(stated.method)
        everything = makings(stated, grid.task, grid.bench.methods, grid.settings.seeds if light else 1)
        if any(making.noise.scheme for making in everything) and not light:
            self.not_tried.append(
                "other seeds of independent noise: the method is slow; the noise term stands for them"
            )
        self._progress("the stated making")
        if not self._complete(stated):
            return
        self._budget.restart()
        self._add(stated)
        # Finishes that are not stored are a single change, and are tried before makings with two.
        finishes_due = not self._fast(stated) or grid.source(stated, grid.places[0]).stored is not None
        for making in everything:
            if making == stated:
                continue
            if finishes_due and len(differences(making, stated)) > 1:
                finishes_due = False
                self._try_finishes()
            self._progress(difference(making, stated))
            self._try(making)
        if finishes_due:
            self._try_finishes()

    # --- one making

    def _try(self, making: Making) -> None:
        if self._fast(making) or self._inputs == "all":
            if self._complete(making):
                self._add(making)
            return
        if self._inputs == "stored":
            kind = "not in work/restored"
            self._leave(making, "open", f"{kind}, and --inputs stored restores no other input", kind=kind)
            return
        known = self._known_digits()
        bound = most_digits(self._grid, making, None, known, self._budget)
        if bound.obstacle:
            over = bound.obstacle == OUT_OF_BUDGET
            self._leave(
                making,
                "open" if over else "not possible",
                bound.obstacle,
                kind=BUDGET_ENDED if over else "",
            )
        elif bound.digits < known:
            self._leave(making, "ruled out", bound.words)
        elif self._complete(making):
            self._add(making)

    def _fast(self, making: Making) -> bool:
        """Whether nothing slow is to be restored: the method is light, or its images are stored."""
        return self._grid.bench.light(making.method) or all(
            self._is_stored(making, place) for place in self._grid.places
        )

    def _is_stored(self, making: Making, place: tuple[str, int]) -> bool:
        try:
            return self._grid.source(making, place).stored is not None
        except HarnessError:
            return False

    def _complete(self, making: Making) -> bool:
        """Measure every image of a making; False where it cannot be, with the reason kept."""
        try:
            if not self._fast(making):
                return self._restore(making)
            for place in self._grid.places:
                source = self._grid.source(making, place)
                source.measure(["psnr"], source.images)
        except HarnessError as error:
            self._leave(making, "not possible", str(error))
            return False
        return True

    def _restore(self, making: Making, finish: Finish | None = None) -> bool:
        """Restore a slow making while the budget lasts; what an earlier audit kept costs nothing."""
        # Without the stated making there is no audit: it may take longer than any other.
        share = STATED_SHARE if making == self._grid.stated and finish is None else 1
        for place in self._grid.places:
            source = self._grid.source(making, place, here=finish is not None)
            for first in range(0, len(source.images), BATCH):
                if self._budget.over(share) and self._inputs != "all":
                    reason = (
                        f"the budget ended at image {first + 1} of {len(source.images)} of {source.dataset}, level "
                        f"{source.level}; run again to go on, or give --budget or --inputs all"
                    )
                    self._leave(making, "open", reason, finish, BUDGET_ENDED)
                    return False
                self._budget.measure(source, measured_metrics(self._grid), source.images[first : first + BATCH])
        return True

    def _add(self, making: Making) -> None:
        """Add a candidate for every finish that is measured on every image, with the metrics that are."""
        sources = [self._grid.source(making, place) for place in self._grid.places]

        def whole(metric: str, finish: Finish) -> bool:
            return all(len(source.done(metric, finish)) == len(source.images) for source in sources)

        for finish in sources[0].finishes():
            if whole("psnr", finish):
                metrics = [metric for metric in self._grid.metrics if whole(metric, finish)]
                self.candidates.append(self._grid.candidate(making, finish, metrics))

    # --- other finishes of the stated making

    def _try_finishes(self) -> None:
        """Try the savings that are not stored on a few images; complete those that might explain more."""
        grid, stated = self._grid, self._grid.stated
        # Where PSNR and SSIM are both printed, what is known without SSIM would rule nothing out.
        known = self._known_digits_with_ssim()
        if self._inputs == "stored" and known == grid.total:
            self.not_tried.append("other ways of saving: the stored images match every cell (--inputs stored)")
            return
        try:
            source = grid.source(stated, grid.places[0], here=True)
            self._budget.measure(source, measured_metrics(grid), source.images[:1])
        except HarnessError as error:
            self.not_tried.append(f"other ways of saving: {error}")
            return
        stored = {candidate.finish for candidate in self.candidates if candidate.making == stated}
        due = [finish for finish in source.finishes() if finish not in stored]
        likely = []
        # The images of the first screening serve the others: an output is measured under every finish at once.
        for finish in due:
            bound = most_digits(grid, stated, finish, known, self._budget)
            if bound.obstacle:
                over = bound.obstacle == OUT_OF_BUDGET
                self._leave(stated, "open", bound.obstacle, finish, BUDGET_ENDED if over else "")
            elif bound.digits <= known and bound.digits < grid.total:
                self._leave(stated, "ruled out", bound.words, finish)
            else:
                likely.append((bound.digits, finish))
        if not likely:
            return
        ordered = [finish for _, finish in sorted(likely, key=lambda entry: -entry[0])]
        # For the same reason every image is restored once.
        if self._restore(stated, ordered[0]):
            self.candidates += [grid.candidate(stated, finish, grid.metrics, here=True) for finish in ordered]
        else:
            for finish in ordered[1:]:
                self._leave(stated, "open", self.screened[-1].reason, finish, self.screened[-1].kind)

    # --- what is known

    def _known_digits(self) -> int:
        """The most digits that a candidate explains, SSIM included where it was read already."""
        return max((candidate.digits(*self._grid.metrics) for candidate in self.candidates), default=0)

    def _known_digits_with_ssim(self) -> int:
        """The most digits that a candidate explains, its SSIM read where PSNR leaves it a chance."""
        read = read_ssim(self._grid, self.candidates, self._progress).candidates
        return max((candidate.digits(*self._grid.metrics) for candidate in read), default=0)

    def _leave(self, making: Making, verdict: str, reason: str, finish: Finish | None = None, kind: str = "") -> None:
        choices = differences(making, self._grid.stated)
        if finish is not None:
            choices |= {"saving": finish.label}
        self.screened.append(ScreenedAudit(choices or {"making": "as stated"}, verdict, reason, kind))


def equal_images(grid: VariantGrid, candidates: Iterable[Candidate]) -> list[tuple[Candidate, Candidate]]:
    """Pair the candidates of methods that restore the same images with the one that stands for them.

    The plain method stands for its variants (those with a parenthesis in their title).
    """
    first: dict[bytes, Candidate] = {}
    pairs = []
    for candidate in sorted(candidates, key=lambda c: "(" in grid.bench.method(c.making.method).title):
        known = first.setdefault(grid.images_print(candidate), candidate)
        if known.making.method != candidate.making.method:
            pairs.append((candidate, known))
    return pairs
