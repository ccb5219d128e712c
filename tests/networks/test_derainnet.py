"""DerainNet: the guided filter against its definition, sizes, and what passes through unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_systems import check_full_size

from harness.errors import HarnessError
from harness.networks.derainnet import DerainNet, from_checkpoint, guided_filter


def by_definition(image: np.ndarray, radius: int, regularisation: float) -> np.ndarray:
    """He et al. 2013, equations 5, 6 and 8, pixel by pixel."""
    height, width = image.shape

    def windows(values: np.ndarray) -> np.ndarray:
        out = np.empty_like(values)
        for y in range(height):
            for x in range(width):
                part = values[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
                out[y, x] = part.mean()
        return out

    mean = windows(image)
    variance = windows(image**2) - mean**2
    slope = variance / (variance + regularisation)
    return windows(slope) * image + windows(mean - slope * mean)


@pytest.mark.parametrize("regularisation", [1.0, 0.01, 1e-8])
def test_the_guided_filter_is_the_papers(regularisation: float) -> None:
    image = np.random.default_rng(0).random((13, 17))
    found = guided_filter(torch.from_numpy(image)[None, None], 3, regularisation)[0, 0].numpy()
    np.testing.assert_allclose(found, by_definition(image, 3, regularisation), atol=1e-9)


@pytest.mark.parametrize("size", [(64, 48), (31, 20), (1, 40), (40, 1), (3, 3)])
def test_the_size_is_kept(size: tuple[int, int]) -> None:
    network = DerainNet(8).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_without_weights_the_base_layer_is_left() -> None:
    network = DerainNet(4).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 3, 40, 33)
    padded = torch.from_numpy(np.pad(image.numpy(), [(0, 0), (0, 0), (10, 10), (10, 10)], mode="symmetric"))
    with torch.no_grad():
        torch.testing.assert_close(network(image), guided_filter(padded, 15, 1.0)[:, :, 10:-10, 10:-10])


def test_full_size() -> None:
    check_full_size(DerainNet)


def test_the_released_names() -> None:
    names = {"conv2d": "conv1", "conv2d_1": "conv2", "conv2d_transpose": "deconv"}
    state = DerainNet(4).state_dict()
    released = {
        f"DerainNet/{theirs}/{kind}": state[f"{ours}.{'weight' if kind == 'kernel' else 'bias'}"]
        for theirs, ours in names.items()
        for kind in ("kernel", "bias")
    }
    assert from_checkpoint(released, "a test").keys() == state.keys()
    with pytest.raises(HarnessError, match="is left over"):
        from_checkpoint({"DerainNet/conv2d_2/kernel": torch.zeros(1)}, "a test")


def test_size_of_the_paper() -> None:
    assert sum(p.numel() for p in DerainNet().parameters()) == (3 * 256 + 1) * 512 + (512 + 1) * 512 + 512 * 3 * 64 + 3
