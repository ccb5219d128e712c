"""A view: one image of a scene degraded, restored by every method, and its ground truth, where they differ most."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import make_input
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.images import pixels_sha256
from harness.metrics.quantization import to_uint8
from harness.records.cells import FIRST_DRAW, Group, InputId
from harness.records.restored import RECORD, RestoredRecord, read_pixels, read_restored
from harness.report.crops import SquareCrop, busiest_region, differences, propose_crops
from harness.report.pictures import ENLARGED, InputImage, Picture, RestoredImage, encode_preview, make_pictures
from harness.report.scenes import UNCHANGED, Scene
from harness.tables.workspace import Workspace

CROP = 64
"""Side of a proposed crop, pixels; about the size of the crops in the papers' figures."""

REGION = 160
"""Side of the part of a large image that a page carries, pixels."""

PROPOSED = 3

_OVERVIEW = 420


class View(msgspec.Struct, frozen=True):
    """An image of a scene, ready to be shown.

    Attributes
    ----------
    scene, image : Scene, str
        What it shows.
    height, width : int
        Of the ground truth.
    top, left, region_height, region_width : int
        The region that the pictures hold.
    crops : tuple of SquareCrop
        Proposed, the one with the largest disagreement first; coordinates in the whole image.
    pictures : tuple of Picture
        Input, methods, ground truth.
    overview : bytes
        The ground truth made smaller, WebP with loss.
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
    basis: str

    @property
    def bytes(self) -> int:
        """Size of the page's pictures as text (base64)."""
        return (sum(len(picture.webp) for picture in self.pictures) + len(self.overview)) * 4 // 3


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
    raw = [read_shown(workspace, member.group, scene.level, image) for member in scene.members]
    inputs = {name: _input(fetched, name, scene.level, image, truth) for name in _degradations(scene)}
    references = {name: made[0] for name, made in inputs.items()}
    # Ground truth as it is looked at: the one with most channels (super-resolution rows mix colour and luma).
    shown = max(references.values(), key=lambda pixels: pixels.ndim)
    kept = [index for index, member in enumerate(scene.members) if raw[index][0].shape[:2] == shown.shape[:2]]
    restoring = [raw[i][0] for i in kept if scene.members[i].group.method not in UNCHANGED]
    difference, basis = differences(restoring or [raw[i][0] for i in kept], shown)
    height, width = shown.shape[:2]
    top, left, region_height, region_width = (
        (0, 0, height, width) if whole else busiest_region(difference, min(REGION, height), min(REGION, width))
    )
    cut = np.s_[top : top + region_height, left : left + region_width]
    crops = tuple(
        SquareCrop(top + crop.top, left + crop.left, crop.side)
        for crop in propose_crops(difference[cut], CROP, PROPOSED)
    )
    pictures = make_pictures(
        cut,
        crops,
        _shown_inputs(inputs),
        [
            RestoredImage(*raw[index], member, scene.values[member.group][image], references[member.group.degradation])
            for index in kept
            for member in [scene.members[index]]
        ],
        [shown, *references.values()],
    )
    overview = encode_preview(shown, _OVERVIEW)
    return View(scene, image, height, width, top, left, region_height, region_width, crops, pictures, overview, basis)


def _degradations(scene: Scene) -> list[str]:
    return list(dict.fromkeys(member.group.degradation for member in scene.members))


def _shown_inputs(inputs: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8], str]]) -> list[InputImage]:
    """Choose the inputs to show: of several small ones (they differ by rounding or border rule) the first in colour."""
    large = [(name, pixels, note) for name, (_, pixels, note) in inputs.items() if ENLARGED not in note]
    small = [(name, pixels, note) for name, (_, pixels, note) in inputs.items() if ENLARGED in note]
    small.sort(key=lambda item: -item[1].ndim)
    if len(small) > 1:
        name, pixels, note = small[0]
        others = ", ".join(other for other, _, _ in small[1:])
        small = [(name, pixels, f"{note}; some methods saw a variant of it ({others})")]
    return [
        InputImage(pixels, "Input" if len(inputs) == 1 else f"Input ({name})", note)
        for name, pixels, note in large + small
    ]


def read_shown(workspace: Workspace, group: Group, level: int, image: str) -> tuple[NDArray[np.uint8], str, str]:
    """Read a restored image: 8-bit pixels, a note where rounding changed them, the hash of the file's pixels."""
    folder = workspace.work / "restored" / group.place
    which = InputId(level, FIRST_DRAW, image)
    pixels = read_pixels(folder / which.file, group.saving)
    digest = pixels_sha256(pixels)
    if digest != _record(folder).images.get(which.file):
        raise HarnessError(
            f"{folder / which.file}: the pixels are not those that were restored; delete the folder, run harness repro"
        )
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8), "", digest
    return to_uint8(np.asarray(pixels, dtype=np.float64)), "shown rounded to 8 bits, measured unrounded", digest


_records: dict[tuple[Path, int], RestoredRecord] = {}


def _record(folder: Path) -> RestoredRecord:
    key = (folder, (folder / RECORD).stat().st_mtime_ns)
    if key not in _records:
        _records[key] = read_restored(folder)
    return _records[key]


def _input(
    fetched: FetchedDataset, name: str, level: int, image: str, truth: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Make reference and input; the input as it can be shown: 8 bits, and at the size of the reference."""
    reference, degraded = make_input(fetched, degradation(name), InputId(level, FIRST_DRAW, image), truth)
    notes = []
    if degraded.dtype != np.uint8:
        notes.append("shown rounded and clipped to 8 bits")
        degraded = to_uint8(np.asarray(degraded, dtype=np.float64))
    if degraded.shape[:2] != reference.shape[:2]:
        times = reference.shape[0] // degraded.shape[0]
        notes.append(f"{degraded.shape[1]}x{degraded.shape[0]} pixels, each shown {times} {ENLARGED}")
        degraded = np.repeat(np.repeat(degraded, times, axis=0), times, axis=1)
    return reference, np.asarray(degraded, dtype=np.uint8), "; ".join(notes)
