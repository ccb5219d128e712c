"""MPRNet: the paper's sizes, the released names, and which part of the image each stage sees."""

from __future__ import annotations

import pytest
import torch

from harness.networks.mprnet import MPRNet
from harness.networks.padding import mirrored


@pytest.mark.parametrize(
    ("sizes", "millions"),
    # Zamir et al. 2021, tables 4 and 7: 20.1 M for deblurring; 15.7 and 3.6 M by the authors' programs.
    [((96, 48, 32), 20.1), ((80, 48, 32), 15.7), ((40, 20, 16), 3.6)],
)
def test_parameters(sizes: tuple[int, int, int], millions: float) -> None:
    with torch.device("meta"):
        network = MPRNet(*sizes)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions
    names = network.state_dict()
    assert len(names) == 316
    for name in (
        "shallow_feat1.0.weight",
        "shallow_feat3.1.CA.conv_du.2.weight",
        "stage1_encoder.encoder_level3.1.body.1.weight",
        "stage2_encoder.csff_dec2.weight",
        "stage2_decoder.up32.up.1.weight",
        "stage3_orsnet.up_enc2.1.up.1.weight",
        "stage3_orsnet.orb2.body.8.weight",
        "sam23.conv3.weight",
        "concat12.weight",
        "tail.weight",
    ):
        assert name in names
    assert not any("csff" in name for name in names if name.startswith("stage1"))


def test_the_first_stage_sees_quarters_and_the_second_halves() -> None:
    """With the channel attention's means kept out, a change in one corner stays where the stages' patches end."""
    torch.manual_seed(0)
    network = MPRNet(8, 4, 4).eval().double()
    image = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    changed = image.clone()
    changed[:, :, 1, 1] += 0.5
    seen: dict[str, list[torch.Tensor]] = {}

    def note(name: str) -> object:
        return lambda module, given, result: seen.setdefault(name, []).append(result[0].detach())

    network.stage1_encoder.register_forward_hook(note("stage1"))
    network.stage2_encoder.register_forward_hook(note("stage2"))
    with torch.no_grad():
        network(image)
        network(changed)
    first, second = seen["stage1"][:4], seen["stage1"][4:]
    assert [bool(torch.equal(a, b)) for a, b in zip(first, second, strict=True)] == [False, True, True, True]
    first, second = seen["stage2"][:2], seen["stage2"][2:]
    assert [bool(torch.equal(a, b)) for a, b in zip(first, second, strict=True)] == [False, True]
    assert first[0].shape == (1, 8, 16, 48)


@pytest.mark.parametrize("size", [(64, 48), (47, 61), (8, 8), (1, 40), (5, 3)])
def test_any_size(size: tuple[int, int]) -> None:
    network = MPRNet(8, 4, 4).eval()
    with torch.no_grad():
        image = torch.rand(1, 3, *size)
        found = network(image)
        assert found.shape == image.shape
        padded = mirrored(image, 8)
        assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
        torch.testing.assert_close(network(padded)[:, :, : size[0], : size[1]], found)
