"""Drawing crops: the layout that fits a width best, and pictures, boxes and labels in their places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import HarnessError
from harness.report.figures.files import COLOURS, POINTS, text_length

# Points: sizes of letters, lines, gaps.
_LETTERS, _SMALLEST = 7.5, 5.0
_GAP, _WIDEST_GAP, _LINE, _BELOW = 3.0, 9.0, 1.0, 1.5
_LEADING = 1.15  # times the letters

# Points that a column is wide at least for its label; a longer name is cut.
_LONGEST = 64.0

# The whole image takes at least and at most this part of the width.
_LEAST_WHOLE, _MOST_WHOLE = 0.08, 0.48

# A good layout fills its area: with crops more than with the whole image. Crops gain by their size up to an inch. A
# figure that is taller than half its width loses, and one whose whole image is not as tall as the crops.
_WHOLE, _LARGE, _TALL, _SHORT = 0.5, 1.0, 0.5, 1.6

# Inches: in a smaller crop nobody sees anything.
_TINY = 0.35

_TALLEST = 8.5  # inches

Pixels = NDArray[np.uint8]


class Crop(msgspec.Struct, frozen=True):
    """A part of an image, in pixels; `left` and `top` count from 0."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width}x{self.height}"

    @property
    def area(self) -> tuple[slice, slice]:
        """The rows and columns of an array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class CropPanel(msgspec.Struct, frozen=True):
    """What stands in one place: a name and its raised letters, a number for each metric and whether it is the best.

    And the pixels of the whole image.
    """

    name: str
    mark: str
    numbers: tuple[str, ...]
    best: tuple[bool, ...]
    pixels: Pixels


class _Grid(msgspec.Struct, frozen=True):
    """Sizes in pixels of the picture: of a panel's crops, of its column, of the whole image; how far enlarged."""

    columns: int
    zoom: int
    panel: tuple[int, int]
    column: int
    whole: tuple[int, int]
    width: int
    height: int
    score: float


class _Sizes(msgspec.Struct, frozen=True):
    """What a layout is chosen for: panels, and pixels of the picture."""

    panels: int
    crops: int
    crop: Crop
    aspect: float  # width by height of the whole image
    room: int  # width
    inch: int
    label: int  # height of what stands below a panel
    narrowest: int  # column
    gap: int
    frame: int  # line around a crop


def _fit(sizes: _Sizes, zoom: int | None, single: bool) -> _Grid | None:
    """Choose columns and enlargement so that pictures fill the area best; large crops count most."""
    crop, room, label = sizes.crop, sizes.room, sizes.label
    grids = []
    for lines in range(1, 2 if single else sizes.panels + 1):
        columns = math.ceil(sizes.panels / lines)
        if math.ceil(sizes.panels / columns) != lines:
            continue
        most = room // (columns * crop.width)
        for times in range(1, most + 1) if zoom is None else [zoom]:
            panel_width = crop.width * times + 2 * sizes.frame
            panel_height = sizes.crops * (crop.height * times + 3 * sizes.frame) - sizes.frame
            height = lines * (panel_height + label) + (lines - 1) * sizes.gap
            column = max(panel_width, sizes.narrowest)
            left = room - columns * (column + sizes.gap)
            as_tall = round((height - label) * sizes.aspect)
            whole_width = min(as_tall, left, int(_MOST_WHOLE * room))
            if whole_width < _LEAST_WHOLE * room or height > _TALLEST * sizes.inch:
                continue
            whole_height = round(whole_width / sizes.aspect)
            crops = sizes.panels * sizes.crops * crop.width * crop.height * times**2
            used = (crops + _WHOLE * whole_width * whole_height) / (room * height)
            score = used + _LARGE * math.sqrt(min(1.0, panel_width / sizes.inch))
            score -= max(0.0, height / room - _TALL) + _SHORT * (1 - whole_width / as_tall)
            score -= panel_width < _TINY * sizes.inch
            panel, whole, width = (panel_width, panel_height), (whole_width, whole_height), room - left + whole_width
            grids.append(_Grid(columns, times, panel, column, whole, width, height, score))
    return max(grids, key=lambda grid: (grid.score, grid.zoom), default=None)


