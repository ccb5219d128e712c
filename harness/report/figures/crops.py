"""Crops of an image side by side: the whole ground truth with boxes, then ground truth, input and every measured row.

Pixels are enlarged to squares of a whole number of pixels of the picture, never interpolated, so that what is printed
can be told from what was restored. Below each crop stands the number of the whole image, as papers print it, from the
same measured rows as the table's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import make_input
from harness.degradations import degradation
from harness.errors import HarnessError, printable, unknown_name
from harness.protocols import protocol
from harness.protocols.definitions import METRICS
from harness.protocols.own import better_of
from harness.records.cells import FIRST_DRAW, Group, InputId
from harness.records.restored import read_pixels
from harness.records.tasks import TASKS
from harness.report.crops import differences, propose_crops
from harness.report.figures.drawing import Crop, CropPanel, Pixels, draw_crops
from harness.report.figures.files import PaperFigure, how_made, one_task, raised, row_notes, slug, styled
from harness.report.grid import dataset_title, metric_title
from harness.report.paper import column_unit, level_text, listed, measure_words, measured_number, round_half_up
from harness.report.scenes import UNCHANGED, find_scenes, restored_images
from harness.report.views import CROP, read_input, read_shown
from harness.run.measure import measure_pair
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement, Measurements
from harness.tables.published import Table
from harness.tables.requests import is_of_images
from harness.tables.workspace import Workspace

SYNTAX = "LEFT,TOP,WIDTHxHEIGHT"
"""How a crop is written: the column and the row of its upper left pixel, then its size."""

_WRITTEN = re.compile(r"([0-9]{1,6}),([0-9]{1,6}),([0-9]{1,6})[x×]([0-9]{1,6})")

# Boxes are told apart by colour, and few are.
MOST_CROPS = 4

# How many images are named where none was.
_NAMED = 4


class _Shown(msgspec.Struct, frozen=True):
    """A row with its cells, by metric, its number of the image for each metric, and the image."""

    cells: dict[str, CellResult]
    group: Group
    values: tuple[float | None, ...]
    pixels: Pixels
    note: str


def parse_crop(text: str) -> Crop:
    """Read a crop.

    Raises HarnessError: It is written otherwise, or empty.

    >>> parse_crop("120,80,96x64")
    Crop(left=120, top=80, width=96, height=64)
    """
    found = _WRITTEN.fullmatch(text.replace(" ", ""))
    if found is None:
        raise HarnessError(f"--crop '{text}': write {SYNTAX}, such as 120,80,96x96")
    crop = Crop(*map(int, found.groups()))
    if not crop.width or not crop.height:
        raise HarnessError(f"--crop '{text}': it has no pixel")
    return crop


def crop_figure(
    workspace: Workspace,
    table: Table,
    results: Sequence[CellResult],
    *,
    image: str,
    width: float,
    dpi: int,
    level: int | None = None,
    rows: Sequence[str] = (),
    metrics: Sequence[str] = (),
    crops: Sequence[Crop] = (),
    zoom: int | None = None,
    layout: Literal["classic", "row"] = "classic",
) -> PaperFigure:
    """Draw the crops of an image that the rows of a table restored.

    `image`: Dataset and image with a slash between, or the image alone where one dataset of the table has it.
    `width`: Inches at most.
    `dpi`: Pixels an inch; a crop's pixel becomes a square of whole ones.
    `level`: May be left out where the table has one.
    `rows`: Rows in their order; default: every row that restored the image here.
    `metrics`: Whose numbers stand below; default: PSNR, or the table's first metric where it has no PSNR.
    `crops`: Of one size; default: where the rows differ most.
    `zoom`: Pixels a side that a pixel of a crop gets; default: as fits.
    `layout` ({"classic", "row"}): Crops in lines beside the whole image, or all in one line.
    Raises HarnessError: Something is unknown or not here, a crop lies outside the image, or the crops do not fit the
        width.
    """
    dataset, name = _choose_image(workspace, table, results, image)
    chosen_level = _choose_level(table, results, dataset, level)
    cells = [
        r
        for r in results
        if (r.request.dataset, r.request.level) == (dataset, chosen_level) and is_of_images(r.request.metric)
    ]
    chosen_metrics = _choose_metrics(table, cells, metrics)
    task = one_task(table.name, cells)
    cells = [r for r in cells if r.request.metric in chosen_metrics]
    fetched = open_dataset(dataset, workspace.data)
    truth = fetched.read(name)
    shown, remarks = _read_rows(workspace, table, cells, name, rows, chosen_metrics)
    if not shown:
        why = f" ({remarks[0]})" if remarks else ""
        raise HarnessError(f"no row of {table.name} restored '{name}' of {dataset} here{why}")
    inputs = {
        of: read_input(fetched, of, chosen_level, name, truth)
        for of in dict.fromkeys(s.group.degradation for s in shown)
    }
    # The ground truth with most channels: rows of super-resolution restore colour or luma.
    reference = max((of[0] for of in inputs.values()), key=lambda pixels: pixels.ndim)
    height, length = reference.shape[:2]
    sizes = f"{length}x{height}"
    kept = []
    for each in shown:
        size = f"{each.pixels.shape[1]}x{each.pixels.shape[0]}"
        why = "" if size == sizes else f"restored at {size} pixels, the ground truth has {sizes}"
        if why or not _is_measured_of(
            workspace, each, chosen_metrics, inputs[each.group.degradation][0], chosen_level, name
        ):
            why = why or f"its numbers are not of the image that is here; harness repro {table.name} measures it"
            remarks.append(f"left out: {_row(each)}: {why}")
        else:
            kept.append(each)
    if not (shown := kept):
        raise HarnessError(f"no row of {table.name} can be shown for '{name}' of {dataset} ({remarks[-1]})")
    if not crops:
        crops, remark = _propose(shown, reference)
        remarks.insert(0, remark)
    _check_crops(crops, name, length, height)
    own_cells = [cell for each in shown for cell in each.cells.values()]
    notes, marks = row_notes(own_cells)
    protocols = _protocols(shown, chosen_metrics)
    panels, extra = _panels(
        fetched, name, chosen_level, shown, reference, inputs, marks, chosen_metrics, protocols, _column_units(cells)
    )
    at = level_text(task, chosen_level)
    caption = _caption(name, dataset, task, at, own_cells, chosen_metrics, protocols, panels)
    about = printable(name), ", ".join(filter(None, (dataset_title(dataset), at)))
    with styled():
        drawn = draw_crops(panels, reference, crops, about, width, dpi, zoom=zoom, single=layout == "row")
    return PaperFigure(
        name=f"{table.name}--crops-{slug(dataset)}-{slug(name)}" + (f"-{chosen_level}" if chosen_level else ""),
        caption=(*caption, *extra),
        notes=tuple(notes),
        remarks=tuple(remarks),
        width=width,
        drawn=drawn,
    )


def _is_measured_of(
    workspace: Workspace, shown: _Shown, metrics: Sequence[str], reference: Pixels, level: int, image: str
) -> bool:
    """Measure a restored file again: a run that was interrupted may have left numbers of an earlier one.

    Metrics of plugins, and those that align images first, take too long for that and are believed.
    """
    group = shown.group
    pixels = read_pixels(
        workspace.work / "restored" / group.place / InputId(level, FIRST_DRAW, image).file, group.saving
    )
    for metric, value in zip(metrics, shown.values, strict=True):
        if value is not None and protocol(name := _protocol(shown.cells[metric])).metric in METRICS:
            again = measure_pair(reference, pixels, group.task, level, (name,))[name]
            if not math.isclose(again, value, rel_tol=1e-6):
                return False
    return True


def _row(shown: _Shown) -> str:
    return next(iter(shown.cells.values())).request.row


def _column_units(cells: Sequence[CellResult]) -> dict[str, Decimal]:
    """Weight of the last digit that numbers are shown with, by metric: that of the table for a paper."""
    metrics = dict.fromkeys(cell.request.metric for cell in cells)
    return {metric: column_unit(metric, (c for c in cells if c.request.metric == metric)) for metric in metrics}


def _choose_image(workspace: Workspace, table: Table, results: Sequence[CellResult], image: str) -> tuple[str, str]:
    datasets = list(dict.fromkeys(r.request.dataset for r in results if r.request.dataset))
    if not image:
        raise HarnessError(f"name an image with --image{_some_images(workspace, table, results)}")
    dataset, slash, name = image.partition("/")
    if slash and dataset in datasets:
        return dataset, name
    holding = []
    for each in datasets:
        try:
            if image in open_dataset(each, workspace.data).image_ids:
                holding.append(each)
        except HarnessError:
            continue
    if len(holding) == 1:
        return holding[0], image
    if len(holding) > 1:
        raise HarnessError(f"--image {image}: {listed(holding)} have one; write {holding[0]}/{image}")
    if slash:
        raise unknown_name(f"dataset of {table.name}", dataset, datasets)
    raise HarnessError(f"--image {image}: no such image{_some_images(workspace, table, results)}")


def _some_images(workspace: Workspace, table: Table, results: Sequence[CellResult]) -> str:
    """Name some images that were restored here, those first on which the rows disagree most."""
    asked = [
        (r.request.group, r.request.level, r.request.protocol)
        for r in results
        if r.request.group is not None and is_of_images(r.request.metric)
    ]
    scenes = find_scenes(workspace, asked, workspace.methods(), Measurements(workspace.work))
    names = dict.fromkeys(f"{scene.dataset}/{image}" for scene in scenes for image in scene.images[:_NAMED])
    if not names:
        return f"; none was restored here yet: harness repro {table.name}"
    return f", such as {', '.join([*names][:_NAMED])}"


def _choose_level(table: Table, results: Sequence[CellResult], dataset: str, level: int | None) -> int:
    levels = sorted({r.request.level for r in results if r.request.dataset == dataset})
    if level is None and len(levels) == 1:
        return levels[0]
    said = ", ".join(map(str, levels))
    if level is None:
        raise HarnessError(f"{table.name} has several levels of {dataset}; name one with --level: {said}")
    if level not in levels:
        raise HarnessError(f"{table.name} has no level {level} of {dataset}; it has {said}")
    return level


def _choose_metrics(table: Table, cells: Sequence[CellResult], metrics: Sequence[str]) -> tuple[str, ...]:
    known = list(dict.fromkeys(cell.request.metric for cell in cells))
    for metric in metrics:
        if metric not in known:
            raise unknown_name(f"metric of {table.name}", metric, known)
    if not known:
        raise HarnessError(f"{table.name} has no number of images there")
    return tuple(dict.fromkeys(metrics)) or (("psnr",) if "psnr" in known else tuple(known[:1]))


def _read_rows(
    workspace: Workspace,
    table: Table,
    cells: Sequence[CellResult],
    image: str,
    rows: Sequence[str],
    metrics: Sequence[str],
) -> tuple[list[_Shown], list[str]]:
    """Read what each row made of an image; and say why others have nothing to show."""
    by_row: dict[tuple[int, int, Group | None], dict[str, CellResult]] = {}
    for cell in cells:
        request = cell.request
        if not rows or request.row in rows:
            by_row.setdefault((request.part, request.line, request.group), {}).setdefault(request.metric, cell)
    order = list(by_row)
    if rows:
        order.sort(key=lambda key: rows.index(next(iter(by_row[key].values())).request.row))
    measurements = Measurements(workspace.work)
    shown: list[_Shown] = []
    left_out: dict[str, dict[str, None]] = {}
    taken: dict[Group, str] = {}
    for key in order:
        group, found = key[2], by_row[key]
        first = next(iter(found.values())).request
        why = ""
        if group is None:
            why = first.reason
        elif group in taken:
            why = f"the same images as {taken[group]}"
        elif not isinstance((cell := next(iter(found.values()))).measured, Measurement):
            why = cell.judgement.reason
        elif image not in restored_images(workspace, group, first.level):
            why = f"its image is not here; harness repro {table.name} makes it"
        if why or group is None:
            left_out.setdefault(why, {})[first.row] = None
            continue
        taken[group] = first.row
        values = tuple(
            measurements.images(group, first.level, _protocol(found[metric])).get(image) if metric in found else None
            for metric in metrics
        )
        pixels, note, _ = read_shown(workspace, group, first.level, image)
        shown.append(_Shown(found, group, values, pixels, note))
    asked = {next(iter(found.values())).request.row for found in by_row.values()}
    for row in rows:
        if row not in asked:
            left_out.setdefault("the table asks for nothing there", {})[row] = None
    return shown, [f"left out: {', '.join(names)}: {why}" for why, names in left_out.items()]


def _protocol(cell: CellResult) -> str:
    """Name the protocol of the number that a table for a paper shows: the column's, where it was measured."""
    request = cell.request
    return request.column_protocol if isinstance(cell.under_column, Measurement) else request.protocol


