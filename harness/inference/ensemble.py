"""Self-ensemble: the mean over the eight flips and transposes of the input (EDSR section 3.4; RNAN+)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def self_ensemble(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function to the eight orientations of its input and average the results, turned back.

    Parameters
    ----------
    function : callable
        ``(B, C, H, W)`` to ``(B, C', s H, s W)``, for both orientations of the sides.
    x : Tensor
        ``(B, C, H, W)``.

    Returns
    -------
    Tensor
        ``(B, C', s H, s W)``; the order of the sum is that of the released code.
    """
    results = []
    for number in range(8):
        flip_columns, flip_rows, transpose = number & 1, number & 2, number & 4
        sides = [-1] * bool(flip_columns) + [-2] * bool(flip_rows)
        # A copy each time: a plugin may write into its input.
        turned = x.flip(sides) if sides else x.clone()
        turned = turned.transpose(-2, -1).contiguous() if transpose else turned
        y = function(turned)
        y = y.transpose(-2, -1) if transpose else y
        # Flipping copies. Otherwise a copy is made here: the function may return the same buffer each time.
        results.append(y.flip(sides) if sides else y.clone())
    return torch.stack(results).mean(dim=0)
