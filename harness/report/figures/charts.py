"""Curves over the levels, and quality against cost, for a paper.

A value is the measured one where there is one, else the published one, as in the table for a paper
(`harness.report.paper`). Measured points are filled, published ones hollow, and the caption says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from harness.errors import HarnessError, printable, unknown_name
from harness.records.tasks import TASKS
from harness.report.figures.files import (
    COLOURS,
    POINTS,
    PaperFigure,
    how_made,
    one_task,
    raised,
    row_notes,
    slug,
    styled,
    text_length,
)
from harness.report.grid import dataset_title, metric_title
from harness.report.paper import costs_of, level_text, listed, measure_words, measured_number, time_words
from harness.report.plots import Box, is_free, log_ticks, short
from harness.run.cost import SIDE
from harness.tables.diff import CellResult
from harness.tables.published import Table
from harness.tables.requests import is_of_images
from harness.tables.workspace import Workspace

_MARKERS = "os^Dv<>p"

# Inches of a legend's column, and of the narrowest field.
_LEGEND, _NARROWEST = 1.15, 1.6

_COST_TITLES = {
    "parameters": "Parameters",
    "operations": f"Multiply-adds of one input of {SIDE}×{SIDE} pixels",
    "seconds": "Seconds an image",
}

_LEVELS = {"sigma": "noise level σ", "quality": "JPEG quality", "scale": "scale"}

# Costs that differ by more are drawn on a logarithmic axis.
_LOGARITHMIC = 10.0

_HOLLOW = "Hollow: as published, not measured here."

# Points: letters of labels, their distance from a mark, half a mark.
_LETTERS, _DISTANCE, _MARK = 7.0, 2.0, 3.0


class _Value(msgspec.Struct, frozen=True):
    """A value of a row and the cell it is from."""

    cell: CellResult
    value: float
    measured: bool


def curve_figure(
    table: Table,
    results: Sequence[CellResult],
    *,
    width: float,
    dataset: str = "",
    rows: Sequence[str] = (),
    metric: str = "psnr",
    against: str = "",
) -> PaperFigure:
    """Draw a metric over the levels of a table, a field for each dataset.

    `width`: Inches.
    `rows`: Rows in their order; default: all that have a value at several levels.
    `against`: A row: what is drawn is the distance to its values.
    Raises HarnessError: A name is unknown, or no row has values at two levels.
    """
    found = [value for value in _values(table, results, metric, dataset) if value.cell.request.level]
    by_dataset: dict[str, dict[tuple[int, str], dict[int, _Value]]] = {}
    for value in found:
        request = value.cell.request
        if not rows or request.row in rows or request.row == against:
            of_row = by_dataset.setdefault(request.dataset, {}).setdefault((request.part, request.row), {})
            of_row.setdefault(request.level, value)
    fields = {
        name: kept
        for name, of_rows in by_dataset.items()
        if (kept := _curves({key: of for key, of in of_rows.items() if len(of) > 1}, against))
    }
    if not fields:
        beside = f" beside '{against}'" if against else ""
        raise HarnessError(f"no row of {table.name} has {metric} at two levels{beside}; --kind curve needs them")
    every = [value for of_rows in fields.values() for values in of_rows.values() for value, _ in values]
    notes, marks = row_notes([value.cell for value in every])
    names = list(dict.fromkeys(key for of_rows in fields.values() for key in of_rows))
    names.sort(key=lambda key: rows.index(key[1]) if key[1] in rows else len(rows))
    remarks = [f"left out: {row}: no {metric} at two levels" for row in rows if row not in {name for _, name in names}]
    task = one_task(table.name, [value.cell for value in found])
    title = metric_title(metric)
    level_title = _LEVELS.get(TASKS[task].level_name, TASKS[task].level_name)
    y_title = f"{title} above {against}" if against else title
    with styled():
        drawn = _draw_curves(fields, names, marks, y_title + _unit(metric), level_title, width)
    caption = [f"{title} over the {level_title}{_on(fields)}.", *_words(task, every)]
    if against:
        caption.insert(1, f"Drawn is the distance to {against}.")
    name = f"{table.name}--curve" + (f"-{slug(dataset)}" if dataset else "")
    return _figure(name, caption, notes, remarks, width, drawn)


def _curves(
    rows: Mapping[tuple[int, str], Mapping[int, _Value]], against: str
) -> dict[tuple[int, str], list[tuple[_Value, float]]]:
    """Give each row's values with what is drawn of them; without the row that others are drawn against."""
    zeros = {part: of for (part, name), of in rows.items() if name == against}
    curves: dict[tuple[int, str], list[tuple[_Value, float]]] = {}
    for (part, name), of_row in rows.items():
        zero = zeros.get(part, {})
        if against and (name == against or not zero):
            continue
        if not against:
            kept = [(value, value.value) for _, value in sorted(of_row.items())]
        else:
            # A distance is measured where both ends are.
            both = [(value, zero[level]) for level, value in sorted(of_row.items()) if level in zero]
            kept = [
                (msgspec.structs.replace(own, measured=own.measured and of.measured), own.value - of.value)
                for own, of in both
            ]
        if len(kept) > 1:
            curves[part, name] = kept
    return curves


