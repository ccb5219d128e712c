"""The rows of a pixel-wise attention's softmax, a chunk at a time; see `harness.networks.dot_product_attention`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.networks.tiled_attention import softmax_rows_


def forward(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
    """Attend; ``(B, c, N)`` rows and keys, ``(B, C, N)`` values."""
    if batched:
        return _batched(r, k, v, gather, budget)
    out = v.new_zeros(*v.shape[:2], (r if gather else k).shape[2])
    step, buffer = _chunks(r, k, budget, buffers=1)
    for item in range(r.shape[0]):
        for start in range(0, r.shape[2], step):
            here = slice(start, start + step)
            rows = _rows(r[item, :, here], k[item], buffer[0])
            if gather:
                out[item, :, here] = v[item] @ rows.t()
            else:
                out[item].addmm_(v[item, :, here], rows)
    return out


def backward(
    grad: Tensor, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of rows, keys and values; the softmax is computed again."""
    if batched:
        return _batched_backward(grad, r, k, v, gather, budget)
    d_r, d_k, d_v = torch.empty_like(r), torch.zeros_like(k), torch.zeros_like(v)
    step, buffer = _chunks(r, k, budget, buffers=2)
    for item in range(r.shape[0]):
        for start in range(0, r.shape[2], step):
            here = slice(start, start + step)
            rows = _rows(r[item, :, here], k[item], buffer[0])
            d_rows = buffer[1][: rows.numel()].view(rows.shape)
            if gather:
                torch.mm(grad[item, :, here].t(), v[item], out=d_rows)
                d_v[item].addmm_(grad[item, :, here], rows)
            else:
                torch.mm(v[item, :, here].t(), grad[item], out=d_rows)
                d_v[item, :, here] = grad[item] @ rows.t()
            d_rows.sub_(torch.linalg.vecdot(d_rows, rows).unsqueeze(1)).mul_(rows)
            d_r[item, :, here] = k[item] @ d_rows.t()
            d_k[item].addmm_(r[item, :, here], d_rows)
    return d_r, d_k, d_v


def _batched(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int) -> Tensor:
    """The same on an accelerator: many items of a batch in each product."""
    parts = list(_parts(r, k, budget, buffers=2))
    if len(parts) == 1:
        rows = _batched_rows(r, k)
        return torch.bmm(v, rows.transpose(1, 2) if gather else rows)
    out = v.new_empty(*v.shape[:2], r.shape[2]) if gather else v.new_zeros(*v.shape[:2], k.shape[2])
    for items, here in parts:
        rows = _batched_rows(r[items, :, here], k[items])
        if gather:
            out[items, :, here] = torch.bmm(v[items], rows.transpose(1, 2))
        else:
            out[items].baddbmm_(v[items, :, here], rows)
    return out


def _batched_backward(
    grad: Tensor, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int
) -> tuple[Tensor, Tensor, Tensor]:
    parts = list(_parts(r, k, budget, buffers=3))
    if len(parts) == 1:
        return _gradients(grad, r, k, v, gather)
    d_r, d_k, d_v = torch.empty_like(r), torch.zeros_like(k), torch.zeros_like(v)
    for items, here in parts:
        # Of `gather`, outputs belong to the rows and values to the keys; of `scatter` the other way round.
        of_grad, of_value = (here, slice(None)) if gather else (slice(None), here)
        found = _gradients(grad[items, :, of_grad], r[items, :, here], k[items], v[items, :, of_value], gather)
        d_r[items, :, here] = found[0]
        d_k[items] += found[1]
        d_v[items, :, of_value] += found[2]
    return d_r, d_k, d_v


def _gradients(grad: Tensor, r: Tensor, k: Tensor, v: Tensor, gather: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of some rows, of their keys, and of the values."""
    rows = _batched_rows(r, k)
    first, second = (grad, v) if gather else (v, grad)
    d_rows = torch.bmm(first.transpose(1, 2), second)
    d_v = torch.bmm(grad, rows if gather else rows.transpose(1, 2))
    d_scores = torch._softmax_backward_data(d_rows, rows, 2, rows.dtype)
    return torch.bmm(k, d_scores.transpose(1, 2)), torch.bmm(r, d_scores), d_v


def _batched_rows(r: Tensor, k: Tensor) -> Tensor:
    return torch.bmm(r.transpose(1, 2), k).softmax(dim=2)


def _parts(r: Tensor, k: Tensor, budget: int, buffers: int) -> Iterator[tuple[slice, slice]]:
    """Divide a batch into parts that fit a budget: several items, or some rows of one."""
    batch, positions = r.shape[0], r.shape[2]
    rows = max(1, budget // (buffers * k.shape[2] * r.element_size()))
    group = min(batch, max(1, rows // positions))
    group = math.ceil(batch / math.ceil(batch / group))
    step = min(positions, rows)
    for first in range(0, batch, group):
        for start in range(0, positions, step):
            yield slice(first, first + group), slice(start, start + step)


def _chunks(r: Tensor, k: Tensor, budget: int, buffers: int) -> tuple[int, list[Tensor]]:
    """Choose the rows of a chunk, and make its buffers: 4 MiB stay in a CPU's caches."""
    positions = k.shape[2]
    step = max(1, min(r.shape[2], min(budget, 2**22 * buffers) // (buffers * positions * r.element_size())))
    return step, [r.new_empty(step * positions) for _ in range(buffers)]


def _rows(r: Tensor, k: Tensor, buffer: Tensor) -> Tensor:
    rows = buffer[: r.shape[1] * k.shape[1]].view(r.shape[1], k.shape[1])
    return softmax_rows_(torch.mm(r.t(), k, out=rows))
