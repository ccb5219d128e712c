"""Pictures of a page, coded without loss: a page computes the PSNR of any crop from the very pixels it shows."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.metrics.luminance import STANDARDS
from harness.protocols.definitions import Protocol, protocol
from harness.records.cells import Group

_PREVIEW_QUALITY = 70

WORKERS = max(2, os.cpu_count() or 1)

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class Luma(msgspec.Struct, frozen=True):
    """Weights of the luma that a PSNR is of: ``offset + (r R + g G + b B) / divisor``, rounded or not."""

    r: int
    g: int
    b: int
    divisor: int
    offset: int
    rounded: bool


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of a page.

    Attributes
    ----------
    kind : str
        ``truth``, ``input`` or ``method``.
    title, note : str
        Name for readers, and what is special about the pixels that are shown.
    webp : bytes
        The region, losslessly coded.
    reference : int
        Index of the picture it is compared with; its own for the ground truth, -1 where none has its size.
    luma, measure
        What the PSNR that the page computes is of (None for all samples), and its name, such as ``psnr-y``.
    crops, region : float or None
        PSNR of each proposed crop and of the region, computed from the pixels shown.
    group : Group or None
        What restored it.
    whole, whole_protocol
        PSNR of the whole image as measured, and its protocol.
    sha256 : str
        Of the pixels of the whole image.
    """

    kind: str
    title: str
    webp: bytes
    reference: int
    luma: Luma | None
    measure: str
    crops: tuple[float | None, ...]
    region: float | None
    note: str = ""
    group: Group | None = None
    whole: float | None = None
    whole_protocol: str = ""
    sha256: str = ""


def crop_measure(name: str, pixels: NDArray[np.uint8]) -> Protocol:
    """PSNR of a crop: that of a row's protocol, without the cut border; a gray image is its own luma."""
    return Protocol("psnr", luma=protocol(name).luma if pixels.ndim == 3 else "")


def luma_of(name: str) -> Luma | None:
    """Say which luma a protocol measures, in numbers a page can compute with; None for all samples."""
    luma = protocol(name).luma
    if not luma:
        return None
    weights = STANDARDS["matlab" if luma in ("y", "y8") else "yiq" if luma.startswith("yiq") else "full"]
    return Luma(weights.red, weights.green, weights.blue, weights.divisor, weights.offset, luma.endswith("8"))


def encode_lossless(pixels: NDArray[np.uint8]) -> bytes:
    """Code a picture as lossless WebP (a gray one as three equal channels: a reader gets the same samples)."""
    buffer = io.BytesIO()
    # The least effort: measured on 192x192 of Kodak images, the most is 7 % smaller and takes 15 times as long.
    Image.fromarray(pixels).convert("RGB").save(buffer, "WEBP", lossless=True, method=0, quality=0)
    return buffer.getvalue()


def encode_preview(pixels: NDArray[np.uint8], longest: int) -> tuple[bytes, tuple[int, int]]:
    """Code a picture as small WebP with loss, its longest side `longest` pixels at most; with its width and height."""
    picture = Image.fromarray(pixels).convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_PREVIEW_QUALITY, method=2)
    return buffer.getvalue(), picture.size


def in_threads(make: Callable[[_Item], _Made], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Made]]:
    """Give each item with what was made of it, in order, by threads (coding pictures leaves the interpreter free).

    Only a few are made ahead of those that were taken.
    """
    rest = iter(items)
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        ahead = deque((item, pool.submit(make, item)) for item in islice(rest, 2 * WORKERS))
        while ahead:
            item, made = ahead.popleft()
            ahead.extend((later, pool.submit(make, later)) for later in islice(rest, 1))
            yield item, made.result()
