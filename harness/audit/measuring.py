"""Every reading of one restored image at once: the squared differences and the lumas are shared.

The values are those of `harness.protocols` (to about 1e-12; tests compare), for a small part of the time: PSNR on every
unrounded luma and every border follows from the 3x3 matrix of products of the channels' differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.audit.variants import BORDERS, PSNR_READINGS, SSIM_READINGS, Reading
from harness.errors import HarnessError
from harness.metrics.luminance import STANDARDS, luma
from harness.metrics.signal_noise import crop_border, psnr_of_mse
from harness.metrics.structural import ssim_within
from harness.protocols import measure_many, protocol

NAN = math.nan

_ROUNDED = {"y8": "matlab", "yfull8": "full"}
_UNROUNDED = {"y": "matlab", "yfull": "full"}


def border_pixels(border: str, scale: int) -> int:
    """Pixels that a border of `BORDERS` cuts at a scale."""
    return protocol(f"psnr-{border}").border(scale) if border else 0


class Reference:
    """A reference image, its lumas computed when they are first needed.

    Parameters
    ----------
    pixels : ndarray
        ``(H, W) uint8`` or ``(H, W, 3) uint8``.
    scale : int
        Scale of super-resolution, else 1.
    """

    def __init__(self, pixels: NDArray[Any], scale: int) -> None:
        self.pixels = pixels
        self.scale = scale
        self._planes: dict[str, NDArray[Any]] = {}

    def plane(self, name: str) -> NDArray[Any]:
        """The image under a luma of `LUMAS`."""
        if name not in self._planes:
            self._planes[name] = plane(self.pixels, name)
        return self._planes[name]


def plane(pixels: NDArray[Any], name: str) -> NDArray[Any]:
    """Take an image's luma by the name it has in protocols; a one-channel image and an empty name change nothing."""
    if not name or pixels.ndim == 2:
        return pixels if name not in _ROUNDED or pixels.dtype == np.uint8 else luma(pixels, "uint8")
    if name in _ROUNDED:
        return luma(pixels, "uint8", _ROUNDED[name])  # type: ignore[arg-type]
    return luma(pixels, "none", _UNROUNDED[name])  # type: ignore[arg-type]


def psnr_values(reference: Reference, restored: NDArray[Any]) -> NDArray[np.float64]:
    """PSNR of one image under each of `PSNR_READINGS`; NaN where a reading has no meaning for it."""
    if reference.pixels.ndim != restored.ndim:
        return _slow(PSNR_READINGS, reference, restored)
    cuts = {border: border_pixels(border, reference.scale) for border in BORDERS}
    fits = {border: 2 * cut < min(restored.shape[:2]) for border, cut in cuts.items()}
    errors: dict[tuple[str, str], float] = {}
    difference = np.subtract(reference.pixels, restored, dtype=np.float64)
    for border, cut in cuts.items():
        if not fits[border]:
            continue
        inner = crop_border(difference, cut)
        if inner.ndim == 2:
            errors["", border] = float(np.einsum("ij,ij->", inner, inner)) / inner.size
            for name in _UNROUNDED:
                errors[name, border] = errors["", border]
        else:
            flat = inner.reshape(-1, 3)
            products = flat.T @ flat / len(flat)
            errors["", border] = float(np.trace(products)) / 3
            for name, standard in _UNROUNDED.items():
                of = STANDARDS[standard]
                weights = np.array([of.red, of.green, of.blue]) / of.divisor
                errors[name, border] = max(0.0, float(weights @ products @ weights))
    for name in _ROUNDED:
        if restored.ndim == 2 and restored.dtype == np.uint8:
            for border in BORDERS:
                if fits[border]:
                    errors[name, border] = errors["", border]
            continue
        gap = np.subtract(reference.plane(name), plane(restored, name), dtype=np.float64)
        for border, cut in cuts.items():
            if fits[border]:
                inner = crop_border(gap, cut)
                errors[name, border] = float(np.einsum("ij,ij->", inner, inner)) / inner.size
    return np.array(
        [psnr_of_mse(errors[r.luma, r.border]) if (r.luma, r.border) in errors else NAN for r in PSNR_READINGS]
    )


def ssim_values(
    reference: Reference, restored: NDArray[Any], wanted: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """SSIM of one image under each of `SSIM_READINGS`; NaN where a reading has no meaning for it or is not wanted.

    Parameters
    ----------
    reference : Reference
        The reference.
    restored : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255.
    wanted : ndarray of bool, optional
        Which readings; all where nothing is given.
    """
    chosen = [reading for index, reading in enumerate(SSIM_READINGS) if wanted is None or wanted[index]]
    if reference.pixels.ndim != restored.ndim:
        values = dict(zip(chosen, _slow(chosen, reference, restored), strict=True))
        return np.array([values.get(reading, NAN) for reading in SSIM_READINGS])
    borders: dict[tuple[str, str], set[str]] = {}
    alike = {}
    for reading in chosen:
        alike[reading] = key = _alike(reading, restored)
        borders.setdefault(key, set()).add(reading.border)
    found: dict[tuple[str, str, str], float] = {}
    for (window, of), cut in borders.items():
        names = sorted(cut, key=BORDERS.index)
        row = _borders(
            reference.plane(of),
            plane(restored, of),
            window.removeprefix("ssim-"),
            [border_pixels(border, reference.scale) for border in names],
        )
        found |= {(window, of, border): value for border, value in zip(names, row, strict=True)}
    return np.array([found[(*alike[r], r.border)] if r in alike else NAN for r in SSIM_READINGS])


def _alike(reading: Reading, restored: NDArray[Any]) -> tuple[str, str]:
    """Window and luma of the first reading that gives the same number for an image of this kind."""
    window, of = reading.metric, reading.luma
    if restored.ndim == 2:
        # One channel is its own luma; only the rounded lumas of an unrounded image are something else.
        of = "" if of in _UNROUNDED or restored.dtype == np.uint8 else "y8" if of else ""
    if window == "ssim-volume" and (restored.ndim == 2 or of):
        window = "ssim-toolbox"  # A volume of one channel is the toolbox's plane.
    return window, of


def _borders(x: NDArray[Any], y: NDArray[Any], window: str, cuts: Sequence[int]) -> list[float]:
    try:
        return ssim_within(x, y, window, cuts)
    except HarnessError:
        # Too small for the widest border: one at a time.
        return [_one(x, y, window, cut) for cut in cuts]


def _one(x: NDArray[Any], y: NDArray[Any], window: str, cut: int) -> float:
    try:
        return ssim_within(x, y, window, (cut,))[0]
    except HarnessError:
        return NAN


def _slow(wanted: Iterable[Reading], reference: Reference, restored: NDArray[Any]) -> NDArray[np.float64]:
    """One channel against three: only lumas have a meaning, and harness.protocols says which."""
    values = []
    for reading in wanted:
        try:
            (value,) = measure_many([reading.protocol], reference.pixels, restored, reference.scale).values()
        except HarnessError:
            value = NAN
        values.append(value)
    return np.array(values)


def pixels_left(shape: Sequence[int], scale: int) -> NDArray[np.float64]:
    """Pixels of an image that each of `PSNR_READINGS` compares."""
    height, width = shape[:2]
    cuts = [border_pixels(reading.border, scale) for reading in PSNR_READINGS]
    return np.array([max(0, height - 2 * cut) * max(0, width - 2 * cut) for cut in cuts], dtype=np.float64)
