"""Charts as geometry: templates draw them as SVG, and nothing here writes markup.

Every chart carries its numbers, which the page shows as a table beside it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

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
_LETTER = 6.6
_LINE = 13.0

# Half the size of a mark.
_MARK = 5.0

SERIES_STYLES = 8


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
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The line through the points, as the ``points`` of an SVG polyline."""
        return " ".join(f"{point.left:.1f},{point.top:.1f}" for point in self.points)


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis: place in the drawing, text."""

    at: float
    text: str


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What every drawing has: a caption, axes, and where its area lies.

    Attributes
    ----------
    name : str
        Unique on its page.
    title, about : str
        Caption, and what a reader should know.
    x_title, y_title : str
        Axes with units.
    x_ticks, y_ticks : tuple of Tick
        Axes.
    width, height, left, right, top, bottom : float
        Of the drawing, and of the area inside the axes.
    """

    name: str
    title: str
    about: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


class Chart(Frame, frozen=True, kw_only=True):
    """Points and lines: `series` is what is drawn."""

    series: tuple[Series, ...]


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

    bars: tuple[Bar, ...]
    rows: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...]


class Values(msgspec.Struct, frozen=True):
    """A series before it has a place in a drawing: `points` are (x, y, label)."""

    name: str
    points: tuple[tuple[float, float, str], ...]
    style: int = 0
    hollow: bool = False
    line: bool = True


def chart(
    name: str,
    title: str,
    values: Iterable[Values],
    *,
    x_title: str,
    y_title: str,
    about: str = "",
    log_x: bool = False,
    x_labels: dict[float, str] | None = None,
) -> Chart | None:
    """Lay out a chart; None where there is no point.

    Parameters
    ----------
    name, title, x_title, y_title, about : str
        As of `Chart`.
    values : iterable of Values
        What to draw.
    log_x : bool
        A logarithmic horizontal axis (values must be positive).
    x_labels : dict, optional
        Text by value of the horizontal axis, where it has few values (levels).
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

    if x_labels:
        x_ticks = tuple(Tick(left(value), text) for value, text in sorted(x_labels.items()))
    else:
        where = log_ticks(x_low, x_high) if log_x else ticks(x_low, x_high)
        x_ticks = tuple(Tick(left(value), short(value)) for value in where)
    y_ticks = tuple(Tick(top(value), short(value)) for value in ticks(y_low, y_high))
    # Labels keep off every mark, also of series that are drawn later.
    taken = [
        (left(x) - _MARK, top(y) - _MARK, left(x) + _MARK, top(y) + _MARK) for item in series for x, y, _ in item.points
    ]
    drawn = tuple(
        Series(
            item.name,
            item.style % SERIES_STYLES,
            item.hollow,
            item.line and len(item.points) > 1,
            tuple(_point(x, y, left(x), top(y), label, taken) for x, y, label in item.points),
        )
        for item in series
    )
    return Chart(
        name=name,
        title=title,
        about=about,
        x_title=x_title,
        y_title=y_title,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        series=drawn,
    )


def _point(
    x: float, y: float, left: float, top: float, label: str, taken: list[tuple[float, float, float, float]]
) -> Point:
    """Place a point's label beside it, where no earlier label stands."""
    if not label:
        return Point(x, y, left, top)
    width = len(label) * _LETTER
    chosen = None
    for shift in (0.0, -_LINE, _LINE, -2 * _LINE, 2 * _LINE, -3 * _LINE, 3 * _LINE):
        for anchor in ("start", "end"):
            start = left + 8 if anchor == "start" else left - 8 - width
            box = (start, top + shift - _LINE + 3, start + width, top + shift + 3)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                chosen = (anchor, shift, box)
                break
        if chosen:
            break
    anchor, shift, box = chosen or ("start", 0.0, (left + 8, top - 10, left + 8 + width, top + 3))
    taken.append(box)
    return Point(x, y, left, top, label, left + (8 if anchor == "start" else -8), top + shift + 4, anchor)  # type: ignore[arg-type]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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
    cells: dict[tuple[int, str], dict[tuple[str, int], CellResult]] = defaultdict(dict)
    for result in results:
        request = result.request
        if request.metric == "psnr" and request.dataset and request.level:
            cells[request.part, request.dataset].setdefault((request.row, request.level), result)
    found = []
    for (part, dataset), of_row in cells.items():
        levels = sorted({level for _, level in of_row})
        rows = list(dict.fromkeys(row for row, _ in of_row))
        printed = {
            row: {level: _printed(of_row[row, level]) for level in levels if (row, level) in of_row} for row in rows
        }
        complete = [row for row in rows if all(printed[row].get(level) is not None for level in levels)]
        if len(levels) < 2 or not complete:
            continue
        base = min(complete, key=lambda row: sum(printed[row][level] or 0.0 for level in levels))
        zero = {level: printed[base][level] or 0.0 for level in levels}
        values = []
        for style, row in enumerate(rows):
            published = [(float(n), p - zero[n], "") for n, p in sorted(printed[row].items()) if p is not None]
            measured = [
                (float(level), result.measured.value - zero[level], "")
                for (name, level), result in sorted(of_row.items(), key=lambda item: item[0][1])
                if name == row and isinstance(result.measured, Measurement)
            ]
            values.append(Values(f"{row}, published", tuple(published), style, hollow=True))
            values.append(Values(f"{row}, measured", tuple(measured), style, line=False))
        task = TASKS.get(table.parts[part].task)
        heading = f"{table.parts[part].title}: " if table.parts[part].title else ""
        made = chart(
            f"levels-{part}-{dataset}",
            f"{heading}{dataset_title(dataset)}, PSNR by {task.level_name if task else 'level'}",
            values,
            x_title=task.level_name if task else "level",
            y_title=f"dB above {base} (published)",
            about=f"Distance to the published values of {base}, the lowest row; hollow: published, filled: measured.",
            x_labels={float(level): str(level) for level in levels},
        )
        if made:
            found.append(made)
    return found


