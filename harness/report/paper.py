"""A table as a paper prints it: one line a row, one number a cell, at the digits of its column.

A cell holds the measured number where there is one, else the published one, which a dagger marks. That is the table for
one's own paper; `harness.report.render` sets published and measured numbers one above the other.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from harness.degradations import degradation
from harness.errors import HarnessError, unknown_name
from harness.protocols import protocol
from harness.protocols.definitions import LUMAS, METRICS
from harness.protocols.own import better_of
from harness.records.cost import read_cost
from harness.records.tasks import TASKS
from harness.report.facts import machine_of, seconds_of
from harness.report.grid import dataset_title, metric_title, signatures
from harness.report.render import few_empty_lines, markdown_environment, tex_environment
from harness.run.built import built_cost
from harness.run.cost import count_cost
from harness.tables.diff import CellResult
from harness.tables.fairness import footnotes
from harness.tables.measurements import Measurement
from harness.tables.published import Column, Mark, Row, Table, TablePart
from harness.tables.requests import COUNTED, is_of_images
from harness.tables.verdicts import ROUNDING
from harness.tables.workspace import Workspace

COSTS = ("parameters", "seconds")
"""Columns that can be added to any table."""

FORMS = ("tex", "md", "text")

# Digits where no paper prints any; parameters are told in thousands.
_UNITS = {"psnr": Decimal("0.01"), "ssim": Decimal("0.0001"), "parameters": Decimal(1000), "seconds": Decimal("0.01")}

# A best value needs another to be better than, and a second best a third.
_FEWEST = {"best": 2, "second": 3}

_NOT_KNOWN = {
    "parameters": "no row of the table names a network whose parameters could be counted",
    "seconds": "no row's seconds were recorded here, which harness repro does where it restores",
}

_INFERENCE = {"chop": "in tiles", "x8": "with self-ensemble", "onnx1": "by onnxruntime"}


class PaperCell(msgspec.Struct, frozen=True):
    """A number as it is shown, its mark, and whether it is published and not measured; empty where there is none."""

    text: str = ""
    mark: Mark = ""
    published: bool = False


class PaperRow(msgspec.Struct, frozen=True):
    """A line: name, keys to cite, level (where rows carry it), cells; `rule` asks for a rule above it.

    `published` says that every number of the row is as published; `about` is what is known of the method's paper. The
    letters of `marks`, with commas between, name sentences of the caption: in what the row is not like the others.
    """

    name: str
    cite: str
    level: str
    cells: tuple[PaperCell, ...]
    published: bool
    rule: bool
    about: str
    marks: str = ""


class PaperTable(msgspec.Struct, frozen=True):
    """One part of a table, ready to be printed.

    `name`: The table's name, with the number of the part where there are several.
    `corner`: Titles of the columns of row headings.
    `heads`: Lines of column headings, each text with the number of columns that it spans.
    `rows`: In the table's order.
    """

    name: str
    caption: tuple[str, ...]
    corner: tuple[str, ...]
    heads: tuple[tuple[tuple[str, int], ...], ...]
    rows: tuple[PaperRow, ...]


class _Number(msgspec.Struct, frozen=True):
    value: Decimal
    text: str
    published: bool
    ranked: bool = True


def paper_tables(
    workspace: Workspace, table: Table, results: Iterable[CellResult], extra: Sequence[str] = ()
) -> list[PaperTable]:
    """Lay a table out for a paper, each part for itself; rows and columns without any number are left out.

    `workspace`: Where costs were recorded.
    `table`: The table, or what `harness.tables.published.select` left of it.
    `extra`: Columns to add, of `COSTS`.
    Raises HarnessError: There is no number at all, a column to add is unknown, or nothing is known of it.
    """
    for name in extra:
        if name not in COSTS:
            raise unknown_name("column", name, COSTS)
    found = {(r.request.part, r.request.line, r.request.key): r for r in results}
    laid = [_lay_out(workspace, table, index, part, found, extra) for index, part in enumerate(table.parts)]
    made = [item for item in laid if item is not None]
    if not made:
        raise HarnessError(f"{table.name} has no number to show yet; run harness repro {table.name}")
    for name in extra:
        if not any((metric_title(name), 1) in item.heads[-1] for item in made):
            raise HarnessError(f"{_NOT_KNOWN[name]}; leave '{name}' out of --columns")
    return made


def forms(tables: Sequence[PaperTable]) -> dict[str, str]:
    """Render in every form, by name: LaTeX (booktabs), GitHub Markdown, and plain text."""
    tex = tex_environment().get_template("paper.tex.j2").render(tables=tables)
    return {
        "tex": few_empty_lines(tex),
        "md": "\n".join(_plain(item, "github", markdown_environment().filters["cell"]) for item in tables),
        "text": "\n".join(_plain(item, "simple", str) for item in tables),
    }


def round_half_up(value: float, unit: Decimal) -> Decimal:
    """Round to a multiple of a power of ten, halves upwards; values that are a verdict's rounding error below count.

    >>> round_half_up(27.775, Decimal("0.01")), round_half_up(27.7749, Decimal("0.01"))
    (Decimal('27.78'), Decimal('27.77'))
    >>> round_half_up(671_500.0, Decimal(1000))
    Decimal('672000')
    """
    if not math.isfinite(value):
        return Decimal(value)
    return ((Decimal(value) + Decimal(ROUNDING)) / unit).quantize(Decimal(1), ROUND_HALF_UP) * unit


def measured_number(result: CellResult) -> Measurement | None:
    """Choose a cell's measured number: under the protocol of its column, so that the rows can be ranked."""
    for measured in (result.under_column, result.measured):
        if isinstance(measured, Measurement):
            return measured
    return None


