"""MemNet as its released definitions have it: layers by their names, shared filters, sizes.

Interpreted node by node, the descriptions of the four converted networks in WolframRhodium/Super-Resolution-Zoo
(``MemNet_*-symbol.json``), with the weights of the images that they state, give the same in float64 to the last bit;
their arrays have the names that `from_layers` takes and no other.
"""

from __future__ import annotations

import pytest
import torch
from golden_systems import check_full_size
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError
from harness.methods.memnet import LARGE, RELEASED
from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count
from harness.networks.memnet import MemNet, from_layers

FEATURES = 8


def released_layers(blocks: int, recursions: int, features: int = FEATURES) -> dict[str, Tensor]:
    """Draw the arrays of a release: batch normalisation before each layer, filters of a block the same each time."""
    random = torch.Generator().manual_seed(blocks)
    layers: dict[str, Tensor] = {}

    def add(layer: str, inputs: int, outputs: int, kernel: int, shared: str = "") -> None:
        copy = f"{shared or layer}.weight"
        drawn = torch.randn(outputs, inputs, kernel, kernel, generator=random) / (inputs * kernel**2) ** 0.5
        layers[f"{layer}.weight"] = layers.get(copy, drawn)
        layers[f"{layer}.bias"] = layers.get(copy.replace("weight", "bias"), drawn.flatten()[:outputs] / 10)
        layers[f"bn_{layer}.weight"] = 1 + torch.rand(inputs, generator=random) / 10
        for kind in ("bias", "running_mean"):
            layers[f"bn_{layer}.{kind}"] = torch.randn(inputs, generator=random) / 10
        layers[f"bn_{layer}.running_var"] = 0.5 + torch.rand(inputs, generator=random)

    add("conv1", 1, features, 3)
    for m in range(1, blocks + 1):
        for r in range(1, recursions + 1):
            for half in "ab":
                add(f"conv{m:02d}_{r:02d}_{half}", features, features, 3, f"conv{m:02d}_01_{half}")
        add(f"conv_transition_{m:02d}", (m + recursions) * features, features, 1)
        add(f"conv_end_{m:02d}", features, 1, 3, "conv_end_01")
    return layers


def by_definition(layers: dict[str, Tensor], image: Tensor, mix: tuple[float, ...], recursions: int) -> Tensor:
    """The definition, layer by layer."""

    def layer(name: str, x: Tensor) -> Tensor:
        mean, variance, gamma, beta = (
            layers[f"bn_{name}.{kind}"].to(x) for kind in ("running_mean", "running_var", "weight", "bias")
        )
        weight = layers[f"{name}.weight"].to(x)
        x = functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-4).relu()
        return functional.conv2d(x, weight, layers[f"{name}.bias"].to(x), padding=weight.shape[-1] // 2)

    transitions = [layer("conv1", image)]
    result = torch.zeros_like(image)
    for m, weight in enumerate(mix, 1):
        sums = [transitions[-1]]
        for r in range(1, recursions + 1):
            sums.append(sums[-1] + layer(f"conv{m:02d}_{r:02d}_b", layer(f"conv{m:02d}_{r:02d}_a", sums[-1])))
        transitions.append(layer(f"conv_transition_{m:02d}", torch.cat([*transitions, *sums[1:]], 1)))
        result += weight * (image + layer(f"conv_end_{m:02d}", transitions[-1]))
    return result


@pytest.mark.parametrize(("recursions", "release"), [(6, RELEASED["sr"]), (10, LARGE)])
def test_the_layers_are_those_of_the_definition(recursions: int, release: object) -> None:
    mix = release.mix  # type: ignore[attr-defined]
    layers = released_layers(len(mix), recursions)
    network = MemNet(len(mix), recursions, FEATURES)
    load_released(network, from_layers(layers, mix, recursions, "a test"), "a test").double()
    image = torch.rand(1, 1, 12, 15, dtype=torch.float64)
    with torch.inference_mode():
        found = network(image)
        torch.testing.assert_close(found, by_definition(layers, image, mix, recursions), rtol=1e-6, atol=1e-6)
        images = network.images(image)
    assert len(images) == len(mix)
    torch.testing.assert_close(found, sum(w * x for w, x in zip(mix, images, strict=True)), rtol=1e-6, atol=1e-6)


def test_other_layers_are_refused() -> None:
    mix = (0.5, 0.5)
    layers = released_layers(2, 2)
    differing = layers | {"conv01_02_a.weight": layers["conv01_02_a.weight"] + 1}
    with pytest.raises(HarnessError, match=r"x: 'conv01_02_a\.weight' should be shared, and differs from its copies"):
        from_layers(differing, mix, 2, "x")
    with pytest.raises(HarnessError, match=r"x: 'conv01_02_a\.weight' is left over"):
        from_layers(layers, mix, 1, "x")
    missing = {name: tensor for name, tensor in layers.items() if name != "bn_conv_end_02.running_var"}
    with pytest.raises(HarnessError, match=r"no weights for 'norms_end\.1\.running_var'"):
        load_released(MemNet(2, 2, FEATURES), from_layers(missing, mix, 2, "x"), "x")


def test_the_printed_number_is_that_of_the_filters() -> None:
    """RNAN Table 7 and PANet Table 4 print 677K: a block's filters counted once, neither biases nor normalisation."""
    with torch.device("meta"):
        network = MemNet()
    filters = sum(p.numel() for p in network.parameters() if p.ndim == 4)
    assert filters == 9 * 64 + 6 * 2 * 9 * 64**2 + sum(range(7, 13)) * 64**2 + 9 * 64 == 676_992
    assert parameter_count(network) == 695_497


@pytest.mark.parametrize("blocks", [6, 10])
def test_full_size(blocks: int) -> None:
    check_full_size(lambda: MemNet(blocks, blocks), channels=1, side=64 if blocks == 6 else 24)


def test_the_convolutions_are_as_many_as_its_name_says() -> None:
    """80C and 212C of the released names: each layer an image passes through, the last once."""
    for blocks, layers in ((6, 80), (10, 212)):
        assert 1 + blocks * (2 * blocks + 1) + 1 == layers
        with torch.device("meta"):
            network = MemNet(blocks, blocks)
        norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
        assert norms == layers - 1 + blocks  # each block's image has one of its own
