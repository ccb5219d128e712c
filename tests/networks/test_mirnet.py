"""MIRNet: the paper's size, the released names, shared units, any size of image."""

from __future__ import annotations

import pytest
import torch

from harness.networks.mirnet import MIRNet, SelectiveFusion, SmoothHalving


def test_parameters_and_names() -> None:
    with torch.device("meta"):
        network = MIRNet()
    # 31.8 million, as the paper's successor (MIRNet v2, TPAMI 2022) gives for it.
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 31.8
    names = network.state_dict()
    for name in (
        "body.0.body.1.blocks.2.1.SA.spatial.conv.weight",
        "body.2.body.0.blocks.0.0.CA.conv_du.2.weight",
        "body.0.body.0.blocks.1.1.body.1.weight",
        "body.0.body.0.down.64_4.body.1.top.4.filt",
        "body.0.body.0.down.128_2.body.0.bot.0.filt",
        "body.0.body.0.up.256_4.body.1.top.2.weight",
        "body.0.body.0.last_up.2.body.0.bot.1.weight",
        "body.1.body.1.selective_kernel.2.fcs.2.weight",
        "body.1.body.2.weight",
        "conv_out.weight",
    ):
        assert name in names
    assert not any(name.endswith(".bias") for name in names)


def test_the_units_of_a_row_are_one() -> None:
    block = MIRNet(8, 1).body[0].body[0]
    assert all(row[0] is row[1] for row in block.blocks)
    slopes = {id(unit.body[1]) for row in block.blocks for unit in row}
    assert len(slopes) == 1


def test_fusion_weighs_to_one() -> None:
    fusion = SelectiveFusion(8)
    same = torch.rand(2, 8, 5, 6)
    torch.testing.assert_close(fusion([same, same, same]), same)


def test_halving_keeps_a_constant_and_removes_the_finest_stripes() -> None:
    halving = SmoothHalving(3)
    torch.testing.assert_close(halving(torch.full((1, 3, 8, 10), 0.3)), torch.full((1, 3, 4, 5), 0.3))
    stripes = (torch.arange(16) % 2).float().expand(1, 3, 8, 16)
    torch.testing.assert_close(halving(stripes)[..., 1:-1], torch.full((1, 3, 4, 6), 0.5))


@pytest.mark.parametrize("size", [(16, 24), (13, 22), (1, 40), (3, 3)])
def test_any_size(size: tuple[int, int]) -> None:
    network = MIRNet(8, 1).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)
