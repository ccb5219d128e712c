from __future__ import annotations

import pytest
import torch
from golden_recipe import check_case, use_direct_kernels

from harness.errors import HarnessError
from harness.networks.measure import parameter_count
from harness.networks.panet import ABLATIONS, PANet, panet_ablation, panet_s
from harness.networks.pyramid_attention import PyramidAttention


def attentions(network: PANet) -> list[int]:
    return [i for i, module in enumerate(network.body) if isinstance(module, PyramidAttention)]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("pyramid_attention_c64", PyramidAttention),
        ("pyramid_attention_c64_level1", lambda: PyramidAttention(level=1)),
        ("panet_b2", lambda: PANet(n_resblocks=2)),
        ("panet_car_b2", lambda: PANet(n_resblocks=2, n_colors=1)),
    ],
)
def test_golden(golden, name, build) -> None:
    check_case(golden, name, build())


def test_parameter_counts() -> None:
    with torch.device("meta"):
        assert parameter_count(PyramidAttention()) == 8_323
        assert parameter_count(PANet()) == 5_957_279
        assert parameter_count(panet_s()) == 639_647
        # k and level change nothing; no attention takes away exactly its parameters.
        full = parameter_count(panet_ablation("pyramid"))
        assert parameter_count(panet_ablation("baseline")) == full - 8_323
        assert {parameter_count(panet_ablation(n)) for n in ("pixel-wise", "block-wise", "level-3", "post")} == {full}
        assert parameter_count(panet_ablation("pre+mid+post")) == full + 2 * 8_323


@pytest.mark.parametrize("name", ABLATIONS)
def test_control_networks(name: str) -> None:
    network = panet_ablation(name, n_colors=1)
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 7, 9)).shape == (1, 1, 7, 9)
    positions = {"pre": 1, "mid": 8, "post": 16}
    names = name.split("+") if name.split("+")[0] in positions else [] if name == "baseline" else ["mid"]
    # Every attention before moves the later ones by one place in the body.
    assert attentions(network) == [positions[n] + i for i, n in enumerate(names)]
    for module in network.modules():
        if isinstance(module, PyramidAttention):
            levels = 1 if name in ("pixel-wise", "block-wise") else int(name[6:]) if name.startswith("level-") else 5
            assert len(module.scales) == levels
            assert module.ksize == (1 if name == "pixel-wise" else 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7), (13, 11)])
def test_streamed_is_direct_at_tiny_sizes(size) -> None:
    module = PyramidAttention(channel=6, reduction=3).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    streamed = module(x)
    torch.testing.assert_close(streamed, use_direct_kernels(module)(x), rtol=1e-10, atol=1e-10)


def test_one_slope_serves_all_blocks() -> None:
    network = PANet(n_resblocks=4)
    keys = [key for key in network.state_dict() if key.endswith("body.1.weight")]
    assert len(keys) == 4
    assert len({network.state_dict()[key].data_ptr() for key in keys}) == 1


def test_gradients_reach_every_parameter() -> None:
    network = PANet(n_resblocks=2, n_feats=8)
    network(torch.rand(1, 3, 10, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.requires_grad)


def test_refusals() -> None:
    with pytest.raises(HarnessError, match="must be even, not 3"):
        PANet(n_resblocks=3)
    with pytest.raises(HarnessError, match="did you mean 'pre'"):
        PANet(n_resblocks=2, positions=("prea",))
    with pytest.raises(HarnessError, match="repeats one"):
        PANet(n_resblocks=2, positions=("mid", "mid"))
    with pytest.raises(HarnessError, match="1 to 9 levels"):
        PyramidAttention(level=0)
    with pytest.raises(HarnessError, match="control network"):
        panet_ablation("level-6")
