"""Tiles of a grid with a border, as MemNet's test programs cut an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# What is computed, and what is kept of it.
_Span = tuple[slice, slice]


def in_grid(function: Callable[[Tensor], Tensor], x: Tensor, side: int, border: int) -> Tensor:
    """Apply a function to tiles of a grid, each with what lies around it, and put their middles together.

    Parameters
    ----------
    function : callable
        ``(B, C, h, w)`` to the same height and width.
    x : Tensor
        ``(B, C, H, W)``.
    side : int
        There are as many tiles as keep ``H`` and ``W`` divided by their number at ``side + border`` at most.
    border : int
        Pixels around a tile. The released programs leave a tile's upper and left border out where there are no more
        than that many pixels before it.

    Returns
    -------
    Tensor
        ``(B, C', H, W)``.
    """
    out: Tensor | None = None
    for rows, kept_rows in _spans(x.shape[-2], side, border):
        for columns, kept_columns in _spans(x.shape[-1], side, border):
            tile = function(x[:, :, rows, columns])
            if out is None:
                out = torch.empty((*tile.shape[:2], *x.shape[-2:]), dtype=tile.dtype, device=tile.device)
            inner = tile[:, :, kept_rows.start - rows.start :, kept_columns.start - columns.start :]
            height, width = kept_rows.stop - kept_rows.start, kept_columns.stop - kept_columns.start
            out[:, :, kept_rows, kept_columns] = inner[:, :, :height, :width]
    assert out is not None
    return out


def _spans(length: int, side: int, border: int) -> Iterator[_Span]:
    stride = math.ceil(length / math.ceil(length / (side + border)))
    for start in range(0, length, stride):
        begin = start - border if start > border else start
        if start + stride + border <= length:
            yield slice(begin, start + stride + border), slice(start, start + stride)
        else:
            # To the end, even where another tile follows: that one then has the last word.
            yield slice(begin, length), slice(start, length)
