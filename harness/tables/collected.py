"""Results of tables: numbers measured here, and those that the results in git recorded, where no rows are here.

A fresh clone has the rendered results in git and none of the computed files. Whatever shows a table shows the recorded
numbers beside those measured here, in the same way, and says of which revision they are. A recorded number is judged by
today's rules and by what the table says today.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from harness.assets.weights.registry import released_file
from harness.errors import HarnessError, Missing
from harness.methods import Method
from harness.protocols import protocol
from harness.records.cells import Group
from harness.records.restored import OwnFile
from harness.records.runs import git
from harness.records.tasks import TASKS
from harness.records.training_runs import TrainedFor
from harness.tables.diff import CellResult, averaged, diff_table, judged
from harness.tables.fairness import with_differences
from harness.tables.measurements import Measurement, Measurements, NotRun, Spread
from harness.tables.published import Table
from harness.tables.requests import Request, requests
from harness.tables.verdicts import NOISE_DEVIATIONS, Judgement, Verdict
from harness.tables.workspace import Workspace

CellPosition = tuple[int, int, str]

UNCOMMITTED = "uncommitted"
"""What stands for a revision where results are in no commit."""


class RecordedCell(msgspec.Struct, frozen=True):
    """A cell of results/<table>.json (`harness.tables.diff.as_record`); fields that are not listed are passed over."""

    row: str
    dataset: str
    level: int | None
    metric: str
    printed: str
    measured: float | None
    verdict: Verdict
    reason: str
    method: str
    protocol: str = ""
    protocol_version: str = ""
    degradation: str = ""
    policy: str = ""
    saving: str = "round"
    measured_under_column_protocol: float | None = None
    weights: dict[str, str] = {}
    own_files: dict[str, OwnFile] = {}
    origin: str = ""
    images: int = 0
    noise: float = 0.0
    recorded: str = ""
    missing: Missing | None = None
    seeds: dict[int, float] = {}
    trained_for: TrainedFor | None = None


class TableResults(msgspec.Struct, frozen=True):
    """A table with its results, in the printed order.

    `results`: Measured here, or recorded.
    `damaged_rows`, `damaged_results`: What is wrong with files of rows or results that could not be read; the cells are
        as if they were not there.
    """

    table: Table
    results: list[CellResult]
    damaged_rows: tuple[str, ...] = ()
    damaged_results: tuple[str, ...] = ()

    @property
    def damaged(self) -> tuple[str, ...]:
        """Everything that could not be read."""
        return (*self.damaged_rows, *self.damaged_results)

    @property
    def recorded(self) -> dict[CellPosition, str]:
        """Part, line and key of the numbers that were not measured here, with the revision that recorded them."""
        return {place_of(result.request): result.recorded for result in self.results if result.recorded}


def place_of(request: Request) -> CellPosition:
    """Name a cell within its table."""
    return request.part, request.line, request.key


def collect(workspace: Workspace, names: Iterable[str] = (), *, here: bool = True) -> list[TableResults]:
    """Gather the results of tables.

    `names`: Tables; every known one where none is named.
    `here`: Whether what was measured here counts, or only what results/ recorded.
    """
    known = workspace.tables()
    chosen = [workspace.table(name) for name in names] or list(known.values())
    methods = workspace.methods()
    measurements = Measurements(workspace.work if here else workspace.results / "none")
    revisions = Revisions(workspace.results)
    return [_collect(table, methods, measurements, revisions) for table in chosen]


def results_of(workspace: Workspace, table: Table) -> list[CellResult]:
    """Gather the results of one table, or of what `harness.tables.published.select` left of it."""
    return table_results(workspace, table).results


def table_results(workspace: Workspace, table: Table) -> TableResults:
    """Gather the results of one table, with what could not be read.

    In what the cells of some rows were made otherwise is told against the whole table.
    """
    methods, measurements = workspace.methods(), Measurements(workspace.work)
    revisions = Revisions(workspace.results)
    found = _collect(table, methods, measurements, revisions)
    whole = workspace.tables().get(table.name, table)
    if whole == table:
        return found
    beside = _collect(whole, methods, measurements, revisions).results
    differs = {_cell(whole, result.request): result.differs for result in beside}
    results = [
        msgspec.structs.replace(result, differs=differs.get(_cell(table, result.request), ()))
        for result in found.results
    ]
    return msgspec.structs.replace(found, results=results)


def _cell(table: Table, request: Request) -> tuple[object, ...]:
    """Name a cell by what stays as it is where rows and columns are left out."""
    place = table.parts[request.part].title, request.row, request.dataset, request.level, request.metric
    return *place, request.column_protocol, request.protocol, request.method, request.group


# The files of results in a folder, for git; those of folders inside have the same names.
_RESULTS = ":(glob)*.json"


class Revisions:
    """The commits that files of results are from, asked of git once for all of them and only where one is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, path: Path) -> str:
        """Name the commit that a file is from; `UNCOMMITTED` where it is in none as it is."""
        return (
            UNCOMMITTED
            if self._changed is None or path.name in self._changed
            else self._commits.get(path.name, UNCOMMITTED)
        )

    @functools.cached_property
    def _changed(self) -> set[str] | None:
        listed = git(self.folder, "status", "--porcelain", "-z", "--no-renames", "--", _RESULTS)
        return None if listed is None else {PurePosixPath(line[3:]).name for line in listed.split("\0") if line}

    @functools.cached_property
    def _commits(self) -> dict[str, str]:
        # Along one line of parents: the first commit that names a file made it what it is, a merge as well.
        line = ("log", "--first-parent", "-m", "--name-only", "-z", "--abbrev=10", "--format=%x01%h")
        found: dict[str, str] = {}
        for commit in (git(self.folder, *line, "--", _RESULTS) or "").split("\1")[1:]:
            revision, *names = commit.replace("\n", "\0").split("\0")
            for name in filter(None, names):
                found.setdefault(PurePosixPath(name).name, revision)
        return found