def under_another_protocol(result: CellResult) -> bool:
    """Whether what a cell shows was made under another protocol than its column's: it cannot be ranked there."""
    return result.own_protocol and not isinstance(result.under_column, Measurement)


def as_shown(result: CellResult) -> CellResult:
    """Take off that a number is printed under a protocol of its own, where the one under the column's is shown."""
    if under_another_protocol(result):
        return result
    return msgspec.structs.replace(result, differs=tuple(d for d in result.differs if d.kind != "protocol"))


def _shown_number(result: CellResult, unit: Decimal) -> _Number | None:
    """Choose what a cell shows: the measured number at a column's digits, else the published one as printed."""
    ranked = not under_another_protocol(result)
    if (measured := measured_number(result)) is not None:
        value = round_half_up(measured.value, unit)
        return _Number(value, _digits(value, unit), False, ranked)
    if result.request.printed is None:
        return None
    printed = result.request.printed
    return _Number(printed.value, _digits(printed.value, printed.unit), True, ranked)


def _digits(value: Decimal, unit: Decimal) -> str:
    if not value.is_finite():
        return "∞"
    return f"{value / 1000:,.0f}K" if unit == _UNITS["parameters"] else f"{value:f}"


def column_unit(metric: str, results: Iterable[CellResult]) -> Decimal:
    """Weight of the last digit of a column: the finest that is printed in it, else that which papers print."""
    printed = [r.request.printed.unit for r in results if r.request.printed is not None]
    return min(printed, default=_UNITS.get(metric, Decimal("0.0001")))


_Found = Mapping[tuple[int, int, str], CellResult]


def _lay_out(
    workspace: Workspace, table: Table, index: int, part: TablePart, found: _Found, extra: Sequence[str]
) -> PaperTable | None:
    columns: list[Column] = []
    numbers: list[list[_Number | None]] = []
    shown: dict[int, list[CellResult]] = {line: [] for line in range(len(part.rows))}
    for column in part.columns:
        cells = [found.get((index, line, part.column_key(column, row))) for line, row in enumerate(part.rows)]
        unit = column_unit(column.metric, (cell for cell in cells if cell is not None))
        values = [None if cell is None else _shown_number(cell, unit) for cell in cells]
        if any(values):
            columns.append(column)
            numbers.append(values)
            for line, (cell, value) in enumerate(zip(cells, values, strict=True)):
                if cell is not None and value is not None:
                    shown[line].append(cell)
    lines = [line for line in shown if shown[line]]
    if not lines:
        return None
    added = []
    for name in extra:
        if all(column.metric != name for column in columns):
            values, sentence = _costs(workspace, name, part, shown)
            if not values:
                continue
            columns.append(Column(name))
            numbers.append(values)
            added.append(sentence)
    levels = {part.rows[line].level for line in lines}
    marked = [_marked(values, column.metric, part.rows, lines) for column, values in zip(columns, numbers, strict=True)]
    kept = [cell for line in lines for cell in shown[line]]
    notes, by_line = footnotes(map(as_shown, kept))
    letters = {line: ",".join(note.mark for note in by_line.get((index, line), ())) for line in lines}
    rows = _rows(workspace, part, lines, marked, letters, len(levels) > 1)
    name = table.name if len(table.parts) == 1 else f"{table.name}-{index + 1}"
    task = TASKS.get(part.task)
    corner = ("Method", *([task.level_name.capitalize() if task else ""] if len(levels) > 1 else []))
    told = [f"{note.mark}: {', '.join(note.rows)}: {note.text}." for note in notes]
    kinds = {note.difference.kind for note in notes}
    ranked = all(number.ranked for values in numbers for number in values if number is not None)
    caption = (*_caption(table, part, columns, levels, kept, kinds), *added, *told, *_signs(rows, ranked))
    return PaperTable(name, caption, corner, _heads(columns, part), rows)


