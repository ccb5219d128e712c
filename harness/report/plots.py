"""Charts as geometry: templates draw them as SVG, and nothing here writes markup.

Every chart carries its numbers, which the page shows as a table beside it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from harness.records.tasks import TASKS
from harness.report.grid import dataset_title
from harness.tables.collected import TableResults
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.published import Table
from harness.tables.verdicts import CLOSE_UNITS, VERDICTS, Verdict

WIDTH, HEIGHT = 640.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 18.0, 16.0, 52.0

# Width of a digit in the labels of points, in the chart's units; only for keeping labels apart.
_LETTER = 7.4
_LINE = 13.0

# Half the size of a mark.
_MARK = 5.0

SERIES_STYLES = 8

_ANCHORS: tuple[Literal["start"], Literal["end"]] = ("start", "end")


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis: place in the drawing, text."""

    at: float
    text: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What every drawing has: a caption, axes with units, and where the area inside the axes lies.

    The name is unique on its page; `about` says what a reader should know.
    """

    name: str
    title: str
    about: str = ""
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


class Point(msgspec.Struct, frozen=True):
    """A point: its values, its place in the drawing, its label and where the label stands."""

    x: float
    y: float
    left: float
    top: float
    label: str = ""
    label_left: float = 0.0
    label_top: float = 0.0
    anchor: Literal["start", "end"] = "start"


class Series(msgspec.Struct, frozen=True):
    """Points under one name; `style` numbers colour and shape, `hollow` marks published values, `line` joins them."""

    name: str
    style: int
    hollow: bool
    line: bool
    points: list[Point]

    @property
    def path(self) -> str:
        """The line through the points, as the ``points`` of an SVG polyline."""
        return " ".join(f"{point.left:.1f},{point.top:.1f}" for point in self.points)


class Chart(Frame, frozen=True, kw_only=True):
    """Points and lines: `series` is what is drawn."""

    series: list[Series]


class Bar(msgspec.Struct, frozen=True):
    """One part of a stacked bar; `kind` is the verdict it stands for, or empty."""

    left: float
    top: float
    width: float
    height: float
    kind: str
    count: int
    label: str


class Histogram(Frame, frozen=True, kw_only=True):
    """Stacked bars, and the same as a table: its heads and rows."""

    bars: list[Bar]
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Values(msgspec.Struct, frozen=True):
    """A series before it has a place in a drawing: `points` are (x, y, label)."""

    name: str
    points: Sequence[tuple[float, float, str]]
    style: int = 0
    hollow: bool = False
    line: bool = True


def chart(
    values: Iterable[Values], *, log_x: bool = False, x_labels: dict[float, str] | None = None, **frame: Any
) -> Chart | None:
    """Lay out a chart; None where there is no point.

    `log_x`: A logarithmic horizontal axis (values must be positive).
    `x_labels`: Text by value of the horizontal axis, where it has few values (levels).
    `**frame`: Name, title and the like, as of `Frame`.
    """
    series = [item for item in values if item.points]
    if not series:
        return None
    xs = [math.log10(x) if log_x else x for item in series for x, _, _ in item.points]
    ys = [y for item in series for _, y, _ in item.points]
    x_low, x_high = _widen(min(xs), max(xs), 0.06)
    y_low, y_high = _widen(min(ys), max(ys), 0.08)

    def left(x: float) -> float:
        return LEFT + ((math.log10(x) if log_x else x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def top(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    texts = x_labels or {x: short(x) for x in (log_ticks(x_low, x_high) if log_x else ticks(x_low, x_high))}
    # Labels keep off every mark, also of series that are drawn later.
    taken = [
        (left(x) - _MARK, top(y) - _MARK, left(x) + _MARK, top(y) + _MARK) for item in series for x, y, _ in item.points
    ]
    return Chart(
        x_ticks=[Tick(left(x), text) for x, text in sorted(texts.items())],
        y_ticks=[Tick(top(y), short(y)) for y in ticks(y_low, y_high)],
        series=[
            Series(
                item.name,
                item.style % SERIES_STYLES,
                item.hollow,
                item.line and len(item.points) > 1,
                [_point(x, y, left(x), top(y), label, taken) for x, y, label in item.points],
            )
            for item in series
        ],
        **frame,
    )


Box = tuple[float, float, float, float]
"""A rectangle: the lower ends of both axes, then the upper ones."""

# Where labels may stand.
_INSIDE = (LEFT, 0.0, WIDTH, HEIGHT - BOTTOM)


def _point(x: float, y: float, left: float, top: float, label: str, taken: list[Box]) -> Point:
    """Place a point's label beside it, where no earlier label stands."""
    if not label:
        return Point(x, y, left, top)
    width = len(label) * _LETTER

    def box(shift: float, anchor: str) -> Box:
        start = left + 8 if anchor == "start" else left - 8 - width
        return start, top + shift - _LINE + 3, start + width, top + shift + 3

    places: list[tuple[float, Literal["start", "end"]]] = [
        (lines * _LINE, anchor) for lines in (0, -1, 1, -2, 2, -3, 3) for anchor in _ANCHORS
    ]
    shift, anchor = next((place for place in places if is_free(box(*place), taken, _INSIDE)), places[0])
    taken.append(box(shift, anchor))
    return Point(x, y, left, top, label, left + (8 if anchor == "start" else -8), top + shift + 4, anchor)