def _collect(
    table: Table, methods: Mapping[str, Method], measurements: Measurements, revisions: Revisions
) -> TableResults:
    results = {place_of(result.request): result for result in diff_table(table, methods, measurements)}
    damaged_rows = tuple(dict.fromkeys(measurements.damaged))
    measurements.damaged.clear()
    path = revisions.folder / f"{table.name}.json"
    asked = requests(table, methods)
    cells: list[tuple[Request, RecordedCell]] = []
    damaged_results: tuple[str, ...] = ()
    if path.is_file():
        try:
            cells = recorded_cells(path, asked, methods)
        except HarnessError as error:
            damaged_results = (str(error),)
    revision = ""
    for request, cell in cells:
        here = results.get(place_of(request))
        if here is not None and isinstance(here.measured, Measurement):
            continue
        revision = revision or revisions.of(path)
        if _is_newer_here(request, cell, measurements, revision):
            continue
        result = _as_result(request, cell, cell.recorded or revision)
        if cell.measured is None and (never := _never_released(request, methods.get(request.method))):
            # What was recorded may name files that an older registry took for the model.
            result = msgspec.structs.replace(result, measured=never, judgement=Judgement("not run", None, never.reason))
        results[place_of(request)] = result
    order = [place_of(request) for request in asked]
    found = averaged([results[place] for place in order if place in results])
    return TableResults(table, with_differences(table, found, methods), damaged_rows, damaged_results)


