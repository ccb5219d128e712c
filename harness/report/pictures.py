"""Pictures of a page: cut from the images, coded without loss, measured as they are shown.

A picture is kept lossless, so that a page can compute the PSNR of any crop from the very pixels it shows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.images import pixels_sha256
from harness.metrics.luminance import STANDARDS
from harness.protocols.definitions import Protocol, protocol
from harness.records.cells import Group
from harness.report.crops import SquareCrop
from harness.report.scenes import UNCHANGED, SceneMethod

# Part of the note of an input that is smaller than the ground truth.
ENLARGED = "times as large"

_PREVIEW_QUALITY = 70


class Luma(msgspec.Struct, frozen=True):
    """Weights of the luma that a PSNR is of: ``offset + (r R + g G + b B) / divisor``, rounded or not."""

    r: int
    g: int
    b: int
    divisor: int
    offset: int
    rounded: bool


class Picture(msgspec.Struct, frozen=True):
    """One picture of a page.

    Attributes
    ----------
    kind : str
        ``truth``, ``input`` or ``method``.
    title : str
        Name for readers.
    note : str
        What is special about the pixels that are shown.
    group : Group or None
        What restored it.
    webp : bytes
        The region, losslessly coded.
    reference : int
        Index of the picture it is compared with; its own for the ground truth, -1 where none has its size.
    luma : Luma or None
        What its PSNR is of; None for all samples.
    measure : str
        Name of the PSNR that the page computes, such as ``psnr-y``.
    whole : float or None
        PSNR of the whole image as measured.
    whole_protocol : str
        Protocol of that number.
    crops : tuple of float or None
        PSNR of each proposed crop, computed from the pixels shown.
    region : float or None
        PSNR of the region, likewise.
    sha256 : str
        Of the pixels of the whole image.
    """

    kind: str
    title: str
    note: str
    group: Group | None
    webp: bytes
    reference: int
    luma: Luma | None
    measure: str
    whole: float | None
    whole_protocol: str
    crops: tuple[float | None, ...]
    region: float | None
    sha256: str


class InputImage(msgspec.Struct, frozen=True):
    """A degraded image as it can be shown (see `harness.report.views`), its title, and what is special about it."""

    pixels: NDArray[np.uint8]
    title: str
    note: str


class RestoredImage(msgspec.Struct, frozen=True):
    """A restored image: hash of its file's pixels, measured PSNR of all of it, and what that was measured against."""

    pixels: NDArray[np.uint8]
    note: str
    sha256: str
    member: SceneMethod
    whole: float
    reference: NDArray[np.uint8]


def make_pictures(
    cut: tuple[slice, slice],
    crops: Sequence[SquareCrop],
    inputs: Sequence[InputImage],
    restored: Sequence[RestoredImage],
    truths: Sequence[NDArray[np.uint8]],
) -> tuple[Picture, ...]:
    """Cut, code and measure the pictures of a view, in the order in which they are shown: inputs, methods, truths.

    Parameters
    ----------
    cut : tuple of slice
        The region of every image that is shown.
    crops : sequence of SquareCrop
        Proposed squares; coordinates in the whole image.
    inputs, restored : sequence
        Whole images. Of inputs with equal pixels in the region one is shown, and none that a method hands back.
    truths : sequence of ndarray
        Ground truths, the one to look at first; of those with equal pixels in the region one is shown.
    """
    seen: list[InputImage] = []
    for item in inputs:
        region = item.pixels[cut]
        if not any(np.array_equal(region, other.pixels) for other in seen):
            seen.append(msgspec.structs.replace(item, pixels=region))
    methods = [
        msgspec.structs.replace(item, pixels=item.pixels[cut], reference=item.reference[cut]) for item in restored
    ]
    handed_back = [
        item.member.group.method in UNCHANGED and any(np.array_equal(item.pixels, other.pixels) for other in seen)
        for item in methods
    ]
    shown = [item.pixels for item, back in zip(methods, handed_back, strict=True) if back]
    seen = [item for item in seen if not any(np.array_equal(item.pixels, other) for other in shown)]
    true: list[tuple[NDArray[np.uint8], str]] = []
    for truth in truths:
        if not any(np.array_equal(truth[cut], other) for other, _ in true):
            true.append((truth[cut], pixels_sha256(truth)))

    measured = _Measured(
        [
            (slice(top, top + crop.side), slice(left, left + crop.side))
            for crop in crops
            for top, left in [(crop.top - cut[0].start, crop.left - cut[1].start)]
        ],
        [region for region, _ in true],
        len(seen) + len(methods),
    )
    # An input is measured as the methods beside it are.
    measures = {item.pixels.ndim: crop_measure(item.member.protocol, item.pixels) for item in reversed(methods)}
    pictures = []
    for item in seen:
        against = None if ENLARGED in item.note else measured.truth_of_shape(item.pixels)
        measure = measures.get(item.pixels.ndim, Protocol("psnr"))
        pictures.append(measured.picture("input", item.title, item.note, item.pixels, against, measure))
    for method, back in zip(methods, handed_back, strict=True):
        made = measured.picture(
            "input" if back else "method",
            f"{method.member.title} (the input)" if back else method.member.title,
            method.note,
            method.pixels,
            measured.truth_equal_to(method.reference) if method.reference.shape == method.pixels.shape else None,
            crop_measure(method.member.protocol, method.pixels),
        )
        pictures.append(
            msgspec.structs.replace(
                made,
                group=method.member.group,
                whole=method.whole,
                whole_protocol=method.member.protocol,
                sha256=method.sha256,
            )
        )
    for number, (region, sha256) in enumerate(true):
        made = measured.picture(
            "truth", "Ground truth (luma)" if number else "Ground truth", "", region, None, Protocol("psnr")
        )
        pictures.append(msgspec.structs.replace(made, reference=measured.first_truth + number, sha256=sha256))
    return tuple(pictures)


