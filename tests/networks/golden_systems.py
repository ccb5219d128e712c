"""Networks of the tables' other systems against the authors' outputs on generated weights.

`golden_systems.json` holds 64 samples of each output and the hash of each state's keys and shapes, so that these tests
run in every clone; with HARNESS_GOLDEN whole outputs are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from golden_recipe import generator, input_of, relative
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count

_HERE = Path(__file__).parent
CASES = json.loads((_HERE / "golden_systems.json").read_text())
SIZES = json.loads((_HERE / "released_sizes.json").read_text())

Run = Callable[..., Mapping[str, Tensor]]


def state_sha256(network: nn.Module) -> str:
    """Hash the keys and shapes of a state, whatever their order."""
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def generated_state(network: nn.Module) -> dict[str, Tensor]:
    """Make the weights that follow from the keys of a state."""
    state = dict(network.state_dict())
    for key, value in state.items():
        stem, _, last = key.rpartition(".")
        shape, random = tuple(value.shape), generator(key)
        if key.startswith(("sub_mean", "add_mean")) or last == "num_batches_tracked":
            continue
        if last == "running_mean":
            made = 0.1 * random.standard_normal(shape)
        elif last == "running_var":
            made = 0.5 + random.random_sample(shape)
        elif len(shape) >= 2:
            made = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        elif last.endswith("bias"):
            made = 0.01 * random.standard_normal(shape)
        elif f"{stem}.running_mean" in state:
            made = 1 + 0.1 * random.standard_normal(shape)
        else:
            made = np.full(shape, 0.25)
        state[key] = torch.from_numpy(np.asarray(made, dtype=np.float32))
    return state


def check_system(
    name: str, network: nn.Module, run: Run, inputs: Sequence[str] = (), rgb_range: float = 1, shift: float = 0
) -> None:
    """Hold a network to a case: keys, shapes, number of parameters, and every output within 1e-4.

    `run(network, *tensors)` gives the outputs by name; `inputs` are the inputs' names where they are not the case's.
    """
    case = CASES[name]
    assert state_sha256(network) == case["state"]
    assert parameter_count(network) == case["parameters"]
    load_released(network, generated_state(network), source=name)
    tensors = [
        input_of(of, shape, rgb_range) + shift for of, shape in zip(inputs or (name,), case["inputs"], strict=False)
    ]
    with torch.inference_mode():
        outputs = {key: value.numpy() for key, value in run(network, *tensors).items()}
    assert outputs.keys() == case["outputs"].keys()
    for key, expected in case["outputs"].items():
        assert list(outputs[key].shape) == expected["shape"]
        samples = outputs[key].ravel()[expected["at"]]
        assert np.abs(samples - np.array(expected["values"])).max() < 1e-4 * expected["largest"], key
        if whole := _whole(name, key):
            assert relative(outputs[key], whole[0]) < 1e-4, key


def _whole(name: str, key: str) -> list[NDArray[np.float32]]:
    folder = os.environ.get("HARNESS_GOLDEN")
    path = Path(folder) / "networks" / f"{name}.npz" if folder else None
    return [np.load(path)[key]] if path and path.is_file() else []


def check_size(name: str, make: Callable[[], nn.Module]) -> None:
    """Hold the network of the release to its number of parameters, its keys and its shapes."""
    with torch.device("meta"):
        network = make()
    assert parameter_count(network) == SIZES[name]["parameters"]
    assert state_sha256(network) == SIZES[name]["state"]


def check_full_size(make: Callable[[], nn.Module], scale: int = 1, channels: int = 3, side: int = 64) -> Tensor:
    """Run the network of the release on seeded weights: the right shape, no NaN; gives the output."""
    torch.manual_seed(0)
    network = make().eval()
    largest = float(getattr(network, "rgb_range", 1))
    with torch.inference_mode():
        output = network(torch.rand(1, channels, side, side) * largest)
    assert output.shape == (1, channels, side * scale, side * scale)
    assert torch.isfinite(output).all()
    return Tensor(output)
