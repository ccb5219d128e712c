"""MATLAB's ``imresize``, exact to the bit on 8-bit images, with the border rules of its older and newer releases."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, unknown_name
from harness.metrics.checks import check_image
from harness.metrics.quantization import to_uint8

BORDERS = ("symmetric", "replicate")
"""What lies beyond the border: the image mirrored (newer MATLAB) or its outermost pixels repeated (older MATLAB)."""

_BLOCK_SAMPLES = 32768


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5 (Keys 1981, equation 15; MATLAB imresize, cubic)."""
    x = np.abs(x)
    x2 = x * x
    x3 = x2 * x
    near = (1.5 * x3 - 2.5 * x2 + 1) * (x <= 1)
    far = (-0.5 * x3 + 2.5 * x2 - 4 * x + 2) * ((x > 1) & (x <= 2))
    kernel: NDArray[np.float64] = near + far
    return kernel


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear interpolation (MATLAB imresize, triangle)."""
    kernel: NDArray[np.float64] = np.maximum(1 - np.abs(x), 0.0)
    return kernel


METHODS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_triangle, 2.0),
}
"""Kernel and its support in input pixels, by name."""


def imresize(
    image: NDArray[Any],
    scale: float | None = None,
    *,
    size: tuple[int, int] | None = None,
    border: Literal["symmetric", "replicate"] = "symmetric",
    method: Literal["bicubic", "bilinear"] = "bicubic",
    antialias: bool = True,
) -> NDArray[Any]:
    """Resize an image as MATLAB's ``imresize(image, scale, method)``.

    The kernel is stretched when the image shrinks (antialiasing). First the height is changed, then the width (MATLAB
    starts with the axis that shrinks more). A uint8 image is rounded and clipped after *each* axis; float64 is never
    clipped.

    Parameters
    ----------
    image : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64.
    scale : float, optional
        Output over input size; the output has ``ceil(H * scale)`` x ``ceil(W * scale)`` pixels. Give this or `size`.
    size : tuple of int, optional
        Output height and width; each axis then has its own scale.
    border : {"symmetric", "replicate"}
        ``"symmetric"`` mirrors the image at its border (newer MATLAB; the LR files of EDSR, SAN, SwinIR);
        ``"replicate"`` repeats the border pixels (older MATLAB; the LR files of RCAN, RDN, RNAN, SelfExSR).
    method : {"bicubic", "bilinear"}
        Keys' cubic with a = -0.5, or the triangle.
    antialias : bool
        Whether to stretch the kernel when shrinking, MATLAB's default for both methods.

    Returns
    -------
    ndarray
        Same dtype and number of channels.

    Raises
    ------
    InvalidArgumentError
        The array is no image, the scale or size is not positive, or a name is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> edge = np.repeat(np.array([0, 255], np.uint8), 8)[None].repeat(4, axis=0)
    >>> harness.imresize(edge, 0.5)[0]
    array([  0,   0,   0,  17, 238, 255, 255, 255], dtype=uint8)
    """
    check_image(image)
    if border not in BORDERS:
        raise unknown_name("border rule", border, BORDERS)
    if method not in METHODS:
        raise unknown_name("resize method", method, METHODS)
    if (scale is None) == (size is None):
        raise InvalidArgumentError("imresize needs either a scale or an output size, and not both")
    if size is not None:
        height, width = size
        if height < 1 or width < 1:
            raise InvalidArgumentError(f"an image cannot be resized to {width}x{height} pixels; give 1 or more a side")
        scales = (height / image.shape[0], width / image.shape[1])
    else:
        assert scale is not None
        if not isinstance(scale, numbers.Real) or not (math.isfinite(scale) and scale > 0):
            raise InvalidArgumentError(f"an image cannot be resized by {scale!r}; give a positive scale, as a number")
        height, width = math.ceil(image.shape[0] * scale), math.ceil(image.shape[1] * scale)
        scales = (scale, scale)
    result = image
    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):
        positions, weights = _contributions(
            image.shape[axis], (height, width)[axis], scales[axis], border, method, antialias
        )
        result = _resize_axis(result, axis, positions, weights)
    return result


def modcrop(image: NDArray[Any], scale: int) -> NDArray[Any]:
    """Cut rows and columns off at the bottom and the right until both sides are multiples of the scale.

    Parameters
    ----------
    image : ndarray
        ``(H, W)`` or ``(H, W, 3)``.
    scale : int
        1 or more.

    Returns
    -------
    ndarray
        A view of the top left part.

    Raises
    ------
    InvalidArgumentError
        The scale is not a whole number of 1 or more, or the image is smaller than it.
    """
    if isinstance(scale, bool) or scale != int(scale) or scale < 1:
        raise InvalidArgumentError(f"scale {scale} is not a whole number of 1 or more")
    height, width = image.shape[0] // int(scale) * int(scale), image.shape[1] // int(scale) * int(scale)
    if height == 0 or width == 0:
        raise InvalidArgumentError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels is too small for scale {scale}"
        )
    return image[:height, :width]


def _contributions(
    length: int, out_length: int, scale: float, border: str, method: str, antialias: bool
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find which input samples make each output sample, and their weights (MATLAB imresize, contributions).

    Both arrays have the shape (taps, output samples). Positions are counted from 0; the formulas count from 1 as
    MATLAB.
    """
    kernel, support = METHODS[method]
    shrink = min(scale, 1.0) if antialias else 1.0
    support /= shrink
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - support / 2)
    # Two more than the support holds, as MATLAB: rounding may put a sample just inside.
    taps = first[None, :] + np.arange(math.ceil(support) + 2)[:, None]
    weights = shrink * kernel(shrink * (centre[None, :] - taps))
    weights /= weights.sum(axis=0)
    positions = taps.astype(np.intp) - 1
    if border == "symmetric":
        positions = np.mod(positions, 2 * length)
        positions = np.minimum(positions, 2 * length - 1 - positions)
    else:
        positions = np.clip(positions, 0, length - 1)
    used = weights.any(axis=1)
    return positions[used], weights[used]


def _resize_axis(
    image: NDArray[Any], axis: int, positions: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[Any]:
    """Form every output row (or column) as a weighted sum of input rows; the dtype stays."""
    # Rows of memory are summed: columns become rows first.
    source = image if axis == 0 else image.swapaxes(0, 1)
    lines = np.ascontiguousarray(source, dtype=np.float64).reshape(source.shape[0], -1)
    result = np.empty((positions.shape[1], lines.shape[1]), image.dtype)
    # Blocks of rows stay in the processor's cache over all taps.
    rows = max(1, _BLOCK_SAMPLES // lines.shape[1])
    total, part = np.empty((rows, lines.shape[1])), np.empty((rows, lines.shape[1]))
    for top in range(0, len(result), rows):
        block = result[top : top + rows]
        into, scratch = total[: len(block)], part[: len(block)]
        into[:] = 0
        for taken, weight in zip(positions[:, top : top + rows], weights[:, top : top + rows, None], strict=True):
            np.take(lines, taken, axis=0, out=scratch, mode="clip")
            scratch *= weight
            into += scratch
        block[:] = to_uint8(into) if image.dtype == np.uint8 else into
    whole = result.reshape(-1, *source.shape[1:])
    return whole if axis == 0 else np.ascontiguousarray(whole.swapaxes(0, 1))
