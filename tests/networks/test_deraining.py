"""The deraining networks of the tables' other systems.

Checked against outputs of the authors' programs on generated weights: DID-MDN's network that removes rain, UMRL and
RESCAN (golden cases), and DID-MDN's first estimate (samples below). Checked against names and sizes in the authors'
programs, and what follows from them: DID-MDN's classifier, SEMI, MSPFN. SEMI's released checkpoint loads strictly. The
names of MSPFN's slopes in its channel attention follow from how TensorFlow 1.12 opens scopes: no checkpoint was at
hand.
"""

from __future__ import annotations

import pytest
import torch
from golden_recipe import input_of
from golden_systems import check_full_size, check_system, generated_state, state_sha256
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks import mspfn, semi
from harness.networks.didmdn import DIDMDN, DenseRain, DenseRainResidual, DensityClassifier
from harness.networks.image_statistics import ImageNorm2d, stretched
from harness.networks.measure import parameter_count
from harness.networks.mspfn import MSPFN, Down, MSPFNBlock, Up
from harness.networks.rescan import RESCAN
from harness.networks.semi import SEMI
from harness.networks.umrl import UMRL, SpunUMRL, StretchedUMRL


def test_didmdn() -> None:
    def run(network: DenseRain, x: Tensor) -> dict[str, Tensor]:
        rain, restored = network.layers(x, torch.ones(1))
        return {"output0": rain, "output1": restored}

    check_system("didmdn_dense", DenseRain("running").eval(), run)


def test_umrl() -> None:
    def run(network: UMRL, *scales: Tensor) -> dict[str, Tensor]:
        return {f"output{index}": value for index, value in enumerate(network.scales(*scales))}

    check_system("umrl", UMRL("running").eval(), run, ("umrl", "umrl.half", "umrl.quarter"))


def test_rescan() -> None:
    def run(network: RESCAN, x: Tensor) -> dict[str, Tensor]:
        return {f"stage{index}": value for index, value in enumerate(network.rain_layers(x), 1)}

    check_system("rescan_gru", RESCAN().eval(), run)


def test_didmdn_estimates_rain_as_its_authors_do() -> None:
    network = DenseRainResidual("running").eval()
    assert state_sha256(network) == "8fdd2cd3b63f580592ae040e014aca704c08ae6942e3038762af800a045ba031"
    network.load_state_dict(generated_state(network))
    with torch.inference_mode():
        found = network(input_of("didmdn_residual", [1, 3, 64, 64], 1)).flatten()
    assert found.abs().max().item() == pytest.approx(0.8229377865791321, rel=1e-5)
    samples = [0.292427, 0.3953871, 0.4405259, -0.1143205, -0.1026227, -0.1307648, -0.2057703, -0.2089147]
    assert found[torch.linspace(0, found.numel() - 1, 8).long()].tolist() == pytest.approx(samples, abs=1e-5)


def test_didmdn_tells_the_density_and_stretches() -> None:
    network = DIDMDN().eval()
    assert [parameter_count(part) for part in (network.derain, network.classifier, network.residual)] == [
        372_839,
        65_501_084,
        182_947,
    ]
    restored = check_full_size(lambda: network)
    assert restored.min() == 0 and restored.max() == 1
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        told = [network.derain.layers(x, torch.full((2,), density))[1] for density in (1, 4)]
    assert not torch.equal(*told)


def test_the_classifiers_names() -> None:
    with torch.device("meta"):
        names = set(DensityClassifier().state_dict())
    assert {name.rpartition(".")[0] for name in names} == {
        "feature.0",
        "feature.1",
        "conv16",
        "dense_classifier",
        "dense_classifier1",
    }


def test_umrl_is_stretched_and_spun() -> None:
    network = StretchedUMRL().eval()
    restored = check_full_size(lambda: network)
    assert restored.min() == 0 and restored.max() == 1
    spun = SpunUMRL().eval()
    spun.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 64, 48)
    with torch.inference_mode():
        rolled = torch.roll(network(torch.roll(x, 50, 2)), -50, 2)
        torch.testing.assert_close(spun(x), stretched(network(x) + rolled))
    assert parameter_count(UMRL()) == 984_356


def test_rescan_sees_blue_first() -> None:
    check_full_size(RESCAN)
    network = RESCAN().eval()
    x = torch.rand(1, 3, 24, 20)
    with torch.inference_mode():
        layers = network.rain_layers(x.flip(1))
        torch.testing.assert_close(network(x), x - layers[-1].flip(1))
    assert len(layers) == 4 and parameter_count(network) == 149_823


