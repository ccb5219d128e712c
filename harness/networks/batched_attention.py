"""Patch attention on an accelerator: whole groups of items and all their keys in a few large kernels.

The operator ``D`` of `harness.networks.patch_attention` is applied to a map of products ``(items, halo rows,
halo columns, L)`` at once. A CPU wants tiles that stay in its caches; here a chunk is as large as the memory budget
allows: several items of a batch, or a rectangle of one item's queries. In float32 on CUDA the passes between the
matrix products are `harness.networks.triton_attention`'s, where Triton is installed; `Plain` says the same in torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from harness.networks.flat_keys import FlatKeys
from harness.networks.tiled_attention import evenly

MEMORY_UNIT = 8 * 2**30
"""A GPU takes the memory budget once for every 8 GiB that it has."""


class Passes(Protocol):
    """What happens between the matrix products.

    A chunk's rows are ``(b, h, w, L)``, the products of its halo ``(b, h + 2 pad, w + 2 pad, L)``.
    """

    def softmax_rows(self, product: Tensor, weights: Tensor) -> Tensor:
        """Rows of A: softmax of ``weights * D(product)``, 0 where no pixel is."""

    def spread(self, rows: Tensor) -> Tensor:
        """``D`` the other way, of rows that are 0 where no pixel is; no matter what, where no pixel is."""

    def score_gradient(self, product: Tensor, attention: Tensor) -> Tensor:
        """Gradient before the softmax, of ``dA = D(product)``; 0 where no pixel is."""

    def weight_gradient(self, product: Tensor, d_scores: Tensor) -> Tensor:
        """``sum over rows of D(product) * d_scores``, ``(b, L)``."""


@dataclass(frozen=True)
class Plain:
    """The passes in torch's own operations."""

    layout: FlatKeys

    def gather(self, product: Tensor) -> Tensor:
        """Apply ``D``: from the halo to the chunk; 0 outside the levels."""
        pad, taps, length = self.layout.pad, 2 * self.layout.pad + 1, self.layout.length
        if taps == 1:
            return product
        height, width = product.shape[1] - 2 * pad, product.shape[2] - 2 * pad
        inner = length - 2 * pad
        across = product[:, :, :width, :inner] + product[:, :, 1 : width + 1, 1 : inner + 1]
        for t in range(2, taps):
            across.add_(product[:, :, t : t + width, t : t + inner])
        out = product.new_zeros(product.shape[0], height, width, length)
        for level in self.layout.levels:
            first, size = level.begin - pad - pad * level.pitch, level.end - level.begin
            parts = [
                across[:, t : t + height, :, first + t * level.pitch : first + t * level.pitch + size]
                for t in range(taps)
            ]
            here = torch.add(parts[0], parts[1], out=out[..., level.begin : level.end])
            for part in parts[2:]:
                here.add_(part)
        return out

    def softmax_rows(self, product: Tensor, weights: Tensor) -> Tensor:
        """See `Passes`."""
        scores = torch.addcmul(
            self.layout.bias(product.device, product.dtype), self.gather(product), weights[:, None, None]
        )
        return scores.softmax(dim=3)

    def spread(self, rows: Tensor) -> Tensor:
        """See `Passes`."""
        pad, taps, length = self.layout.pad, 2 * self.layout.pad + 1, self.layout.length
        if taps == 1:
            return rows
        batch, height, width, _ = rows.shape
        across = rows.new_zeros(batch, height, width + 2 * pad, length)
        for t in range(taps):
            across[:, :, t : t + width, pad : length - pad].add_(rows[..., 2 * pad - t : length - t])
        out = rows.new_zeros(batch, height + 2 * pad, width + 2 * pad, length)
        for level in self.layout.levels:
            for t in range(taps):
                shift = (t - pad) * level.pitch
                part = across[..., level.begin - shift : level.end - shift]
                out[:, t : t + height, :, level.begin : level.end].add_(part)
        return out

    def score_gradient(self, product: Tensor, attention: Tensor) -> Tensor:
        """See `Passes`."""
        d_attention = self.gather(product)
        inner = torch.linalg.vecdot(d_attention, attention).unsqueeze(3)
        return d_attention.sub_(inner).mul_(attention)

    def weight_gradient(self, product: Tensor, d_scores: Tensor) -> Tensor:
        """See `Passes`."""
        return self.gather(product).mul_(d_scores).sum(dim=(1, 2))


def passes_for(query: Tensor, layout: FlatKeys) -> Passes:
    """Choose the passes for a tensor: Triton's for float32 on CUDA, else torch's."""
    if query.is_cuda and query.dtype is torch.float32 and layout.pad and has_triton():
        from harness.networks.triton_attention import Fused

        return Fused(layout, layout.pitches(query.device))
    return Plain(layout)


@functools.cache
def has_triton() -> bool:
    """Whether Triton is installed; it comes with torch's CUDA wheels on Linux."""
    import importlib.util

    return importlib.util.find_spec("triton") is not None