def draw_crops(
    panels: Sequence[CropPanel],
    reference: Pixels,
    crops: Sequence[Crop],
    about: tuple[str, str],
    width: float,
    dpi: int,
    *,
    zoom: int | None,
    single: bool,
) -> Any:
    """Draw panels; places are whole pixels from the upper left corner, so that no pixel of a crop is resampled.

    `panels`: In their order.
    `reference`: The whole image, ``(H, W) uint8`` or ``(H, W, 3) uint8``.
    `crops`: Of one size.
    `about`: What stands below the whole image.
    `width`: Inches at most.
    `dpi`: Pixels an inch.
    `zoom`: Pixels a side that a pixel of a crop gets; None for what fits best.
    `single`: Whether all panels stand in one line.
    Returns: Matplotlib's.
    Raises HarnessError: The crops do not fit.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    def points(size: float) -> int:
        return round(size * dpi / POINTS)

    labels = [(panel.name + panel.mark, False) for panel in panels]
    labels += [("/".join(panel.numbers), any(panel.best)) for panel in panels]
    longest = max(text_length(text, _LETTERS, bold) for text, bold in labels)
    narrowest = points(min(longest * _SMALLEST / _LETTERS, _LONGEST))
    room, gap = int(width * dpi), points(_GAP)
    frame = points(_LINE) if len(crops) > 1 else 0
    aspect = reference.shape[1] / reference.shape[0]

    def label(size: float) -> int:
        return points(2 * _LEADING * size + _BELOW)

    def fit(times: int | None, size: float) -> _Grid | None:
        known = len(panels), len(crops), crops[0], aspect, room, dpi
        return _fit(_Sizes(*known, label(size), narrowest, gap, frame), times, single)

    def room_for(grid: _Grid) -> float:
        """Points that a label may take."""
        return (grid.column + gap) * POINTS / dpi - 1

    size = _LETTERS
    grid = fit(zoom, size)
    if grid is not None:
        # Smaller letters leave more room to the pictures.
        size = max(_SMALLEST, min(_LETTERS, _LETTERS * room_for(grid) / longest))
        grid = fit(zoom, size)
    if grid is None:
        largest = fit(None, _SMALLEST)
        of_crop = f"{crops[0].width}x{crops[0].height}"
        advice = f"--zoom {largest.zoom}, a larger --width" if largest else "smaller crops, a larger --width"
        raise HarnessError(
            f"{len(panels)} panels with {len(crops)} crops of {of_crop} do not fit {width:g} inches at {dpi} dpi; take "
            f"{advice} or --dpi, or fewer rows with --row"
        )
    below = label(size)
    size = min(size, max(_SMALLEST, _LETTERS * room_for(grid) / longest))
    # What is left of the width goes between the panels.
    spread = min((room - grid.width) // grid.columns, points(_WIDEST_GAP - _GAP))
    gap_x = gap + spread
    full, height = grid.width + spread * grid.columns, grid.height
    figure = Figure(figsize=(full / dpi, height / dpi), dpi=dpi)

    def picture(pixels: Pixels, left: int, top: int, across: int, down: int) -> None:
        axes = figure.add_axes((left / full, 1 - (top + down) / height, across / full, down / height))
        axes.imshow(pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2), interpolation="none", aspect="auto")
        axes.set_axis_off()

    def box(left: float, top: float, across: float, down: float, colour: str, line: float) -> None:
        """Draw an outline, or fill the box where no width of a line is given."""
        place = (left / full, 1 - (top + down) / height)
        how: Any = {"color": colour, "linewidth": line, "fill": not line, "transform": figure.transFigure}
        how["zorder"] = 1 if line else -1  # pictures have 0
        figure.add_artist(Rectangle(place, across / full, down / height, **how))

    def write(lines: Sequence[Sequence[tuple[str, bool]]], middle: float, top: int, size: float) -> None:
        """Write lines of texts, bold or not, in the middle below a place."""
        for number, pieces in enumerate(lines):
            lengths = [text_length(text, size, bold) * dpi / POINTS for text, bold in pieces]
            left = middle - sum(lengths) / 2
            base = top + (_BELOW + (number + 0.72) * _LEADING * size) * dpi / POINTS
            for (text, bold), length in zip(pieces, lengths, strict=True):
                # A name with dollar signs is no formula.
                how: Any = {"fontsize": size, "fontweight": "bold" if bold else "normal", "parse_math": False}
                figure.text(left / full, 1 - base / height, text, **how)
                left += length

    picture(_overview(reference, *grid.whole), 0, 0, *grid.whole)
    times = grid.whole[0] / reference.shape[1], grid.whole[1] / reference.shape[0]
    line = _LINE * dpi / POINTS
    for crop, colour in zip(crops, COLOURS, strict=False):
        # The line lies outside the crop, as far as there is an outside.
        sides = crop.left, crop.top, crop.left + crop.width, crop.top + crop.height
        left, top = (max(side * of - line / 2, line / 2) for side, of in zip(sides[:2], times, strict=True))
        ends = zip(sides[2:], times, grid.whole, strict=True)
        right, bottom = (min(side * of + line / 2, most - line / 2) for side, of, most in ends)
        # A white line below keeps the colour visible on any image.
        box(left, top, right - left, bottom - top, "white", 1.7 * _LINE)
        box(left, top, right - left, bottom - top, colour, _LINE)
    room_below = grid.whole[0] * POINTS / dpi
    of_whole = max(_SMALLEST, min(size, *(_LETTERS * room_below / text_length(text, _LETTERS) for text in about)))
    cut = [[(_cut(text, of_whole, room_below), False)] for text in about]
    write(cut, grid.whole[0] / 2, grid.whole[1], of_whole)
    for number, panel in enumerate(panels):
        line_number, column = divmod(number, grid.columns)
        left = grid.whole[0] + gap_x + column * (grid.column + gap_x) + (grid.column - grid.panel[0]) // 2
        top = line_number * (grid.panel[1] + below + gap)
        for index, (crop, colour) in enumerate(zip(crops, COLOURS, strict=False)):
            across, down = crop.width * grid.zoom, crop.height * grid.zoom
            place = top + index * (down + 3 * frame)
            if frame:
                box(left, place, across + 2 * frame, down + 2 * frame, colour, 0.0)
            enlarged = panel.pixels[crop.area].repeat(grid.zoom, axis=0).repeat(grid.zoom, axis=1)
            picture(enlarged, left + frame, place + frame, across, down)
        numbers = zip(panel.numbers, panel.best, strict=True)
        pieces = [piece for of_metric in numbers for piece in (("/", False), of_metric)][1:]
        name = [(_cut(panel.name, size, room_for(grid), panel.mark), False)]
        write([name, pieces], left + grid.panel[0] / 2, top + grid.panel[1], size)
    return figure


def _overview(reference: Pixels, width: int, height: int) -> Pixels:
    """Make the whole image smaller where the picture has fewer pixels for it; it is never enlarged here."""
    if width >= reference.shape[1] or height >= reference.shape[0]:
        return reference
    return np.asarray(Image.fromarray(reference).resize((width, height), Image.Resampling.BOX))


def _cut(text: str, size: float, room: float, mark: str = "") -> str:
    """Cut a text that is too long, so that it says so; the letters behind it stay."""
    shown = text
    while shown != "…" and text_length(shown + mark, size) > room:
        shown = shown.removesuffix("…")[:-1].rstrip() + "…"
    return shown + mark
