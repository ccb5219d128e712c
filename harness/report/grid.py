"""A table laid out as the paper prints it: headings, rows, and in every place the printed and the measured number."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from harness.assets.datasets import dataset
from harness.errors import HarnessError
from harness.protocols import protocol
from harness.protocols.own import OWN_METRICS
from harness.protocols.signature import signature
from harness.records.tasks import TASKS
from harness.tables.collected import UNCOMMITTED
from harness.tables.counting import count
from harness.tables.diff import CellResult, comparability, measured_text
from harness.tables.fairness import SHORT, Footnote, footnotes
from harness.tables.measurements import Measurement, NotRun
from harness.tables.published import Column, Table, TablePart, own_tables, published_number
from harness.tables.verdicts import Verdict

SIGNS: dict[Verdict, str] = {
    "match": "✓",
    "match (3 digits)": "≃",
    "fits": "◇",
    "close": "≈",
    "off": "✗",
    "incomparable": "∥",
    "trained": "◦",
    "not run": "",
    "measured": "",
}

MEANINGS: dict[Verdict, str] = {
    "match": "equal at the printed digits",
    "match (3 digits)": "equal at the three digits that its source prints",
    "fits": "equal by a choice made for it after it was seen; not counted as reproduced",
    "close": "within five units of the last digit",
    "off": "farther away",
    "incomparable": "printed under another protocol, or with other weights or another program",
    "trained": "trained here for the share that the reason names; no reproduction",
    "not run": "nothing was measured, for the reason given",
    "measured": "nothing is printed beside it",
}

METRIC_TITLES = {"psnr": "PSNR", "ssim": "SSIM", "parameters": "Parameters", "seconds": "Time (s)"}


def metric_title(metric: str) -> str:
    """Write a metric as the heading of a column; an arrow tells where the lower values of a plugin's are better."""
    own = OWN_METRICS.get(metric)
    if own is None:
        return METRIC_TITLES[metric]
    return own.title + (f" ({own.unit})" if own.unit else "") + (" ↓" if own.better == "lower" else "")


class GridCell(msgspec.Struct, frozen=True):
    """One place of the grid.

    `printed`, `mark`: As the paper prints it, and the paper's mark apart (``best``, ``second``); empty where no paper
        printed it.
    `measured`: With one digit more than printed; empty where nothing was measured.
    `cell`: Part, line and key of the cell that stands here.
    """

    printed: str
    mark: str
    measured: str
    sign: str
    verdict: str
    reason: str
    cell: tuple[int, int, str] = (0, 0, "")


Mark = tuple[str, str]
"""A letter and a word at a row: which note below says in what the row is not like the others, and about what."""


