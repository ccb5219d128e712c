"""The recipe of golden/activations: weights and inputs follow from names."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.networks.checkpoints import load_released


def generator(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def state_of(network: nn.Module, shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    own = network.state_dict()
    state = {}
    for key, shape in shapes.items():
        if key.startswith(("sub_mean.", "add_mean.")) or key.endswith("escape_NaN"):
            state[key] = own[key]
        elif len(shape) >= 2:
            values = generator(key).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
            state[key] = torch.from_numpy(values.astype(np.float32))
        elif key.endswith("bias"):
            state[key] = torch.from_numpy((0.01 * generator(key).standard_normal(shape)).astype(np.float32))
        else:
            state[key] = torch.full(shape, 0.25)
    return state


def input_of(name: str, shape: list[int], rgb_range: float) -> Tensor:
    return torch.from_numpy((generator(name).random_sample(shape) * rgb_range).astype(np.float32))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def relative_norm(a: np.ndarray, b: np.ndarray) -> float:
    """Norm of the difference, relative to the norm."""
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def use_direct_kernels(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if hasattr(module, "kernel"):
            module.kernel = "direct"
    return network


def check_case(
    golden: Path,
    name: str,
    network: nn.Module,
    rgb_range: float = 1.0,
    error: Callable[[np.ndarray, np.ndarray], float] = relative,
) -> None:
    """Hold a network to a golden case in float32, and its streamed to its direct kernels in float64."""
    folder = golden / "activations"
    case = json.loads((folder / "golden.json").read_text())[name]
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == case["state_dict"]
    assert sum(p.numel() for p in network.parameters()) == case["parameters"]
    load_released(network, state_of(network, case["state_dict"]), source=name)
    x = input_of(name, case["input_shape"], rgb_range)
    with torch.inference_mode():
        assert error(network(x).numpy(), np.load(folder / f"{name}.npz")["output"]) < 1e-4
        streamed = network.double()(x.double()).numpy()
        direct = use_direct_kernels(network)(x.double()).numpy()
    assert relative(streamed, direct) < 1e-9
