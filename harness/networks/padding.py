"""Making images of any size fit a network that halves them: edges are continued at the right and bottom."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """Mirror (B, C, H, W) without its last samples up to a multiple; where it is too thin for that, repeat them."""
    for axis, add in _missing(x, multiple):
        mode: Literal["reflect", "replicate"] = "reflect" if add < x.shape[axis] else "replicate"
        x = functional.pad(x, (0, add, 0, 0) if axis == 3 else (0, 0, 0, add), mode=mode)
    return x


def reflected(x: Tensor, multiple: int) -> Tensor:
    """Mirror (B, C, H, W) with its last samples up to a multiple; where it is too thin for that, repeat them."""
    for axis, add in _missing(x, multiple):
        side = x.shape[axis]
        backwards = torch.arange(side - 1, side - 1 - add, -1, device=x.device).clamp_(min=0)
        x = torch.cat((x, x.index_select(axis, backwards)), axis)
    return x


def _missing(x: Tensor, multiple: int) -> list[tuple[int, int]]:
    return [(axis, -x.shape[axis] % multiple) for axis in (3, 2) if x.shape[axis] % multiple]