def is_free(box: Box, taken: Iterable[Box], area: Box) -> bool:
    """Whether a box lies in an area and on none of those that are taken."""
    inside = box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]
    return inside and not any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
    )


def _widen(low: float, high: float, part: float) -> tuple[float, float]:
    margin = (high - low) * part or max(abs(high), 1.0) * part
    return low - margin, high + margin


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Choose round values between two others, about `about` of them."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= about + 1:
            step *= factor
            break
    first = math.ceil(low / step)
    return [round(index * step, 10) for index in range(first, math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Choose 1, 2 and 5 times powers of ten between 10^low and 10^high."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [value for value in found if low <= math.log10(value) <= high]


def short(value: float) -> str:
    """Write a tick's value: 5M, 500K, 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def level_charts(table: Table, results: Sequence[CellResult]) -> list[Chart]:
    """Draw PSNR against the level, for each part and dataset of a table with several levels.

    The curves of restoration methods fall by 10 dB together and differ by tenths. So each value is drawn as its
    distance to the published value of one row: the row with the lowest published mean.
    """
    cells: dict[tuple[int, str], dict[str, dict[int, CellResult]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        request = result.request
        if request.metric == "psnr" and request.dataset and request.level:
            cells[request.part, request.dataset][request.row].setdefault(request.level, result)
    charts = []
    for (part, dataset), rows in cells.items():
        levels = sorted({level for of_row in rows.values() for level in of_row})
        printed = {
            row: {
                level: value for level in levels if level in of_row and (value := _printed(of_row[level])) is not None
            }
            for row, of_row in rows.items()
        }
        complete = [row for row in rows if len(printed[row]) == len(levels)]
        if len(levels) < 2 or not complete:
            continue
        base = min(complete, key=lambda row: sum(printed[row].values()))
        zero = printed[base]
        values = []
        for style, (row, of_row) in enumerate(rows.items()):
            published = [(float(level), value - zero[level], "") for level, value in printed[row].items()]
            measured = [
                (float(level), result.measured.value - zero[level], "")
                for level, result in sorted(of_row.items())
                if isinstance(result.measured, Measurement)
            ]
            values.append(Values(f"{row}, published", published, style, hollow=True))
            values.append(Values(f"{row}, measured", measured, style, line=False))
        task = TASKS.get(table.parts[part].task)
        level_name = task.level_name if task else "level"
        heading = f"{table.parts[part].title}: " if table.parts[part].title else ""
        charts.append(
            chart(
                values,
                name=f"levels-{part}-{dataset}",
                title=f"{heading}{dataset_title(dataset)}, PSNR by {level_name}",
                x_title=level_name,
                y_title=f"dB above {base} (published)",
                about=f"Distance to the published values of {base}, the lowest row; hollow: published, "
                "filled: measured.",
                x_labels={float(level): str(level) for level in levels},
            )
        )
    return list(filter(None, charts))


def _printed(result: CellResult) -> float | None:
    return float(result.request.printed.value) if result.request.printed else None


def cost_charts(table: Table, results: Sequence[CellResult]) -> list[Chart]:
    """Draw PSNR against parameters and against time, where a table prints both (PANet Table 4, RNAN Table 7)."""
    charts = []
    for part in range(len(table.parts)):
        rows: dict[tuple[int, str], dict[str, CellResult]] = defaultdict(dict)
        for result in results:
            if result.request.part == part:
                rows[result.request.line, result.request.row].setdefault(result.request.metric, result)
        for metric, title in (("parameters", "parameters"), ("seconds", "time in seconds")):
            published, measured = [], []
            about = ""
            for (_, row), cells in rows.items():
                if metric not in cells or "psnr" not in cells:
                    continue
                cost, quality = cells[metric], cells["psnr"]
                printed_cost, printed = _printed(cost), _printed(quality)
                if printed_cost and printed:
                    published.append((printed_cost, printed, row))
                seen = quality.measured.value if isinstance(quality.measured, Measurement) else printed
                if isinstance(cost.measured, Measurement) and seen is not None:
                    measured.append((cost.measured.value, seen, ""))
                    if not isinstance(quality.measured, Measurement):
                        about = "A measured cost without a measured PSNR stands at the published PSNR."
            charts.append(
                chart(
                    [
                        Values("published", published, 0, hollow=True, line=False),
                        Values(f"measured {metric}", measured, 1, line=False),
                    ],
                    name=f"cost-{table.name}-{part}-{metric}",
                    title=f"{table.name}: PSNR against {title}",
                    x_title=title,
                    y_title="PSNR (dB)",
                    log_x=True,
                    about=about,
                )
            )
    return list(filter(None, charts))


UNITS_SHOWN = 10


def delta_histogram(
    collected: Iterable[TableResults],
    name: str = "deltas",
    title: str = "Measured − published, over all compared cells",
) -> Histogram | None:
    """Draw how far every compared cell is from its published number, in units of the last printed digit."""
    counts: dict[int, dict[Verdict, int]] = defaultdict(lambda: dict.fromkeys(VERDICTS, 0))
    total = 0
    for item in collected:
        for result in item.results:
            printed, delta = result.request.printed, result.judgement.delta
            if printed is None or delta is None:
                continue
            units = delta / float(printed.unit)
            # Half a unit is still a match (`harness.tables.verdicts`), so a bin ends where the verdict does.
            nearest = math.copysign(math.ceil(abs(units) - 0.5 - 1e-9), units) if abs(units) > 0.5 else 0
            counts[int(max(-UNITS_SHOWN - 1, min(UNITS_SHOWN + 1, nearest)))][result.verdict] += 1
            total += 1
    if not total:
        return None

    def text(units: int) -> str:
        if abs(units) > UNITS_SHOWN:
            return f"<−{UNITS_SHOWN}" if units < 0 else f">{UNITS_SHOWN}"
        return f"{units:+d}".replace("-", "−") if units else "0"

    return _histogram(
        [
            [(counts[units][v], v, f"{counts[units][v]} {v}, {text(units)} units") for v in VERDICTS if units in counts]
            for units in range(-UNITS_SHOWN - 1, UNITS_SHOWN + 2)
        ],
        {units + UNITS_SHOWN + 1.5: text(units) for units in (-11, -5, -1, 0, 1, 5, 11)},
        name=name,
        title=title,
        about=f"{total} numbers. 0 is a match at the printed digits; beyond {CLOSE_UNITS:g} units a cell is off, "
        "unless its noise term allows more.",
        x_title="units of the last printed digit",
        y_title="numbers",
        heads=("units", *VERDICTS[:-1]),
        rows=[(text(units), *(str(counts[units][v]) for v in VERDICTS[:-1])) for units in sorted(counts)],
    )


# Where the points of strips begin, and the room of one strip: names stand to the left.
_STRIP_LEFT, _STRIP = 170.0, 34.0


def strips(rows: Sequence[tuple[str, Sequence[float]]], **frame: Any) -> Chart | None:
    """Draw values in rows, one point each, with their mean as a hollow mark; None where no value is finite.

    Parameters
    ----------
    rows : sequence of (str, sequence of float)
        Names, which stand to the left, and values.
    **frame
        Name, title and the like, as of `Frame`.
    """
    shown = [(name, [value for value in values if math.isfinite(value)]) for name, values in rows]
    shown = [(name, values) for name, values in shown if values]
    if not shown:
        return None
    every = [value for _, values in shown for value in values]
    low, high = _widen(min(every), max(every), 0.04)
    bottom = TOP + _STRIP * len(shown)
    right = WIDTH - RIGHT
    longest = int((_STRIP_LEFT - 20) / _LETTER)

    def left(value: float) -> float:
        return _STRIP_LEFT + (value - low) / (high - low) * (right - _STRIP_LEFT)

    series, names = [], []
    for row, (name, values) in enumerate(shown):
        top = TOP + (row + 0.5) * _STRIP
        mean = math.fsum(values) / len(values)
        names.append(Tick(top, name if len(name) <= longest else name[: longest - 1] + "…"))
        points = [Point(value, row, left(value), top) for value in sorted(values)]
        series.append(Series(name, row % SERIES_STYLES, hollow=False, line=False, points=points))
        series.append(Series(f"{name}, mean", 3, hollow=True, line=False, points=[Point(mean, row, left(mean), top)]))
    return Chart(
        x_ticks=[Tick(left(value), short(value)) for value in ticks(low, high)],
        y_ticks=names,
        series=series,
        left=_STRIP_LEFT,
        height=bottom + BOTTOM,
        bottom=bottom,
        **frame,
    )


def distribution(values: Sequence[float], unit: str) -> Histogram | None:
    """Draw the distribution of a cell's per-image values; None for fewer than two."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    low, high = min(values), max(values)
    if low == high:
        return None
    # Square-root rule: sets have 5 to 100 images, for which it gives 3 to 10 bins.
    bins = max(3, min(20, math.ceil(math.sqrt(len(values)))))
    counts = Counter(min(bins - 1, int((value - low) / (high - low) * bins)) for value in values)
    digits = 2 if unit == "dB" else 4
    edges = [f"{low + (high - low) * index / bins:.{digits}f}" for index in range(bins + 1)]
    return _histogram(
        [
            [(counts[index], "", f"{counts[index]} images from {edges[index]} to {edges[index + 1]}")]
            for index in range(bins)
        ],
        {index: edges[index] for index in range(0, bins + 1, max(1, bins // 5))},
        marks=4,
        name="distribution",
        title="Distribution over the images",
        about=f"{len(values)} images, {low:.{digits}f} to {high:.{digits}f}",
        x_title=unit,
        y_title="images",
        heads=(unit, "images"),
        rows=[(f"{edges[index]} to {edges[index + 1]}", str(counts[index])) for index in range(bins)],
    )


def _histogram(
    columns: Sequence[Sequence[tuple[int, str, str]]],
    x_texts: Mapping[float, str],
    *,
    heads: tuple[str, ...],
    rows: list[tuple[str, ...]],
    marks: int = 5,
    **frame: Any,
) -> Histogram:
    """Stack the parts of each column (count, kind, label); `x_texts` stand at numbers of columns from the left."""
    step = (WIDTH - LEFT - RIGHT) / len(columns)
    high = max(sum(count for count, _, _ in parts) for parts in columns) * 1.08

    def top(count: float) -> float:
        return HEIGHT - BOTTOM - count / high * (HEIGHT - TOP - BOTTOM)

    bars = []
    for index, parts in enumerate(columns):
        below = 0
        for count, kind, label in parts:
            height = top(below) - top(below + count)
            below += count
            if count:
                bars.append(Bar(LEFT + index * step + 1, top(below), step - 2, height, kind, count, label))
    return Histogram(
        x_ticks=[Tick(LEFT + column * step, text) for column, text in x_texts.items()],
        y_ticks=[Tick(top(count), short(count)) for count in ticks(0, high, marks) if count == int(count)],
        bars=bars,
        heads=heads,
        rows=rows,
        **frame,
    )
