"""Patch attention on an accelerator: whole groups of items and all their keys in a few large kernels.

The operator ``D`` of `harness.networks.patch_attention` is applied to a map of products ``(items, halo rows,
halo columns, L)`` at once. A CPU wants tiles that stay in its caches; here a chunk is as large as the memory budget
allows: several items of a batch, or a rectangle of one item's queries. In float32 on CUDA the passes between the
matrix products are `harness.networks.triton_attention`'s, where Triton is installed and gives on this card what
`Plain`, the same in torch's operations, gives.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
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

    A chunk's rows are ``(b, h, w, L)``, the products of its halo ``(b, h + 2 pad, w + 2 pad, L)``, the norms ``(b, L)``
    what the sums of a key are divided by.
    """

    def gather(self, product: Tensor, out: Tensor | None = None) -> Tensor:
        """``D``: from the halo to the chunk; 0 outside the levels, no matter what between the rows of one."""

    def softmax_rows(self, gathered: Tensor, norms: Tensor) -> Tensor:
        """Rows of A: softmax of ``gathered / norms``, 0 where no pixel is."""

    def spread(self, rows: Tensor) -> Tensor:
        """``D`` the other way, of rows that are 0 where no pixel is; finite, no matter what, where no pixel is."""

    def score_gradient(self, d_attention: Tensor, attention: Tensor, norms: Tensor) -> Tensor:
        """Gradient of `softmax_rows` at `gathered`, from ``dA``, which may be overwritten; 0 where no pixel is."""

    def norm_gradient(self, gathered: Tensor, d_gathered: Tensor) -> Tensor:
        """``sum over rows of gathered * d_gathered``, ``(b, L)``."""


@dataclass(frozen=True)
class Plain:
    """The passes in torch's own operations."""

    layout: FlatKeys

    def gather(self, product: Tensor, out: Tensor | None = None) -> Tensor:
        """See `Passes`."""
        reach = 2 * self.layout.pad
        if not reach:
            return product
        here = product[:, : product.shape[1] - reach, : product.shape[2] - reach]
        return self.layout.window_sums(here, product.stride(1), product.stride(2), out)

    def softmax_rows(self, gathered: Tensor, norms: Tensor) -> Tensor:
        """See `Passes`."""
        bias = self.layout.bias(gathered.device, gathered.dtype)
        return torch.addcdiv(bias, gathered, norms[:, None, None]).softmax(dim=3)

    def spread(self, rows: Tensor) -> Tensor:
        """See `Passes`."""
        # D is its own transpose.
        reach = 2 * self.layout.pad
        return self.gather(functional.pad(rows, (0, 0, reach, reach, reach, reach))) if reach else rows

    def score_gradient(self, d_attention: Tensor, attention: Tensor, norms: Tensor) -> Tensor:
        """See `Passes`."""
        gradient = torch._softmax_backward_data(d_attention, attention, 3, attention.dtype)
        return gradient.div_(norms[:, None, None])

    def norm_gradient(self, gathered: Tensor, d_gathered: Tensor) -> Tensor:
        """See `Passes`."""
        return torch.linalg.vecdot(gathered.flatten(1, 2), d_gathered.flatten(1, 2), dim=1)


def passes_for(query: Tensor, layout: FlatKeys) -> Passes:
    """Choose the passes for a tensor: Triton's for float32 on CUDA, else torch's."""
    if query.is_cuda and query.dtype is torch.float32 and layout.pad and has_triton():
        from harness.networks.triton_attention import Fused

        if agree(Fused, layout.pad, query.device):
            return Fused(layout, layout.pitches(query.device))
    return Plain(layout)


