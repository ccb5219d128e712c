"""Non-local attention between patches: the direct form of the papers and the streamed form used everywhere.

Both compute, for a query map ``q`` and one or several key and value maps (the levels of a pyramid),

    S[p, j] = scale * sum_d q[p + d] . k[j + d] / max(norm_j, floor)      d over the ksize x ksize patch
    A       = softmax of S over all j of all levels
    out[p]  = sum_d sum_j A[p - d, j] v[j + d]                             overlapping patches are summed

with zeros outside every map (PANet eq. 5 and its implementation paragraph: matching is a convolution with
the key patches, the response a transposed convolution with the value patches). ``norm_j`` is the L2 norm of
key patch j.

The streamed form rests on one operator. Let ``D`` add the neighbours of a pair on its diagonal,
``(D X)[p, j] = sum_d X[p + d, j + d]``. Then ``S = scale * D(q k^T) / norm`` and ``out = D(A) v``: the
products run over pixels instead of patches (a ninth of the multiplications for 3x3) and ``D``, which is
its own transpose, is a few shifted additions. Rows of ``A`` are independent, so a tile of queries is done
at a time and nothing of the size (pixels)^2 exists. The backward pass recomputes each tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError, unknown_name
from harness.networks.batched_attention import device_budget
from harness.networks.flat_keys import FlatKeys
from harness.networks.operators import attend_flat, attend_patches, flattened
from harness.networks.precision import without_autocast

KERNELS = ("streamed", "batched", "direct")
"""``direct``: as the papers write it, memory (pixels)^2; ``streamed``: the same numbers within a memory budget, in
tiles that stay in a CPU's caches, or on another device as ``batched``: many items and all keys in each kernel."""

MEMORY_BUDGET = 512 * 2**20
"""Default bytes that an attention may use for its score tiles, beside its input, output and parameters."""


def patch_attention(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    *,
    ksize: int = 3,
    softmax_scale: float = 10.0,
    norm_floor: float = 1e-4,
    kernel: str = "streamed",
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Attend from every patch of one map to all patches of several maps, and sum the overlapping responses.

    Parameters
    ----------
    query : Tensor
        ``(B, c, H, W)`` floating point.
    keys, values : sequence of Tensor
        One ``(B, c, h, w)`` and one ``(B, C, h, w)`` for each level; a level without pixels is left out.
    ksize : int
        Odd side of a patch; 1 is pixel-wise attention.
    softmax_scale : float
        Factor of the normalised products (10 in PANet and CSNLN).
    norm_floor : float
        Smallest norm a key patch is divided by (``escape_NaN`` = 1e-4 in the released networks).
    kernel : str
        ``"streamed"``, ``"batched"`` or ``"direct"``, see `KERNELS`.
    memory_budget : int
        Bytes for the score tiles; a GPU takes them once for every 8 GiB that it has. There the scores are kept for the
        gradient where they take less than a half of that; else they are computed again. One query needs about
        ``12 ksize^2`` bytes for each key pixel, so a budget below that is exceeded; it is linear in the pixels,
        never quadratic.

    Returns
    -------
    Tensor
        ``(B, C, H, W)``, of the query's dtype. Half precisions are computed in float32.
    """
    if ksize < 1 or ksize % 2 == 0:
        raise HarnessError(f"patch attention needs an odd patch size, not {ksize}")
    if kernel not in KERNELS:
        raise unknown_name("attention kernel", kernel, KERNELS)
    levels = [(k, v) for k, v in zip(keys, values, strict=True) if k.shape[-1] and k.shape[-2]]
    dtype = query.dtype
    if dtype in (torch.float16, torch.bfloat16):
        query = query.float()
        levels = [(k.float(), v.float()) for k, v in levels]
    with without_autocast(query.device):
        layout = FlatKeys.of([(k.shape[-2], k.shape[-1]) for k, _ in levels], ksize // 2)
        if kernel == "batched" or (kernel == "streamed" and query.device.type != "cpu"):
            flat = flattened([k for k, _ in levels], [v for _, v in levels], layout)
            budget = device_budget(memory_budget, query.device)
            out = attend_flat(query, flat, layout, softmax_scale, norm_floor, budget)
        else:
            weights = [softmax_scale / patch_norms(k, ksize, norm_floor) for k, _ in levels]
            if kernel == "direct":
                out = _direct(query, [k for k, _ in levels], [v for _, v in levels], weights, ksize)
            else:
                flat_keys, flat_values, flat_weights = (
                    torch.cat([lv.flatten(x) for lv, x in zip(layout.levels, maps, strict=True)], dim=2)
                    for maps in ([k for k, _ in levels], [v for _, v in levels], weights)
                )
                out = attend_patches(query, flat_keys, flat_values, flat_weights[:, 0], layout, memory_budget)
    return out.to(dtype)


def patch_norms(key: Tensor, ksize: int, norm_floor: float) -> Tensor:
    """Return the L2 norm of the zero-padded patch around every pixel, at least ``norm_floor``.

    Parameters
    ----------
    key : Tensor
        ``(B, c, h, w)``.
    ksize : int
        Odd side of the patch.
    norm_floor : float
        Lower bound; it keeps the gradient of an empty patch finite.

    Returns
    -------
    Tensor
        ``(B, 1, h, w)``.
    """
    energy = key.square().sum(dim=1, keepdim=True)
    energy = functional.avg_pool2d(energy, ksize, stride=1, padding=ksize // 2, divisor_override=1)
    return energy.clamp_min(norm_floor**2).sqrt()


def _direct(query: Tensor, keys: list[Tensor], values: list[Tensor], weights: list[Tensor], ksize: int) -> Tensor:
    """Convolve the queries with all key patches, normalise, and convolve back with all value patches."""
    pad = ksize // 2

    def filters(maps: list[Tensor], item: int) -> Tensor:
        patches = [functional.unfold(m[item : item + 1], ksize, padding=pad)[0].t() for m in maps]
        return torch.cat(patches).unflatten(1, (maps[0].shape[1], ksize, ksize))

    out = []
    for item in range(query.shape[0]):
        weight = torch.cat([w[item].flatten() for w in weights])
        match = filters(keys, item) * weight[:, None, None, None]
        attention = functional.conv2d(query[item : item + 1], match, padding=pad).softmax(dim=1)
        out.append(functional.conv_transpose2d(attention, filters(values, item), padding=pad))
    return torch.cat(out)