def _protocols(shown: Sequence[_Shown], metrics: Sequence[str]) -> dict[str, str]:
    """By metric the protocol of its column."""
    return {m: next((s.cells[m].request.column_protocol for s in shown if m in s.cells), "") for m in metrics}


def _propose(shown: Sequence[_Shown], reference: Pixels) -> tuple[list[Crop], str]:
    """Choose a crop where the restoring rows differ most, or err most where there is one."""
    restoring = [s.pixels for s in shown if s.group.method not in UNCHANGED] or [s.pixels for s in shown]
    difference, basis = differences(restoring, reference)
    square = propose_crops(difference, CROP, 1)[0]
    crop = Crop(square.left, square.top, square.side, square.side)
    return [crop], f"crop where {basis}: --crop {crop}"


def _check_crops(crops: Sequence[Crop], image: str, width: int, height: int) -> None:
    if len(crops) > MOST_CROPS:
        raise HarnessError(f"{len(crops)} crops: a figure shows at most {MOST_CROPS}")
    for crop in crops:
        if crop.left + crop.width > width or crop.top + crop.height > height:
            raise HarnessError(f"--crop {crop} leaves '{image}', which has {width}x{height} pixels ({SYNTAX})")
        if (crop.width, crop.height) != (crops[0].width, crops[0].height):
            raise HarnessError(f"--crop {crop}: crops of one figure have one size, and the first is {crops[0]}")


