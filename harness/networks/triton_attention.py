"""The passes of `harness.networks.batched_attention` as Triton kernels.

A program holds a block of keys and walks along a row of queries, whose nine neighbours it finds in the nearest cache.
Every sum has a fixed order, so two runs give the same bits. Tested against `Plain` wherever a GPU is.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,no-any-return"

from __future__ import annotations

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from harness.networks.flat_keys import FlatKeys

BLOCK, WARPS = 256, 2
"""Keys that a program holds, and its warps."""

ROW_BLOCK, ROW_WARPS = 4096, 8
"""The same where a program takes a whole row of keys."""


@dataclass(frozen=True)
class Fused:
    """The passes on CUDA in float32; `pitches` is `FlatKeys.pitches`."""

    layout: FlatKeys
    pitches: Tensor

    def softmax_rows(self, product: Tensor, weights: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        scores = self._gathered(product, weights.contiguous())
        length = self.layout.length
        _softmax[(scores.numel() // length,)](scores, length, BLOCK=ROW_BLOCK, num_warps=ROW_WARPS)
        return scores

    def spread(self, rows: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        pad, length = self.layout.pad, self.layout.length
        batch, height, width, _ = rows.shape
        out = rows.new_empty(batch, height + 2 * pad, width + 2 * pad, length)
        _spread[(height + 2 * pad, triton.cdiv(length, BLOCK), batch)](
            *(rows, self.pitches, out, height, width, length), PAD=pad, BLOCK=BLOCK, num_warps=WARPS
        )
        return out

    def score_gradient(self, product: Tensor, attention: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        out = self._gathered(product, None)
        length = self.layout.length
        _softmax_gradient[(out.numel() // length,)](out, attention, length, BLOCK=ROW_BLOCK, num_warps=ROW_WARPS)
        return out

    def weight_gradient(self, product: Tensor, d_scores: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        batch, height, width, length = d_scores.shape
        parts = product.new_empty(height, batch, length)
        _weight_gradient[(height, triton.cdiv(length, BLOCK), batch)](
            *(product, d_scores, self.pitches, parts, height, width, length),
            PAD=self.layout.pad,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
        return parts.sum(dim=0)

    def _gathered(self, product: Tensor, weights: Tensor | None) -> Tensor:
        """``D(product)``, 0 where no pixel is; or the scores, minus infinity there."""
        pad, length = self.layout.pad, self.layout.length
        batch, height, width = len(product), product.shape[1] - 2 * pad, product.shape[2] - 2 * pad
        out = product.new_empty(batch, height, width, length)
        _gather[(height, triton.cdiv(length, BLOCK), batch)](
            *(product, product if weights is None else weights, self.pitches, out, height, width, length),
            WEIGHTED=weights is not None,
            PAD=pad,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
        return out


@triton.jit
def _diagonal(base, places, pitch, real, wide, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    """``D`` of one query and a block of keys: the sum over the patch of the products on a pair's diagonal."""
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for t in tl.static_range(2 * PAD + 1):
        for u in tl.static_range(2 * PAD + 1):
            at = base + (t * wide + u) * length + places + (t - PAD) * pitch + (u - PAD)
            total += tl.load(at, mask=real, other=0.0)
    return total


@triton.jit
def _gather(
    product,
    weights,
    pitches,
    out,
    height,
    width,
    length,
    WEIGHTED: tl.constexpr,
    PAD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    pitch = tl.load(pitches + places, mask=inside, other=0)
    real = pitch > 0
    if WEIGHTED:
        weight = tl.load(weights + item * length + places, mask=inside, other=0.0)
    wide = width + 2 * PAD
    base = product + (item * (height + 2 * PAD) + row) * wide * length
    target = out + (item * height + row) * width * length
    for _ in range(0, width):
        total = _diagonal(base, places, pitch, real, wide, length, PAD, BLOCK)
        if WEIGHTED:
            total = tl.where(real, total * weight, float("-inf"))
        tl.store(target + places, total, mask=inside)
        base += length
        target += length


@triton.jit
def _softmax(scores, length, BLOCK: tl.constexpr):
    row = scores + tl.program_id(0).to(tl.int64) * length
    # Not -inf: a block of a level's margin alone would make it -inf minus -inf.
    largest = tl.full([], -1e30, tl.float32)
    total = tl.zeros([], tl.float32)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        block = tl.load(row + places, mask=places < length, other=float("-inf"))
        now = tl.maximum(largest, tl.max(block, axis=0))
        total = total * tl.exp(largest - now) + tl.sum(tl.exp(block - now), axis=0)
        largest = now
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        inside = places < length
        block = tl.load(row + places, mask=inside, other=float("-inf"))
        tl.store(row + places, tl.exp(block - largest) / total, mask=inside)


@triton.jit
def _softmax_gradient(gradient, attention, length, BLOCK: tl.constexpr):
    offset = tl.program_id(0).to(tl.int64) * length
    inner = tl.zeros([], tl.float32)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        inside = places < length
        block = tl.load(gradient + offset + places, mask=inside, other=0.0)
        inner += tl.sum(block * tl.load(attention + offset + places, mask=inside, other=0.0), axis=0)
    for start in range(0, length, BLOCK):
        places = start + tl.arange(0, BLOCK)
        inside = places < length
        block = tl.load(gradient + offset + places, mask=inside, other=0.0)
        share = tl.load(attention + offset + places, mask=inside, other=0.0)
        tl.store(gradient + offset + places, (block - inner) * share, mask=inside)


@triton.jit
def _spread(rows, pitches, out, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    top, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    pitch = tl.load(pitches + places, mask=inside, other=0)
    real = pitch > 0
    wide = width + 2 * PAD
    target = out + (item * (height + 2 * PAD) + top) * wide * length
    for left in range(0, wide):
        total = tl.zeros([BLOCK], dtype=tl.float32)
        for t in tl.static_range(2 * PAD + 1):
            for u in tl.static_range(2 * PAD + 1):
                i, j = top - t, left - u
                if (i >= 0) & (i < height) & (j >= 0) & (j < width):
                    key = places - (t - PAD) * pitch - (u - PAD)
                    total += tl.load(rows + ((item * height + i) * width + j) * length + key, mask=real, other=0.0)
        tl.store(target + places, total, mask=inside)
        target += length


@triton.jit
def _weight_gradient(product, d_scores, pitches, parts, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    row, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    pitch = tl.load(pitches + places, mask=inside, other=0)
    real = pitch > 0
    wide = width + 2 * PAD
    base = product + (item * (height + 2 * PAD) + row) * wide * length
    given = d_scores + (item * height + row) * width * length
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for _ in range(0, width):
        score = _diagonal(base, places, pitch, real, wide, length, PAD, BLOCK)
        total += score * tl.load(given + places, mask=real, other=0.0)
        base += length
        given += length
    tl.store(parts + (row * tl.num_programs(2) + item) * length + places, total, mask=inside)
