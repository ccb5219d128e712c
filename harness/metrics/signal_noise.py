"""Mean squared error and peak signal-to-noise ratio."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_pair
from harness.metrics.samples import sample_pair

PEAK = 255.0
"""The peak signal of every PSNR here: 8-bit images in every table of the papers."""


def mse(reference: NDArray[Any], image: NDArray[Any]) -> float:
    """Mean squared error over all pixels and channels together.

    Parameters
    ----------
    reference, image : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255, of one shape.

    Returns
    -------
    float
        In squared units of 0..255; for two uint8 images the sum behind it is exact.

    Raises
    ------
    InvalidArgumentError
        The shapes differ, a dtype is neither uint8 nor float64, or a sample is NaN or infinite.
    """
    check_pair(reference, image)
    total = 0.0
    # Stripes of about 64 thousand samples: the difference stays in the processor's cache.
    rows = max(1, 65536 // (reference.size // reference.shape[0]))
    for top in range(0, reference.shape[0], rows):
        total += _squared_error(reference[top : top + rows], image[top : top + rows])
    return total / reference.size


def _squared_error(reference: NDArray[Any], image: NDArray[Any]) -> float:
    """Sum squared differences; those of bytes are whole numbers of 16 bits, a third of the time of floats."""
    if reference.dtype == image.dtype == np.uint8:
        apart = (np.maximum(reference, image) - np.minimum(reference, image)).astype(np.uint16)
        np.multiply(apart, apart, out=apart)
        return float(np.sum(apart, dtype=np.uint64))
    difference = np.subtract(reference, image, dtype=np.float64)
    np.multiply(difference, difference, out=difference)
    return float(np.sum(difference))


def psnr_of_mse(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error; infinite for an error of zero."""
    # Decimal, because the last bit of the C library's logarithm depends on the machine.
    return math.inf if error == 0 else float(10 * Decimal(PEAK * PEAK / error).log10())


def mse_of_psnr(decibel: float) -> float:
    """Mean squared error of a peak signal-to-noise ratio in dB; zero for infinity."""
    return PEAK * PEAK / 10 ** (decibel / 10)


def psnr(reference: Any, image: Any, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio ``10 log10(white² / MSE)`` in dB, over all pixels and channels together.

    Parameters
    ----------
    reference, image : array, tensor, Pillow image or path
        Of one size and kind: `harness.metrics.samples`.
    data_range : float, optional
        The sample value that is white, for floats: 1 or 255 as a rule. Whole numbers say it by their type.

    Returns
    -------
    float
        In dB; ``inf`` for equal images.

    Raises
    ------
    InvalidArgumentError
        As `mse`; or floats come without `data_range`.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> black = np.zeros((8, 8), np.uint8)
    >>> harness.psnr(black, black + np.uint8(255))
    0.0
    >>> harness.psnr(black, black)
    inf
    >>> round(harness.psnr(black / 255, black / 255 + 0.1, data_range=1), 4)
    20.0
    """
    return psnr_of_mse(mse(*sample_pair(reference, image, data_range)))


def crop_border(image: NDArray[Any], border: int) -> NDArray[Any]:
    """Cut the same number of pixels off all four sides.

    Parameters
    ----------
    image : ndarray
        ``(H, W)`` or ``(H, W, 3)``.
    border : int
        Pixels to cut, 0 or more.

    Returns
    -------
    ndarray
        A view of the image.

    Raises
    ------
    InvalidArgumentError
        The border is negative or nothing would be left.
    """
    if border < 0:
        raise InvalidArgumentError(f"a border of {border} pixels cannot be cut; give 0 or more")
    height, width = image.shape[:2]
    if 2 * border >= min(height, width):
        raise InvalidArgumentError(
            f"cutting a border of {border} pixels leaves nothing of an image of {width}x{height} pixels"
        )
    return image[border : height - border, border : width - border]
