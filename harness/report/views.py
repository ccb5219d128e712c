"""Views: an image of a scene degraded, restored by every method, and its ground truth, where they differ most.

And extremes: the worst and the best image of a cell, where the error is largest.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import make_input
from harness.degradations import degradation
from harness.errors import HarnessError, NotAvailableError
from harness.images import pixels_sha256
from harness.metrics.quantization import to_uint8
from harness.protocols.definitions import Protocol
from harness.records.cells import FIRST_DRAW, Group, InputId
from harness.records.restored import RECORD, RestoredRecord, read_pixels, read_restored
from harness.report.crops import SquareCrop, busiest_region, differences, gray, propose_crops
from harness.report.pictures import Picture, crop_measure, encode_lossless, encode_preview, luma_of
from harness.report.scenes import UNCHANGED, Scene, SceneMethod, restored_images
from harness.tables.workspace import Workspace

CROP = 64
"""Side of a proposed crop, pixels; about the size of the crops in the papers' figures."""

REGION = 160
"""Side of the part of a large image that a page carries, pixels."""

PROPOSED = 3

EXTREME_SIDE = 72

_OVERVIEW = 420

# Part of the note of an input that is smaller than the ground truth.
_ENLARGED = "times as large"

Pixels = NDArray[np.uint8]


class View(msgspec.Struct, frozen=True):
    """An image of a scene, ready to be shown.

    Attributes
    ----------
    scene, image : Scene, str
        What it shows.
    height, width, top, left, region_height, region_width : int
        Size of the ground truth, and the region that the pictures hold.
    crops : tuple of SquareCrop
        Proposed, the one with the largest disagreement first; coordinates in the whole image.
    pictures : tuple of Picture
        Input, methods, ground truth.
    overview, overview_size : bytes, tuple of int
        The ground truth made smaller, WebP with loss; its width and height.
    basis : str
        What the crops were chosen by.
    """

    scene: Scene
    image: str
    height: int
    width: int
    top: int
    left: int
    region_height: int
    region_width: int
    crops: tuple[SquareCrop, ...]
    pictures: tuple[Picture, ...]
    overview: bytes
    overview_size: tuple[int, int]
    basis: str

    @property
    def bytes(self) -> int:
        """Size of the page's pictures: as text (base64), but for the overview, which is a file."""
        return sum(len(picture.webp) for picture in self.pictures) * 4 // 3 + len(self.overview)


def make_view(workspace: Workspace, scene: Scene, image: str, *, whole: bool = False) -> View:
    """Read an image of a scene and everything restored from it, and choose what to show.

    Parameters
    ----------
    workspace : Workspace
        Where the files lie.
    scene, image : Scene, str
        What to show.
    whole : bool
        Carry the whole image instead of a region.

    Raises
    ------
    NotAvailableError
        The ground truth is not here.
    HarnessError
        A file is damaged or replaced: its pixels are not those that were measured.
    """
    fetched = open_dataset(scene.dataset, workspace.data)
    truth = fetched.read(image)
    degradations = dict.fromkeys(member.group.degradation for member in scene.members)
    inputs = {name: read_input(fetched, name, scene.level, image, truth) for name in degradations}
    references = {name: reference for name, (reference, _, _) in inputs.items()}
    # Ground truth as it is looked at: the one with most channels (super-resolution rows mix colour and luma).
    shown = max(references.values(), key=lambda pixels: pixels.ndim)
    height, width = shown.shape[:2]
    restored = [(member, *read_shown(workspace, member.group, scene.level, image)) for member in scene.members]
    restored = [item for item in restored if item[1].shape[:2] == (height, width)]
    restoring = [pixels for member, pixels, _, _ in restored if member.group.method not in UNCHANGED]
    difference, basis = differences(restoring or [pixels for _, pixels, _, _ in restored], shown)
    top, left, region_height, region_width = (
        (0, 0, height, width) if whole else busiest_region(difference, min(REGION, height), min(REGION, width))
    )
    cut = np.s_[top : top + region_height, left : left + region_width]
    crops = propose_crops(difference[cut], CROP, PROPOSED)
    return View(
        scene,
        image,
        height,
        width,
        top,
        left,
        region_height,
        region_width,
        tuple(SquareCrop(top + crop.top, left + crop.left, crop.side) for crop in crops),
        _pictures(scene, image, cut, crops, [shown, *references.values()], inputs, restored),
        *encode_preview(shown, _OVERVIEW),
        basis,
    )