def _rows(
    workspace: Workspace,
    part: TablePart,
    lines: list[int],
    columns: Sequence[Sequence[PaperCell]],
    letters: Mapping[int, str],
    with_level: bool,
) -> tuple[PaperRow, ...]:
    methods = workspace.methods()
    order = [part.rows[line].level for line in lines]
    grouped = with_level and len(list(itertools.groupby(order))) == len(set(order))
    rows = []
    for position, line in enumerate(lines):
        row = part.rows[line]
        cells = tuple(column[line] for column in columns)
        method = methods.get(row.method)
        about = ", ".join(filter(None, (method.paper, method.url))) if method and not row.cite else ""
        published = all(cell.published for cell in cells if cell.text)
        level = level_text(part.task, row.level or 0) if with_level else ""
        rule = grouped and position > 0 and order[position] != order[position - 1]
        rows.append(PaperRow(row.name, row.cite, level, cells, published, rule, about, letters[line]))
    return tuple(rows)


def level_text(task: str, level: int) -> str:
    """Write a level as a formula does: ``σ = 50``, ``×2``, ``quality 10``; empty where the task has only one.

    >>> level_text("denoise-rgb", 50), level_text("sr", 2), level_text("demosaic", 0)
    ('σ = 50', '×2', '')
    """
    known = TASKS.get(task)
    if known is None or not level:
        return ""
    return {"sigma": f"σ = {level}", "scale": f"×{level}"}.get(known.level_name, known.level_label(level))


def _marked(
    values: Sequence[_Number | None], metric: str, rows: Sequence[Row], lines: Iterable[int]
) -> list[PaperCell]:
    """Mark the best and the second best number of a column, at each level of its rows; equal ones share a mark."""
    by_level: dict[int | None, list[Decimal]] = {}
    for line in lines:
        if (number := values[line]) is not None and number.ranked:
            by_level.setdefault(rows[line].level, []).append(number.value)
    cells = []
    for number, row in zip(values, rows, strict=True):
        mark: Mark = ""
        if number is not None and number.ranked:
            others = by_level[row.level]
            ranked = sorted(set(others), reverse=better_of(metric) == "higher")
            names: tuple[Mark, Mark] = ("best", "second")
            mark = next((m for m, v in zip(names, ranked, strict=False) if v == number.value), "")
            # Where all are equal none is better than another.
            if mark and (len(others) < _FEWEST[mark] or len(ranked) == 1):
                mark = ""
        cells.append(PaperCell(number.text, mark, number.published) if number else PaperCell())
    return cells


def _heads(columns: Sequence[Column], part: TablePart) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Lines of headings: datasets, levels or the columns' own labels where they differ, metrics where they differ."""
    several_levels = len({(c.level, c.label) for c in columns if c.metric not in COSTS}) > 1
    several_metrics = len({(c.metric, c.protocol) for c in columns}) > 1

    def path(column: Column) -> list[str]:
        texts = [dataset_title(column.dataset)] if any(c.dataset for c in columns) and column.dataset else []
        texts += [column.label or level_text(part.task, column.level or 0)] if several_levels else []
        title = metric_title(column.metric)
        title += f" ({column.protocol})" if column.protocol else ""
        return [*texts, *([title] if several_metrics or not any(texts) else [])]

    paths = [path(column) for column in columns]
    depth = max(map(len, paths))
    # A column that belongs to no dataset has its heading in the lowest line.
    paths = [[*[""] * (depth - len(texts)), *texts] for texts in paths]
    keys = [(c.dataset, c.level, c.label) if c.dataset else (number, None, "") for number, c in enumerate(columns)]
    heads = []
    for line in range(depth - 1):
        spans: list[tuple[str, int]] = []
        begun = None
        for texts, key in zip(paths, keys, strict=True):
            same = (texts[: line + 1], key[: line + 1])
            spans = [*spans[:-1], (texts[line], spans[-1][1] + 1)] if same == begun else [*spans, (texts[line], 1)]
            begun = same
        heads.append(tuple(spans))
    return (*heads, tuple((texts[-1], 1) for texts in paths))


