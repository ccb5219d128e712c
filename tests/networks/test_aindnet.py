"""AINDNet: the printed size, TensorFlow's resizing and pooling, and the names of the released variables.

The release is TensorFlow 1 and no outputs of it are at hand. Checked: the number of parameters (figure 2 of the paper
says 13.7 million), names and shapes by the scopes of code/model.py in terryoo/AINDNet, what its resizing and pooling
are by definition, and that features are normalised and nothing else where gamma and beta are zero.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_systems import check_full_size, generated_state

from harness.errors import HarnessError
from harness.networks.aindnet import AdaptiveInstanceNorm, AINDNet, average_pool, from_tensorflow, resize_bilinear
from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count


def test_full_size() -> None:
    with torch.device("meta"):
        network = AINDNet()
    assert parameter_count(network) == 13_764_014
    check_full_size(AINDNet)


def variables(network: AINDNet) -> dict[str, torch.Tensor]:
    """Name a state as the released program does."""
    slim = ("fcn_avg", "deconv")
    named = {}
    for name, value in generated_state(network).items():
        layer, _, kind = name.rpartition(".")
        if layer.endswith(".up"):
            named[f"AINDNet/{layer.removesuffix('.up')}_1"] = value
            continue
        plain = layer.startswith(slim) or layer.startswith("conv")
        last = {"weight": "weights", "bias": "biases"}[kind] if plain else {"weight": "kernel", "bias": "bias"}[kind]
        scope = "" if layer.startswith("fcn_avg") else "AINDNet/"
        named[f"{scope}{layer.replace('.', '/')}/{last}"] = value
    return named


def test_the_released_names() -> None:
    network = AINDNet()
    named = variables(network)
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    for name, shape in {
        "fcn_avg/conv5/weights": (3, 32, 3, 3),
        "fcn_avg/conv7/biases": (3,),
        "AINDNet/conv2_1/weights": (128, 64, 3, 3),
        "AINDNet/AINRes3_5/AIN_2/conv1/kernel": (64, 3, 5, 5),
        "AINDNet/AINRes3_5/AIN_2/conv_gamma/kernel": (256, 64, 3, 3),
        "AINDNet/AINRes4_3/conv2/bias": (128,),
        "AINDNet/deconv4/Conv_1/weights": (128, 128, 3, 3),
        "AINDNet/deconv4_1": (256, 128, 2, 2),
        "AINDNet/conv6/weights": (3, 64, 1, 1),
    }.items():
        assert shapes[name] == shape
    load_released(network, from_tensorflow(named, "a test"), "a test")
    with pytest.raises(HarnessError, match="'AINDNet/deconv4_2' is left over"):
        from_tensorflow(named | {"AINDNet/deconv4_2": torch.zeros(1)}, "a test")


@pytest.mark.parametrize("size", [(13, 22), (1, 40), (3, 3), (24, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    network = AINDNet().eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def resized_by_definition(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """tensorflow/core/kernels/resize_bilinear_op.cc of version 1, with align_corners and half_pixel_centers false."""
    out = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y, x = i * plane.shape[0] / height, j * plane.shape[1] / width
            top, left = int(y), int(x)
            below, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            upper = plane[top, left] + (plane[top, right] - plane[top, left]) * (x - left)
            lower = plane[below, left] + (plane[below, right] - plane[below, left]) * (x - left)
            out[i, j] = upper + (lower - upper) * (y - top)
    return out


@pytest.mark.parametrize("size", [(20, 24), (7, 9), (5, 6), (3, 12)])
def test_resizing_is_tensorflows(size: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).random((5, 6))
    found = resize_bilinear(torch.from_numpy(plane)[None, None], *size)[0, 0].numpy()
    np.testing.assert_allclose(found, resized_by_definition(plane, *size), atol=1e-12)


def test_half_the_size_takes_every_second_sample() -> None:
    x = torch.rand(1, 3, 8, 12)
    assert torch.equal(resize_bilinear(x, 4, 6), x[:, :, ::2, ::2])


@pytest.mark.parametrize(("size", "side"), [((8, 12), 4), ((7, 9), 2), ((6, 5), 4), ((1, 3), 4)])
def test_padded_samples_do_not_count(size: tuple[int, int], side: int) -> None:
    plane = np.random.default_rng(1).random(size)
    starts = [range(-((-length % side) // 2), length, side) for length in size]
    expected = [[plane[max(0, y) : y + side, max(0, x) : x + side].mean() for x in starts[1]] for y in starts[0]]
    found = average_pool(torch.from_numpy(plane)[None, None], side)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_without_gamma_and_beta_features_are_normalised() -> None:
    norm = AdaptiveInstanceNorm(4)
    for layer in (norm.conv_gamma, norm.conv_beta):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 4, 16, 20) * torch.tensor([1.0, 5, 10, 20])[None, :, None, None]
    with torch.no_grad():
        found = norm(x, torch.rand(2, 3, 32, 40))
    torch.testing.assert_close(found, torch.nn.functional.instance_norm(x), rtol=1e-4, atol=1e-5)