def _pictures(
    scene: Scene,
    image: str,
    cut: tuple[slice, slice],
    crops: Sequence[SquareCrop],
    references: Sequence[Pixels],
    inputs: dict[str, tuple[Pixels, Pixels, str]],
    restored: Sequence[tuple[SceneMethod, Pixels, str, str]],
) -> tuple[Picture, ...]:
    """Cut, code and measure the pictures of a view: inputs, methods, ground truths (the one to look at first).

    `crops` lie inside the region `cut`; `inputs` are what `read_input` makes, by degradation; `restored` has each
    method with what `read_shown` gives.
    """
    # Of pictures with equal pixels in the region one is shown, and no input that a method hands back.
    truths: list[tuple[Pixels, str]] = []
    for pixels in references:
        if not _among(pixels[cut], truths):
            truths.append((pixels[cut], pixels_sha256(pixels)))
    different: list[tuple[Pixels, str, str]] = []
    for pixels, title, note in _shown_inputs(inputs):
        if not _among(pixels[cut], different):
            different.append((pixels[cut], title, note))
    handed_back = [
        (pixels[cut], member)
        for member, pixels, _, _ in restored
        if member.group.method in UNCHANGED and _among(pixels[cut], different)
    ]
    different = [item for item in different if not _among(item[0], handed_back)]
    first_truth = len(different) + len(restored)
    # Every crop, then the whole region.
    squares = [*map(_square, crops), (slice(None), slice(None))]

    def picture(kind: str, title: str, region: Pixels, measure: Protocol, against: int | None, **more: Any) -> Picture:
        values: list[float | None] = [None] * len(squares)
        if against is not None:
            true = truths[against][0]
            values = [measure.measure(true[square], region[square]) for square in squares]
        return Picture(
            kind=kind,
            title=title,
            webp=encode_lossless(region),
            reference=-1 if against is None else first_truth + against,
            luma=luma_of(measure.name),
            measure=measure.name,
            crops=tuple(values[:-1]),
            region=values[-1],
            **more,
        )

    pictures = []
    # An input is measured as the methods beside it are.
    measures = {pixels.ndim: crop_measure(member.protocol, pixels) for member, pixels, _, _ in reversed(restored)}
    for region, title, note in different:
        same_shape = (n for n, (true, _) in enumerate(truths) if true.shape == region.shape)
        against = None if _ENLARGED in note else next(same_shape, None)
        measure = measures.get(region.ndim, Protocol("psnr"))
        pictures.append(picture("input", title, region, measure, against, note=note))
    for member, pixels, note, sha256 in restored:
        reference = inputs[member.group.degradation][0][cut]
        same = (n for n, (true, _) in enumerate(truths) if np.array_equal(true, reference))
        back = any(member is other for _, other in handed_back)
        pictures.append(
            picture(
                "input" if back else "method",
                f"{member.title} (the input)" if back else member.title,
                pixels[cut],
                crop_measure(member.protocol, pixels),
                next(same, None) if reference.shape == pixels[cut].shape else None,
                note=note,
                group=member.group,
                whole=scene.values[member.group][image],
                whole_protocol=member.protocol,
                sha256=sha256,
            )
        )
    for number, (region, sha256) in enumerate(truths):
        title = "Ground truth (luma)" if number else "Ground truth"
        true = picture("truth", title, region, Protocol("psnr"), None, sha256=sha256)
        pictures.append(msgspec.structs.replace(true, reference=first_truth + number))
    return tuple(pictures)


def _among(region: Pixels, others: Iterable[tuple[Any, ...]]) -> bool:
    """Whether one of others, each with its pixels first, has the same pixels."""
    return any(np.array_equal(region, other[0]) for other in others)


def _square(crop: SquareCrop) -> tuple[slice, slice]:
    return slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)


