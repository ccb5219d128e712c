"""The flat key axis of patch attention: where the pixels of several maps lie, so that a patch's offsets are shifts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class FlatLevel:
    """Where one key map lies in the flat key axis.

    Rows are ``pitch = width + pad`` apart, and ``lead`` zeros stand before and after the map, so that every
    shift by a patch offset is one shift of the flat index and reads zeros where it leaves the map.
    """

    height: int
    width: int
    pad: int
    offset: int

    @property
    def pitch(self) -> int:
        """Distance of a pixel and the one below it."""
        return self.width + self.pad

    @property
    def lead(self) -> int:
        """Zeros before the map, and after it."""
        return self.pad * self.pitch + self.pad

    @property
    def begin(self) -> int:
        """Place of the first pixel."""
        return self.offset + self.lead

    @property
    def end(self) -> int:
        """Place behind the last row."""
        return self.begin + self.height * self.pitch

    @property
    def length(self) -> int:
        """Places that the level takes."""
        return self.height * self.pitch + 2 * self.lead

    def flatten(self, x: Tensor) -> Tensor:
        """Lay a ``(B, C, height, width)`` map out as ``(B, C, length)``."""
        return functional.pad(functional.pad(x, (0, self.pad)).flatten(2), (self.lead, self.lead))


@dataclass(frozen=True)
class FlatKeys:
    """The levels, one behind the other; `pad` is the reach of a patch."""

    levels: tuple[FlatLevel, ...]
    pad: int

    @staticmethod
    def of(sizes: Sequence[tuple[int, int]], pad: int) -> FlatKeys:
        """Lay levels of some heights and widths out."""
        levels: list[FlatLevel] = []
        for height, width in sizes:
            offset = levels[-1].offset + levels[-1].length if levels else 0
            levels.append(FlatLevel(height, width, pad, offset))
        return FlatKeys(tuple(levels), pad)

    @property
    def length(self) -> int:
        """Places of all levels."""
        return self.levels[-1].offset + self.levels[-1].length

    def pitches(self, device: torch.device) -> Tensor:
        """Pitch of the level at each flat position that holds a pixel, 0 at the others: ``(length,) int32``."""
        return _pitches(self, device)

    def bias(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """What keeps the other positions out of a softmax: 0 at a pixel, else minus infinity, ``(length,)``."""
        return torch.where(self.pitches(device) > 0, 0.0, float("-inf")).to(dtype)


# A batch has many calls of one shape; a copy to a GPU for each would make it wait.
@functools.lru_cache(maxsize=64)
def _pitches(layout: FlatKeys, device: torch.device) -> Tensor:
    parts = [torch.full((1, 1, lv.height, lv.width), lv.pitch, dtype=torch.int32) for lv in layout.levels]
    flat = [lv.flatten(part) for lv, part in zip(layout.levels, parts, strict=True)]
    with torch.inference_mode(False):
        return torch.cat(flat, dim=2)[0, 0].to(device)