class _Measured:
    """Codes pictures and measures them against the ground truths beside them."""

    def __init__(self, squares: list[tuple[slice, slice]], truths: list[NDArray[np.uint8]], first_truth: int) -> None:
        self._squares = squares
        self._truths = truths
        self.first_truth = first_truth

    def truth_of_shape(self, region: NDArray[np.uint8]) -> int | None:
        return next((n for n, truth in enumerate(self._truths) if truth.shape == region.shape), None)

    def truth_equal_to(self, region: NDArray[np.uint8]) -> int | None:
        return next((n for n, truth in enumerate(self._truths) if np.array_equal(truth, region)), None)

    def picture(
        self,
        kind: str,
        title: str,
        note: str,
        region: NDArray[np.uint8],
        against: int | None,
        measure: Protocol,
    ) -> Picture:
        crops: tuple[float | None, ...] = tuple(None for _ in self._squares)
        of_region = None
        if against is not None:
            truth = self._truths[against]
            crops = tuple(measure.measure(truth[square], region[square]) for square in self._squares)
            of_region = measure.measure(truth, region)
        return Picture(
            kind=kind,
            title=title,
            note=note,
            group=None,
            webp=encode_lossless(region),
            reference=-1 if against is None else self.first_truth + against,
            luma=luma_of(measure.name),
            measure=measure.name,
            whole=None,
            whole_protocol="",
            crops=crops,
            region=of_region,
            sha256="",
        )


def crop_measure(name: str, pixels: NDArray[np.uint8]) -> Protocol:
    """PSNR of a crop: that of a row's protocol, without the cut border; a gray image is its own luma."""
    return Protocol("psnr", luma=protocol(name).luma if pixels.ndim == 3 else "")


def luma_of(name: str) -> Luma | None:
    """Tell which luma a protocol measures, in numbers a page can compute with; None for all samples."""
    made = protocol(name)
    if not made.luma:
        return None
    standard = STANDARDS["matlab" if made.luma in ("y", "y8") else "yiq" if made.luma.startswith("yiq") else "full"]
    return Luma(
        standard.red,
        standard.green,
        standard.blue,
        standard.divisor,
        standard.offset,
        made.luma.endswith("8"),
    )


def encode_lossless(pixels: NDArray[np.uint8]) -> bytes:
    """Code a picture as lossless WebP (a gray one as three equal channels: a reader gets the same samples)."""
    buffer = io.BytesIO()
    # The least effort: measured on 192x192 of Kodak images, the most is 7 % smaller and takes 15 times as long.
    Image.fromarray(pixels).convert("RGB").save(buffer, "WEBP", lossless=True, method=0, quality=0)
    return buffer.getvalue()


def encode_preview(pixels: NDArray[np.uint8], longest: int) -> bytes:
    """Code a picture as small WebP with loss, made smaller where its longest side exceeds `longest` pixels."""
    picture = Image.fromarray(pixels).convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_PREVIEW_QUALITY, method=2)
    return buffer.getvalue()