def _panels(
    fetched: FetchedDataset,
    image: str,
    level: int,
    shown: Sequence[_Shown],
    reference: Pixels,
    inputs: Mapping[str, tuple[Pixels, Pixels, str]],
    marks: Mapping[tuple[int, int], str],
    metrics: Sequence[str],
    protocols: Mapping[str, str],
    units: Mapping[str, Decimal],
) -> tuple[list[CropPanel], list[str]]:
    """Make the panels in their order, and sentences on pixels that are not shown as they are."""
    names = [_row(each) for each in shown]
    entries: list[tuple[str, str, tuple[float | None, ...], Pixels, str]] = []
    # The input is shown once: as a row that hands it back, or by itself, as most rows saw it.
    if all(each.group.method not in UNCHANGED for each in shown):
        counts = [each.group.degradation for each in shown]
        seen = max(dict.fromkeys(counts), key=counts.count)
        _, pixels, note = inputs[seen]
        values = tuple(_of_input(fetched, seen, image, level, shown[0].group.task, protocols[m]) for m in metrics)
        entries.append(("Input", "", values, pixels, note))
    for each, name in zip(shown, names, strict=True):
        request = next(iter(each.cells.values())).request
        title = name if names.count(name) == 1 else f"{name} ({each.group.method})"
        mark = raised(marks.get((request.part, request.line), ""))
        entries.append((printable(title), mark, each.values, each.pixels, each.note))
    texts: list[tuple[str, ...]] = []
    ranked: list[list[bool]] = []
    for position, metric in enumerate(metrics):
        of_metric = [of[position] for _, _, of, _, _ in entries]
        known = [None if value is None or math.isnan(value) else value for value in of_metric]
        rounded = [None if value is None else round_half_up(value, units[metric]) for value in known]
        ranked.append(_best(rounded, metric))
        texts.append(tuple("–" if v is None else f"{v:f}" if v.is_finite() else "∞" for v in rounded))
    if all(text == "–" for column in texts for text in column):
        raise HarnessError(f"{', '.join(metrics)} has no number of a single image; name another --metric")
    best = list(zip(*ranked, strict=True))
    panels = [
        CropPanel("Ground truth", "", tuple(metric_title(m) for m in metrics), (False,) * len(metrics), reference)
    ]
    for number, (name, mark, _, pixels, _) in enumerate(entries):
        panels.append(CropPanel(name, mark, tuple(column[number] for column in texts), best[number], pixels))
    said = dict.fromkeys(f"{name}: {note}." for name, _, _, _, note in entries if note)
    return panels, list(said)


