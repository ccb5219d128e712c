"""Patch attention on a CPU: tiles of queries and blocks of keys that stay in its caches.

`harness.networks.patch_attention` has the operator ``D``, `harness.networks.batched_attention` the form for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.networks.flat_keys import FlatKeys

_NEG_INF = float("-inf")


def forward(query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, layout: FlatKeys, budget: int) -> Tensor:
    """Attend on flat keys ``(B, c, L)``, values ``(B, C, L)`` and key weights ``(B, L)``."""
    pad = layout.pad
    batch, _, height, width = query.shape
    out = query.new_empty(batch, values.shape[1], height, width)
    tiles = _Tiles(query, keys, values, layout, budget, buffers=1)
    for item in range(batch):
        tiles.load(query[item], keys[item], values[item], weights[item])
        total = query.new_zeros(height + 2 * pad, width + 2 * pad, values.shape[1])
        for tile in tiles:
            attention = tiles.attention(tile)
            part = query.new_zeros(tile.halo_rows, values.shape[1])
            for block in tiles.blocks:
                part.addmm_(tiles.spread(tile, attention, block), tiles.values[block.start : block.stop])
            tile.halo(total).add_(part.unflatten(0, tile.halo_shape))
        out[item] = total[pad : pad + height, pad : pad + width].permute(2, 0, 1)
    return out


def backward(
    grad: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    layout: FlatKeys,
    budget: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, keys, values and weights; each tile's attention is computed again."""
    pad = layout.pad
    batch, _, height, width = query.shape
    d_query, d_keys = torch.empty_like(query), torch.zeros_like(keys)
    d_values, d_weights = torch.zeros_like(values), torch.zeros_like(weights)
    tiles = _Tiles(query, keys, values, layout, budget, buffers=2)
    for item in range(batch):
        tiles.load(query[item], keys[item], values[item], weights[item])
        grad_item = functional.pad(grad[item].permute(1, 2, 0), (0, 0, pad, pad, pad, pad)).contiguous()
        total = query.new_zeros(height + 2 * pad, width + 2 * pad, query.shape[1])
        for tile in tiles:
            attention = tiles.attention(tile)
            halo_grad = tile.halo(grad_item).flatten(0, 1)
            halo_query = tiles.halo_query(tile)
            # dA = D(dout v^T); the softmax's own gradient needs the whole row, so it is kept.
            d_attention = tiles.second_buffer(tile)
            inner = query.new_zeros(tile.height, tile.width, 1)
            for block in tiles.blocks:
                product = tiles.products(
                    halo_grad, tiles.values[block.start - block.lead : block.stop + block.lead].t()
                )
                d_block = d_attention[:, :, block.start : block.stop]
                d_block.copy_(tiles.gather(tile, product, block))
                a_block = attention[:, :, block.start : block.stop]
                inner += (d_block * a_block).sum(dim=2, keepdim=True)
                spread = tiles.spread(tile, attention, block)
                d_values[item, :, block.start : block.stop] += halo_grad.t() @ spread
            d_attention.sub_(inner).mul_(attention)
            part = query.new_zeros(tile.halo_rows, query.shape[1])
            for block in tiles.blocks:
                d_scores = d_attention[:, :, block.start : block.stop]
                product = tiles.products(halo_query, tiles.keys[:, block.start - block.lead : block.stop + block.lead])
                d_weights[item, block.start : block.stop] += (
                    tiles.gather(tile, product, block).mul_(d_scores).sum(dim=(0, 1))
                )
            d_attention.mul_(tiles.weights)
            for block in tiles.blocks:
                d_product = tiles.spread(tile, d_attention, block)
                part.addmm_(d_product, tiles.keys[:, block.start : block.stop].t())
                d_keys[item, :, block.start : block.stop] += halo_query.t() @ d_product
            tile.halo(total).add_(part.unflatten(0, tile.halo_shape))
        d_query[item] = total[pad : pad + height, pad : pad + width].permute(2, 0, 1)
    return d_query, d_keys, d_values, d_weights


