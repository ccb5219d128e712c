"""Pixel-wise dot-product attention: RNAN's non-local block and CSNLN's in-scale attention.

For maps a, b of c features and values v at the same N positions, two forms exist in the papers' networks:

- ``gather`` (RNAN eq. 5, CSNLN):       y[i] = sum_j softmax_j(a[i] . b[j]) v[j]
- ``scatter`` (RNAN's released code):   y[i] = sum_j softmax_i(a[i] . b[j]) v[j]

The second normalises over the positions that receive, so the weights of one output do not add up to one.
Streamed, the rows of a softmax are done a chunk at a time: chunks of i for ``gather``, chunks of j for
``scatter``. The (N, N) matrix never exists; the backward pass recomputes each chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import unknown_name
from harness.networks.batched_attention import device_budget
from harness.networks.operators import attend_pixels
from harness.networks.patch_attention import KERNELS, MEMORY_BUDGET
from harness.networks.precision import without_autocast

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
        ``"streamed"``, ``"batched"`` or ``"direct"``, see `harness.networks.patch_attention.KERNELS`.
    memory_budget : int
        Bytes for the score rows; a GPU takes them once for every 8 GiB that it has. At least one row of N is held.

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
        else:
            batched = kernel == "batched" or a.device.type != "cpu"
            budget = device_budget(memory_budget, a.device) if batched else memory_budget
            gather = form == "gather"
            r, k = (a, b) if gather else (b, a)
            out = attend_pixels(r, k, v, gather, budget, batched)
    return out.reshape(shape).to(dtype)