def _best(values: Sequence[Decimal | None], metric: str) -> list[bool]:
    """Mark the best of at least two; where all are equal none is better than another."""
    known = {value for value in values if value is not None}
    if len(known) < 2:
        return [False] * len(values)
    best = max(known) if better_of(metric) == "higher" else min(known)
    return [value == best for value in values]


def _of_input(fetched: FetchedDataset, seen: str, image: str, level: int, task: str, name: str) -> float | None:
    """Measure the input as the rows are measured; None where it has another size, or the metric is a plugin's."""
    if protocol(name).own is not None:
        return None
    reference, degraded = make_input(fetched, degradation(seen), InputId(level, FIRST_DRAW, image), fetched.read(image))
    if degraded.shape != reference.shape:
        return None
    return measure_pair(reference, degraded, task, level, (name,))[name]


def _caption(
    image: str,
    dataset: str,
    task: str,
    at: str,
    cells: Sequence[CellResult],
    metrics: Sequence[str],
    protocols: Mapping[str, str],
    panels: Sequence[CropPanel],
) -> list[str]:
    title = TASKS[task].title
    said = [f"{title[0].upper()}{title[1:]}{f' at {at}' if at else ''}: crops of {image} ({dataset_title(dataset)})."]
    said.append(f"Below each, of the whole image: {listed(measure_words(protocols[m], task) for m in metrics)}.")
    if any(any(panel.best) for panel in panels):
        said.append("Best in bold.")
    said.append("Crops are enlarged without interpolation.")
    return said + how_made(task, [cell for cell in cells if measured_number(cell) is not None])