def _costs(
    workspace: Workspace, name: str, part: TablePart, shown: Mapping[int, Sequence[CellResult]]
) -> tuple[list[_Number | None], str]:
    """Find the parameters or the seconds an image of every row that has them, and what the caption says of them.

    Nothing where no row has any.
    """
    costs = {line: costs_of(workspace, name, part.task, cells) for line, cells in shown.items()}
    values = [cost for cost, _ in costs.values()]
    if not any(values):
        return [], ""
    known = list(filter(None, values))
    if name == COUNTED:
        return _as_numbers(values, _UNITS[name] if min(known) >= 10 * _UNITS[name] else Decimal(1)), ""
    unit = Decimal(1).scaleb(-2 if max(known) >= 1 else -4)
    return _as_numbers(values, unit), time_words(machine for _, found in costs.values() for machine in found)


def costs_of(
    workspace: Workspace, name: str, task: str, cells: Sequence[CellResult]
) -> tuple[float | None, tuple[str, ...]]:
    """Find what a row costs: the parameters or multiply-adds of its network, or the mean seconds an image.

    `workspace`: Where costs were recorded.
    `name` ({"parameters", "operations", "seconds"}): Which cost; operations are multiply-adds of one input of
        `harness.run.cost.SIDE` pixels a side, or the next size that the network accepts.
    `task`: The task of the cells.
    `cells`: The row's cells.
    Returns `cost`: None where it is not known here.
    Returns `machines`: What the seconds were measured on, where that was recorded.
    """
    if name != "seconds":
        return _network_cost(workspace, name, task, cells), ()
    places = {(c.request.group, c.request.level): None for c in cells if isinstance(c.measured, Measurement)}
    own = [(group, level) for group, level in places if group is not None]
    times = [second for group, level in own for second in seconds_of(workspace, group, level)]
    machines = dict.fromkeys(machine_of(workspace, group) for group, _ in own if times)
    return (math.fsum(times) / len(times) if times else None), tuple(filter(None, machines))


def time_words(machines: Iterable[str]) -> str:
    """Say what a time is, and where it was taken."""
    known = " and ".join(dict.fromkeys(machines))
    return f"Time is the mean over the images{f' on {known}' if known else ''}."


def _as_numbers(values: Iterable[float | None], unit: Decimal) -> list[_Number | None]:
    rounded = [None if value is None else round_half_up(value, unit) for value in values]
    return [None if value is None else _Number(value, _digits(value, unit), False) for value in rounded]


def _network_cost(workspace: Workspace, name: str, task: str, cells: Sequence[CellResult]) -> int | None:
    methods = workspace.methods()
    for method_name in dict.fromkeys(cell.request.method for cell in cells if cell.request.group is not None):
        method = methods.get(method_name)
        if method is None or task not in method.tasks:
            continue
        # One's own network may be none of torch's, and weights may be missing.
        with contextlib.suppress(HarnessError):
            if method.network is not None:
                cost = (read_cost(workspace.work, method_name) or count_cost(method)).of(task)
            elif method.on == "tensor":
                cost = built_cost(method, task)
            else:
                continue
            return cost.parameters if name == COUNTED else cost.multiply_adds
    return None


def _caption(
    table: Table,
    part: TablePart,
    columns: Sequence[Column],
    levels: set[int | None],
    cells: Sequence[CellResult],
    told: Collection[str],
) -> list[str]:
    """Say what is in a part: task, metrics, images, inputs, weights; not the kinds that notes of its rows tell."""
    images = [cell for cell in cells if is_of_images(cell.request.metric)]
    if not images:
        return [f"{table.title.rstrip('.')}."]
    of_columns = {column.level for column in columns if column.level is not None}
    single = of_columns or levels - {None}
    at = level_text(part.task, next(iter(single)) or 0) if len(single) == 1 else ""
    measures = listed(dict.fromkeys(measure_words(c.request.column_protocol, part.task) for c in images))
    datasets = listed(_dataset_words(name, images) for name in dict.fromkeys(c.request.dataset for c in images) if name)
    task = TASKS[part.task].title
    said = [
        f"{task[0].upper()}{task[1:]}{f' at {at}' if at else ''}{f' on {datasets}' if datasets else ''}: {measures}."
    ]
    said += [f"{start}: {text}." for start, text in made_words(part.task, images, told)]
    signed = signatures((part.task, c.request.column_protocol, c.request.level) for c in images)
    return [*said, f"Measured as {', '.join(signed)}."]


