"""The passes of `harness.networks.batched_attention` as Triton kernels: each reads its products once.

Every sum has a fixed order, so two runs give the same bits. Tested against `Plain` wherever a GPU is.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,no-any-return"
from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from harness.networks.flat_keys import Layout

BLOCK = 1024
"""Keys that a program holds at a time."""

WEIGHT_BLOCK = 128


@dataclass(frozen=True)
class Fused:
    """The passes on CUDA in float32; `pitches` is `Layout.pitches`."""

    layout: Layout
    pitches: Tensor

    def softmax_rows(self, product: Tensor, weights: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        out, height, width = self._rows_of(product)
        _softmax_rows[(height * width, len(product))](
            product, weights.contiguous(), self.pitches, out, height, width, self.layout.length,
            PAD=self.layout.pad, BLOCK=BLOCK, num_warps=8,
        )  # fmt: skip
        return out

    def spread(self, rows: Tensor, weights: Tensor | None) -> Tensor:
        """See `batched_attention.Passes`."""
        pad, length = self.layout.pad, self.layout.length
        batch, height, width, _ = rows.shape
        out = rows.new_empty(batch, height + 2 * pad, width + 2 * pad, length)
        grid = ((height + 2 * pad) * (width + 2 * pad), triton.cdiv(length, BLOCK), batch)
        given = rows if weights is None else weights.contiguous()
        _spread[grid](
            rows, given, self.pitches, out, height, width, length,
            WEIGHTED=weights is not None, PAD=pad, BLOCK=BLOCK, num_warps=8,
        )  # fmt: skip
        return out

    def score_gradient(self, product: Tensor, attention: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        out, height, width = self._rows_of(product)
        _score_gradient[(height * width, len(product))](
            product, attention, self.pitches, out, height, width, self.layout.length,
            PAD=self.layout.pad, BLOCK=BLOCK, num_warps=8,
        )  # fmt: skip
        return out

    def weight_gradient(self, product: Tensor, d_scores: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        batch, height, width, length = d_scores.shape
        out = product.new_empty(batch, length)
        _weight_gradient[(triton.cdiv(length, WEIGHT_BLOCK), batch)](
            product, d_scores, self.pitches, out, height, width, length,
            PAD=self.layout.pad, BLOCK=WEIGHT_BLOCK, num_warps=4,
        )  # fmt: skip
        return out

    def _rows_of(self, product: Tensor) -> tuple[Tensor, int, int]:
        pad = self.layout.pad
        height, width = product.shape[1] - 2 * pad, product.shape[2] - 2 * pad
        return product.new_empty(len(product), height, width, self.layout.length), height, width


@triton.jit
def _gathered(base, places, pitch, real, wide, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    """``D``: the sum over the patch of the products on a pair's diagonal."""
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for t in tl.static_range(2 * PAD + 1):
        for u in tl.static_range(2 * PAD + 1):
            at = base + (t * wide + u) * length + places + (t - PAD) * pitch + (u - PAD)
            total += tl.load(at, mask=real, other=0.0)
    return total


@triton.jit
def _softmax_rows(product, weights, pitches, out, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    row, item = tl.program_id(0), tl.program_id(1).to(tl.int64)
    wide = width + 2 * PAD
    corner = (item * (height + 2 * PAD) + row // width) * wide + row % width
    base = product + corner * length
    target = out + (item * height * width + row) * length
    # Not -inf: a block of a level's margin alone would make it -inf minus -inf.
    largest = tl.full([], -1e30, tl.float32)
    total = tl.zeros([], tl.float32)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        pitch = tl.load(pitches + places, mask=places < length, other=0)
        real = pitch > 0
        gathered = _gathered(base, places, pitch, real, wide, length, PAD, BLOCK)
        weight = tl.load(weights + item * length + places, mask=real, other=0.0)
        scores = tl.where(real, gathered * weight, float("-inf"))
        now = tl.maximum(largest, tl.max(scores, axis=0))
        total = total * tl.exp(largest - now) + tl.sum(tl.exp(scores - now), axis=0)
        largest = now
        tl.store(target + places, scores, mask=places < length)
    tl.debug_barrier()
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        scores = tl.load(target + places, mask=places < length, other=float("-inf"))
        tl.store(target + places, tl.exp(scores - largest) / total, mask=places < length)


@triton.jit
def _score_gradient(product, attention, pitches, out, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    row, item = tl.program_id(0), tl.program_id(1).to(tl.int64)
    wide = width + 2 * PAD
    corner = (item * (height + 2 * PAD) + row // width) * wide + row % width
    base = product + corner * length
    offset = (item * height * width + row) * length
    inner = tl.zeros([], tl.float32)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        pitch = tl.load(pitches + places, mask=places < length, other=0)
        gathered = _gathered(base, places, pitch, pitch > 0, wide, length, PAD, BLOCK)
        inner += tl.sum(gathered * tl.load(attention + offset + places, mask=places < length, other=0.0), axis=0)
        tl.store(out + offset + places, gathered, mask=places < length)
    tl.debug_barrier()
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        inside = places < length
        gathered = tl.load(out + offset + places, mask=inside, other=0.0)
        share = tl.load(attention + offset + places, mask=inside, other=0.0)
        tl.store(out + offset + places, (gathered - inner) * share, mask=inside)


@triton.jit
def _spread(
    rows, weights, pitches, out, height, width, length,
    WEIGHTED: tl.constexpr, PAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    wide = width + 2 * PAD
    top, left = place // wide, place % wide
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    pitch = tl.load(pitches + places, mask=places < length, other=0)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for t in tl.static_range(2 * PAD + 1):
        for u in tl.static_range(2 * PAD + 1):
            i, j = top - t, left - u
            if (i >= 0) & (i < height) & (j >= 0) & (j < width):
                key = places - (t - PAD) * pitch - (u - PAD)
                row = (item * height + i) * width + j
                value = tl.load(rows + row * length + key, mask=pitch > 0, other=0.0)
                if WEIGHTED:
                    value *= tl.load(weights + item * length + key, mask=pitch > 0, other=0.0)
                total += value
    target = out + ((item * (height + 2 * PAD) + top) * wide + left) * length
    tl.store(target + places, total, mask=places < length)


@triton.jit
def _weight_gradient(product, d_scores, pitches, out, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    places, item = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1).to(tl.int64)
    wide = width + 2 * PAD
    pitch = tl.load(pitches + places, mask=places < length, other=0)
    real = pitch > 0
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for row in range(0, height * width):
        corner = (item * (height + 2 * PAD) + row // width) * wide + row % width
        gathered = _gathered(product + corner * length, places, pitch, real, wide, length, PAD, BLOCK)
        offset = (item * height * width + row) * length
        total += gathered * tl.load(d_scores + offset + places, mask=real, other=0.0)
    tl.store(out + item * length + places, total, mask=places < length)
