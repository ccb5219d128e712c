"""Where to look in an image: the region and the squares in which methods disagree, or err, the most."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

# Step between the squares that are considered, in pixels.
_STEP = 8


class SquareCrop(msgspec.Struct, frozen=True):
    """A square in the image: its upper left pixel and its side."""

    top: int
    left: int
    side: int


def differences(restored: Sequence[NDArray[np.uint8]], truth: NDArray[np.uint8]) -> tuple[NDArray[np.float32], str]:
    """Disagreement of methods at every pixel: their standard deviation, or the error where there is only one."""
    planes = np.stack([gray(pixels) for pixels in restored])
    if len(planes) > 1 and planes.std(axis=0).any():
        return planes.std(axis=0), "the methods disagree most"
    return np.abs(planes[0] - gray(truth)), "the error is largest"


def gray(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One plane of an image, 0..255: the mean of its channels."""
    return pixels.astype(np.float32) if pixels.ndim == 2 else pixels.mean(axis=2, dtype=np.float32)


def _window_sums(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float64]:
    """Sum over every window of a size, by its upper left pixel."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, axis=0, dtype=np.float64), axis=1, out=total[1:, 1:])
    return total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]


def busiest_region(difference: NDArray[np.float32], height: int, width: int) -> tuple[int, int, int, int]:
    """Choose the window of a size with the largest sum of a map: its top, left, height and width."""
    sums = _window_sums(difference, height, width)
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(row), int(column), height, width


def propose_crops(difference: NDArray[np.float32], side: int, count: int) -> list[SquareCrop]:
    """Choose squares with the largest sum of a map that do not overlap, the largest first.

    `difference`: ``(H, W)``, not negative.
    `side`: Side of a square; half the image where that is smaller.
    `count`: At most so many.
    """
    side = max(1, min(side, *(max(1, length // 2) for length in difference.shape)))
    sums = _window_sums(difference, side, side)[::_STEP, ::_STEP].copy()
    crops: list[SquareCrop] = []
    while len(crops) < count:
        row, column = (int(index) for index in np.unravel_index(int(np.argmax(sums)), sums.shape))
        if not np.isfinite(sums[row, column]) or (crops and sums[row, column] <= 0):
            break
        crops.append(SquareCrop(row * _STEP, column * _STEP, side))
        # A square overlaps this one if it starts less than a side away.
        near = -(-side // _STEP)
        sums[max(0, row - near + 1) : row + near, max(0, column - near + 1) : column + near] = -np.inf
    return crops