def scatter_figure(
    workspace: Workspace,
    table: Table,
    results: Sequence[CellResult],
    *,
    width: float,
    dataset: str = "",
    level: int | None = None,
    rows: Sequence[str] = (),
    metric: str = "psnr",
    cost: Literal["parameters", "operations", "seconds"] = "parameters",
) -> PaperFigure:
    """Draw a metric against what the methods cost.

    `workspace`: Where costs were recorded.
    `width`: Inches.
    `dataset`, `level`: May be left out where the table has one.
    `cost` ({"parameters", "operations", "seconds"}): Parameters and multiply-adds are counted on the network, seconds
        measured here; a table's printed cost stands for one that is not known. Seconds of a paper and of this machine
        are never drawn together.
    Raises HarnessError: A name is unknown, there are several datasets or levels to choose from, or no row has both
        numbers.
    """
    found = _values(table, results, metric, dataset)
    places = list(dict.fromkeys((v.cell.request.dataset, v.cell.request.level) for v in found))
    if level is not None:
        places = [place for place in places if place[1] == level]
    if not places:
        raise HarnessError(f"{table.name} has no {metric}{'' if level is None else f' at level {level}'}")
    if len(places) > 1:
        said = ", ".join(f"{name} {of or ''}".strip() for name, of in places)
        raise HarnessError(
            f"{table.name} has {metric} on several sets or levels; choose by --dataset and --level: {said}"
        )
    chosen = [v for v in found if (v.cell.request.dataset, v.cell.request.level) == places[0]]
    task = one_task(table.name, [v.cell for v in chosen])
    chosen = [v for v in chosen if not rows or v.cell.request.row in rows]
    printed = _printed_costs(results, cost)
    points: list[tuple[_Value, float, bool]] = []
    machines: dict[str, None] = {}
    without = dict.fromkeys(row for row in rows if row not in {v.cell.request.row for v in chosen})
    for value in chosen:
        request = value.cell.request
        own, where = costs_of(workspace, cost, request.task, [value.cell])
        known = own if own is not None else printed.get((request.part, request.line))
        if known is None or not known > 0 or not math.isfinite(value.value):
            without[request.row] = None
            continue
        points.append((value, known, own is not None))
        machines |= dict.fromkeys(where)
    if cost == "seconds" and any(own for _, _, own in points):
        # Times of another machine are no times to compare with.
        without |= dict.fromkeys(value.cell.request.row for value, _, own in points if not own)
        points = [point for point in points if point[2]]
    if not points:
        raise HarnessError(f"no row of {table.name} has both {metric} and {cost}")
    remarks = [f"left out: {', '.join(without)}: {metric} or {cost} is not known"] if without else []
    if len(machines) > 1:
        remarks.append(f"the times are of several machines ({listed(machines)}): they do not compare")
    values = [value for value, _, _ in points]
    notes, marks = row_notes([value.cell for value in values])
    labelled = [
        (x, v.value, _label(v.cell.request.row, marks.get(_line(v), "")), own and v.measured) for v, x, own in points
    ]
    title = metric_title(metric)
    with styled():
        drawn = _draw_scatter(labelled, title + _unit(metric), _COST_TITLES[cost], width)
    caption = [f"{title}{_on([places[0][0]])}{_at(task, places[0][1])} against {_COST_TITLES[cost].lower()}."]
    caption += _words(task, values, hollow=any(not full for _, _, _, full in labelled))
    caption += [time_words(machines)] if cost == "seconds" and machines else []
    name = "-".join(filter(None, [f"{table.name}--{cost}", slug(places[0][0]), str(places[0][1] or "")]))
    return _figure(name, caption, notes, remarks, width, drawn)