def device_budget(budget: int, device: torch.device) -> int:
    """Bytes for the buffers on a device, by the card's whole memory: two runs on one card have the same chunks."""
    if device.type != "cuda":
        return budget
    return budget * max(1, torch.cuda.get_device_properties(device).total_memory // MEMORY_UNIT)


@dataclass(frozen=True)
class Chunk:
    """Some items of a batch and a rectangle of their queries."""

    items: slice
    top: int
    left: int
    height: int
    width: int

    def halo(self, padded: Tensor, pad: int) -> Tensor:
        """Cut the rectangle and its reach out of ``(B, H + 2 pad, W + 2 pad, C)``: a view."""
        return padded[
            self.items, self.top : self.top + self.height + 2 * pad, self.left : self.left + self.width + 2 * pad
        ]


def chunks(batch: int, size: tuple[int, int], layout: FlatKeys, row_bytes: int, budget: int) -> Iterator[Chunk]:
    """Divide a batch of maps into chunks whose buffers, `row_bytes` for each query of the halo, fit a budget.

    A chunk is of several whole maps, or a part of one map: near square, because a halo costs its whole rim.
    """
    height, width = size
    queries = budget // row_bytes
    whole = (height + 2 * layout.pad) * (width + 2 * layout.pad)
    if queries >= whole:
        group = min(batch, queries // whole)
        group = math.ceil(batch / math.ceil(batch / group))
        for start in range(0, batch, group):
            yield Chunk(slice(start, min(batch, start + group)), 0, 0, height, width)
        return
    side = max(1, math.isqrt(max(1, queries)) - 2 * layout.pad)
    rows = evenly(height, min(height, side))
    columns = evenly(width, min(width, max(1, queries // (rows + 2 * layout.pad) - 2 * layout.pad)))
    for item in range(batch):
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                yield Chunk(slice(item, item + 1), top, left, min(rows, height - top), min(columns, width - left))


def forward(query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, layout: FlatKeys, budget: int) -> Tensor:
    """Attend: query ``(B, c, H, W)``, flat keys ``(B, c, L)``, values ``(B, C, L)``, weights ``(B, L)``."""
    pad, passes = layout.pad, passes_for(query, layout)
    batch, _, height, width = query.shape
    padded, values_t = _padded(query, pad), values.transpose(1, 2)
    total = query.new_zeros(batch, height + 2 * pad, width + 2 * pad, values.shape[1])
    # Products, their sums across, the rows before and after the softmax.
    for chunk in chunks(batch, (height, width), layout, 4 * layout.length * query.element_size(), budget):
        items = chunk.items
        attention = passes.softmax_rows(_product(chunk.halo(padded, pad), keys[items]), weights[items])
        spread = passes.spread(attention)
        del attention
        chunk.halo(total, pad).add_(_times(spread, values_t[items]))
    return _cropped(total, pad)


def backward(
    grad: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    layout: FlatKeys,
    budget: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, keys, values and weights; each chunk's attention is computed again."""
    pad, passes = layout.pad, passes_for(query, layout)
    batch, channels, height, width = query.shape
    padded, padded_grad, keys_t = _padded(query, pad), _padded(grad, pad), keys.transpose(1, 2)
    total = query.new_zeros(batch, height + 2 * pad, width + 2 * pad, channels)
    d_keys, d_values, d_weights = torch.zeros_like(keys), torch.zeros_like(values), torch.zeros_like(weights)
    for chunk in chunks(batch, (height, width), layout, 7 * layout.length * query.element_size(), budget):
        items = chunk.items
        halo, halo_grad = chunk.halo(padded, pad), chunk.halo(padded_grad, pad)
        product = _product(halo, keys[items])
        attention = passes.softmax_rows(product, weights[items])
        # dA = D(dout v^T); the softmax's own gradient needs the whole row.
        d_scores = passes.score_gradient(_product(halo_grad, values[items]), attention)
        _add_product(d_values[items], halo_grad, passes.spread(attention))
        del attention
        d_weights[items].add_(passes.weight_gradient(product, d_scores))
        del product
        d_product = passes.spread(d_scores.mul_(weights[items][:, None, None]))
        del d_scores
        chunk.halo(total, pad).add_(_times(d_product, keys_t[items]))
        _add_product(d_keys[items], halo, d_product)
    return _cropped(total, pad), d_keys, d_values, d_weights


def _padded(x: Tensor, pad: int) -> Tensor:
    """Lay ``(B, C, H, W)`` out as ``(B, H + 2 pad, W + 2 pad, C)``, with zeros around."""
    return functional.pad(x, (pad, pad, pad, pad)).permute(0, 2, 3, 1).contiguous()


def _cropped(x: Tensor, pad: int) -> Tensor:
    return x[:, pad : x.shape[1] - pad, pad : x.shape[2] - pad].permute(0, 3, 1, 2).contiguous()


def _product(halo: Tensor, flat: Tensor) -> Tensor:
    """Multiply halo pixels ``(b, h, w, c)`` with flat keys ``(b, c, L)``."""
    return torch.bmm(halo.flatten(1, 2), flat).unflatten(1, halo.shape[1:3])


def _times(spread: Tensor, flat: Tensor) -> Tensor:
    """Multiply ``(b, h, w, L)`` with ``(b, L, C)``."""
    return torch.bmm(spread.flatten(1, 2), flat).unflatten(1, spread.shape[1:3])


def _add_product(out: Tensor, halo: Tensor, spread: Tensor) -> None:
    """Add ``halo^T spread`` to ``(b, C, L)``."""
    out.baddbmm_(halo.flatten(1, 2).transpose(1, 2), spread.flatten(1, 2))
