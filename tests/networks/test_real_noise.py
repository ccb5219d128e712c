"""CBDNet, RIDNet, VDN, SADNet, DANet, CycleISP and DAGL against the authors' outputs, and at any size of image.

The golden case of CBDNet is of a PyTorch port. The released network has other layers: it was held to the layers that an
import of the released file lists (b03901165Shih/CBDNet-pytorch-inference), and to what the paper says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from golden_systems import check_full_size, check_size, check_system
from torch import Tensor, nn

from harness.networks.cbdnet import CBDNet, CBDNetPort
from harness.networks.cycleisp import CycleISP
from harness.networks.dagl import DAGL, GraphAttention
from harness.networks.danet import DANet
from harness.networks.measure import parameter_count
from harness.networks.padding import mirrored, reflected
from harness.networks.ridnet import RIDNet
from harness.networks.sadnet import SADNet
from harness.networks.vdn import VDN


def output(network: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
    return {"output": network(x)}


def both(network: CBDNetPort, x: Tensor) -> Mapping[str, Tensor]:
    return {"noise_level": network.noise_level(x), "output": network(x)}


def posterior(network: VDN, x: Tensor) -> Mapping[str, Tensor]:
    return dict(zip(("phi_Z", "phi_sigma"), network.posterior(x), strict=True))


def noise(network: DANet, x: Tensor) -> Mapping[str, Tensor]:
    return {"output": network.noise(x)}


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[..., Mapping[str, Tensor]], float]] = {
    "cbdnet": (CBDNetPort, both, 1),
    "ridnet": (RIDNet, output, 255),
    "vdn": (lambda: VDN(wf=16), posterior, 1),
    "sadnet": (lambda: SADNet(n_channel=16, offset_channel=16), output, 1),
    "danet_unetd": (lambda: DANet(wf=16), noise, 1),
    "cycleisp_rgb": (CycleISP, output, 1),
    "dagl_real": (lambda: DAGL(4), output, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_authors_outputs(name: str) -> None:
    make, run, rgb_range = CASES[name]
    check_system(name, make(), run, rgb_range=rgb_range)


@pytest.mark.parametrize(("name", "make"), [("vdn", VDN), ("sadnet", SADNet), ("danet", DANet), ("dagl_real", DAGL)])
def test_the_released_size(name: str, make: Callable[[], nn.Module]) -> None:
    check_size(name, make)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (CBDNet, 6_793_478),
        (CBDNetPort, 4_365_382),
        (RIDNet, 1_499_371),  # 1,499K in the paper's comparisons
        (VDN, 7_816_780),
        (SADNet, 4_234_723),
        (DANet, 9_153_571),
        (CycleISP, 2_834_947),
        (DAGL, 5_729_744),
    ],
)
def test_full_size(make: Callable[[], nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        assert parameter_count(make()) == parameters
    check_full_size(make)


SMALL: tuple[Callable[[], nn.Module], ...] = (
    CBDNet,
    lambda: RIDNet(16, 4),
    lambda: DANet(wf=4),
    lambda: CycleISP(16, 1, 1, 4),
)


@pytest.mark.parametrize("make", SMALL)
@pytest.mark.parametrize("size", [(13, 22), (1, 40), (3, 3)])
def test_any_size(make: Callable[[], nn.Module], size: tuple[int, int]) -> None:
    network = make().eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_dagl_takes_any_size() -> None:
    network = DAGL(2).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 9, 14)).shape == (1, 3, 9, 14)


def test_padding_continues_at_the_right_and_bottom() -> None:
    x = torch.arange(6.0).reshape(1, 1, 1, 6)
    # PadUNet of DANet mirrors without the last sample, CBDNet's program with it.
    assert mirrored(x, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]
    assert reflected(x, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 5, 4]
    assert mirrored(x, 4).shape == reflected(x, 4).shape == (1, 1, 4, 8)
    assert mirrored(x[..., :4].expand(1, 1, 4, 4), 4).shape == (1, 1, 4, 4)


def test_the_released_cbdnet_has_the_papers_parts() -> None:
    network = CBDNet()
    kinds = {name: module for name, module in network.named_children()}
    # Section 3.2: the estimator has five layers of 32 channels; U-Net by strided and transposed convolutions.
    assert [kinds[f"E0{n}"].out_channels for n in range(1, 6)] == [32, 32, 32, 32, 3]  # type: ignore[union-attr]
    assert [name for name, kind in kinds.items() if getattr(kind, "stride", (1, 1)) == (2, 2)] == [
        "DS02",
        "DS03",
        "USP02",
        "USP01",
    ]
    assert kinds["USP02"].bias is None and kinds["DS02"].bias is not None
    assert (network.noise_level(torch.rand(1, 3, 8, 8)) >= 0).all()


def test_cbdnet_is_told_its_own_noise_level() -> None:
    torch.manual_seed(1)
    network = CBDNet().eval()
    image = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        before = network(image)
        network.E05.bias += 5  # type: ignore[union-attr, operator]
        assert not torch.allclose(network(image), before)


def test_vdn_subtracts_the_mean_of_its_posterior() -> None:
    network = VDN(wf=8).eval()
    image = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        mean, sigma = network.posterior(image)
        assert mean.shape == sigma.shape == (2, 6, 16, 24)
        torch.testing.assert_close(network(image), image - mean[:, :3])


def test_sadnet_begins_without_offsets() -> None:
    """Zero offsets and masks of one half: the deformable convolution is half a plain one."""
    pack = SADNet(n_channel=16, offset_channel=16).dres1.dcnpack
    x, offset = torch.rand(1, 16, 9, 11), torch.rand(1, 16, 9, 11)
    with torch.no_grad():
        plain = nn.functional.conv2d(x, pack.weight, padding=1)
        torch.testing.assert_close(pack(x, offset), plain / 2 + pack.bias[:, None, None])


def test_one_slope_serves_all_blocks() -> None:
    assert sum(isinstance(m, nn.PReLU) for m in CycleISP(16, 2, 2, 4).modules()) == 1
    # DAGL: one outside the attention, one for each of the eight blocks inside.
    assert sum(isinstance(m, nn.PReLU) for m in DAGL(8).modules()) == 1 + 8


def test_graph_attention_in_parts_is_the_same() -> None:
    attention = GraphAttention().eval()
    x = torch.rand(1, 64, 14, 18)
    with torch.no_grad():
        whole = attention(x)
        attention.memory_budget = 4 * 14 * 18 * 3
        torch.testing.assert_close(attention(x), whole, rtol=1e-5, atol=1e-6)


def test_a_patch_without_neighbours_gets_nothing() -> None:
    attention = GraphAttention().eval()
    with torch.no_grad():
        attention.bias_conv.weight.zero_()
        attention.bias_conv.bias.fill_(-1e6)  # type: ignore[union-attr]
        assert torch.equal(attention(torch.rand(1, 64, 12, 12)), torch.zeros(1, 16, 12, 12))
