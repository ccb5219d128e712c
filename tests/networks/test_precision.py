"""Every network of the papers computes and trains in bfloat16, as itself and under automatic mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harness.networks.csnln import CSNLN
from harness.networks.edsr import PAEDSR
from harness.networks.kit import KiT
from harness.networks.knn_attention import KiTAssumptions
from harness.networks.panet import PANet
from harness.networks.rnan import RNAN

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "panet": (lambda: PANet(n_resblocks=2, n_feats=16), 12),
    "pa-edsr": (lambda: PAEDSR(2, n_resblocks=2, n_feats=16), 12),
    "rnan": (lambda: RNAN(n_resgroups=2, n_feats=16), 12),
    "csnln": (lambda: CSNLN(2, depth=2, n_feats=16), 12),
    "kit": (lambda: KiT(assumptions=KiTAssumptions(width=8)), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16(name: str) -> None:
    build, side = NETWORKS[name]
    network, x = build(), torch.rand(1, 3, side, side)
    want = network(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(x)
    mixed.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    half = network.bfloat16()(x.bfloat16())
    assert half.dtype is torch.bfloat16
    scale = float(want.abs().max())
    for got in (mixed, half):
        assert float((got.detach().float() - want).abs().max()) < 0.03 * scale
