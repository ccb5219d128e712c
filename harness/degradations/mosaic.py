"""Colour filter array: one sample per pixel is kept."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, unknown_name
from harness.metrics.checks import check_image

PATTERNS = ("GRBG", "RGGB", "BGGR", "GBRG")
"""Bayer patterns: the filters of pixels (0, 0), (0, 1), (1, 0), (1, 1)."""


def bayer_mosaic(image: NDArray[Any], pattern: Literal["GRBG", "RGGB", "BGGR", "GBRG"] = "GRBG") -> NDArray[Any]:
    """Keep of every pixel the one sample that its colour filter lets through; the two others become 0.

    Parameters
    ----------
    image : ndarray
        ``(H, W, 3)`` RGB, uint8 or float64 in units of 0..255.
    pattern : {"GRBG", "RGGB", "BGGR", "GBRG"}
        Filters of the 2x2 cell, row by row. ``"GRBG"``, that of RNAN's and PANet's inputs: row 0 is G R G R …, row 1 is
        B G B G ….

    Returns
    -------
    ndarray
        ``(H, W, 3)`` of the same dtype, three quarters or more of the samples of R and B and half of those of G being
        0.

    Raises
    ------
    InvalidArgumentError
        The image is not RGB or the pattern is unknown.
    """
    if pattern not in PATTERNS:
        raise unknown_name("Bayer pattern", pattern, PATTERNS)
    check_image(image)
    if image.ndim != 3:
        raise InvalidArgumentError(f"a mosaic needs an RGB image (H, W, 3), not one of shape {image.shape}")
    mosaic = np.zeros_like(image)
    for position, colour in enumerate(pattern):
        row, column = divmod(position, 2)
        channel = "RGB".index(colour)
        mosaic[row::2, column::2, channel] = image[row::2, column::2, channel]
    return mosaic