@dataclass(frozen=True)
class _Tile:
    """A rectangle of queries; its halo is the rectangle grown by the patch's reach."""

    top: int
    left: int
    height: int
    width: int
    pad: int

    @property
    def halo_shape(self) -> tuple[int, int]:
        return self.height + 2 * self.pad, self.width + 2 * self.pad

    @property
    def halo_rows(self) -> int:
        return math.prod(self.halo_shape)

    def halo(self, padded: Tensor) -> Tensor:
        """Cut the halo out of a ``(H + 2 pad, W + 2 pad, C)`` map."""
        rows, columns = self.halo_shape
        return padded[self.top : self.top + rows, self.left : self.left + columns]


@dataclass(frozen=True)
class _Block:
    """A run of flat key positions inside one level."""

    start: int
    stop: int
    pitch: int
    lead: int

    def __len__(self) -> int:
        return self.stop - self.start


class _Tiles:
    """Query tiles, key blocks and the work buffers of one call; sizes follow from the memory budget."""

    def __init__(
        self, query: Tensor, keys: Tensor, values: Tensor, layout: FlatKeys, budget: int, buffers: int
    ) -> None:
        self.layout, self.pad = layout, layout.pad
        self.size = (query.shape[2], query.shape[3])
        itemsize, pad = query.element_size(), layout.pad
        # A quarter of the budget for the block buffers, the rest for the score rows. Within it: blocks that
        # stay in a CPU's caches (4 MiB each), and tiles of 16 x 16, whose halo costs 27 % more products.
        # A wider tile gains little and leaves the caches.
        block_items = 2**20 // (2 if itemsize == 8 else 1)
        block_items = min(block_items, budget // 4 // itemsize // 4)
        row_bytes = layout.length * itemsize * buffers
        wanted = max(256, 2**23 // row_bytes)
        queries = max(1, min(wanted, (budget - budget // 4) // row_bytes))
        self.tile_height, self.tile_width = _tile_size(self.size, queries)
        halo_rows = (self.tile_height + 2 * pad) * (self.tile_width + 2 * pad)
        self.blocks = [
            _Block(start, min(start + step, level.end), level.pitch, level.lead)
            for level in layout.levels
            for step in [max(block_items // halo_rows - 2 * level.lead, level.pitch)]
            for start in range(level.begin, level.end, step)
        ]
        longest = max(len(block) + 2 * block.lead for block in self.blocks)
        count = self.tile_height * self.tile_width
        self._scores = [query.new_empty(count * layout.length) for _ in range(buffers)]
        self._products = query.new_empty(halo_rows * longest)
        self._rows = query.new_empty(self.tile_height * (self.tile_width + 2 * pad) * longest)
        self._sums = query.new_empty(halo_rows * longest)
        self.bias = layout.bias(query.device, query.dtype)
        self.margins = [(lv.offset, lv.begin) for lv in layout.levels] + [
            (lv.end, lv.offset + lv.length) for lv in layout.levels
        ]

    def load(self, query: Tensor, keys: Tensor, values: Tensor, weights: Tensor) -> None:
        """Take one item of the batch."""
        pad = self.pad
        self.query = functional.pad(query.permute(1, 2, 0), (0, 0, pad, pad, pad, pad)).contiguous()
        self.keys = keys
        self.values = values.t().contiguous()
        self.weights = weights

    def __iter__(self) -> Iterator[_Tile]:
        height, width = self.size
        for top in range(0, height, self.tile_height):
            for left in range(0, width, self.tile_width):
                rows = min(self.tile_height, height - top)
                yield _Tile(top, left, rows, min(self.tile_width, width - left), self.pad)

    def halo_query(self, tile: _Tile) -> Tensor:
        return tile.halo(self.query).flatten(0, 1)

    def products(self, left: Tensor, right: Tensor) -> Tensor:
        """Multiply halo rows with a block of keys (and the reach around it) into the product buffer."""
        out = self._products[: left.shape[0] * right.shape[1]].view(left.shape[0], right.shape[1])
        return torch.mm(left, right, out=out)

    def gather(self, tile: _Tile, product: Tensor, block: _Block) -> Tensor:
        """Apply ``D``: from products on the halo to sums on the tile, ``(height, width, len(block))``."""
        taps, n, pitch = 2 * self.pad + 1, len(block), block.pitch
        product = product.unflatten(0, tile.halo_shape)
        if taps == 1:
            return product
        wide = n + taps - 1
        rows = self._rows[: tile.height * tile.halo_shape[1] * wide].view(tile.height, -1, wide)
        vertical = [product[t : t + tile.height, :, t * pitch : t * pitch + wide] for t in range(taps)]
        _sum_into(rows, vertical)
        sums = self._sums[: tile.height * tile.width * n].view(tile.height, tile.width, n)
        _sum_into(sums, [rows[:, t : t + tile.width, t : t + n] for t in range(taps)])
        return sums

    def spread(self, tile: _Tile, scores: Tensor, block: _Block) -> Tensor:
        """Apply ``D`` the other way: from the tile's scores to the halo, ``(halo rows, len(block))``."""
        taps, n, pitch, pad = 2 * self.pad + 1, len(block), block.pitch, self.pad
        if taps == 1:
            return scores[:, :, block.start : block.stop].reshape(tile.halo_rows, n)
        first, wide = block.start - pad * pitch, n + 2 * pad * pitch
        rows = self._rows[: tile.height * tile.halo_shape[1] * wide].view(tile.height, -1, wide)
        begins = [first - (t - pad) for t in range(taps)]
        _scatter_into(rows, [scores[:, :, begin : begin + wide] for begin in begins], dim=1)
        sums = self._sums[: tile.halo_rows * n].view(*tile.halo_shape, n)
        begins = [(taps - 1 - t) * pitch for t in range(taps)]
        _scatter_into(sums, [rows[:, :, begin : begin + n] for begin in begins], dim=0)
        return sums.flatten(0, 1)

    def second_buffer(self, tile: _Tile) -> Tensor:
        buffer = self._scores[1][: tile.height * tile.width * self.layout.length]
        buffer = buffer.view(tile.height, tile.width, -1)
        for start, stop in self.margins:
            buffer[:, :, start:stop] = 0
        return buffer

    def attention(self, tile: _Tile) -> Tensor:
        """Compute the softmax rows of a tile, ``(height, width, length)``; 0 where no pixel is."""
        scores = self._scores[0][: tile.height * tile.width * self.layout.length]
        scores = scores.view(tile.height, tile.width, -1)
        for start, stop in self.margins:
            scores[:, :, start:stop] = _NEG_INF
        query = self.halo_query(tile)
        for block in self.blocks:
            here = slice(block.start, block.stop)
            product = self.products(query, self.keys[:, block.start - block.lead : block.stop + block.lead])
            sums = self.gather(tile, product, block)
            torch.addcmul(self.bias[here], sums, self.weights[here], out=scores[:, :, here])
        return softmax_rows_(scores)


def softmax_rows_(scores: Tensor) -> Tensor:
    """Replace each row (last axis) by its softmax: one pass over a row while it is in a CPU's cache."""
    # The kernel reads an element before it writes it.
    return torch.softmax(scores, dim=-1, out=scores)


def _sum_into(out: Tensor, parts: list[Tensor]) -> None:
    torch.add(parts[0], parts[1], out=out)
    for part in parts[2:]:
        out.add_(part)


def _scatter_into(out: Tensor, parts: list[Tensor], dim: int) -> None:
    """Add each part to ``out``, one place further along ``dim`` than the part before."""
    length = parts[0].shape[dim]
    out.narrow(dim, 0, length).copy_(parts[0])
    out.narrow(dim, length, len(parts) - 1).zero_()
    for place, part in enumerate(parts[1:], start=1):
        out.narrow(dim, place, length).add_(part)


def _tile_size(size: tuple[int, int], queries: int) -> tuple[int, int]:
    """Choose the tile (height, width) of at most ``queries`` pixels, near square, that splits the map evenly."""
    height, width = size
    tile_width = min(width, max(1, math.isqrt(queries)))
    tile_height = min(height, max(1, queries // tile_width))
    tile_width = min(width, max(1, queries // tile_height))
    return evenly(height, tile_height), evenly(width, tile_width)


def evenly(length: int, step: int) -> int:
    """Shorten a step so that as many steps divide a length into parts that are as equal as can be."""
    return math.ceil(length / math.ceil(length / step))
