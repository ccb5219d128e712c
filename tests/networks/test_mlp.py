"""MLP against the definition of its authors' program, patch by patch, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from golden_systems import check_full_size
from numpy.typing import NDArray

from harness.networks.measure import parameter_count
from harness.networks.mlp import HIDDEN, MLP, hidden_layers

Array = NDArray[np.float64]


def by_definition(network: MLP, image: Array) -> Array:
    """Patches of 39x39 at every third pixel of the mirrored image, 17x17 of each averaged under a Gaussian."""
    layers = [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in network.layers
    ]
    padded = (np.pad(image, 11, mode="reflect") - 0.5) / 0.2
    window = np.array(
        [[np.exp(-((i - 8) ** 2 + (j - 8) ** 2) / (2 * 4**2)) for j in range(17)] for i in range(17)], dtype=np.float64
    )
    total, weight = np.zeros(image.shape), np.zeros(image.shape)
    rows, columns = ([*range(0, side - 39, 3), side - 39] for side in padded.shape)
    for row in rows:
        for column in columns:
            values = padded[row : row + 39, column : column + 39].ravel()
            for index, (matrix, bias) in enumerate(layers):
                values = matrix @ values + bias
                values = np.tanh(values) if index < len(layers) - 1 else values
            total[row : row + 17, column : column + 17] += window * values.reshape(17, 17)
            weight[row : row + 17, column : column + 17] += window
    return total / weight * 0.2 + 0.5


@pytest.mark.parametrize("size", [(17, 17), (24, 31), (40, 22)])
def test_it_is_the_program(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = MLP((7, 5)).eval()
    image = np.random.default_rng(0).random(size)
    with torch.inference_mode():
        found = network.double()(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, by_definition(network, image), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (16, 12), (12, 90)])
def test_any_size(size: tuple[int, int]) -> None:
    network = MLP((4,)).eval()
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        found = network(image)
        assert found.shape == image.shape
        torch.testing.assert_close(found[1:, 2:], network(image[1:, 2:]))


def test_full_size() -> None:
    network = MLP()
    widths = [39**2, *HIDDEN, 17**2]
    assert parameter_count(network) == sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert hidden_layers(network.state_dict()) == HIDDEN
    check_full_size(lambda: network, channels=1)


def test_it_can_be_trained() -> None:
    network = MLP((4,))
    network(torch.rand(1, 1, 20, 20)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
