from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.networks.lapsrn import SLOPE, STRIP, LapSRN, Level
from harness.networks.measure import peak_memory


def by_layers(level: Level, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """The level as its layers are: the map of features held several times over."""
    for conv in level.convs:
        features = functional.leaky_relu_(conv(features), SLOPE)
    features = functional.leaky_relu_(level.up(features)[..., :-1, :-1], SLOPE)
    return features, level.image_up(image) + level.residual(features)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 41), (181, 363), (257, 257)])
def test_channels_and_strips_change_no_bit(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    level = Level(depth=1)
    features, image = torch.randn(1, 64, *size), torch.rand(1, 1, *size)
    with torch.inference_mode():
        want, got = by_layers(level, features, image), level(features, image)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    # The last sizes are cut into strips.
    assert (4 * size[0] * size[1] >= 2 * STRIP) == (size[0] > 100)


def test_a_network_is_trained_through_its_strips() -> None:
    torch.manual_seed(0)
    network = LapSRN(2, features=8, depth=1)
    assert torch.autograd.gradcheck(network.double(), torch.rand(1, 1, 3, 2, dtype=torch.float64, requires_grad=True))


def test_memory_is_that_of_one_map_of_features() -> None:
    level = Level(depth=1)
    features, image = torch.rand(1, 64, 256, 256), torch.rand(1, 1, 256, 256)
    one = 64 * 512 * 512 * 4

    def peak(function: object) -> float:
        with torch.inference_mode():
            level(features[..., :8], image[..., :8])
            held = peak_memory(lambda: function(features, image))  # type: ignore[operator]
        if held is None:
            pytest.skip("memory cannot be measured here")
        return held / one

    assert peak(level) < 2.8 < 3.3 < peak(lambda *arguments: by_layers(level, *arguments))
