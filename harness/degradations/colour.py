"""Colour conversions of MATLAB's Image Processing Toolbox, bit-exact on 8-bit images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image
from harness.metrics.luminance import luma_of

# MATLAB rgb2ycbcr, rows Cb and Cr of its matrix in thousandths (ITU-R BT.601, studio swing): whole numbers, so that the
# sums of 8-bit samples are exact and rounding is that of the exact value.
_CB = (-37797, -74203, 112000)
_CR = (112000, -93786, -18214)
_DIVISOR = 255000
_OFFSET = 128


def rgb2gray(image: NDArray[Any]) -> NDArray[Any]:
    """Convert RGB to gray as MATLAB's ``rgb2gray``: 0.2989 R + 0.5870 G + 0.1140 B (full range), rounded for uint8.

    Parameters
    ----------
    image : ndarray
        ``(H, W, 3)`` RGB, uint8 or float64 in units of 0..255; a ``(H, W)`` image passes unchanged.

    Returns
    -------
    ndarray
        ``(H, W)``, uint8 for uint8 input and float64 for float64 input.

    Raises
    ------
    InvalidArgumentError
        The array is no image.
    """
    check_image(image)
    if image.ndim == 2:
        return image
    return luma_of(image, "uint8" if image.dtype == np.uint8 else "none", "full")


def rgb2ycbcr(image: NDArray[Any]) -> NDArray[Any]:
    """Convert RGB to YCbCr as MATLAB's ``rgb2ycbcr`` (ITU-R BT.601, studio swing: Y 16..235, Cb and Cr 16..240).

    Parameters
    ----------
    image : ndarray
        ``(H, W, 3)`` RGB, uint8 or float64 in units of 0..255.

    Returns
    -------
    ndarray
        ``(H, W, 3)`` Y, Cb, Cr: rounded to uint8 for uint8 input; float64 in units of 0..255 for float64 input, which
        is 255 times what MATLAB gives for an image of class double in [0, 1].

    Raises
    ------
    InvalidArgumentError
        The array is no RGB image.
    """
    check_image(image)
    if image.ndim != 3:
        raise InvalidArgumentError(f"rgb2ycbcr needs an RGB image (H, W, 3), not one of shape {image.shape}")
    whole = image.dtype == np.uint8
    result = np.empty_like(image)
    result[:, :, 0] = luma_of(image, "uint8" if whole else "none")
    samples = image.astype(np.int32) if whole else image
    for plane, weights in ((1, _CB), (2, _CR)):
        total = sum(samples[:, :, c] * weight for c, weight in enumerate(weights))
        if whole:
            result[:, :, plane] = (total + _OFFSET * _DIVISOR + _DIVISOR // 2) // _DIVISOR
        else:
            result[:, :, plane] = total / _DIVISOR + _OFFSET
    return result