class GridRow(msgspec.Struct, frozen=True):
    """Headings of a row, then its places; `marks` belong to the first heading."""

    heads: tuple[str, ...]
    places: tuple[GridCell, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def has_measured(self) -> bool:
        """Whether anything in the row was measured."""
        return any(place.measured for place in self.places)

    @property
    def has_printed(self) -> bool:
        """Whether anything in the row is printed, be it no number."""
        return any(place.printed for place in self.places)


class PartGrid(msgspec.Struct, frozen=True):
    """One part of a table, ready to be printed.

    `title`, `corner`: Heading of the part, if the table has several, and titles of the columns of row headings.
    `heads`: Two lines of column headings; an empty text continues the heading to its left.
    `rows`: In the printed order.
    `marks`: Those of each heading of the first line, where methods are columns.
    """

    title: str
    corner: tuple[str, ...]
    heads: tuple[tuple[str, ...], ...]
    rows: tuple[GridRow, ...]
    marks: tuple[tuple[Mark, ...], ...] = ()

    def head_marks(self, line: int, column: int) -> tuple[Mark, ...]:
        """Give the marks of a heading of columns."""
        return self.marks[column] if self.marks and line == 0 else ()


class Reason(msgspec.Struct, frozen=True):
    """Rows (or cells) of a table that share a reason for not having been run."""

    reason: str
    rows: tuple[str, ...]
    cells: int


def grids(table: Table, results: list[CellResult]) -> list[PartGrid]:
    """Lay a table's results out as the paper prints the table."""
    found = {(r.request.part, r.request.line, r.request.key): r for r in results}
    of_lines = footnotes(results)[1]
    made = []
    for index, part in enumerate(table.parts):
        notes = [of_lines.get((index, line), ()) for line in range(len(part.rows))]
        marks = [tuple((note.mark, SHORT[note.difference.kind]) for note in of_line) for of_line in notes]
        made.append(_grid(table, index, part, found, marks))
    return made


def marks_text(marks: Sequence[Mark]) -> str:
    """Write marks as a text, such as ``a input, b weights``."""
    return ", ".join(map(" ".join, marks))


def unlike(results: list[CellResult]) -> list[Footnote]:
    """List in what rows were made otherwise than those they stand beside, in the order of the marks at the rows."""
    return footnotes(results)[0]


def _grid(
    table: Table,
    index: int,
    part: TablePart,
    found: dict[tuple[int, int, str], CellResult],
    marks: Sequence[tuple[Mark, ...]],
) -> PartGrid:
    def place(line: int, position: int) -> GridCell:
        row, column = part.rows[line], part.columns[position]
        cell = (index, line, part.column_key(column, row))
        result = found.get(cell)
        printed = row.values[position] if row.values else ""
        number = published_number(printed)
        return GridCell(
            printed=number.text if number else printed,
            mark=number.mark if number else "",
            measured=measured_text(result) if result else "",
            sign=SIGNS[result.verdict] if result and ((printed and number) or result.verdict == "trained") else "",
            verdict=result.verdict if result else "",
            reason=result.judgement.reason if result else "",
            cell=cell,
        )

    task = TASKS.get(part.task)
    level_title = task.level_name if task else ""
    if table.methods_as == "rows":
        with_level = any(row.level is not None for row in part.rows)
        rows = tuple(
            GridRow(
                (row.name, *([task.level_label(row.level) if task and row.level else ""] if with_level else [])),
                tuple(place(line, position) for position in range(len(part.columns))),
                marks[line],
            )
            for line, row in enumerate(part.rows)
        )
        corner = ("Method", *(["Scale" if level_title == "scale" else level_title] if with_level else []))
        return PartGrid(part.title, corner, _heads(part.columns, part), rows)
    # Methods are columns: a printed row is a dataset and level, and each method has one column a metric.
    places_of: dict[tuple[str, int | None, str, str], list[int]] = {}
    metrics = list(dict.fromkeys(column.metric for column in part.columns))
    for position, column in enumerate(part.columns):
        places_of.setdefault((column.dataset, column.level, column.variant, column.label), []).append(position)
    lines = range(len(part.rows))
    datasets = any(name for name, _, _, _ in places_of)
    if not datasets or any(len(positions) != len(metrics) for positions in places_of.values()):
        return _one_row_a_metric(part, place, marks)
    rows = tuple(
        GridRow(
            (dataset_title(name), "" if level is None else str(level)),
            tuple(place(line, position) for line in lines for position in positions),
        )
        for (name, level, _, _), positions in places_of.items()
    )
    top = tuple(text for row in part.rows for text in (row.name, *[""] * (len(metrics) - 1)))
    bottom = tuple(metric_title(metric) for _ in lines for metric in metrics)
    of_heads = tuple(each for own in marks for each in (own, *[()] * (len(metrics) - 1)))
    return PartGrid(part.title, ("Dataset", level_title), (top, bottom), rows, of_heads)


def _one_row_a_metric(
    part: TablePart, place: Callable[[int, int], GridCell], marks: Sequence[tuple[Mark, ...]]
) -> PartGrid:
    """Lay out a small table whose printed rows are metrics and whose columns are methods."""
    rows = tuple(
        GridRow((_column_title(column),), tuple(place(line, position) for line in range(len(part.rows))))
        for position, column in enumerate(part.columns)
    )
    return PartGrid(part.title, ("",), (tuple(row.name for row in part.rows),), rows, tuple(marks))


def _column_title(column: Column) -> str:
    parts = [_metric_title(column)]
    if column.dataset:
        parts.append(dataset_title(column.dataset))
    if column.level:
        parts.append(str(column.level))
    return column.label or ", ".join(parts)


def _metric_title(column: Column) -> str:
    return metric_title(column.metric) + (f" ({column.protocol})" if column.protocol else "")


def _heads(columns: tuple[Column, ...], part: TablePart) -> tuple[tuple[str, ...], ...]:
    """Make two lines of headings: datasets above, levels or metrics below."""
    several_metrics = len({_metric_title(column) for column in columns}) > 1
    several_levels = len({column.level for column in columns}) > 1
    top: list[str] = []
    bottom: list[str] = []
    before = ""
    for column in columns:
        title = dataset_title(column.dataset) if column.dataset else ""
        top.append("" if title == before else title)
        before = title
        texts = [column.label] if column.label else []
        if not column.label and several_levels and column.level:
            task = TASKS.get(part.task)
            texts.append(task.level_label(column.level) if task else str(column.level))
        if several_metrics or not (column.label or several_levels):
            texts.append(_metric_title(column))
        bottom.append(" ".join(texts))
    return (tuple(top), tuple(bottom))


@functools.cache
def dataset_title(name: str) -> str:
    """Title of a dataset for readers; its name where it is not in the registry."""
    try:
        return dataset(name).title
    except HarnessError:
        return name


def legend(results: list[CellResult]) -> list[tuple[Verdict, str, str]]:
    """List the verdicts that printed numbers of a table have: verdict, sign, meaning."""
    found = {result.verdict for result in results if result.request.printed or result.verdict == "trained"}
    said = meanings(published=prints_numbers(results))
    return [(verdict, SIGNS[verdict], said[verdict]) for verdict in SIGNS if verdict in found and SIGNS[verdict]]


def meanings(*, published: bool) -> dict[Verdict, str]:
    """Say what each verdict means, in words for tables with published numbers or for tables of own rows alone."""
    own: dict[Verdict, str] = {"measured": "measured here", "trained": "trained here, for the share that is given"}
    return MEANINGS if published else MEANINGS | own


def prints_numbers(results: list[CellResult]) -> bool:
    """Whether a table holds any published number: one of own rows alone has words of its own."""
    return any(result.request.printed is not None for result in results)


def spans(heads: tuple[str, ...]) -> list[tuple[str, int]]:
    """Join each heading of a line with the empty ones that continue it: its text and how many columns it spans."""
    joined: list[tuple[str, int]] = []
    for text in heads:
        if text or not joined:
            joined.append((text, 1))
        else:
            joined[-1] = (joined[-1][0], joined[-1][1] + 1)
    return joined


def reasons_not_run(results: list[CellResult]) -> list[Reason]:
    """Group the cells that were not run by their reason, in the order of the table.

    Missing files of one set of weights are one reason; that of the first stands for the others.
    """
    alike: dict[object, list[CellResult]] = {}
    for result in results:
        if result.verdict == "not run":
            missing = result.measured.missing if isinstance(result.measured, NotRun) else None
            kind = ("weights of", missing.name) if missing and missing.file else result.judgement.reason
            alike.setdefault(kind, []).append(result)
    reasons = []
    for cells in alike.values():
        first, *others = dict.fromkeys(result.judgement.reason for result in cells)
        more = f" (and so for {len(others)} more files)" if others else ""
        reasons.append(_reason(first + more, cells))
    return reasons


def _reason(text: str, cells: list[CellResult]) -> Reason:
    return Reason(text, tuple(dict.fromkeys(result.request.row for result in cells)), len(cells))


def remarks(results: list[CellResult]) -> list[Reason]:
    """Group what must be said about cells that were run: protocols of their own, suspects, cells that are off."""
    said: dict[str, list[CellResult]] = {}
    for result in results:
        if result.verdict == "not run" or (result.request.printed is None and result.verdict != "trained"):
            continue
        if result.verdict == "fits":
            said.setdefault(f"equal, but not counted: {result.request.fitted}", []).append(result)
        elif result.verdict in ("off", "incomparable", "trained"):
            said.setdefault(result.judgement.reason, []).append(result)
        if result.own_protocol and result.verdict in ("match", "match (3 digits)", "fits", "close"):
            own, others = result.request.protocol, result.request.column_protocol
            beside = comparability(result.measured, result.under_column, result.request)
            text = f"printed under {own}, the column's other rows under {others}: {beside}"
            said.setdefault(text, []).append(result)
    return [_reason(text, cells) for text, cells in said.items()]


def off_advice(table: Table, results: list[CellResult]) -> str:
    """Say what to do about rows that are off: a paper seldom says how its input was made; empty where none is."""
    rows = dict.fromkeys(result.request.row for result in results if result.verdict == "off")
    if not rows:
        return ""
    command = f"harness audit {table.name} --row {shlex.quote(next(iter(rows)))}"
    return f"off: {', '.join(rows)}; `{command}` looks for the input and protocol that make a row's numbers"


def summary(table: Table, results: list[CellResult]) -> str:
    """Say in one line how much of a table is reproduced, and how much of one's own was measured."""
    counts = count(results)
    own = [result for result in results if result.request.printed is None]
    measured = sum(bool(measured_text(result)) for result in own)
    if table.paper or table.name in own_tables():
        parts = [counts.text("numbers reproduced" if table.paper else "reference values match")] * bool(counts.numbers)
        if measured:
            parts.append(f"{measured} measured" + " with nothing printed beside them" * bool(counts.numbers))
    else:
        # A user's table is about the user's rows, and published ones stand beside them.
        parts = [f"{measured} of {len(own)} numbers measured"] if own else []
        if counts.numbers:
            found = ", ".join(f"{number} {verdict}" for verdict, number in counts.distinct.items() if number)
            parts.append(f"{counts.numbers} published{' beside them' * bool(own)}: {found}")
    return f"{table.name}: " + (", ".join(parts) or "nothing measured")


def recorded_text(results: list[CellResult], here: str = "were measured here") -> str:
    """Say which of the measured numbers were not measured here, or in the words given; empty where all were."""
    found = Counter(result.recorded for result in results if result.recorded)
    measured = sum(bool(measured_text(result)) for result in results)
    if not found:
        return ""
    where = ", ".join(
        f"{cells} at {f'revision {revision}' if revision != UNCOMMITTED else 'no revision (uncommitted)'}"
        for revision, cells in found.items()
    )
    return (
        f"{measured - found.total()} of the {measured} measured numbers {here}; the others are recorded in "
        f"results/: {where}"
    )


def choices(table: Table, results: list[CellResult]) -> list[tuple[str, str]]:
    """Say for each measured row how many choices were made for it, which, and among how many variants."""
    texts = []
    for result in results:
        request = result.request
        if not request.choices or not isinstance(result.measured, Measurement):
            continue
        audit = table.parts[request.part].rows[request.line].audit
        tried = f"; {audit.tried} variants were tried" if audit is not None else ""
        own = request.special.saving or request.special.protocol
        made = [*request.choices, *([request.fitted] if request.fitted and not own else [])]
        texts.append((result, f"{len(made)}: {'; '.join(made)}{tried}"))
    return _by_row(texts)


def signatures(cells: Iterable[tuple[str, str, int]]) -> list[str]:
    """Sign the protocols of a table, each once (`harness.protocols.signature`), in the order of the cells.

    `cells`: Task, protocol and level of each cell. A border of several scales is left open.
    """
    scales: dict[str, set[int]] = {}
    for task, name, level in cells:
        if name:
            scales.setdefault(name, set()).add(TASKS[task].scale(level))
    return [signature(protocol(name), min(of) if len(of) == 1 else None) for name, of in scales.items()]


def signatures_of(results: Iterable[CellResult]) -> list[str]:
    """Sign the protocols that the printed numbers of a table were made under, as far as is known."""
    return signatures((r.request.task, r.request.protocol, r.request.level) for r in results)


def evidence(results: list[CellResult]) -> list[tuple[str, str]]:
    """Say for each measured row why we believe in its protocol and input."""
    return _by_row([(r, r.request.evidence) for r in results if r.request.evidence and r.verdict != "not run"])


def _by_row(texts: list[tuple[CellResult, str]]) -> list[tuple[str, str]]:
    """Give each text once with the rows it is of; rows of one name that differ are told apart by their level."""
    by_name: dict[str, dict[str, dict[str, None]]] = {}
    for result, text in texts:
        level = TASKS[result.request.task].level_label(result.request.level) if result.request.level else ""
        by_name.setdefault(result.request.row, {}).setdefault(text, {})[level] = None
    return [
        (name if len(of_name) == 1 else ", ".join(filter(None, [name, *levels])), text)
        for name, of_name in by_name.items()
        for text, levels in of_name.items()
    ]
