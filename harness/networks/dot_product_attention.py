"""Pixel-wise dot-product attention: RNAN's non-local block and CSNLN's in-scale attention.

For maps a, b of c features and values v at the same N positions, two forms exist in the papers' networks:

- ``gather`` (RNAN eq. 5, CSNLN):       y[i] = sum_j softmax_j(a[i] . b[j]) v[j]
- ``scatter`` (RNAN's released code):   y[i] = sum_j softmax_i(a[i] . b[j]) v[j]

The second normalises over the positions that receive, so the weights of one output do not add up to one.
Streamed, the rows of a softmax are done a chunk at a time: chunks of i for ``gather``, chunks of j for
``scatter``. The (N, N) matrix never exists; the backward pass recomputes each chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.errors import unknown_name
from harness.networks.patch_attention import KERNELS, MEMORY_BUDGET, softmax_rows_, without_autocast

FORMS = ("gather", "scatter")


def dot_product_attention(
    a: Tensor,
    b: Tensor,
    v: Tensor,
    *,
    form: str = "gather",
    kernel: str = "streamed",
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Attend between the pixels of feature maps, without scaling the products.

    Parameters
    ----------
    a, b : Tensor
        ``(B, c, H, W)`` embeddings; ``a`` belongs to the outputs, ``b`` to the values. They may differ in size.
    v : Tensor
        ``(B, C, H, W)`` values at the places of ``b``.
    form : str
        ``"gather"``: softmax over the positions of ``b``; ``"scatter"``: over the positions of ``a``.
    kernel : str
        ``"streamed"`` or ``"direct"``.
    memory_budget : int
        Bytes for the score rows of the streamed form; at least one row of N is held.

    Returns
    -------
    Tensor
        ``(B, C, H, W)`` at the places of ``a``, of its dtype. Half precisions are computed in float32.
    """
    if form not in FORMS:
        raise unknown_name("attention form", form, FORMS)
    if kernel not in KERNELS:
        raise unknown_name("attention kernel", kernel, KERNELS)
    dtype, shape = a.dtype, (*v.shape[:2], *a.shape[2:])
    if dtype in (torch.float16, torch.bfloat16):
        a, b, v = a.float(), b.float(), v.float()
    a, b, v = (x.flatten(2) for x in (a, b, v))
    with without_autocast(a.device):
        if kernel == "direct":
            scores = a.transpose(1, 2) @ b
            weights = scores.softmax(dim=2 if form == "gather" else 1)
            out = v @ weights.transpose(1, 2)
        elif form == "gather":
            out = _Streamed.apply(a, b, v, True, memory_budget)
        else:
            out = _Streamed.apply(b, a, v, False, memory_budget)
    return out.reshape(shape).to(dtype)


class _Streamed(torch.autograd.Function):
    """Rows P = softmax(r^T k) of ``(B, c, N)`` maps: ``y = v P^T`` (gather) or ``y = v P`` (scatter)."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int) -> Tensor:
        ctx.save_for_backward(r, k, v)
        ctx.gather, ctx.budget = gather, budget
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

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        r, k, v = ctx.saved_tensors
        d_r, d_k, d_v = torch.empty_like(r), torch.zeros_like(k), torch.zeros_like(v)
        step, buffer = _chunks(r, k, ctx.budget, buffers=2)
        for item in range(r.shape[0]):
            for start in range(0, r.shape[2], step):
                here = slice(start, start + step)
                rows = _rows(r[item, :, here], k[item], buffer[0])
                d_rows = buffer[1][: rows.numel()].view(rows.shape)
                if ctx.gather:
                    torch.mm(grad[item, :, here].t(), v[item], out=d_rows)
                    d_v[item].addmm_(grad[item, :, here], rows)
                else:
                    torch.mm(v[item, :, here].t(), grad[item], out=d_rows)
                    d_v[item, :, here] = grad[item] @ rows.t()
                d_rows.sub_(torch.linalg.vecdot(d_rows, rows).unsqueeze(1)).mul_(rows)
                d_r[item, :, here] = k[item] @ d_rows.t()
                d_k[item].addmm_(r[item, :, here], d_rows)
        return d_r, d_k, d_v, None, None


def _chunks(r: Tensor, k: Tensor, budget: int, buffers: int) -> tuple[int, list[Tensor]]:
    """Choose the rows of a chunk, and make its buffers: 4 MiB stay in a CPU's caches, a GPU wants more."""
    positions = k.shape[2]
    wanted = (2**22 if r.device.type == "cpu" else 2**27) * buffers
    step = max(1, min(r.shape[2], min(budget, wanted) // (buffers * positions * r.element_size())))
    return step, [r.new_empty(step * positions) for _ in range(buffers)]


def _rows(r: Tensor, k: Tensor, buffer: Tensor) -> Tensor:
    rows = buffer[: r.shape[1] * k.shape[1]].view(r.shape[1], k.shape[1])
    return softmax_rows_(torch.mm(r.t(), k, out=rows))
