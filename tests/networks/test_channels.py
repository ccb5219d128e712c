"""Gray networks on colour images: channels are apart, and only luma is restored where an image is enlarged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.degradations.resize import imresize
from harness.networks.channels import EnlargedLuma, each_channel
from harness.networks.lapsrn import enlarge_colour


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_images_of_their_own(channels: int) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 3, padding=1)
    image = torch.rand(2, channels, 6, 7)
    with torch.no_grad():
        found = each_channel(network, image)
        for channel in range(channels):
            torch.testing.assert_close(found[:, channel : channel + 1], network(image[:, channel : channel + 1]))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_enlarged_luma(scale: int, channels: int) -> None:
    """The same as colour conversion, bicubic of each plane by itself, and conversion back."""
    torch.manual_seed(scale)
    luma = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1))
    image = torch.rand(2, channels, 11, 14)
    whole = EnlargedLuma(luma, scale)

    def after_bicubic(small: torch.Tensor) -> torch.Tensor:
        large = [imresize(plane.double().numpy(), float(scale), border="symmetric") for plane in small[:, 0]]
        return torch.as_tensor(luma(torch.from_numpy(np.stack(large))[:, None].float()))

    with torch.no_grad():
        found = whole(image)
        expected = enlarge_colour(after_bicubic, image, scale)
    assert found.shape == (2, channels, 11 * scale, 14 * scale)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_it_can_be_trained() -> None:
    network = EnlargedLuma(nn.Conv2d(1, 1, 1), 2)
    network(torch.rand(1, 3, 4, 4)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
