from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import HarnessError
from harness.networks import patch_attention as module
from harness.networks import tiled_attention
from harness.networks.batched_attention import chunks
from harness.networks.flat_keys import FlatKeys
from harness.networks.patch_attention import patch_attention, patch_norms

SCALES = (1.0, 0.9, 0.8, 0.7, 0.6)


def maps(
    height: int, width: int, c: int = 4, channels: int = 6, levels: int = 5, batch: int = 1, dtype=torch.float64
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    sizes = [(int(height * s), int(width * s)) for s in SCALES[:levels]]
    query = torch.randn(batch, c, height, width, dtype=dtype)
    keys = [torch.randn(batch, c, *size, dtype=dtype) for size in sizes]
    values = [torch.randn(batch, channels, *size, dtype=dtype) for size in sizes]
    return query, keys, values


def with_gradients(arguments: tuple[Tensor, list[Tensor], list[Tensor]], **options) -> list[Tensor]:
    query, keys, values = arguments
    leaves = [t.detach().clone().requires_grad_() for t in (query, *keys, *values)]
    n = len(keys)
    out = patch_attention(leaves[0], leaves[1 : n + 1], leaves[n + 1 :], **options)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    used = [leaf for leaf in leaves if leaf.numel()]
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), used)]


def worst(a: list[Tensor], b: list[Tensor]) -> float:
    return max(float((x - y).abs().max() / y.abs().max().clamp_min(1e-30)) for x, y in zip(a, b, strict=True))


def by_definition(query: Tensor, keys: list[Tensor], values: list[Tensor], ksize: int, scale: float) -> Tensor:
    """PANet eq. 5 with loops over pixels: an implementation that shares nothing with the module."""
    reach = ksize // 2
    offsets = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]

    def at(m: Tensor, y: int, x: int) -> Tensor:
        inside = 0 <= y < m.shape[1] and 0 <= x < m.shape[2]
        return m[:, y, x] if inside else m.new_zeros(m.shape[0])

    def patch(m: Tensor, y: int, x: int) -> Tensor:
        return torch.stack([at(m, y + dy, x + dx) for dy, dx in offsets])

    out = torch.zeros_like(query[:, :1]).expand(-1, values[0].shape[1], -1, -1).clone()
    for item in range(query.shape[0]):
        places = [(lv, y, x) for lv, k in enumerate(keys) for y in range(k.shape[2]) for x in range(k.shape[3])]
        for y in range(query.shape[2]):
            for x in range(query.shape[3]):
                q = patch(query[item], y, x)
                scores = []
                for lv, ky, kx in places:
                    k = patch(keys[lv][item], ky, kx)
                    scores.append(scale * (q * k).sum() / max(float(k.norm()), 1e-4))
                weights = torch.stack(scores).softmax(0)
                patches = torch.stack([patch(values[lv][item], ky, kx) for lv, ky, kx in places])
                response = torch.einsum("j,jdc->dc", weights, patches)
                for (dy, dx), part in zip(offsets, response, strict=True):
                    if 0 <= y + dy < query.shape[2] and 0 <= x + dx < query.shape[3]:
                        out[item, :, y + dy, x + dx] += part
    return out


@pytest.mark.parametrize("kernel", module.KERNELS)
@pytest.mark.parametrize("ksize", [1, 3, 5])
def test_both_kernels_are_the_definition(kernel: str, ksize: int) -> None:
    query, keys, values = maps(5, 6, levels=3, batch=2)
    want = by_definition(query, keys, values, ksize, 10.0)
    torch.testing.assert_close(
        patch_attention(query, keys, values, ksize=ksize, kernel=kernel), want, rtol=1e-10, atol=1e-10
    )


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    levels=st.integers(1, 5),
    ksize=st.sampled_from([1, 3, 5]),
    batch=st.integers(1, 2),
    budget=st.sampled_from([1, 20_000, 200_000, module.MEMORY_BUDGET]),
    kernel=st.sampled_from(["streamed", "batched"]),
)
def test_tiles_are_direct_with_gradients_at_any_size_and_budget(
    height, width, levels, ksize, batch, budget, kernel
) -> None:
    arguments = maps(height, width, levels=levels, batch=batch)
    streamed = with_gradients(arguments, ksize=ksize, kernel=kernel, memory_budget=budget)
    direct = with_gradients(arguments, ksize=ksize, kernel="direct")
    # The gradients of a saturated softmax are differences of nearly equal numbers: compare all by their scale.
    assert worst(streamed[:1], direct[:1]) < 1e-10
    scale = max(float(g.abs().max()) for g in direct[1:])
    assert all(float((a - b).abs().max()) <= 1e-10 * scale for a, b in zip(streamed[1:], direct[1:], strict=True))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 9), (9, 1), (13, 7)])
