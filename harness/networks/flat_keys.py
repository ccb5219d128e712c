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

    def map_in(self, flat: Tensor) -> Tensor:
        """Find the map in the flat axis of all levels: ``(B, C, L)`` gives a view ``(B, C, height, width)``."""
        return flat[..., self.begin : self.end].unflatten(-1, (self.height, self.pitch))[..., : self.width]

    def windows(self, x: Tensor, down: int = 0, right: int = 0) -> Tensor:
        """Look at the patch around each place: ``(..., L)`` gives a view ``(..., end - begin, taps, taps)``.

        A step down or to the right inside a patch also goes `down` or `right` elements further in memory: with the
        strides of a map of queries, both patches of a pair are walked along together.
        """
        taps, reach = 2 * self.pad + 1, self.pad * self.pitch + self.pad
        return x.as_strided(
            (*x.shape[:-1], self.end - self.begin, taps, taps),
            (*x.stride()[:-1], 1, down + self.pitch, right + 1),
            x.storage_offset() + self.begin - reach,
        )


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
        return _bias(self, device, dtype)

    def window_sums(self, x: Tensor, down: int = 0, right: int = 0, out: Tensor | None = None) -> Tensor:
        """Sum `FlatLevel.windows` of ``(..., L)`` at each place: ``(..., L)``, 0 outside the levels."""
        if not self.pad:
            return x
        out = x.new_zeros(x.shape) if out is None else out.zero_()
        for level in self.levels:
            torch.sum(level.windows(x, down, right), dim=(-2, -1), out=out[..., level.begin : level.end])
        return out

    def window_norms(self, keys: Tensor, floor: float) -> Tensor:
        """L2 norm of the patch around each place of flat keys ``(B, c, L)``, at least ``floor``: ``(B, L)``."""
        out = keys.new_zeros(keys.shape[0], keys.shape[2])
        for level in self.levels:
            torch.linalg.vector_norm(level.windows(keys), dim=(1, 3, 4), out=out[:, level.begin : level.end])
        return out.clamp_min_(floor)


# A batch has many calls of one shape; a copy to a GPU for each would make it wait.
@functools.lru_cache(maxsize=64)
def _pitches(layout: FlatKeys, device: torch.device) -> Tensor:
    parts = [torch.full((1, 1, lv.height, lv.width), lv.pitch, dtype=torch.int32) for lv in layout.levels]
    flat = [lv.flatten(part) for lv, part in zip(layout.levels, parts, strict=True)]
    with torch.inference_mode(False):
        return torch.cat(flat, dim=2)[0, 0].to(device)


@functools.lru_cache(maxsize=64)
def _bias(layout: FlatKeys, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.where(_pitches(layout, device) > 0, 0.0, float("-inf")).to(dtype)
