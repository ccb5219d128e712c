"""From real numbers to 8 bits, as MATLAB and C do it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, unknown_name

RULES = ("round", "truncate")


def to_uint8(array: NDArray[Any], rule: Literal["round", "truncate"] = "round") -> NDArray[np.uint8]:
    """Turn samples in units of 0..255 into 8-bit samples; what lies outside is clipped.

    Parameters
    ----------
    array : ndarray
        Any shape; float32 or float64 in units of 0..255 (uint8 passes unchanged).
    rule : {"round", "truncate"}
        ``"round"`` is MATLAB's ``uint8(x)``: to the nearest, halves away from zero (0.5 becomes 1, 2.5 becomes 3;
        numpy's own rounding would give 0 and 2). ``"truncate"`` drops the fraction, as a cast in C or numpy does.

    Returns
    -------
    ndarray of uint8
        Same shape.

    Raises
    ------
    InvalidArgumentError
        The array holds NaN or infinity, is of another dtype, or the rule is unknown.
    """
    if rule not in RULES:
        raise unknown_name("8-bit rule", rule, RULES)
    if array.dtype == np.uint8:
        return array
    if array.dtype not in (np.float32, np.float64):
        raise InvalidArgumentError(
            f"samples of dtype {array.dtype} cannot be made 8-bit; give float32 or float64 in 0..255"
        )
    if not np.isfinite(array).all():
        raise InvalidArgumentError(
            "the array holds NaN or infinite samples and cannot be made 8-bit; the restoration failed"
        )
    clipped = np.clip(array, 0, 255)
    whole = np.floor(clipped)
    if rule == "round":
        # Not floor(x + 0.5): the sum itself rounds, and would turn 0.49999999999999994 into 1.
        clipped -= whole
        whole += clipped >= 0.5
    result: NDArray[np.uint8] = whole.astype(np.uint8)
    return result
