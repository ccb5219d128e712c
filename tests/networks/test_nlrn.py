"""NLRN against its definition: no activations of the TensorFlow program and none of its weights are at hand.

Checked are the number of parameters (the paper's 330 thousand are those of the convolutions), one window against the
equations written out, the windows of its test program, and the names of the variables that its program saves.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_systems import check_full_size, generated_state
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count
from harness.networks.nlrn import NLRN, from_tensorflow


def small(**sizes: int) -> NLRN:
    network = NLRN(**({"states": 3, "features": 6, "embedded": 4} | sizes))
    return load_released(network, generated_state(network), "a test").double()


def test_parameters() -> None:
    with torch.device("meta"):
        network = NLRN()
    convolutions = sum(parameter_count(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d))
    # 38 normalisations: three a pass, of 128 channels, one of the image and the last.
    assert (convolutions, parameter_count(network) - convolutions) == (330_625, 2 * (37 * 128 + 1))


def test_full_size() -> None:
    check_full_size(lambda: NLRN(window=64), channels=1)


def test_one_window_is_the_equations() -> None:
    network = small()
    image = torch.rand(1, 1, 5, 4, dtype=torch.float64) * 255
    with torch.no_grad():
        torch.testing.assert_close(network(image), image + written_out(network, image))


def written_out(network: Any, image: Tensor) -> Tensor:
    """Follow one pixel after the other; normalisation as TensorFlow defines it."""

    def normalised(layer: Any, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            value.view(1, -1, 1, 1) for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        )
        result: Tensor = (x - mean) / (variance + 0.001).sqrt() * weight + bias
        return result

    first = network.conv1(normalised(network.norm_in, image))
    x, pixels = first, image.shape[2] * image.shape[3]
    correlation = torch.zeros(pixels, pixels, dtype=image.dtype)
    for state in range(network.states):
        x = normalised(network.norms[3 * state], x).clamp_min(0)
        theta, phi, g = (layer(x)[0].flatten(1) for layer in (network.theta, network.phi, network.g))
        update = torch.zeros_like(g)
        for i in range(pixels):
            for j in range(pixels):
                correlation[i, j] += theta[:, i] @ phi[:, j]
            update[:, i] = (
                g @ (correlation[i] - correlation[i].max()).exp() / (correlation[i] - correlation[i].max()).exp().sum()
            )
        x = x + update.view_as(x)
        x = network.conv_a(normalised(network.norms[3 * state + 1], x))
        x = network.conv_b(normalised(network.norms[3 * state + 2], x).clamp_min(0)) + first
    result: Tensor = network.conv_end(normalised(network.norm_out, x).clamp_min(0))
    return result


def test_a_large_image_is_the_mean_of_its_windows() -> None:
    network = small(window=6, stride=4)
    image = torch.rand(2, 1, 11, 9, dtype=torch.float64)
    total, count = torch.zeros_like(image), torch.zeros_like(image)
    with torch.no_grad():
        for y in (0, 4, 5):
            for x in (0, 3):
                total[:, :, y : y + 6, x : x + 6] += network.residual(image[:, :, y : y + 6, x : x + 6])
                count[:, :, y : y + 6, x : x + 6] += 1
        torch.testing.assert_close(network(image), image + total / count)
        # Thinner than a window in one direction only.
        assert network(image[..., :2]).shape == (2, 1, 11, 2)


def test_a_pixel_is_seen_by_its_windows_only() -> None:
    network = small(window=6, stride=4)
    image = torch.rand(1, 1, 6, 30, dtype=torch.float64)
    changed = image.clone()
    changed[..., 0] += 1
    with torch.no_grad():
        differs = (network(image) != network(changed))[0, 0].any(0)
    assert differs[:6].all() and not differs[6:].any()


def test_begins_as_a_network_without_attention() -> None:
    network = NLRN(states=2, features=6, embedded=4)
    assert not any(parameter.any() for parameter in network.g.parameters())


def released_variables(network: NLRN) -> dict[str, Tensor]:
    """Name what `tf.train.Saver` of the program writes for a network as its reader does, the optimiser's included."""
    layers = {"conv1": "conv1", "conv_a": "rnn/RB1_a", "conv_b": "rnn/RB1_b", "conv_end": "conv_end"}
    layers |= {name: f"rnn/non_local_{name}" for name in ("theta", "phi", "g")}
    layers |= {"norm_in": "batch_normalization", "norm_out": "batch_normalization_1"}
    layers |= {
        f"norms.{index}": "rnn/batch_normalization" + (f"_{index}" if index else "")
        for index in range(3 * network.states)
    }
    found = {"Variable": torch.tensor(400_000), "solver/beta1_power": torch.tensor(0.0)}
    for key, value in network.state_dict().items():
        layer, _, kind = key.rpartition(".")
        if value.ndim == 4:
            name = "kernel"
        elif "norm" in layer:
            names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            if kind not in names:
                continue
            name = names[kind]
        else:
            name = "bias"
        found[f"model/{layers[layer]}/{name}"] = value
        found[f"solver/model/{layers[layer]}/{name}/Adam"] = value
    return found


def test_released_names() -> None:
    network = small().float()
    variables = released_variables(network)
    again = load_released(
        NLRN(states=3, features=6, embedded=4), from_tensorflow(variables, "a test", states=3), "a test"
    )
    image = torch.rand(1, 1, 6, 6) * 255
    with torch.no_grad():
        assert torch.equal(again(image), network(image))
    with pytest.raises(HarnessError, match="'model/conv2/kernel' is left over"):
        from_tensorflow(variables | {"model/conv2/kernel": torch.zeros(1, 1, 3, 3)}, "a test", states=3)
    del variables["model/rnn/batch_normalization_8/beta"]
    with pytest.raises(HarnessError, match=r"no weights for 'norms\.8\.bias'"):
        load_released(NLRN(states=3, features=6, embedded=4), from_tensorflow(variables, "x", states=3), "x")