def made_words(task: str, cells: Iterable[CellResult], told: Collection[str] = ()) -> list[tuple[str, str]]:
    """Say how the numbers of cells were made: inputs, other protocols, weights, inference; each with its rows.

    Left out are the kinds of difference (`harness.tables.fairness`) that notes of the rows tell.
    """
    inputs: dict[str, dict[str, None]] = {}
    others: dict[str, dict[str, None]] = {}
    weights: dict[str, dict[str, None]] = {}
    ways: dict[str, dict[str, None]] = {}
    for cell in cells:
        row, group = cell.request.row, cell.request.group
        if under_another_protocol(cell):
            others.setdefault(measure_words(cell.request.protocol, task), {})[row] = None
        if group is None or measured_number(cell) is None:
            continue
        inputs.setdefault(degradation(group.degradation).summary, {})[row] = None
        origin = "trained here" if cell.origin == "trained" else cell.origin.replace("trained: ", "trained here: ", 1)
        if origin != "none":
            weights.setdefault("as released" if origin == "released" else origin, {})[row] = None
        if way := " ".join(_INFERENCE[word] for word in group.policy.split("+") if word in _INFERENCE):
            ways.setdefault(way, {})[row] = None
    said = []
    for start, found, kind in (
        ("Input", inputs, "input"),
        ("Under another protocol", others, "protocol"),
        ("Weights", weights, ""),
        ("Run", ways, ""),
    ):
        if kind in told:
            continue
        # What holds for every row needs no names.
        alone = len(found) == 1 and start == "Input"
        texts = [text if alone else f"{text} ({', '.join(rows)})" for text, rows in found.items()]
        said += [(start, "; ".join(texts))] if texts else []
    return said


def measure_words(name: str, task: str) -> str:
    """Name what a protocol measures, short enough for a caption."""
    chosen = protocol(name)
    if chosen.own is not None:
        return metric_title(chosen.family)
    words = ["PSNR in dB" if chosen.unit else "SSIM"]
    if chosen.luma:
        words.append(LUMAS[chosen.luma].phrase)
    if not chosen.unit and chosen.metric in METRICS:
        words[0] = METRICS[chosen.metric].phrase.replace("SSIM, ", "SSIM (", 1) + ")"
    if border := chosen.border() if TASKS[task].level_name == "scale" else chosen.border(0):
        words.append(
            "without a border of scale pixels" if chosen.crop_scales else f"without a border of {border} pixels"
        )
    return " ".join(words)


def _dataset_words(name: str, cells: Iterable[CellResult]) -> str:
    counts = [c.measured.images for c in cells if c.request.dataset == name and isinstance(c.measured, Measurement)]
    count = max(counts, default=0)
    return dataset_title(name) + (f" ({count} image{'s' * (count != 1)})" if count else "")


def listed(texts: Iterable[str]) -> str:
    """Join texts as a sentence does.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = [*texts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _signs(rows: Sequence[PaperRow], ranked: bool) -> list[str]:
    """Explain the signs that a table has."""
    cells = [cell for row in rows for cell in row.cells]
    marks = {cell.mark for cell in cells}
    said = []
    if any(cell.published for cell in cells):
        said.append("† as published, not measured here.")
    if "best" in marks:
        among = "" if ranked else " among numbers of the column's protocol"
        said.append(f"Best in bold, second best underlined{among}." if "second" in marks else f"Best in bold{among}.")
    return said


def _plain(table: PaperTable, style: str, escape: Callable[[str], str]) -> str:
    from tabulate import tabulate

    over = [[text for text, span in line for _ in range(span)] for line in table.heads]
    heads = [*table.corner, *(" ".join(dict.fromkeys(filter(None, texts))) for texts in zip(*over, strict=True))]
    lines = [
        [
            escape(row.name)
            + ("†" if row.published else "")
            + ("" if not row.marks else f" <sup>{row.marks}</sup>" if style == "github" else f" [{row.marks}]")
            + (f" [@{row.cite.replace(',', '; @')}]" if row.cite else ""),
            *([row.level] if len(table.corner) > 1 else []),
            *(_plain_cell(cell, row.published) for cell in row.cells),
        ]
        for row in table.rows
    ]
    align = ["left"] * len(table.corner) + ["right"] * (len(heads) - len(table.corner))
    grid = tabulate(lines, [escape(head) for head in heads], style, disable_numparse=True, colalign=align)
    return f"{escape(' '.join(filter(None, table.caption)))}\n\n{grid}\n"


def _plain_cell(cell: PaperCell, known: bool) -> str:
    fence: Any = {"best": "**", "second": "_"}.get(cell.mark, "")
    return f"{fence}{cell.text}{fence}" + ("†" if cell.published and not known else "")