def _printed(result: CellResult) -> float | None:
    return float(result.request.printed.value) if result.request.printed else None


def cost_charts(table: Table, results: Sequence[CellResult]) -> list[Chart]:
    """Draw PSNR against parameters and against time, where a table prints both (PANet Table 4, RNAN Table 7)."""
    found = []
    for part in range(len(table.parts)):
        of_row: dict[tuple[int, str], dict[str, CellResult]] = defaultdict(dict)
        for result in results:
            if result.request.part == part:
                of_row[result.request.line, result.request.row].setdefault(result.request.metric, result)
        for metric, title in (("parameters", "parameters"), ("seconds", "time in seconds")):
            published, measured = [], []
            for (_, row), cells in of_row.items():
                if metric not in cells or "psnr" not in cells:
                    continue
                cost, quality = cells[metric], cells["psnr"]
                if _printed(cost) and _printed(quality):
                    published.append((_printed(cost) or 0.0, _printed(quality) or 0.0, row))
                if isinstance(cost.measured, Measurement):
                    # The published PSNR stands in where only the cost could be measured, and the label says so.
                    seen = quality.measured.value if isinstance(quality.measured, Measurement) else _printed(quality)
                    if seen is not None:
                        own = isinstance(quality.measured, Measurement)
                        measured.append((cost.measured.value, seen, "" if own else "published PSNR"))
            made = chart(
                f"cost-{table.name}-{part}-{metric}",
                f"{table.name}: PSNR against {title}",
                [
                    Values("published", tuple(published), 0, hollow=True, line=False),
                    Values(f"measured {metric}", tuple((x, y, "") for x, y, _ in measured), 1, line=False),
                ],
                x_title=title,
                y_title="PSNR (dB)",
                log_x=True,
                about="A measured cost without a measured PSNR stands at the published PSNR."
                if any(note for _, _, note in measured)
                else "",
            )
            if made:
                found.append(made)
    return found


UNITS_SHOWN = 10


def delta_histogram(collected: Iterable[TableResults]) -> Histogram | None:
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
    highest = max(sum(of_bin.values()) for of_bin in counts.values())
    high = highest * 1.08
    step = (WIDTH - LEFT - RIGHT) / (2 * UNITS_SHOWN + 3)

    def top(count: float) -> float:
        return HEIGHT - BOTTOM - count / high * (HEIGHT - TOP - BOTTOM)

    def text(units: int) -> str:
        if abs(units) > UNITS_SHOWN:
            return f"<−{UNITS_SHOWN}" if units < 0 else f">{UNITS_SHOWN}"
        return f"{units:+d}".replace("-", "−") if units else "0"

    bars, rows = [], []
    for units in sorted(counts):
        below = 0
        for verdict in VERDICTS:
            count = counts[units][verdict]
            if count:
                left = LEFT + (units + UNITS_SHOWN + 1) * step
                label = f"{count} {verdict}, {text(units)} units"
                height = top(below) - top(below + count)
                bars.append(Bar(left + 1, top(below + count), step - 2, height, verdict, count, label))
                below += count
        rows.append((text(units), *(str(counts[units][verdict]) for verdict in VERDICTS[:-1])))
    x_ticks = tuple(
        Tick(LEFT + (units + UNITS_SHOWN + 1.5) * step, text(units)) for units in (-11, -5, -1, 0, 1, 5, 11)
    )
    return Histogram(
        name="deltas",
        title="Measured − published, over all compared cells",
        about=f"{total} numbers. 0 is a match at the printed digits; beyond {CLOSE_UNITS:g} units a cell is off, "
        "unless its noise term allows more.",
        x_title="units of the last printed digit",
        y_title="numbers",
        x_ticks=x_ticks,
        y_ticks=tuple(Tick(top(value), short(value)) for value in ticks(0, high)),
        bars=tuple(bars),
        rows=tuple(rows),
        heads=("units", *VERDICTS[:-1]),
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
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
    most = max(counts) * 1.08
    step = (WIDTH - LEFT - RIGHT) / bins

    def edge(index: int) -> float:
        return low + (high - low) * index / bins

    digits = 2 if unit == "dB" else 4

    def top(count: float) -> float:
        return HEIGHT - BOTTOM - count / most * (HEIGHT - TOP - BOTTOM)

    bars = tuple(
        Bar(
            LEFT + index * step + 1,
            top(count),
            step - 2,
            top(0) - top(count),
            "",
            count,
            f"{count} images from {edge(index):.{digits}f} to {edge(index + 1):.{digits}f}",
        )
        for index, count in enumerate(counts)
    )
    marks = range(0, bins + 1, max(1, bins // 5))
    return Histogram(
        name="distribution",
        title="Distribution over the images",
        about=f"{len(values)} images, {low:.{digits}f} to {high:.{digits}f}",
        x_title=unit,
        y_title="images",
        x_ticks=tuple(Tick(LEFT + index * step, f"{edge(index):.{digits}f}") for index in marks),
        y_ticks=tuple(Tick(top(value), short(value)) for value in ticks(0, most, 4) if value == int(value)),
        bars=bars,
        rows=tuple((f"{edge(i):.{digits}f} to {edge(i + 1):.{digits}f}", str(count)) for i, count in enumerate(counts)),
        heads=(unit, "images"),
    )
