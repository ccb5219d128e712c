"""DeepDeblur, DMPHN, MT-RNN and MIMO-UNet against the authors' outputs on generated weights, and at full size.

Beside the golden cases: DeepDeblur's pyramid against skimage's, DMPHN's patches, MT-RNN's passes and MIMO-UNet++'s
rotations against their definitions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from golden_systems import check_full_size, check_size, check_system, generated_state
from skimage.transform import pyramid_gaussian
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.deepdeblur import DeepDeblur, gaussian_pyramid
from harness.networks.dmphn import DMPHNDecoder, DMPHNEncoder, StackDMPHN
from harness.networks.measure import parameter_count
from harness.networks.mimounet import MIMOUNet, RotationEnsemble
from harness.networks.mtrnn import MTRNN


def test_deepdeblur() -> None:
    def run(network: nn.Module, *pyramid: Tensor) -> Mapping[str, Tensor]:
        return {f"scale{i}": image for i, image in enumerate(network.restore_pyramid(list(pyramid)))}

    scales = [f"deepdeblur.scale{i}" for i in range(3)]
    check_system("deepdeblur", DeepDeblur(n_resblocks=3, n_feats=16), run, scales, rgb_range=255)
    check_size("deepdeblur", DeepDeblur)
    check_full_size(DeepDeblur)


@pytest.mark.parametrize("size", [(64, 48), (20, 4), (4, 4)])
def test_deepdeblurs_pyramid_is_skimages(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*size, 3))
    found = gaussian_pyramid(torch.from_numpy(image).permute(2, 0, 1)[None], 3)
    for scale, expected in zip(found, pyramid_gaussian(image, 2, channel_axis=-1), strict=True):
        np.testing.assert_allclose(scale[0].permute(1, 2, 0).numpy(), expected, atol=1e-12)


def test_dmphn() -> None:
    def run(parts: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
        features = parts.encoder(x)
        return {"features": features, "output": parts.decoder(features)}

    parts = nn.ModuleDict({"encoder": DMPHNEncoder(), "decoder": DMPHNDecoder()})
    check_system("dmphn", parts, run, shift=-0.5)
    check_full_size(StackDMPHN)
    with torch.device("meta"):
        network = StackDMPHN()
    # One encoder and one decoder, as in the golden case, twelve times.
    assert parameter_count(network) == 12 * 1808131
    assert len(network.parts) == 24 and {"encoder_s1_lv1", "decoder_s4_lv3"} <= set(network.parts)


def first_stage(network: StackDMPHN, x: Tensor) -> Tensor:
    """DMPHN(1-2-4) as in figure 2 of the paper, on slices instead of chunks."""
    image, high, wide = x - 0.5, x.shape[2] // 2, x.shape[3] // 2
    rows, columns = (slice(high), slice(high, None)), (slice(wide), slice(wide, None))
    n = network
    quarters = [torch.cat([n.encoder_s1_lv3(image[:, :, r, c]) for c in columns], 3) for r in rows]
    halves = [n.encoder_s1_lv2(image[:, :, r] + n.decoder_s1_lv3(q)) + q for r, q in zip(rows, quarters, strict=True)]
    joined = torch.cat(halves, 2)
    return n.decoder_s1_lv1(n.encoder_s1_lv1(image + n.decoder_s1_lv2(joined)) + joined) + 0.5


def test_dmphns_patches_and_stages() -> None:
    network = StackDMPHN(2).eval()
    network.load_state_dict(generated_state(network))
    x = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        stages = network.restore_stages(x)
        torch.testing.assert_close(stages[0], first_stage(network, x))
        # With nothing of the second stage but its last decoder's bias, its image is that bias.
        for name, value in network.named_parameters():
            if name.startswith(("encoder_s2", "decoder_s2")):
                value.zero_()
        network.decoder_s2_lv1.layer24.bias.fill_(0.25)
        torch.testing.assert_close(network(x), torch.full_like(x, 0.75))
    with pytest.raises(HarnessError, match="8 divides, not 24x12"):
        network(x[:, :, :12])


def test_mtrnn() -> None:
    def run(network: nn.Module, x: Tensor, previous: Tensor) -> Mapping[str, Tensor]:
        first, feature_1, feature_2 = network.one_pass(x, previous)
        second, *_ = network.one_pass(x, first, [feature_1, feature_2])
        return {"first": first, "feature_1": feature_1, "feature_2": feature_2, "second": second}

    check_system("mtrnn", MTRNN(), run, ("mtrnn", "mtrnn.previous"), rgb_range=255)
    check_full_size(MTRNN)


def test_mtrnn_begins_with_its_input() -> None:
    x = torch.rand(1, 3, 16, 12) * 255
    network = MTRNN(passes=2).eval()
    with torch.inference_mode():
        image, *features = network.one_pass(x, x)
        torch.testing.assert_close(network(x), network.one_pass(x, image, features)[0])
    assert MTRNN().passes == 6


@pytest.mark.parametrize(
    ("name", "num_res", "millions"),
    [("mimounet", 8, 6.8), ("mimounetplus", 20, 16.1)],
)
def test_mimounet(name: str, num_res: int, millions: float) -> None:
    def run(network: nn.Module, x: Tensor) -> Mapping[str, Tensor]:
        return {f"output{i}": image for i, image in enumerate(network.restore_scales(x))}

    check_system(name, MIMOUNet(2, dropout=0.1), run)
    check_size(name, lambda: MIMOUNet(num_res))
    check_full_size(lambda: MIMOUNet(num_res))
    with torch.device("meta"):
        assert round(parameter_count(MIMOUNet(num_res)) / 1e6, 1) == millions


def test_mimounetplusplus_is_the_mean_of_four_rotations() -> None:
    class Add(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.arange(x.shape[3])

    x = torch.rand(1, 3, 4, 8)
    across, down = torch.arange(8.0), torch.arange(4.0)[:, None]
    expected = x + (across + across.flip(0) + down + down.flip(0)) / 4
    torch.testing.assert_close(RotationEnsemble(Add())(x), expected)
    check_full_size(lambda: RotationEnsemble(MIMOUNet(1)), side=32)
