"""Luma: the one channel on which many papers measure, in the variants that they mix.

Every variant is a weighted sum of R, G and B with rational weights, so it is computed as a sum of whole numbers and one
division: an 8-bit image gives the same bits on every machine, and the rounded variants round the exact value.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import text, unknown_name
from harness.metrics.checks import check_image
from harness.metrics.quantization import to_uint8
from harness.metrics.samples import samples


class LumaStandard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A luma of 8-bit RGB: ``offset + (red R + green G + blue B) / divisor``.

    Attributes
    ----------
    name : str
        Name for readers.
    red, green, blue, divisor, offset : int
        Whole numbers, so that sums of 8-bit samples are exact.
    source : str
        Where the weights come from.
    """

    name: str
    red: int
    green: int
    blue: int
    divisor: int
    offset: int
    source: str


STANDARDS = {
    "matlab": LumaStandard(
        "MATLAB's luma of YCbCr, 16..235",
        *(65481, 128553, 24966, 255000, 16),
        source="MATLAB rgb2ycbcr: 16 + (65.481 R + 128.553 G + 24.966 B) / 255 (ITU-R BT.601, studio swing)",
    ),
    "full": LumaStandard(
        "MATLAB's rgb2gray, 0..255",
        # The first row of inv([1 .956 .621; 1 -.272 -.647; 1 -1.106 1.703]), which rgb2gray uses, is
        # (1178798, 2314894, 449620) / 3943312 exactly: 0.298936021293775, 0.587043074451121, 0.114020904255103.
        *(589399, 1157447, 224810, 1971656, 0),
        source="MATLAB rgb2gray: 0.298936021293775 R + 0.587043074451121 G + 0.114020904255103 B (BT.601, full range)",
    ),
    "yiq": LumaStandard(
        "Y of YIQ, 0..255",
        *(299, 587, 114, 1000, 0),
        source="YIQ: 0.299 R + 0.587 G + 0.114 B; the default of pyiqa's psnry and ssim, as OpenCV and Pillow",
    ),
}
"""The luma standards by name."""

STUDIO_RANGE = (16, 235)
"""Black and white of MATLAB's luma. The published Bicubic rows clip the enlarged luma to it (docs/protocols.md)."""


def luma(
    image: Any,
    rounding: Literal["none", "uint8"] = "none",
    standard: Literal["matlab", "full", "yiq"] = "matlab",
    *,
    data_range: float | None = None,
) -> NDArray[Any]:
    """Compute the luma of an image; a one-channel image is its own luma.

    Parameters
    ----------
    image : array, tensor, Pillow image or path
        RGB, or one channel: `harness.metrics.samples`.
    rounding : {"none", "uint8"}
        ``"none"`` is ``255 * rgb2ycbcr(im2double(image))`` in MATLAB; ``"uint8"`` is ``rgb2ycbcr(image)`` of a uint8
        image, halves up. The two differ by up to 0.1 dB in the papers' super-resolution tables.
    standard : {"matlab", "full", "yiq"}
        Weights and range, see `STANDARDS`. ``"matlab"`` spans 16..235, so the same error gives a PSNR that is
        20 log10(255 / 219) = 1.32 dB higher than on a luma of full range.
    data_range : float, optional
        The sample value that is white, for floats: 1 or 255 as a rule. Whole numbers say it by their type.

    Returns
    -------
    ndarray
        ``(H, W) float64`` in units of 0..255, or ``(H, W) uint8``.

    Raises
    ------
    InvalidArgumentError
        It is no image, of floats without `data_range`, or the rounding or the standard is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> pixels = np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8)
    >>> harness.luma(pixels).round(3)
    array([[ 16.   ,  81.481, 235.   ]])
    >>> harness.luma(pixels, "uint8", standard="full")
    array([[  0,  76, 255]], dtype=uint8)
    """
    return luma_of(samples(image, data_range), rounding, standard)


def luma_of(
    image: NDArray[Any],
    rounding: Literal["none", "uint8"] = "none",
    standard: Literal["matlab", "full", "yiq"] = "matlab",
) -> NDArray[Any]:
    """Compute the luma of ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255; else as `luma`."""
    if text(rounding, "the rounding of luma") not in ("none", "uint8"):
        raise unknown_name("luma rounding", rounding, ("none", "uint8"))
    if text(standard, "the standard of luma") not in STANDARDS:
        raise unknown_name("luma standard", standard, STANDARDS)
    check_image(image)
    if image.ndim == 2:
        return to_uint8(image) if rounding == "uint8" else image.astype(np.float64)
    of = STANDARDS[standard]
    if image.dtype == np.uint8 and rounding == "uint8":
        total = _weighted_sum(image, of, np.dtype(np.int32))
        total += of.divisor // 2 + of.offset * of.divisor
        total //= of.divisor
        return total.astype(np.uint8)
    # Sums of 8-bit samples stay below 2**31 and thus exact in float64 too: one rounding by the division, one by the
    # offset.
    exact = np.dtype(np.int32) if image.dtype == np.uint8 else np.dtype(np.float64)
    result: NDArray[np.float64] = _weighted_sum(image, of, exact) / of.divisor
    if of.offset:
        result += of.offset
    return to_uint8(result) if rounding == "uint8" else result


def _weighted_sum(image: NDArray[Any], of: LumaStandard, dtype: np.dtype[Any]) -> NDArray[Any]:
    total: NDArray[Any] = np.multiply(image[:, :, 0], of.red, dtype=dtype)
    total += np.multiply(image[:, :, 1], of.green, dtype=dtype)
    total += np.multiply(image[:, :, 2], of.blue, dtype=dtype)
    return total
