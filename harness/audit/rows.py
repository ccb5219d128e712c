"""The audit of the rows of a table: every variant evaluated on every cell, and the outcome as a record.

The order of work makes a grid of thousands of variants cost little more than one evaluation:

1. The row is opened: its stated making, and the cells for which it can be obtained (here). They make a grid
   (`harness.audit.grid`).
2. Restored images are made once for all finishes and readings; PSNR is read under every luma and border at once
   (`harness.audit.images`, `harness.audit.measuring`). A network that is slow is tried on a few images first, and SSIM
   is read only where PSNR leaves a candidate a chance (`harness.audit.screening`).
3. The variants that explain the most are found, one of them is named, and all are described (`harness.audit.ranking`)
   in records (`harness.audit.outcomes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from harness.assets.datasets import fetch
from harness.audit.grid import Candidate, Place, RowCell, VariantGrid, target
from harness.audit.images import Bench
from harness.audit.outcomes import RowAudit, ScreenedAudit
from harness.audit.ranking import (
    consistent_variants,
    describe_cells,
    describe_dimensions,
    describe_stated,
    describe_variant,
    find_mixture,
    rank_variants,
    select_best,
    witnesses,
)
from harness.audit.screening import OUT_OF_BUDGET, Budget, most_digits, read_ssim
from harness.audit.settings import AuditSettings
from harness.audit.variants import INDEPENDENT, Finish, Making, NoiseDraw, difference, differences, makings
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.process_state import core_count
from harness.tables.published import Table, published_number
from harness.tables.requests import IMAGE_METRICS, Request, requests
from harness.tables.workspace import Workspace

STATED_SHARE = 5
"""Budgets that the stated making may use up by itself: without it there is no audit."""
BATCH = 4
"""Images that are restored between two looks at the clock."""
BUDGET_ENDED = "the budget ended before"


def audit_table(
    workspace: Workspace,
    table: Table,
    settings: AuditSettings | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[RowAudit]:
    """Audit every row of a table.

    `workspace`: Holds the datasets and restored images; datasets that can be fetched are fetched.
    `table`: The table, or what `harness.tables.published.select` left of it.
    `progress`: Called with what is being done, and with an empty text at the end.
    """
    for name in sorted({column.dataset for part in table.parts for column in part.columns if column.dataset}):
        progress(f"dataset {name}")
        fetch(name, workspace.data)
    # Lines of one name (scales) are one row.
    rows = dict.fromkeys((index, row.name) for index, part in enumerate(table.parts) for row in part.rows)
    # A bench per row: values of one row's images are of no use to the next, and need memory.
    audits = [audit_row(Bench(workspace, core_count()), table, *row, settings, progress) for row in rows]
    progress("")
    return audits


def audit_row(
    bench: Bench,
    table: Table,
    part: int,
    name: str,
    settings: AuditSettings | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> RowAudit:
    """Audit one row of a table.

    `bench`: Where images come from.
    `table`: The table, perhaps what `harness.tables.published.select` left of it.
    `part`: Index of the part.
    `name`: The row's printed name; its lines at several levels are audited together.
    `progress`: Called with what is being done.
    Returns: With a reason and nothing else where no cell can be evaluated.
    """
    task = table.parts[part].task
    of_row = [request for request in requests(table, bench.methods) if (request.part, request.row) == (part, name)]
    asked = [request for request in of_row if request.metric in IMAGE_METRICS and request.printed is not None]
    groups = [request.group for request in asked if request.group is not None]
    left_out = {request.key: request.reason for request in asked if request.group is None}

    def nothing(reason: str) -> RowAudit:
        method = groups[0].method if groups else ""
        return RowAudit(table.name, part, name, task, method, reason, left_out=left_out)

    if not groups:
        return nothing(next(iter(left_out.values()), "nothing of this row is measured on images"))
    with_group = [request for request in asked if request.group is not None]
    stated = Making(
        degradation=groups[0].degradation,
        method=groups[0].method,
        policy=groups[0].policy,
        noise=NoiseDraw(INDEPENDENT) if degradation(groups[0].degradation).random else NoiseDraw(),
        datasets=tuple(dict.fromkeys((request.dataset, request.dataset) for request in with_group)),
    )
    settings = settings or AuditSettings()
    cells, obstacles = _cells(bench, task, with_group, stated, settings)
    left_out |= obstacles
    if not cells:
        return nothing(next(iter(left_out.values())))
    # A row may be saved in two ways (`CellNote.saving`); a variant of the audit is one way for all of it.
    saving = Counter(group.saving for group in groups).most_common(1)[0][0]
    grid = VariantGrid(bench, task, cells, stated, saving, settings)
    evaluation = Evaluation(grid, lambda text: progress(f"{name}: {text}"))
    evaluation.run()
    if not evaluation.candidates:
        return nothing(next((left.reason for left in evaluation.screened), "nothing could be evaluated"))
    equal = _equal_images(grid, evaluation.candidates)
    dropped = [candidate for candidate, _ in equal]
    read = read_ssim(grid, [c for c in evaluation.candidates if c not in dropped], evaluation.progress)
    best, members = select_best(grid, read.candidates)
    described = describe_variant(grid, best)
    tried = consistent_variants(grid, read.candidates)
    making, finish = best.candidate.making, best.candidate.finish
    return RowAudit(
        table=table.name,
        part=part,
        row=name,
        task=task,
        method=stated.method,
        cells=describe_cells(grid, best),
        left_out=left_out,
        digits=grid.total,
        best=described,
        stated=describe_stated(grid, read.candidates, read.bounds, equal),
        dimensions=describe_dimensions(grid, read.candidates, read.bounds, members),
        ranking=rank_variants(grid, tried),
        screened=tuple(evaluation.screened),
        not_tried=tuple(evaluation.not_tried),
        chance=tried.chance(grid, list(range(len(cells))), described.digits, described.whole),
        mixture=None if described.digits == grid.total else find_mixture(grid, read.candidates, read.bounds, best),
        random=bool(making.noise.scheme),
        witnesses=witnesses(grid, best),
        policy=making.policy,
        saving=finish.saving,
        span=finish.span,
        noise=f"{making.noise.scheme}/{making.noise.seed}" if making.noise.scheme else "",
        datasets={column: used for column, used in making.datasets if used != column},
    )


def _cells(
    bench: Bench, task: str, asked: Sequence[Request], stated: Making, settings: AuditSettings
) -> tuple[list[RowCell], dict[str, str]]:
    """Keep the cells whose stated making can be obtained; give the reasons of the others by key.

    What was printed of other weights than those here has no protocol to be found: nothing would be of the same images.
    A trailing zero that is printed is a digit.
    """
    reasons: dict[Place, str] = {}
    cells, left_out = [], {}
    for request in asked:
        place = request.dataset, request.level
        if not request.special.incomparable and place not in reasons:
            reasons[place] = _obstacle(bench, task, place, stated, settings)
        reason = request.special.incomparable or reasons[place]
        if reason:
            left_out[request.key] = reason
        elif request.printed is not None:
            printed = published_number(request.printed.text)
            assert printed is not None
            cells.append(RowCell(request, target(printed)))
    return cells, left_out


def _obstacle(bench: Bench, task: str, place: Place, stated: Making, settings: AuditSettings) -> str:
    """Why the stated making cannot be obtained at a place; empty where its first image could be measured."""
    try:
        source = bench.whole_source(task, *place, stated)
        if settings.inputs == "stored" and not source.stored and not bench.light(stated.method):
            return source.not_restored() or (
                "its restored images are not in work/restored; run harness repro, or leave --inputs stored away"
            )
        source.measure(["psnr"], source.images[:1])
    except HarnessError as error:
        return str(error)
    return ""


def _equal_images(grid: VariantGrid, candidates: Iterable[Candidate]) -> list[tuple[Candidate, Candidate]]:
    """Pair the candidates of methods that restore the same images with the one that stands for them.

    The plain method stands for its variants (those with a parenthesis in their title).
    """
    first: dict[bytes, Candidate] = {}
    pairs = []
    for candidate in sorted(candidates, key=lambda c: "(" in grid.bench.methods[c.making.method].title):
        known = first.setdefault(grid.images_print(candidate), candidate)
        if known.making.method != candidate.making.method:
            pairs.append((candidate, known))
    return pairs


class Evaluation:
    """What was evaluated for a row, and what was left aside.

    The stated making comes first, fast ones are measured on every image, slow ones after a screening. SSIM of fast ones
    is read later, where PSNR leaves a chance.

    `candidates`: Measured on every image, in the order they were tried. Empty where the stated making could not be
        obtained.
    `screened`: Makings and finishes that were left aside, and why.
    `not_tried`: Kinds of variants that were not tried at all, in words.
    """

    def __init__(self, grid: VariantGrid, progress: Callable[[str], None]) -> None:
        self.candidates: list[Candidate] = []
        self.screened: list[ScreenedAudit] = []
        self.not_tried: list[str] = []
        self.progress = progress
        self._grid = grid
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
        self.progress("the stated making")
        if not self._complete(stated):
            return
        self._budget = Budget(grid.settings.budget)
        # Finishes that are not stored are a single change, and are tried before makings with two.
        finishes_due = not self._is_fast(stated) or bool(grid.source(stated, grid.places[0]).stored)
        for making in everything:
            if making == stated:
                continue
            if finishes_due and len(differences(making, stated)) > 1:
                finishes_due = False
                self._try_finishes()
            self.progress(difference(making, stated))
            self._try(making)
        if finishes_due:
            self._try_finishes()

    def _try(self, making: Making) -> None:
        if self._is_fast(making) or self._inputs == "all":
            self._complete(making)
            return
        if self._inputs == "stored":
            kind = "not in work/restored"
            self._leave(making, "open", f"{kind}, and --inputs stored restores no other input", kind=kind)
            return
        known = self._known_digits(self.candidates)
        bound = most_digits(self._grid, making, None, known, self._budget)
        if bound.obstacle == OUT_OF_BUDGET:
            self._leave(making, "open", bound.obstacle, kind=BUDGET_ENDED)
        elif bound.obstacle:
            self._leave(making, "not possible", bound.obstacle)
        elif bound.digits < known:
            self._leave(making, "ruled out", bound.words)
        else:
            self._complete(making)

    def _is_fast(self, making: Making) -> bool:
        """Whether nothing slow is to be restored: the method is light, or its images are stored."""
        if self._grid.bench.light(making.method):
            return True
        try:
            return all(self._grid.source(making, place).stored for place in self._grid.places)
        except HarnessError:
            return False

    def _complete(self, making: Making) -> bool:
        """Measure every image of a making and add its candidates; False where it cannot be, with the reason kept."""
        try:
            if not self._is_fast(making):
                if not self._restore(making):
                    return False
            else:
                for place in self._grid.places:
                    self._grid.source(making, place).measure(["psnr"])
        except HarnessError as error:
            self._leave(making, "not possible", str(error))
            return False
        # A candidate for every finish that is measured on every image, with the metrics that are.
        sources = [self._grid.source(making, place) for place in self._grid.places]
        for finish in sources[0].finishes:
            whole = [m for m in ("psnr", "ssim") if all(source.is_whole(m, finish) for source in sources)]
            if "psnr" in whole:
                metrics = [metric for metric in self._grid.metrics if metric in whole]
                self.candidates.append(self._grid.candidate(making, finish, metrics))
        return True

    def _restore(self, making: Making, finish: Finish | None = None) -> bool:
        """Restore a slow making while the budget lasts; what an earlier audit kept costs nothing."""
        share = STATED_SHARE if making == self._grid.stated and finish is None else 1
        for place in self._grid.places:
            source = self._grid.source(making, place, here=finish is not None)
            for first in range(0, len(source.images), BATCH):
                if self._budget.over(share) and self._inputs != "all":
                    reason = (
                        f"the budget ended at image {first + 1} of {len(source.images)} of {source.dataset}, level "
                        f"{source.level}; run again to go on, or give --seconds or --inputs all"
                    )
                    self._leave(making, "open", reason, finish, BUDGET_ENDED)
                    return False
                self._budget.measure(source, ("psnr", *self._grid.metrics), source.images[first : first + BATCH])
        return True

    def _try_finishes(self) -> None:
        """Try the savings of the stated making that are not stored on a few images; complete those that may do more."""
        grid, stated = self._grid, self._grid.stated
        # Where PSNR and SSIM are both printed, what is known without SSIM would rule nothing out.
        known = self._known_digits(read_ssim(grid, self.candidates, self.progress).candidates)
        if self._inputs == "stored" and known == grid.total:
            self.not_tried.append("other ways of saving: the stored images match every cell (--inputs stored)")
            return
        try:
            source = grid.source(stated, grid.places[0], here=True)
            self._budget.measure(source, ("psnr", *grid.metrics), source.images[:1])
        except HarnessError as error:
            self.not_tried.append(f"other ways of saving: {error}")
            return
        stored = {candidate.finish for candidate in self.candidates if candidate.making == stated}
        likely = []
        # The images of the first screening serve the others: an output is measured under every finish at once.
        for finish in (finish for finish in source.finishes if finish not in stored):
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

    def _known_digits(self, candidates: Iterable[Candidate]) -> int:
        """The most digits that a candidate explains, SSIM included where it was read."""
        return max((candidate.digits() for candidate in candidates), default=0)

    def _leave(self, making: Making, verdict: str, reason: str, finish: Finish | None = None, kind: str = "") -> None:
        choices = differences(making, self._grid.stated)
        if finish is not None:
            choices |= {"saving": finish.label}
        self.screened.append(ScreenedAudit(choices or {"making": "as stated"}, verdict, reason, kind))
