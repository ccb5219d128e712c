"""A table under one protocol: every row that can be run, measured in the same way, beside what is printed.

The inputs and the ways of saving stay each row's own, as its paper made them; only the measurement is made the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from harness.assets.datasets.reading import open_dataset
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.methods import Method
from harness.protocols import measure_many, protocol
from harness.protocols.own import quality
from harness.records.cells import FIRST_DRAW, Group, InputId
from harness.records.restored import RECORD, RestoredRecord, read_pixels, read_restored
from harness.records.tasks import TASKS
from harness.tables.measurements import Measurement, Measurements, NotRun
from harness.tables.published import Table
from harness.tables.requests import Request, is_of_images, requests
from harness.tables.workspace import Workspace

COLUMN = "column"
"""Instead of a protocol's name: the protocol that the table states for each column."""


class OneProtocolCell(msgspec.Struct, frozen=True):
    """A cell under the one protocol.

    `protocol`: The one protocol of the cell's metric; empty where nothing is measured on images.
    `rank`: 1 for the best measured value of its column, 2 for the second, 0 for others and for what was not run.
    `printed_rank`: The same for the printed values of the rows that were run.
    """

    request: Request
    protocol: str
    measured: Measurement | NotRun
    rank: int = 0
    printed_rank: int = 0

    @property
    def value(self) -> float | None:
        """The measured value, or None."""
        return self.measured.value if isinstance(self.measured, Measurement) else None


def choose_protocols(wanted: str) -> dict[str, str]:
    """Read what a user asked for.

    `wanted`: ``column``, or names of protocols with commas between, at most one a metric.
    Returns: Protocol by metric; metrics that are not among them take the columns' own.
    Raises HarnessError: A name is unknown, or two are of one metric.
    """
    if wanted == COLUMN:
        return {}
    chosen: dict[str, str] = {}
    for name in wanted.split(","):
        found = protocol(name.strip())
        metric = found.family
        if metric in chosen:
            raise HarnessError(f"'{chosen[metric]}' and '{found.name}' both measure {metric}; name one of them")
        chosen[metric] = found.name
    return chosen


def one_protocol(workspace: Workspace, table: Table, wanted: str) -> list[OneProtocolCell]:
    """Measure every cell of a table that can be run under one protocol.

    Values that are in work/rows are taken from there; what was not measured under the protocol yet is measured on the
    restored images of the workspace.

    `wanted`: See `choose_protocols`.
    """
    chosen = choose_protocols(wanted)
    measurer = _Measurer(workspace)
    cells = []
    asked = requests(table, workspace.methods())
    by_place: dict[tuple[Group, int], set[str]] = {}
    for request in asked:
        if request.group is not None:
            by_place.setdefault((request.group, request.level), set()).add(
                chosen.get(request.metric, request.column_protocol)
            )
    for request in asked:
        if not is_of_images(request.metric):
            continue
        name = chosen.get(request.metric, request.column_protocol)
        if request.group is None:
            cells.append(OneProtocolCell(request, name, NotRun(request.reason, request.missing)))
            continue
        needed = tuple(sorted(by_place[request.group, request.level]))
        cells.append(OneProtocolCell(request, name, measurer.value(request.group, request.level, name, needed)))
    return ranked(_averaged(cells))


def _averaged(cells: list[OneProtocolCell]) -> list[OneProtocolCell]:
    """Fill cells that are the mean over the datasets of their row."""
    filled = []
    for cell in cells:
        request = cell.request
        if not request.dataset:
            own = [
                c
                for c in cells
                if c.request.dataset
                and (c.request.part, c.request.line, c.request.metric) == (request.part, request.line, request.metric)
            ]
            values = [c.value for c in own if c.value is not None]
            if own and len(values) == len(own):
                mean = Measurement(math.fsum(values) / len(values), len(values), None)
                cell = msgspec.structs.replace(cell, measured=mean)
        filled.append(cell)
    return filled