def recorded_cells(
    path: Path, asked: list[Request], methods: Mapping[str, Method]
) -> list[tuple[Request, RecordedCell]]:
    """Read results/<table>.json and find the request that each cell answers; cells nobody asks for are left out.

    Raises HarnessError: The file is damaged.
    """
    try:
        # Not strict: an infinite number is a word.
        cells = msgspec.json.decode(path.read_bytes(), type=list[RecordedCell], strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise HarnessError(f"{path}: not a table's results ({error}); harness repro renders it again") from None
    waiting: dict[tuple[object, ...], list[RecordedCell]] = defaultdict(list)
    for cell in reversed(cells):
        place = cell.row, cell.dataset, cell.level or 0, cell.metric, cell.protocol
        waiting[*place, cell.method, cell.printed].append(cell)
    found = []
    for request in asked:
        printed = request.printed.text if request.printed else ""
        place = request.row, request.dataset, request.level, request.metric, request.protocol
        same = waiting[*place, request.method, printed]
        if same:
            cell = same.pop()
            if cell.measured is None or _is_what_is_asked(cell, request, methods.get(request.method)):
                found.append((request, cell))
    return found


def _is_what_is_asked(cell: RecordedCell, request: Request, method: Method | None) -> bool:
    """Whether a recorded number was made as the cell is made now; the table or the weights may have changed since."""
    group = request.group
    if group is not None and method is not None and cell.weights:
        name = method.loads(request.task, request.level, request.dataset) if method.origin == "released" else None
        file = released_file(name) if name else None
        if file is not None and file.sha256 and cell.weights.get(name or "") != file.sha256:
            return False
    if cell.protocol != request.protocol:
        return False
    if request.protocol and cell.protocol_version != protocol(request.protocol).version:
        return False
    return group is None or (cell.degradation, cell.policy, cell.saving) == (
        group.degradation,
        group.policy,
        group.saving,
    )


def _never_released(request: Request, method: Method | None) -> NotRun | None:
    """Say that a method's authors released nothing for a cell, where the registry knows that."""
    if request.group is None or method is None or method.origin != "released":
        return None
    name = method.loads(request.task, request.level, request.dataset)
    if name is None or (name.partition("/")[0] in method.released if method.released else released_file(name)):
        return None
    task = TASKS[request.task]
    what = request.dataset if method.weights_for or method.released else task.level_label(request.level)
    return NotRun(f"no model of {method.title} was released for {what}", Missing("weights", method.name))


def _is_newer_here(request: Request, cell: RecordedCell, measurements: Measurements, revision: str) -> bool:
    """Whether the reason why nothing was measured here is newer than what was recorded."""
    if request.group is None:
        if cell.measured is not None and request.missing is not None and request.missing.kind == "training":
            # Weights trained elsewhere are in no clone; what they gave is.
            return False
        # What no method makes is known without any run, and a mean is made of the cells; counts are recorded.
        return bool(request.dataset) or bool(request.reason)
    if cell.measured is not None and revision != UNCOMMITTED:
        # A number in a commit stands, whatever is missing here.
        return False
    return measurements.record(request.group) is not None


def _as_result(request: Request, cell: RecordedCell, recorded: str) -> CellResult:
    if cell.measured is None:
        why = NotRun(cell.reason, cell.missing)
        return CellResult(request, why, Judgement("not run", None, cell.reason), None, cell.weights, cell.origin)
    if request.group is None and cell.degradation:
        # Trained elsewhere: here there is nothing to run, and what was run is recorded.
        group = Group(request.task, request.dataset, cell.degradation, request.method, cell.policy, cell.saving)
        request = msgspec.structs.replace(request, group=group)
    # The noise term is recorded, the number of draws it was estimated from is not.
    sd = cell.noise / (NOISE_DEVIATIONS * math.sqrt(2.0))
    under = cell.measured_under_column_protocol
    result = CellResult(
        request=request,
        measured=Measurement(
            cell.measured, cell.images, Spread(sd, 0, 0) if cell.noise else None, tuple(sorted(cell.seeds.items()))
        ),
        judgement=Judgement("not run", None, ""),
        under_column=None if under is None else Measurement(under, cell.images, None),
        weights=cell.weights,
        own_files=cell.own_files,
        origin=cell.origin,
        recorded=recorded,
        trained_for=cell.trained_for,
    )
    return judged(result, cell.origin if cell.verdict == "trained" else "")