@functools.cache
def agree(fused: Callable[[FlatKeys, Tensor], Passes], pad: int, device: torch.device) -> bool:
    """Try other passes beside `Plain` on small maps, once for a device; where they differ, or fail, warn.

    Parameters
    ----------
    fused : callable
        Makes the passes from a layout and its `FlatKeys.pitches`.
    pad : int
        Reach of a patch.
    device : device
        Where they are tried.

    Returns
    -------
    bool
        Whether all results are equal within 1e-4 of the largest.
    """
    layout = FlatKeys.of([(9, 7), (6, 5)], pad)
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> Tensor:
        return torch.rand(*shape, layout.length, generator=generator).to(device)

    product, d_product, norms = made(2, 6 + 2 * pad, 5 + 2 * pad), made(2, 6 + 2 * pad, 5 + 2 * pad), made(2) + 0.5

    def results(passes: Passes) -> list[Tensor]:
        gathered = passes.gather(product)
        attention = passes.softmax_rows(gathered, norms)
        d_scores = passes.score_gradient(passes.gather(d_product), attention, norms)
        # Where no pixel is, the others may say what they like.
        real = layout.pitches(device) > 0
        return [
            *(part * real for part in (gathered, passes.spread(attention), passes.spread(d_scores))),
            *(attention, d_scores, passes.norm_gradient(gathered * real, d_scores)),
        ]

    try:
        with torch.no_grad():
            pairs = list(zip(results(fused(layout, layout.pitches(device))), results(Plain(layout)), strict=True))
        worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        if all(bool(torch.isfinite(a).all()) for a, _ in pairs) and worst <= 1e-4:
            return True
        what = f"they differ by {worst:.1e} of the largest"
    except Exception as error:  # whatever a compiler of kernels may meet on a card that nobody tried
        what = f"{type(error).__name__}: {error}"[:300]
    warnings.warn(f"attention's Triton kernels are not used on {device}, torch's own are: {what}", stacklevel=2)
    return False


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