def test_image_statistics() -> None:
    norm = ImageNorm2d(3).eval()
    nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 9, 7) * 3 + 1
    expected = functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(norm(x), expected)
    one = x[:1]
    torch.testing.assert_close(norm.train()(one), expected[:1])
    assert norm.running_mean is not None and norm.running_mean.abs().max() > 0
    flat = stretched(torch.full((1, 3, 4, 4), 0.3))
    assert flat.abs().max() == 0


def test_semi() -> None:
    # 26 layers of the deep detail network: 57,369 numbers.
    assert parameter_count(SEMI()) == 27 * 16 + 24 * 9 * 16**2 + 9 * 16 * 3 + 3 * (25 * 16 + 3)
    check_full_size(SEMI)
    network = SEMI().eval()
    for norm in network.norms:
        nn.init.zeros_(norm.weight)
    image = torch.rand(1, 3, 20, 33)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), image)


def released_semi(network: SEMI) -> dict[str, Tensor]:
    """Name a state as the released checkpoint does, the branch for real rain too."""
    state = {}
    for index in range(26):
        for ours, theirs in (("convs", ("weights", "biases")), ("norms", ("scale", "beta"))):
            layer = getattr(network, ours)[index]
            for kind, value in zip(theirs, (layer.weight, layer.bias), strict=True):
                state[f"conv_{index + 1}/{kind}_{index + 1}"] = value.detach()
                if kind != "weights":
                    state[f"conv_{index + 1}_1/{kind}_{index + 1}"] = value.detach() + 1
    return state


def test_semi_leaves_the_branch_for_real_rain_out() -> None:
    network = SEMI()
    found = semi.from_checkpoint(released_semi(network), "a test")
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())
    for name in ("conv_1/gamma_1", "conv_1/weights_2", "other"):
        with pytest.raises(HarnessError, match="is left over"):
            semi.from_checkpoint({name: torch.zeros(1)}, "a test")


def test_mspfn() -> None:
    # One block a module as released, three as trained.
    assert [parameter_count(MSPFN(blocks)) for blocks in (1, 3)] == [15_823_424, 20_995_776]
    check_full_size(MSPFN)
    network = MSPFN(1, 2, 8).eval()
    x = torch.rand(1, 3, 20, 28)  # a quarter of it is odd
    with torch.inference_mode():
        assert network(x).shape == x.shape
        nn.init.zeros_(network.rnn7.weight)
        torch.testing.assert_close(network(x), x)


def test_mspfn_names_its_layers_like_the_checkpoint() -> None:
    state = {f"generator/{name.replace('.', '/')}": value for name, value in MSPFN(1, 2, 8).state_dict().items()}
    for name in (
        "generator/rnn1/alpha",
        "generator/residual_memory/lstm_group2/convLSTM/LSTM_conv/weights",
        "generator/residual_memory/upRMM4_1/weight",
        "generator/BCM4_0/down4_1/weight",
        "generator/BCM2_1/upBCM4_2_1/alpha",
        "generator/BCM_1/group_2_RCAB1/conv2d_2/alpha",
        "generator/BCM_1/up_2/weight",
        "generator/rnn7/weight",
    ):
        assert name in state
    assert "generator/rnn7/alpha" not in state
    assert mspfn.from_checkpoint(state, "a test").keys() == MSPFN(1, 2, 8).state_dict().keys()
    with pytest.raises(HarnessError, match="is left over"):
        mspfn.from_checkpoint({"discriminator/weight": torch.zeros(1)}, "a test")


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (4, 9)])
def test_padding_is_tensorflows(size: tuple[int, int]) -> None:
    """With stride 2 the end of an even axis is padded, and both ends of an odd one; what goes up is its transpose."""
    down, up = Down(2), Up(2, 2, 2, activates=False)
    nn.init.ones_(down.alpha)  # type: ignore[arg-type]
    up.weight.data = down.weight.data
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    down, up = down.double(), up.double()
    small = down(x)
    assert small.shape[2:] == tuple(-(-side // 2) for side in size)
    first = 0 if size[0] % 2 == 0 else -1
    rows = [row for row in range(first, first + 3) if 0 <= row < size[0]]
    column = 0 if size[1] % 2 == 0 else -1
    columns = [at for at in range(column, column + 3) if 0 <= at < size[1]]
    expected = sum(down.weight[:, :, row - first, at - column] @ x[0, :, row, at] for row in rows for at in columns)
    torch.testing.assert_close(small[0, :, 0, 0], expected)
    other = torch.randn_like(small)
    torch.testing.assert_close((small * other).sum(), (x * up(other, *size)).sum())


def test_channel_attention_scales_by_means() -> None:
    block = MSPFNBlock(8)
    for parameter in (block.conv2d_3.kernel, block.conv2d_3.bias):
        nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 5, 6)
    torch.testing.assert_close(block(x), x + block.conv2d_1(block.conv2d(x)) / 2)
