"""The very noise of the authors' MATLAB programs: ``randn('seed', 0)`` before each image.

The programs that made RNAN's and PANet's noisy inputs, and those of DnCNN, FFDNet and IRCNN, restart MATLAB's oldest
normal generator before they draw the noise of an image. That generator is simple enough to state whole: the minimal
standard generator x' = 16807 x mod (2^31 - 1) (Park and Miller, "Random number generators: good ones are hard to
find", CACM 31, 1988), and Marsaglia's polar method on pairs of its numbers, of which the second deviate is thrown
away. MATLAB documents it as the legacy stream ``mcg16807`` with the transform ``Polar``.

So published numbers of noisy images need no noise term: every digit can be computed.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.degradations.logarithm import log
from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image

_MULTIPLIER, _MODULUS = 16807, 2**31 - 1
_STATE = 1144108930
"""The state behind ``randn('seed', 0)``: MATLAB's manuals show the numbers 1.1650, 0.6268, 0.0751, 0.3516 after it."""

_BLOCK_SAMPLES = 2**16
_KEPT_SAMPLES = 2**22
"""Largest field that is kept for the next image of the same size (32 MiB)."""


def matlab_randn(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw what MATLAB's ``randn('seed', 0); randn(shape)`` draws.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result, filled first index first, as MATLAB does.

    Returns
    -------
    ndarray of float64
        Read-only; images of one size get the same field, as in the authors' programs.
    """
    field = _field if math.prod(shape) <= _KEPT_SAMPLES else _field.__wrapped__
    return field(tuple(shape))


def matlab_awgn(image: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """Add white Gaussian noise as the authors' programs do: ``single(im2double(x) + sigma / 255 * randn(size(x)))``.

    Parameters
    ----------
    image : ndarray of uint8
        ``(H, W)`` or ``(H, W, 3)``.
    sigma : float
        Standard deviation in units of 0..255.

    Returns
    -------
    ndarray of float32
        Same shape, in units of 0..1, also below 0 and above 1: rounded once, to single precision.

    Raises
    ------
    InvalidArgumentError
        The array is no 8-bit image, or sigma is negative or not finite.
    """
    check_image(image)
    if image.dtype != np.uint8 or not (math.isfinite(sigma) and sigma >= 0):
        raise InvalidArgumentError(
            f"noise of sigma {sigma} cannot be added to {image.dtype}; 8-bit images and 0 or more are needed"
        )
    noisy = sigma / 255 * matlab_randn(image.shape)
    noisy += image / 255
    return noisy.astype(np.float32)


@functools.lru_cache(maxsize=4)
def _field(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Make as many deviates as an image has samples."""
    size = math.prod(shape)
    result = np.empty(size)
    filled, state = 0, _STATE
    while filled < size:
        numbers, state = _numbers(state, _BLOCK_SAMPLES)
        pairs = 2 * (numbers / _MODULUS).reshape(-1, 2) - 1
        radius = (pairs * pairs).sum(axis=1)
        inside = radius < 1
        x, radius = pairs[inside, 0], radius[inside]
        deviates = (x * np.sqrt(-2 * log(radius) / radius))[: size - filled]
        result[filled : filled + deviates.size] = deviates
        filled += deviates.size
    # Laid out as images are: sums with them are half again as fast.
    field = np.ascontiguousarray(result.reshape(shape, order="F"))
    field.flags.writeable = False
    return field


def _numbers(state: int, count: int) -> tuple[NDArray[np.uint64], int]:
    """Return the next `count` numbers of the generator, and its state after them."""
    numbers = np.array([state * _MULTIPLIER % _MODULUS], dtype=np.uint64)
    while numbers.size < count:  # a run, and the same run further on: x[i + n] = 16807^n x[i]
        ahead = np.uint64(pow(_MULTIPLIER, numbers.size, _MODULUS))
        numbers = np.concatenate([numbers, numbers * ahead % np.uint64(_MODULUS)])
    numbers = numbers[:count]
    return numbers, int(numbers[-1])
