"""Results of many tables at once: measured rows of the workspace, and what results/ recorded where rows are missing.

A fresh clone has the rendered results in git and none of the computed files. Its pages show the recorded numbers and
say that they are recorded.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.methods import Method
from harness.pipeline.requests import AVERAGE, Request, requests
from harness.tables.diff import CellResult, diff_table
from harness.tables.measurements import Measurement, Measurements, NotRun, Spread
from harness.tables.published import Table
from harness.tables.verdicts import NOISE_DEVIATIONS, Judgement, Verdict
from harness.workspace import Workspace

Place = tuple[int, int, str]


class RecordedCell(msgspec.Struct, frozen=True):
    """A cell of results/<table>.json (`harness.tables.diff.as_record`); fields that are not listed are passed over."""

    row: str
    dataset: str
    level: int | None
    metric: str
    printed: str
    measured: float | None
    delta: float | None
    verdict: Verdict
    reason: str
    method: str
    protocol: str = ""
    degradation: str = ""
    policy: str = ""
    saving: str = "round"
    measured_under_column_protocol: float | None = None
    weights: dict[str, str] = {}
    origin: str = ""
    images: int = 0
    noise: float = 0.0


class TableResults(msgspec.Struct, frozen=True):
    """A table with its results.

    Attributes
    ----------
    table : Table
        The table.
    results : list of CellResult
        In the printed order.
    recorded : frozenset
        Part, line and key of the measured cells that were taken from results/ because their rows are not here.
    damaged : tuple of str
        What is wrong with files of rows or results that could not be read; the cells are as if they were not there.
    """

    table: Table
    results: list[CellResult]
    recorded: frozenset[Place]
    damaged: tuple[str, ...] = ()


def place_of(request: Request) -> Place:
    """Name a cell within its table."""
    return request.part, request.line, request.key


def collect(workspace: Workspace, names: Iterable[str] = ()) -> list[TableResults]:
    """Gather the results of tables.

    Parameters
    ----------
    workspace : Workspace
        Where rows and recorded results lie.
    names : iterable of str
        Tables; every known one where none is named.
    """
    known = workspace.tables()
    chosen = [workspace.table(name) for name in names] or list(known.values())
    methods = workspace.methods()
    measurements = Measurements(workspace.work)
    return [_collect(table, methods, measurements, workspace.results) for table in chosen]


def _collect(table: Table, methods: Mapping[str, Method], measurements: Measurements, folder: Path) -> TableResults:
    results = {place_of(result.request): result for result in diff_table(table, methods, measurements)}
    damaged = tuple(dict.fromkeys(measurements.damaged))
    measurements.damaged.clear()
    path = folder / f"{table.name}.json"
    asked = requests(table, methods)
    recorded = set()
    cells = []
    if path.is_file():
        try:
            cells = recorded_cells(path, asked)
        except HarnessError as error:
            damaged += (str(error),)
    for request, cell in cells:
        here = results.get(place_of(request))
        if _is_measured_here(request, here, measurements):
            continue
        results[place_of(request)] = _as_result(request, cell)
        if cell.measured is not None:
            recorded.add(place_of(request))
    order = [place_of(request) for request in asked]
    return TableResults(table, [results[place] for place in order if place in results], frozenset(recorded), damaged)


def recorded_cells(path: Path, asked: list[Request]) -> list[tuple[Request, RecordedCell]]:
    """Read results/<table>.json and find the request that each cell answers; cells nobody asks for are left out.

    Raises
    ------
    HarnessError
        The file is damaged.
    """
    try:
        # Not strict: an infinite number is a word.
        cells = msgspec.json.decode(path.read_bytes(), type=list[RecordedCell], strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise HarnessError(f"{path}: not a table's results ({error}); render it again: harness render") from None
    waiting: dict[tuple[object, ...], list[RecordedCell]] = defaultdict(list)
    for cell in reversed(cells):
        waiting[cell.row, cell.dataset, cell.level or 0, cell.metric, cell.method, cell.printed].append(cell)
    found = []
    for request in asked:
        printed = request.printed.text if request.printed else ""
        same = waiting[request.row, request.dataset, request.level, request.metric, request.method, printed]
        if same:
            cell = same.pop()
            if cell.measured is None or _is_what_is_asked(cell, request):
                found.append((request, cell))
    return found


def _is_what_is_asked(cell: RecordedCell, request: Request) -> bool:
    """Whether a recorded number was made as the cell is made now; the table may have changed since."""
    group = request.group
    if cell.protocol != request.protocol or group is None:
        return cell.protocol == request.protocol
    return (cell.degradation, cell.policy, cell.saving) == (group.degradation, group.policy, group.saving)


def _is_measured_here(request: Request, here: CellResult | None, measurements: Measurements) -> bool:
    if here is not None and isinstance(here.measured, Measurement):
        return True
    if request.group is None:
        # What no method makes is known without any run; counts and averages are not.
        return bool(request.dataset) or (bool(request.reason) and request.reason != AVERAGE)
    # Rows that say why they are empty are newer than what was recorded.
    return measurements.record(request.group) is not None


def _as_result(request: Request, cell: RecordedCell) -> CellResult:
    measured: Measurement | NotRun = NotRun(cell.reason)
    if cell.measured is not None:
        # The noise term is recorded, the number of draws it was estimated from is not.
        sd = cell.noise / (NOISE_DEVIATIONS * math.sqrt(2.0))
        measured = Measurement(cell.measured, cell.images, Spread(sd, 0, 0) if cell.noise else None)
    under = cell.measured_under_column_protocol
    return CellResult(
        request=request,
        measured=measured,
        judgement=Judgement(cell.verdict, cell.delta, cell.reason),
        under_column=None if under is None else Measurement(under, cell.images, None),
        weights=cell.weights,
        origin=cell.origin,
    )
