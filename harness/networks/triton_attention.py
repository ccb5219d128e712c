"""The passes of `harness.networks.batched_attention` as Triton kernels.

A program holds a block of keys and walks along a row of queries, whose nine neighbours it finds in the nearest cache.
Every sum has a fixed order, so two runs give the same bits. Tested against `Plain` wherever a GPU is.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call,no-any-return"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from harness.networks.flat_keys import FlatKeys

BLOCK, WARPS = 256, 2
"""Keys that a program holds, and its warps."""

WHOLE_ROW = 16384
"""Keys up to which a program of the row's passes holds all of them; longer rows are read twice."""


@dataclass(frozen=True)
class Fused:
    """The passes on CUDA in float32; `pitches` is `FlatKeys.pitches`."""

    layout: FlatKeys
    pitches: Tensor

    def gather(self, product: Tensor, out: Tensor | None = None) -> Tensor:
        """See `batched_attention.Passes`."""
        pad, length = self.layout.pad, self.layout.length
        batch, height, width = len(product), product.shape[1] - 2 * pad, product.shape[2] - 2 * pad
        out = product.new_empty(batch, height, width, length) if out is None else out
        _gather[(height, triton.cdiv(length, BLOCK), batch)](
            *(product, self.pitches, out, height, width, length), PAD=pad, BLOCK=BLOCK, num_warps=WARPS
        )
        return out

    def softmax_rows(self, gathered: Tensor, norms: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        out = torch.empty_like(gathered)
        self._rows(_softmax, gathered, norms, out)
        return out

    def spread(self, rows: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        pad, length = self.layout.pad, self.layout.length
        batch, height, width, _ = rows.shape
        out = rows.new_empty(batch, height + 2 * pad, width + 2 * pad, length)
        _spread[(height + 2 * pad, triton.cdiv(length, BLOCK), batch)](
            *(rows, self.pitches, out, height, width, length), PAD=pad, BLOCK=BLOCK, num_warps=WARPS
        )
        return out

    def score_gradient(self, d_attention: Tensor, attention: Tensor, norms: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        self._rows(_softmax_gradient, d_attention, norms, attention)
        return d_attention

    def norm_gradient(self, gathered: Tensor, d_gathered: Tensor) -> Tensor:
        """See `batched_attention.Passes`."""
        batch, height, width, length = gathered.shape
        parts = gathered.new_empty(height, batch, length)
        _norm_gradient[(height, triton.cdiv(length, BLOCK), batch)](
            *(gathered, d_gathered, parts, height, width, length), BLOCK=BLOCK, num_warps=WARPS
        )
        return parts.sum(dim=0)

    def _rows(self, kernel: Any, rows: Tensor, norms: Tensor, other: Tensor) -> None:
        """Run a kernel of whole rows."""
        batch, height, width, length = rows.shape
        block = min(triton.next_power_of_2(length), WHOLE_ROW)
        kernel[(batch * height * width,)](
            *(rows, norms, self.pitches, other, height * width, length),
            WHOLE=length <= block,
            BLOCK=block,
            num_warps=max(1, min(16, block // 1024)),
        )


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
def _gather(product, pitches, out, height, width, length, PAD: tl.constexpr, BLOCK: tl.constexpr):
    row, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    pitch = tl.load(pitches + places, mask=inside, other=0)
    real = pitch > 0
    wide = width + 2 * PAD
    base = product + (item * (height + 2 * PAD) + row) * wide * length
    target = out + (item * height + row) * width * length
    for _ in range(0, width):
        tl.store(target + places, _diagonal(base, places, pitch, real, wide, length, PAD, BLOCK), mask=inside)
        base += length
        target += length


@triton.jit
def _scores(gathered, norms, pitches, places, length):
    """The scores of some places of a row, minus infinity where no pixel is."""
    real = tl.load(pitches + places, mask=places < length, other=0) > 0
    norm = tl.load(norms + places, mask=real, other=1.0)
    return tl.where(real, tl.load(gathered + places, mask=real, other=0.0) / norm, float("-inf"))


@triton.jit
def _softmax(gathered, norms, pitches, out, rows, length, WHOLE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    gathered, out, norms = gathered + row * length, out + row * length, norms + row // rows * length
    # Not -inf: a block of a level's margin alone would make it -inf minus -inf.
    largest = tl.full([], -1e30, tl.float32)
    total = tl.zeros([], tl.float32)
    if WHOLE:
        places = tl.arange(0, BLOCK)
        block = _scores(gathered, norms, pitches, places, length)
        block = tl.exp(block - tl.max(block, axis=0))
        tl.store(out + places, block / tl.sum(block, axis=0), mask=places < length)
    else:
        for start in range(0, length, BLOCK):
            block = _scores(gathered, norms, pitches, start + tl.arange(0, BLOCK), length)
            now = tl.maximum(largest, tl.max(block, axis=0))
            total = total * tl.exp(largest - now) + tl.sum(tl.exp(block - now), axis=0)
            largest = now
        for start in range(0, length, BLOCK):
            places = start + tl.arange(0, BLOCK)
            block = _scores(gathered, norms, pitches, places, length)
            tl.store(out + places, tl.exp(block - largest) / total, mask=places < length)


@triton.jit
def _softmax_gradient(gradient, norms, pitches, attention, rows, length, WHOLE: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    gradient, attention, norms = gradient + row * length, attention + row * length, norms + row // rows * length
    inner = tl.zeros([], tl.float32)
    if WHOLE:
        places = tl.arange(0, BLOCK)
        inside = places < length
        block = tl.load(gradient + places, mask=inside, other=0.0)
        share = tl.load(attention + places, mask=inside, other=0.0)
        norm = tl.load(norms + places, mask=inside, other=1.0)
        inner = tl.sum(block * share, axis=0)
        tl.store(gradient + places, (block - inner) * share / norm, mask=inside)
    else:
        for start in range(0, length, BLOCK):
            places = start + tl.arange(0, BLOCK)
            inside = places < length
            block = tl.load(gradient + places, mask=inside, other=0.0)
            inner += tl.sum(block * tl.load(attention + places, mask=inside, other=0.0), axis=0)
        for start in range(0, length, BLOCK):
            places = start + tl.arange(0, BLOCK)
            inside = places < length
            block = tl.load(gradient + places, mask=inside, other=0.0)
            share = tl.load(attention + places, mask=inside, other=0.0)
            norm = tl.load(norms + places, mask=inside, other=1.0)
            tl.store(gradient + places, (block - inner) * share / norm, mask=inside)


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
def _norm_gradient(gathered, given, parts, height, width, length, BLOCK: tl.constexpr):
    row, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = places < length
    offset = (item * height + row) * width * length
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for _ in range(0, width):
        here = tl.load(gathered + offset + places, mask=inside, other=0.0)
        total += here * tl.load(given + offset + places, mask=inside, other=0.0)
        offset += length
    tl.store(parts + (row * tl.num_programs(2) + item) * length + places, total, mask=inside)