def ranked(cells: list[OneProtocolCell]) -> list[OneProtocolCell]:
    """Rank the rows of each column (at each scale), by what is measured and by what is printed."""
    columns: dict[tuple[int, str], list[OneProtocolCell]] = {}
    for cell in cells:
        if cell.value is not None:
            columns.setdefault((cell.request.part, cell.request.key), []).append(cell)
    ranks: dict[int, tuple[int, int]] = {}
    for members in columns.values():
        if len(members) < 2:
            continue
        metric = members[0].request.metric
        by_value = _ranks({id(c): quality(metric, c.value) for c in members if c.value is not None})
        by_print = _ranks(
            {id(c): quality(metric, float(c.request.printed.value)) for c in members if c.request.printed is not None}
        )
        for cell in members:
            ranks[id(cell)] = by_value[id(cell)], by_print.get(id(cell), 0)
    return [
        msgspec.structs.replace(c, rank=ranks[id(c)][0], printed_rank=ranks[id(c)][1]) if id(c) in ranks else c
        for c in cells
    ]


def _ranks(values: Mapping[int, float]) -> dict[int, int]:
    """Rank 1 for the largest; equal values share a rank."""
    return {key: 1 + sum(other > value for other in values.values()) for key, value in values.items()}


class _Measurer:
    """Values of groups under any protocol: from work/rows, or from the restored images."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._rows = Measurements(workspace.work)
        self._measured: dict[tuple[Group, int], dict[str, Measurement] | NotRun] = {}
        self._methods: Mapping[str, Method] = workspace.methods()

    def value(self, group: Group, level: int, name: str, needed: tuple[str, ...]) -> Measurement | NotRun:
        found = self._rows.value(group, level, name)
        if isinstance(found, Measurement):
            return found
        key = (group, level)
        if key not in self._measured:
            self._measured[key] = self._measure(group, level, needed, found)
        measured = self._measured[key]
        if isinstance(measured, NotRun):
            return measured
        return measured.get(name, found)

    def _measure(
        self, group: Group, level: int, needed: tuple[str, ...], why: NotRun
    ) -> dict[str, Measurement] | NotRun:
        folder = self._workspace.work / "restored" / group.place
        record = read_restored(folder) if (folder / RECORD).is_file() else None
        if record is None:
            return why
        if record.reason:
            return NotRun(record.reason, record.missing)
        of_level = record.levels.get(level)
        if of_level is None and why.reason:
            return why
        if of_level is not None and of_level.reason:
            return NotRun(of_level.reason, of_level.missing)
        return self._measure_images(group, level, needed, record)

    def _measure_images(
        self, group: Group, level: int, needed: tuple[str, ...], record: RestoredRecord
    ) -> dict[str, Measurement] | NotRun:
        fetched = open_dataset(group.dataset, self._workspace.data)
        degrader = degradation(group.degradation)
        folder = self._workspace.work / "restored" / group.place
        files = {image: InputId(level, FIRST_DRAW, image).file for image in fetched.image_ids}
        gone = [file for file in files.values() if file not in record.images or not (folder / file).is_file()]
        if gone:
            return NotRun(f"{folder / gone[0]} is gone; run harness repro")

        def one(image: str) -> dict[str, float]:
            reference = degrader.reference(fetched.read(image), level)
            pixels = read_pixels(folder / files[image], group.saving)
            return measure_many(needed, reference, pixels, TASKS[group.task].scale(level))

        try:
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                values = list(pool.map(one, fetched.image_ids))
        except HarnessError as error:
            return NotRun(f"cannot be measured so: {error}")
        return {
            name: Measurement(protocol(name).aggregate([of_image[name] for of_image in values]), len(values), None)
            for name in needed
        }


def input_groups(cells: list[OneProtocolCell]) -> dict[str, list[str]]:
    """Rows by how their inputs were made: what one protocol of measurement does not make the same."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        if cell.request.group is not None and cell.value is not None:
            found.setdefault(cell.request.group.degradation, {})[cell.request.row] = None
    return {name: list(rows) for name, rows in found.items()}
