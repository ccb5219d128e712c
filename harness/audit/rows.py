"""The audit of one row: every variant evaluated on every cell, shared work once, and the outcome as a record.

The order of work makes a grid of thousands of variants cost little more than one evaluation:

1. The row is opened: its stated making, and the cells for which it can be had (here). They make a grid
   (`harness.audit.grid`).
2. Restored images are made once for all finishes and readings; PSNR is read under every luma and border at once
   (`harness.audit.evaluation`). A network that is slow is tried on a few images first (`harness.audit.screening`).
3. SSIM is read only where PSNR leaves a candidate a chance (`harness.audit.ssim_reading`).
4. The variants that explain the most are found and one of them is named (`harness.audit.selection`); the outcome is
   described (`harness.audit.description`) in records (`harness.audit.outcomes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from harness.audit.description import (
    chance_of,
    describe_cells,
    describe_dimensions,
    describe_stated,
    rank_variants,
    witnesses,
)
from harness.audit.evaluation import Evaluation, equal_images
from harness.audit.grid import RowCell, VariantGrid, set_values
from harness.audit.images import Bench
from harness.audit.mixture import find_mixture
from harness.audit.outcomes import CellAudit, ChoiceAudit, DimensionAudit, RowAudit, ScreenedAudit, VariantAudit
from harness.audit.ranking import target
from harness.audit.selection import describe_variant, select_best
from harness.audit.settings import INPUTS, AuditSettings
from harness.audit.ssim_reading import read_ssim
from harness.audit.variants import INDEPENDENT, Making, NoiseDraw
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.records.cells import Group
from harness.tables.published import Table, published_number
from harness.tables.requests import IMAGE_METRICS, Request, requests

__all__ = [
    "INPUTS",
    "AuditSettings",
    "CellAudit",
    "ChoiceAudit",
    "DimensionAudit",
    "RowAudit",
    "ScreenedAudit",
    "VariantAudit",
    "audit_row",
    "row_names",
    "set_values",
]


def row_names(table: Table) -> list[tuple[int, str]]:
    """List the rows of a table: part and name; lines of one name (scales) are one row."""
    return list(dict.fromkeys((index, row.name) for index, part in enumerate(table.parts) for row in part.rows))


def audit_row(
    bench: Bench,
    table: Table,
    part: int,
    name: str,
    settings: AuditSettings | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> RowAudit:
    """Audit one row of a table.

    Parameters
    ----------
    bench : Bench
        Where images come from.
    table : Table
        The table, perhaps what `harness.tables.published.select` left of it.
    part : int
        Index of the part.
    name : str
        The row's printed name; its lines at several levels are audited together.
    settings : AuditSettings
        What it may cost.
    progress : callable
        Called with what is being done.

    Returns
    -------
    RowAudit
        With a reason and nothing else where no cell can be evaluated.
    """

    def say(text: str) -> None:
        progress(f"{name}: {text}")

    task = table.parts[part].task
    asked = _image_requests(table, part, name, bench)
    left_out = {request.key: request.reason for request in asked if request.group is None}
    found = [request for request in asked if request.group is not None]

    def nothing(reason: str) -> RowAudit:
        method = found[0].method if found else ""
        return RowAudit(table.name, part, name, task, method, reason, left_out=left_out)

    if not found:
        return nothing(next(iter(left_out.values()), "nothing of this row is measured on images"))
    group = found[0].group
    assert group is not None
    settings = settings or AuditSettings()
    stated = _stated_making(group, found)
    cells, obstacles = _cells(bench, task, found, stated, settings)
    left_out |= obstacles
    if not cells:
        return nothing(next(iter(left_out.values())))
    # A row may be saved in two ways (`Cell.saving`); a variant of the audit is one way for all of it.
    saving = Counter(request.group.saving for request in found if request.group is not None).most_common(1)[0][0]
    grid = VariantGrid(bench, task, cells, stated, saving, settings)
    evaluation = Evaluation(grid, say)
    evaluation.run()
    if not evaluation.candidates:
        return nothing(next((left.reason for left in evaluation.screened), "nothing could be evaluated"))
    return _outcome(RowAudit(table.name, part, name, task, stated.method, left_out=left_out), grid, evaluation, say)


# --- opening the row


def _image_requests(table: Table, part: int, name: str, bench: Bench) -> list[Request]:
    """What the pipeline asks for the printed numbers of a row that are measured on images."""
    of_row = [r for r in requests(table, bench.methods) if (r.part, r.row) == (part, name)]
    return [r for r in of_row if r.metric in IMAGE_METRICS and r.printed is not None]


def _stated_making(group: Group, found: Sequence[Request]) -> Making:
    """The making that the table's file says, with the row's datasets themselves."""
    noise = NoiseDraw(INDEPENDENT) if degradation(group.degradation).random else NoiseDraw()
    datasets = tuple(dict.fromkeys((r.dataset, r.dataset) for r in found))
    return Making(group.degradation, group.method, group.policy, noise, datasets)


def _cells(
    bench: Bench, task: str, found: Sequence[Request], stated: Making, settings: AuditSettings
) -> tuple[list[RowCell], dict[str, str]]:
    """Keep the cells whose stated making can be had; give the reasons of the others by key.

    What was printed of other weights than those here has no protocol to be found: nothing would be of the same images.
    A trailing zero that is printed is a digit.
    """
    reasons: dict[tuple[str, int], str] = {}
    cells, left_out = [], {}
    for request in found:
        if request.special.incomparable:
            left_out[request.key] = request.special.incomparable
            continue
        place = request.dataset, request.level
        if place not in reasons:
            reasons[place] = _obstacle(bench, task, place, stated, settings)
        if reasons[place]:
            left_out[request.key] = reasons[place]
        else:
            assert request.printed is not None
            printed = published_number(request.printed.text)
            assert printed is not None
            cells.append(RowCell(request, target(printed)))
    return cells, left_out


def _obstacle(bench: Bench, task: str, place: tuple[str, int], stated: Making, settings: AuditSettings) -> str:
    """Why the stated making cannot be had at a place; empty where its first image could be measured."""
    try:
        source = bench.whole_source(task, *place, stated)
        if settings.inputs == "stored" and source.stored is None and not bench.light(stated.method):
            return source.not_restored() or (
                "its restored images are not in work/restored; run harness repro, or leave --inputs stored away"
            )
        source.measure(["psnr"], source.images[:1])
    except HarnessError as error:
        return str(error)
    return ""


# --- the outcome


def _outcome(row: RowAudit, grid: VariantGrid, evaluation: Evaluation, say: Callable[[str], None]) -> RowAudit:
    """Complete a row's record with what the evaluation found."""
    equal = equal_images(grid, evaluation.candidates)
    dropped = [candidate for candidate, _ in equal]
    read = read_ssim(grid, [c for c in evaluation.candidates if c not in dropped], say)
    selection = select_best(grid, read.candidates)
    chosen, best = selection.best.candidate, describe_variant(grid, selection.best)
    noise = chosen.making.noise
    return RowAudit(
        table=row.table,
        part=row.part,
        row=row.row,
        task=row.task,
        method=row.method,
        cells=describe_cells(grid, selection.best),
        left_out=row.left_out,
        digits=grid.total,
        best=best,
        stated=describe_stated(grid, read.candidates, read.bounds, equal),
        dimensions=describe_dimensions(grid, read.candidates, read.bounds, selection.members),
        ranking=rank_variants(grid, read.candidates),
        screened=tuple(evaluation.screened),
        not_tried=tuple(evaluation.not_tried),
        chance=chance_of(grid, read.candidates, best),
        mixture=None if best.digits == grid.total else find_mixture(grid, read.candidates, read.bounds, selection.best),
        random=bool(noise.scheme),
        witnesses=witnesses(grid, selection.best),
        policy=chosen.making.policy,
        saving=chosen.finish.saving,
        span=chosen.finish.span,
        noise=f"{noise.scheme}/{noise.seed}" if noise.scheme else "",
        datasets={column: used for column, used in chosen.making.datasets if used != column},
    )