def test_gradcheck(size: tuple[int, int]) -> None:
    query, keys, values = maps(*size, c=2, channels=2, levels=2)
    leaves = [t.requires_grad_() for t in (query, *keys, *values) if t.numel()]

    def function(*tensors: Tensor) -> Tensor:
        n = (len(tensors) - 1) // 2
        return patch_attention(tensors[0], tensors[1 : n + 1], tensors[n + 1 :], softmax_scale=1.0, memory_budget=9_000)

    assert torch.autograd.gradcheck(function, leaves, fast_mode=size == (13, 7))


def test_streamed_is_direct_in_float32() -> None:
    arguments = maps(33, 29, c=16, channels=32, batch=2, dtype=torch.float32)
    arguments[0].mul_(0.1)
    assert worst(with_gradients(arguments, kernel="streamed"), with_gradients(arguments, kernel="direct")) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_inside(dtype: torch.dtype) -> None:
    query, keys, values = maps(9, 8, dtype=dtype)
    want = patch_attention(query.float(), [k.float() for k in keys], [v.float() for v in values])
    got = with_gradients((query, keys, values))
    assert got[0].dtype is dtype and got[1].dtype is dtype
    torch.testing.assert_close(got[0], want.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("kernel", ["streamed", "batched"])
def test_autocast_and_precision_leave_the_scores_and_their_gradients_alone(kernel: str) -> None:
    arguments = maps(9, 8, dtype=torch.float32)
    want = with_gradients(arguments, kernel=kernel)
    torch.set_float32_matmul_precision("medium")
    try:
        # The gradient is asked for inside autocast, too.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = with_gradients(arguments, kernel=kernel)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_attention_changes_no_setting_that_others_see() -> None:
    program = (
        "import torch\n"
        "from harness.networks.patch_attention import patch_attention\n"
        "seen = lambda: getattr(torch.backends.mkldnn.matmul, 'fp32_precision', '')\n"
        "before, x = seen(), torch.rand(1, 2, 5, 5)\n"
        "patch_attention(x, [x], [x])\n"
        "assert seen() == before, (seen(), before)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_softmax_in_place_is_the_softmax() -> None:
    scores = torch.randn(3, 4, 500, dtype=torch.float64) * 30
    scores[:, :, 100:120] = float("-inf")
    want = scores.softmax(dim=-1)
    assert torch.equal(tiled_attention.softmax_rows_(scores.clone()), want)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    query, keys, values = maps(8, 9, dtype=torch.float32)
    got = with_gradients((query * 1e3, keys, values))
    assert all(torch.isfinite(t).all() for t in got)


def test_empty_key_patches_have_a_finite_gradient() -> None:
    query, keys, values = maps(6, 6, levels=1)
    got = with_gradients((query, [torch.zeros_like(keys[0])], values))
    assert all(torch.isfinite(t).all() for t in got)


def test_norms_stop_at_their_floor() -> None:
    torch.testing.assert_close(patch_norms(torch.zeros(1, 2, 3, 3), 3, 1e-4), torch.full((1, 1, 3, 3), 1e-4))
    torch.testing.assert_close(patch_norms(torch.ones(1, 2, 3, 3), 3, 1e-4)[0, 0, 1, 0], torch.tensor(12.0).sqrt())


def test_score_memory_follows_the_budget_and_not_the_square_of_the_pixels() -> None:
    taken = []
    for side in (24, 48):
        query, keys, _values = maps(side, side, c=2, channels=2, dtype=torch.float32)
        flat = [(k.shape[2], k.shape[3]) for k in keys]
        layout = FlatKeys.of(flat, 1)
        budget = 200 * layout.length  # a fixed number of bytes for each pixel
        tiles = tiled_attention._Tiles(query, torch.empty(0), torch.empty(0), layout, budget, buffers=1)
        buffers = [*tiles._scores, tiles._products, tiles._rows, tiles._sums]
        assert sum(b.numel() * 4 for b in buffers) <= budget
        taken.append(sum(b.numel() * 4 for b in buffers) / side**2)
    assert taken[1] < 1.2 * taken[0]


@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    pad=st.integers(0, 2),
    queries=st.integers(1, 9000),
)
def test_chunks_cover_every_query_once_and_fit_the_budget(batch, height, width, pad, queries) -> None:
    layout = FlatKeys.of([(height, width)], pad)
    seen = torch.zeros(batch, height, width)
    for chunk in chunks(batch, (height, width), layout, 4, 4 * queries):
        items = len(range(batch)[chunk.items])
        seen[chunk.items, chunk.top : chunk.top + chunk.height, chunk.left : chunk.left + chunk.width] += 1
        halo = (chunk.height + 2 * pad) * (chunk.width + 2 * pad)
        assert items * halo <= max(queries, (2 * pad + 1) ** 2)
    assert torch.equal(seen, torch.ones_like(seen))


def test_refusals() -> None:
    query, keys, values = maps(4, 4)
    with pytest.raises(HarnessError, match="odd patch size"):
        patch_attention(query, keys, values, ksize=2)
    with pytest.raises(HarnessError, match="did you mean 'streamed'"):
        patch_attention(query, keys, values, kernel="stream")