def _values(table: Table, results: Iterable[CellResult], metric: str, dataset: str) -> list[_Value]:
    """Choose what a table for a paper shows of a metric: measured numbers, else published ones."""
    of_images = [r for r in results if is_of_images(r.request.metric) and r.request.dataset]
    known = list(dict.fromkeys(r.request.metric for r in of_images))
    if metric not in known:
        raise unknown_name(f"metric of {table.name}", metric, known)
    datasets = list(dict.fromkeys(r.request.dataset for r in of_images))
    if dataset and dataset not in datasets:
        raise unknown_name(f"dataset of {table.name}", dataset, datasets)
    found = []
    for result in of_images:
        if result.request.metric != metric or dataset not in ("", result.request.dataset):
            continue
        if (measured := measured_number(result)) is not None:
            found.append(_Value(result, measured.value, True))
        elif result.request.printed is not None:
            found.append(_Value(result, float(result.request.printed.value), False))
    return found


def _printed_costs(results: Iterable[CellResult], cost: str) -> dict[tuple[int, int], float]:
    printed = [(r.request, r.request.printed) for r in results if r.request.metric == cost]
    return {(request.part, request.line): float(number.value) for request, number in printed if number is not None}


def _line(value: _Value) -> tuple[int, int]:
    return value.cell.request.part, value.cell.request.line


def _label(name: str, mark: str) -> str:
    return printable(name) + raised(mark)


def _unit(metric: str) -> str:
    return " (dB)" if metric == "psnr" else ""


def _on(datasets: Iterable[str]) -> str:
    return f" on {listed(dataset_title(name) for name in datasets)}"


def _at(task: str, level: int) -> str:
    at = level_text(task, level)
    return f" at {at}" if at else ""


def _words(task: str, values: Sequence[_Value], hollow: bool = False) -> list[str]:
    """Say what was measured and how; and what hollow marks are, where there are any."""
    cells = [value.cell for value in values]
    title = TASKS[task].title
    measures = listed(dict.fromkeys(measure_words(cell.request.column_protocol, task) for cell in cells))
    said = [f"{title[0].upper()}{title[1:]}: {measures}.", *how_made(task, cells)]
    return said + ([_HOLLOW] if hollow or not all(value.measured for value in values) else [])


def _figure(name: str, caption: list[str], notes: Any, remarks: list[str], width: float, drawn: Any) -> PaperFigure:
    return PaperFigure(
        name=name, caption=tuple(caption), notes=tuple(notes), remarks=tuple(remarks), width=width, drawn=drawn
    )


