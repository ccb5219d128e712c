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
from harness.metrics.luminance import STANDARDS
from harness.metrics.signal_noise import PEAK, crop_border, psnr_of_mse
from harness.metrics.structural import ssim_within
from harness.protocols import Protocol, measure_many, protocol

ROUNDED_LUMAS = ("y8", "yfull8")
UNROUNDED_LUMAS = {"y": STANDARDS["matlab"], "yfull": STANDARDS["full"]}


def border_pixels(border: str, scale: int) -> int:
    """Pixels that a border of `BORDERS` cuts at a scale."""
    return protocol(f"psnr-{border}").border(scale) if border else 0


class Reference:
    """A reference image, its lumas computed when they are first needed.

    `pixels`: ``(H, W) uint8`` or ``(H, W, 3) uint8``.
    `scale`: Scale of super-resolution, else 1.
    """

    def __init__(self, pixels: NDArray[Any], scale: int) -> None:
        self.pixels = pixels
        self.scale = scale
        self._lumas: dict[str, NDArray[Any]] = {}

    def luma(self, name: str) -> NDArray[Any]:
        """The image under a luma of `harness.protocols.LUMAS`."""
        if name not in self._lumas:
            self._lumas[name] = Protocol("psnr", name).plane(self.pixels)
        return self._lumas[name]


def psnr_values(reference: Reference, restored: NDArray[Any]) -> NDArray[np.float64]:
    """PSNR of one image under each of `PSNR_READINGS`, in dB; NaN where a reading has no meaning for it."""
    if reference.pixels.ndim != restored.ndim:
        return _one_by_one(PSNR_READINGS, reference, restored)
    difference = np.subtract(reference.pixels, restored, dtype=np.float64)
    rounded = {}
    if restored.ndim == 3 or restored.dtype != np.uint8:
        for name in ROUNDED_LUMAS:
            gap = np.subtract(reference.luma(name), Protocol("psnr", name).plane(restored), dtype=np.float64)
            rounded[name] = gap
    errors: dict[tuple[str, str], float] = {}
    for border in BORDERS:
        cut = border_pixels(border, reference.scale)
        if 2 * cut >= min(restored.shape[:2]):
            continue
        inner = crop_border(difference, cut)
        if inner.ndim == 2:
            error = _mean_square(inner)
            # One channel is its own luma, and a whole number its own rounding.
            errors |= {(name, border): error for name in ("", *UNROUNDED_LUMAS, *ROUNDED_LUMAS)}
        else:
            flat = inner.reshape(-1, 3)
            products = flat.T @ flat / len(flat)
            errors["", border] = float(np.trace(products)) / 3
            for name, standard in UNROUNDED_LUMAS.items():
                weights = np.array([standard.red, standard.green, standard.blue]) / standard.divisor
                errors[name, border] = max(0.0, float(weights @ products @ weights))
        for name, gap in rounded.items():
            errors[name, border] = _mean_square(crop_border(gap, cut))
    return np.array(
        [psnr_of_mse(errors[r.luma, r.border]) if (r.luma, r.border) in errors else math.nan for r in PSNR_READINGS]
    )


def _mean_square(gap: NDArray[np.float64]) -> float:
    return float(np.einsum("ij,ij->", gap, gap)) / gap.size


def ssim_values(
    reference: Reference, restored: NDArray[Any], wanted: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """SSIM of one image under each of `SSIM_READINGS`; NaN where a reading has no meaning for it or is not wanted.

    `restored`: ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255.
    `wanted`: Which readings; all where nothing is given.
    """
    chosen = [reading for index, reading in enumerate(SSIM_READINGS) if wanted is None or wanted[index]]
    if reference.pixels.ndim != restored.ndim:
        values = dict(zip(chosen, _one_by_one(chosen, reference, restored), strict=True))
        return np.array([values.get(reading, math.nan) for reading in SSIM_READINGS])
    same = {reading: _window_and_luma(reading, restored) for reading in chosen}
    values_of: dict[tuple[str, str, str], float] = {}
    for window, luma in dict.fromkeys(same.values()):
        needed = {reading.border for reading in chosen if same[reading] == (window, luma)}
        borders = [border for border in BORDERS if border in needed]
        row = _ssim(
            reference.luma(luma),
            Protocol("psnr", luma).plane(restored),
            window.removeprefix("ssim-"),
            [border_pixels(border, reference.scale) for border in borders],
        )
        values_of |= {(window, luma, border): value for border, value in zip(borders, row, strict=True)}
    return np.array([values_of[(*same[r], r.border)] if r in same else math.nan for r in SSIM_READINGS])


def ssim_mask(chosen: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark some of `SSIM_READINGS` by their indices."""
    return np.isin(np.arange(len(SSIM_READINGS)), chosen)


def _window_and_luma(reading: Reading, restored: NDArray[Any]) -> tuple[str, str]:
    """Window and luma of the first reading that gives the same number for an image of this kind."""
    window, luma = reading.metric, reading.luma
    if restored.ndim == 2:
        # One channel is its own luma; only the rounded lumas of an unrounded image are something else.
        luma = "y8" if luma in ROUNDED_LUMAS and restored.dtype != np.uint8 else ""
    if window == "ssim-volume" and (restored.ndim == 2 or luma):
        window = "ssim-toolbox"  # A volume of one channel is the toolbox's plane.
    return window, luma


def _ssim(x: NDArray[Any], y: NDArray[Any], window: str, cuts: Sequence[int]) -> list[float]:
    try:
        return ssim_within(x, y, window, cuts)
    except HarnessError:
        # Too small for the widest border: one at a time.
        return [math.nan] if len(cuts) == 1 else [_ssim(x, y, window, [cut])[0] for cut in cuts]


def _one_by_one(wanted: Iterable[Reading], reference: Reference, restored: NDArray[Any]) -> NDArray[np.float64]:
    """One channel against three: only lumas have a meaning, and harness.protocols says which."""
    values = []
    for reading in wanted:
        try:
            (value,) = measure_many([reading.protocol], reference.pixels, restored, reference.scale).values()
        except HarnessError:
            value = math.nan
        values.append(value)
    return np.array(values)


def pixels_left(shape: Sequence[int], scale: int) -> NDArray[np.float64]:
    """Pixels of an image that each of `PSNR_READINGS` compares."""
    height, width = shape[:2]
    cuts = [border_pixels(reading.border, scale) for reading in PSNR_READINGS]
    return np.array([max(0, height - 2 * cut) * max(0, width - 2 * cut) for cut in cuts], dtype=np.float64)


def set_values(
    metric: str, values: NDArray[np.float64], pixels: NDArray[np.float64], wanted: Sequence[Reading]
) -> NDArray[np.float64]:
    """Make a set's values of its images': mean, PSNR of the mean MSE, PSNR of all pixels together.

    `metric`: ``psnr`` or ``ssim``.
    `values`: ``(images, readings)``.
    `pixels`: ``(images, PSNR readings)``: pixels that are compared.
    `wanted`: Readings of the set, block by block of one average.
    Returns: One value a wanted reading.
    """
    blocks = [values.mean(axis=0)]
    if metric == "psnr":
        averages = {reading.average for reading in wanted}
        errors = PEAK**2 / 10 ** (values / 10)
        with np.errstate(divide="ignore"):
            if "pooled" in averages:
                blocks.append(10 * np.log10(PEAK**2 / errors.mean(axis=0)))
            if "pooled by pixels" in averages:
                weighted = (errors * pixels).sum(axis=0) / np.maximum(pixels.sum(axis=0), 1)
                blocks.append(10 * np.log10(PEAK**2 / weighted))
    return np.concatenate(blocks)