def _shown_inputs(inputs: dict[str, tuple[Pixels, Pixels, str]]) -> list[tuple[Pixels, str, str]]:
    """Choose the inputs to show: of several small ones (they differ by rounding or border rule) the first in colour.

    Given are references, pixels and notes by degradation; the result holds pixels, titles and notes.
    """
    named = [(name, pixels, note) for name, (_, pixels, note) in inputs.items()]
    large = [item for item in named if _ENLARGED not in item[2]]
    small = sorted((item for item in named if _ENLARGED in item[2]), key=lambda item: -item[1].ndim)
    if len(small) > 1:
        name, pixels, note = small[0]
        others = ", ".join(other for other, _, _ in small[1:])
        small = [(name, pixels, f"{note}; some methods saw a variant of it ({others})")]
    return [(pixels, "Input" if len(inputs) == 1 else f"Input ({name})", note) for name, pixels, note in large + small]


def read_shown(workspace: Workspace, group: Group, level: int, image: str) -> tuple[Pixels, str, str]:
    """Read a restored image: 8-bit pixels, a note where rounding changed them, the hash of the file's pixels."""
    folder = workspace.work / "restored" / group.place
    name = InputId(level, FIRST_DRAW, image).file
    pixels = read_pixels(folder / name, group.saving)
    digest = pixels_sha256(pixels)
    if digest != _record(folder, (folder / RECORD).stat().st_mtime_ns).images.get(name):
        raise HarnessError(
            f"{folder / name}: the pixels are not those that were restored; delete the folder, run harness repro"
        )
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8), "", digest
    return to_uint8(np.asarray(pixels, dtype=np.float64)), "shown rounded to 8 bits, measured unrounded", digest


@functools.cache
def _record(folder: Path, changed: int) -> RestoredRecord:
    return read_restored(folder)


def read_input(fetched: FetchedDataset, name: str, level: int, image: str, truth: Pixels) -> tuple[Pixels, Pixels, str]:
    """Make reference and input; the input as it can be shown: 8 bits, and at the size of the reference."""
    reference, degraded = make_input(fetched, degradation(name), InputId(level, FIRST_DRAW, image), truth)
    notes = []
    if degraded.dtype != np.uint8:
        notes.append("shown rounded and clipped to 8 bits")
        degraded = to_uint8(np.asarray(degraded, dtype=np.float64))
    if degraded.shape[:2] != reference.shape[:2]:
        times = reference.shape[0] // degraded.shape[0]
        notes.append(f"{degraded.shape[1]}x{degraded.shape[0]} pixels, each shown {times} {_ENLARGED}")
        degraded = np.repeat(np.repeat(degraded, times, axis=0), times, axis=1)
    return reference, np.asarray(degraded, dtype=np.uint8), "; ".join(notes)


class Extreme(msgspec.Struct, frozen=True):
    """A cell's worst or best image: the part with the largest error, restored and true.

    Attributes
    ----------
    image, rank : str
        Its name; ``worst`` or ``best``.
    value : float
        PSNR of the whole image, as measured.
    crop : SquareCrop
        What is shown.
    crop_value, measure : float, str
        PSNR of what is shown, and the name of that PSNR.
    restored, truth : bytes
        Lossless WebP.
    """

    image: str
    rank: str
    value: float
    crop: SquareCrop
    crop_value: float
    measure: str
    restored: bytes
    truth: bytes


def make_extremes(
    workspace: Workspace, group: Group, level: int, values: dict[str, float], protocol_name: str
) -> list[Extreme]:
    """Show the worst and the best image of a cell where its error is largest; nothing where files are missing."""
    if len(values) < 2 or not values.keys() <= restored_images(workspace, group, level):
        return []
    try:
        fetched = open_dataset(group.dataset, workspace.data)
    except NotAvailableError:
        return []
    extremes = []
    for rank, image in (("worst", min(values, key=values.__getitem__)), ("best", max(values, key=values.__getitem__))):
        restored, _, _ = read_shown(workspace, group, level, image)
        reference = degradation(group.degradation).reference(fetched.read(image), level)
        if reference.shape != restored.shape:
            return []
        crop = propose_crops(np.abs(gray(restored) - gray(reference)), EXTREME_SIDE, 1)[0]
        shown, true = restored[_square(crop)], reference[_square(crop)]
        measure = crop_measure(protocol_name, restored)
        value = measure.measure(true, shown)
        pictures = encode_lossless(shown), encode_lossless(true)
        extremes.append(Extreme(image, rank, values[image], crop, value, measure.name, *pictures))
    return extremes