def forward(
    query: Tensor, flat: Tensor, layout: FlatKeys, scale: float, floor: float, budget: int, keep: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Attend.

    Parameters
    ----------
    query : Tensor
        ``(B, c, H, W)``.
    flat : Tensor
        ``(B, c + C, L)``: keys, and below them values.
    layout : FlatKeys
        How they lie.
    scale, floor : float
        Factor of the normalised products; smallest norm that a key patch is divided by.
    budget : int
        Bytes for the buffers.
    keep : bool
        Whether a gradient will be asked for.

    Returns
    -------
    tuple
        ``(B, C, H, W)``; the norms ``(B, L)``; and, to be kept for the gradient, ``(B, H, W, L)``, the products of the
        patches, or None where they would take more than half of the budget.
    """
    pad, passes = layout.pad, passes_for(query, layout)
    batch, channels, height, width = query.shape
    keys, values = flat.split([channels, flat.shape[1] - channels], dim=1)
    padded, values_t = _padded(query, pad), values.transpose(1, 2)
    norms = layout.window_norms(keys, floor)
    divisors = norms / scale
    # Products, their sums, the rows before and after the softmax.
    row_bytes = layout.length * query.element_size()
    parts = list(chunks(batch, (height, width), layout, 4 * row_bytes, budget))
    alone, maps = len(parts) == 1, len(parts) <= batch
    kept = None
    if keep and pad and maps and 2 * batch * height * width * row_bytes <= budget:
        kept = query.new_empty(batch, height, width, layout.length)
    size = batch, height + 2 * pad, width + 2 * pad, values.shape[1]
    total = query.new_empty(0) if alone else query.new_zeros(size)
    for chunk in parts:
        items = chunk.items
        product = _product(chunk.halo(padded, pad), keys[items])
        gathered = passes.gather(product, None if kept is None else kept[items])
        del product
        attention = passes.softmax_rows(gathered, divisors[items])
        del gathered
        part = _times(passes.spread(attention), values_t[items])
        del attention
        total = part if alone else _added(total, chunk, pad, part)
    return _cropped(total, pad), norms, kept


def backward(
    grad: Tensor,
    query: Tensor,
    flat: Tensor,
    norms: Tensor,
    kept: Tensor | None,
    layout: FlatKeys,
    scale: float,
    floor: float,
    budget: int,
) -> tuple[Tensor, Tensor]:
    """Gradients of query and flat keys and values; what was not kept is computed again."""
    pad, passes = layout.pad, passes_for(query, layout)
    batch, channels, height, width = query.shape
    keys, values = flat.split([channels, flat.shape[1] - channels], dim=1)
    padded, padded_grad, keys_t = _padded(query, pad), _padded(grad, pad), keys.transpose(1, 2)
    divisors = norms / scale
    parts = list(chunks(batch, (height, width), layout, 7 * layout.length * query.element_size(), budget))
    if len(parts) > batch:
        kept = None
    alone = len(parts) == 1
    size = batch, height + 2 * pad, width + 2 * pad, channels
    total = query.new_empty(0) if alone else query.new_zeros(size)
    d_flat = torch.empty_like(flat) if alone else torch.zeros_like(flat)
    d_keys, d_values = d_flat.split([channels, flat.shape[1] - channels], dim=1)
    norm_parts = []
    for chunk in parts:
        items = chunk.items
        halo, halo_grad = chunk.halo(padded, pad), chunk.halo(padded_grad, pad)
        gathered = passes.gather(_product(halo, keys[items])) if kept is None else kept[items]
        attention = passes.softmax_rows(gathered, divisors[items])
        _add_product(d_values[items], halo_grad, passes.spread(attention), alone)
        # dA = D(dout v^T); the softmax's own gradient needs the whole row.
        d_attention = passes.gather(_product(halo_grad, values[items]))
        d_gathered = passes.score_gradient(d_attention, attention, divisors[items])
        del attention, d_attention
        norm_parts.append((items, passes.norm_gradient(gathered, d_gathered)))
        del gathered
        d_product = passes.spread(d_gathered)
        del d_gathered
        part = _times(d_product, keys_t[items])
        total = part if alone else _added(total, chunk, pad, part)
        _add_product(d_keys[items], halo, d_product, alone)
    d_norms = norm_parts[0][1] if alone else torch.zeros_like(norms)
    for items, summed in [] if alone else norm_parts:
        d_norms[items] += summed
    # Through the norms: |k| of a patch moves each of its pixels by k / |k|; at the floor it moves nothing.
    squares = functional.threshold(norms, floor, math.inf).square_()
    d_keys.addcmul_(keys, layout.window_sums(d_norms.div_(squares)).unsqueeze(1), value=-1)
    return _cropped(total, pad), d_flat


def _added(total: Tensor, chunk: Chunk, pad: int, part: Tensor) -> Tensor:
    chunk.halo(total, pad).add_(part)
    return total


def _padded(x: Tensor, pad: int) -> Tensor:
    """Lay ``(B, C, H, W)`` out as ``(B, H + 2 pad, W + 2 pad, C)``, with zeros around."""
    return functional.pad(x.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad)).contiguous()


def _cropped(x: Tensor, pad: int) -> Tensor:
    return x[:, pad : x.shape[1] - pad, pad : x.shape[2] - pad].permute(0, 3, 1, 2).contiguous()


def _product(halo: Tensor, flat: Tensor) -> Tensor:
    """Multiply halo pixels ``(b, h, w, c)`` with flat keys ``(b, c, L)``."""
    return torch.bmm(halo.flatten(1, 2), flat).unflatten(1, halo.shape[1:3])


def _times(spread: Tensor, flat: Tensor) -> Tensor:
    """Multiply ``(b, h, w, L)`` with ``(b, L, C)``."""
    return torch.bmm(spread.flatten(1, 2), flat).unflatten(1, spread.shape[1:3])


def _add_product(out: Tensor, halo: Tensor, spread: Tensor, alone: bool) -> None:
    """Add ``halo^T spread`` to ``(b, C, L)``, or where nothing else is added, write it there."""
    out.baddbmm_(halo.flatten(1, 2).transpose(1, 2), spread.flatten(1, 2), beta=0 if alone else 1)
