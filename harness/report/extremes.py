"""The worst and the best image of a cell, cut where the error is largest."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.assets.datasets.reading import open_dataset
from harness.degradations import degradation
from harness.errors import NotAvailableError
from harness.records.cells import Group
from harness.report.crops import SquareCrop, gray, propose_crops
from harness.report.pictures import crop_measure, encode_lossless
from harness.report.scenes import restored_images
from harness.report.views import read_shown
from harness.tables.workspace import Workspace

EXTREME_SIDE = 72


class Extreme(msgspec.Struct, frozen=True):
    """A cell's worst or best image: the part with the largest error, restored and true.

    Attributes
    ----------
    image : str
        Its name.
    which : str
        ``worst`` or ``best``.
    value : float
        PSNR of the whole image, as measured.
    crop : SquareCrop
        What is shown.
    crop_value : float or None
        PSNR of what is shown; None where sizes do not allow it.
    measure : str
        Name of that PSNR.
    restored, truth : bytes
        Lossless WebP.
    """

    image: str
    which: str
    value: float
    crop: SquareCrop
    crop_value: float | None
    measure: str
    restored: bytes
    truth: bytes


def make_extremes(
    workspace: Workspace, group: Group, level: int, values: dict[str, float], protocol_name: str
) -> list[Extreme]:
    """Show the worst and the best image of a cell where its error is largest; nothing where files are missing."""
    if len(values) < 2:
        return []
    try:
        fetched = open_dataset(group.dataset, workspace.data)
    except NotAvailableError:
        return []
    made = degradation(group.degradation)
    if not values.keys() <= restored_images(workspace, group, level):
        return []
    found = []
    for which, image in (("worst", min(values, key=values.__getitem__)), ("best", max(values, key=values.__getitem__))):
        restored, _, _ = read_shown(workspace, group, level, image)
        reference = made.reference(fetched.read(image), level)
        if reference.shape != restored.shape:
            return []
        crop = propose_crops(np.abs(gray(restored) - gray(reference)), EXTREME_SIDE, 1)[0]
        square = np.s_[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
        measure = crop_measure(protocol_name, restored)
        found.append(
            Extreme(
                image,
                which,
                values[image],
                crop,
                measure.measure(reference[square], restored[square]),
                measure.name,
                encode_lossless(restored[square]),
                encode_lossless(reference[square]),
            )
        )
    return found
