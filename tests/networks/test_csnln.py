from __future__ import annotations

import pytest
import torch
from golden_recipe import check_case
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.csnln import CSNLN, CrossScaleAttention
from harness.networks.measure import parameter_count


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_golden(golden, scale: int) -> None:
    check_case(golden, f"csnln_d2_x{scale}", CSNLN(scale, depth=2))


@pytest.mark.parametrize(("scale", "count"), [(2, 3_061_289), (3, 6_010_409), (4, 6_568_627)])
def test_parameter_counts(scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(CSNLN(scale)) == count


def with_large_patches(module: CrossScaleAttention, x: Tensor) -> Tensor:
    """Cross-scale attention as the paper draws it: paste 3s x 3s patches with a transposed convolution."""
    s = module.scale
    query, value = module.conv_match_1(x), module.conv_assembly(x)
    key = module.conv_match_2(functional.interpolate(x, scale_factor=1 / s, mode="bilinear"))
    out = []
    for q, k, v in zip(query, key, value, strict=True):
        patches = functional.unfold(k[None], 3, padding=1)[0].t()
        patches = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-4)
        match = functional.conv2d(q[None], patches.unflatten(1, (k.shape[0], 3, 3)), padding=1)
        large = functional.unfold(v[None], 3 * s, padding=s, stride=s)[0].t().unflatten(1, (v.shape[0], 3 * s, 3 * s))
        pasted = functional.conv_transpose2d((10 * match).softmax(dim=1), large, stride=s, padding=s)
        out.append(pasted / 6)
    return torch.cat(out)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("blocks", [(1, 1), (1, 3), (4, 3)])
def test_cross_scale_attention_is_the_pasting_of_large_patches(scale: int, blocks: tuple[int, int]) -> None:
    module = CrossScaleAttention(6, scale=scale).double()
    x = torch.randn(2, 6, blocks[0] * scale, blocks[1] * scale, dtype=torch.float64)
    torch.testing.assert_close(module(x), with_large_patches(module, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_output_size_and_gradients(scale: int) -> None:
    network = CSNLN(scale, depth=2, n_feats=8)
    multiple = network.size_multiple
    out = network(torch.rand(1, 3, 2 * multiple, 3 * multiple))
    assert out.shape == (1, 3, 2 * multiple * scale, 3 * multiple * scale)
    out.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


def test_refusals() -> None:
    with pytest.raises(HarnessError, match="2 divides, not 6x5"):
        CSNLN(2, depth=1, n_feats=4)(torch.rand(1, 3, 5, 6))
    with pytest.raises(HarnessError, match="the scales are 2, 3 and 4"):
        CSNLN(8)