def _draw_curves(
    fields: Mapping[str, Mapping[tuple[int, str], Sequence[tuple[_Value, float]]]],
    names: Sequence[tuple[int, str]],
    marks: Mapping[tuple[int, int], str],
    y_title: str,
    x_title: str,
    width: float,
) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    across = math.ceil(len(fields) / math.ceil(len(fields) / max(1, int(width / _NARROWEST))))
    down = math.ceil(len(fields) / across)
    height = down * min(0.75 * width / across, 3.2) + 0.15 * len(names) * _LEGEND / width
    figure = Figure(figsize=(width, height), layout="constrained")
    places = figure.subplots(down, across, squeeze=False).flat
    handles: list[tuple[Line2D, str]] = []
    for axes in places[len(fields) :]:
        axes.remove()
    for index, (axes, (dataset, curves)) in enumerate(zip(places, fields.items(), strict=False)):
        levels = sorted({v.cell.request.level for values in curves.values() for v, _ in values})
        for number, name in enumerate(names):
            style: Any = {"color": COLOURS[number % len(COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
            drawn = [(v.cell.request.level, y, v.measured) for v, y in curves.get(name, ()) if math.isfinite(y)]
            line = "-" if any(measured for _, _, measured in drawn) else "--"
            # No line leads over a level that has no value.
            known = {x: y for x, y, _ in drawn}
            axes.plot(levels, [known.get(x, math.nan) for x in levels], line, color=style["color"], zorder=2)
            for full in (False, True):
                part = [(x, y) for x, y, measured in drawn if measured == full]
                face = style["color"] if full else "white"
                xs, ys = [x for x, _ in part], [y for _, y in part]
                axes.plot(xs, ys, linestyle="none", markerfacecolor=face, zorder=3, **style)
        axes.set_xticks(levels, [str(level) for level in levels])
        axes.set_xlabel(x_title)
        if index % across == 0:
            axes.set_ylabel(y_title, parse_math=False)
        axes.grid(color="#dddddd", linewidth=0.4)
        if len(fields) > 1:
            axes.set_title(dataset_title(dataset), fontsize="medium", parse_math=False)
    for number, key in enumerate(names):
        values = [value for curves in fields.values() for value, _ in curves.get(key, ())]
        letters = dict.fromkeys(letter for value in values for letter in marks.get(_line(value), ""))
        colour = COLOURS[number % len(COLOURS)]
        measured = any(value.measured for value in values)
        handle = Line2D(
            [], [], color=colour, marker=_MARKERS[number % len(_MARKERS)], linestyle="-" if measured else "--"
        )
        handle.set_markerfacecolor(colour if measured else "white")
        handles.append((handle, _label(key[1], "".join(letters))))
    # The names are set afterwards: matplotlib leaves those out that begin with an underscore.
    lines = math.ceil(len(handles) / max(1, int(width / _LEGEND)))
    columns = math.ceil(len(handles) / lines)
    legend = figure.legend(
        [handle for handle, _ in handles], ["x"] * len(handles), loc="outside lower center", ncols=columns
    )
    for text, (_, title) in zip(legend.get_texts(), handles, strict=True):
        text.set_parse_math(False)
        text.set_text(title)
    return figure


def _draw_scatter(points: Sequence[tuple[float, float, str, bool]], y_title: str, x_title: str, width: float) -> Any:
    """Draw labelled points (x, y, label, whether both were measured); labels keep off points and each other."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(width, min(0.72 * width, 3.6)), layout="constrained")
    axes = figure.subplots()
    for full in (False, True):
        of_kind = [(x, y) for x, y, _, measured in points if measured == full]
        face = COLOURS[1] if full else "white"
        axes.plot(
            [x for x, _ in of_kind], [y for _, y in of_kind], "o", color=COLOURS[1], markerfacecolor=face, zorder=3
        )
    axes.set_xlabel(x_title, parse_math=False)
    axes.set_ylabel(y_title, parse_math=False)
    axes.grid(color="#dddddd", linewidth=0.4)
    axes.margins(0.12)
    xs = [x for x, _, _, _ in points]
    if max(xs) / min(xs) > _LOGARITHMIC:
        axes.set_xscale("log")
        low, high = (math.log10(value) for value in axes.get_xlim())
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    # Places of labels are found in points, once the axes have theirs.
    figure.draw_without_rendering()
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    scale = POINTS / figure.dpi
    inside: Box = tuple(value * scale for value in axes.bbox.extents)  # type: ignore[assignment]
    middles = [tuple(value * scale for value in axes.transData.transform((x, y))) for x, y, _, _ in points]
    taken: list[Box] = [(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in middles]
    for (x, y), (*data, label, _) in zip(middles, points, strict=True):
        box, leads = _place(x, y, text_length(label, _LETTERS), taken, inside)
        taken.append((box[0] - _DISTANCE, box[1], box[2] + _DISTANCE, box[3]))
        axes.annotate(
            label,
            (data[0], data[1]),
            xytext=((box[0] + box[2]) / 2 - x, box[1] + 0.28 * _LETTERS - y),
            textcoords="offset points",
            fontsize=_LETTERS,
            horizontalalignment="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#888888", "shrinkA": 0, "shrinkB": 2}
            if leads
            else None,
        ).set_in_layout(False)
    return figure


def _place(x: float, y: float, length: float, taken: Sequence[Box], inside: Box) -> tuple[Box, bool]:
    """Find the nearest free place for a label beside a point, and whether it needs a line that leads there."""
    height = 1.1 * _LETTERS
    off = _MARK + _DISTANCE
    for step in range(12):
        away = step * 0.6 * height
        lefts = (x + off, x - off - length, x - length / 2)
        for left in lefts:
            for bottom in dict.fromkeys((y - height / 2 + away, y - height / 2 - away)):
                over = left == lefts[2]
                shifted = bottom if not over else bottom + math.copysign(off, bottom - y + height / 2)
                box = (left, shifted, left + length, shifted + height)
                if is_free(box, taken, inside):
                    return box, step > 2
    left = min(max(x - length / 2, inside[0]), inside[2] - length)
    return (left, y + off, left + length, y + off + height), False
