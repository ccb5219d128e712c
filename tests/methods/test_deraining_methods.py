"""Methods of the deraining systems and MLP: what they load, and that they restore images of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import harness.assets.weights.loading as loading
from harness.cli.describing import describe_method
from harness.errors import NotAvailableError
from harness.images import write_png
from harness.methods import build_method, get_method
from harness.networks import didmdn
from harness.run.apply import tensor_restorer

TF_KINDS = {"convs.weight": "weights", "convs.bias": "biases", "norms.weight": "scale", "norms.bias": "beta"}
DERAIN = ("derainnet", "semi", "didmdn", "umrl", "umrl-spun", "rescan", "mspfn")


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found but what a test puts there."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)


def released(name: str, file: str) -> dict[str, Tensor]:
    """Make weights under the names that a release has, as `load_weights` reads them."""
    torch.manual_seed(0)
    method = get_method(name)
    assert method.network is not None
    network = method.network(method.tasks[0], 0)
    if name == "didmdn":
        network = getattr(network, file.removesuffix(".pth"))
    # A new network's samples may lie far outside [0, 1], which no method may return.
    state = {key: value / 4 if value.is_floating_point() else value for key, value in network.state_dict().items()}
    if name == "mspfn":
        return {f"generator/{key.replace('.', '/')}": value for key, value in state.items()}
    if name == "derainnet":
        layers = {"conv1": "conv2d", "conv2": "conv2d_1", "deconv": "conv2d_transpose"}
        pairs = ((key.partition("."), value) for key, value in state.items())
        return {
            f"DerainNet/{layers[layer]}/{'kernel' if kind == 'weight' else 'bias'}": value
            for (layer, _, kind), value in pairs
        }
    if name == "semi":
        named = {}
        for key, value in state.items():
            part, index, kind = key.split(".")
            named[f"conv_{int(index) + 1}/{TF_KINDS[f'{part}.{kind}']}_{int(index) + 1}"] = value
        return named
    return state


@pytest.mark.parametrize(
    ("name", "dataset", "files"),
    [
        ("derainnet", "", ["derainnet/model.index"]),
        ("semi", "", ["semi/model.index"]),
        ("didmdn", "", ["didmdn/derain.pth", "didmdn/classifier.pth", "didmdn/residual.pth"]),
        ("umrl", "test1200", ["umrl/didmdn.pth"]),
        ("umrl-spun", "rain100l", ["umrl/jorder.pth"]),
        ("rescan", "", ["rescan/rescan.pth"]),
        ("mspfn", "", ["mspfn/epoch50.index"]),
    ],
)
def test_odd_sizes_are_restored(name: str, dataset: str, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(of: str, file: str, *_: Any) -> dict[str, Tensor]:
        asked.append(f"{of}/{file}")
        return released(name, file)

    monkeypatch.setattr(loading, "load_weights", load)
    monkeypatch.setattr(didmdn, "SIDE", 56)  # 512 is as slow as it is large
    method = get_method(name)
    assert method.loads("derain", 0, dataset) == files[0]
    image = np.random.default_rng(0).integers(0, 256, (37, 45, 3)).astype(np.float64)
    found = tensor_restorer(build_method(method, "derain", 0, dataset), "whole")(image)
    assert found.shape == image.shape and np.isfinite(found).all()
    assert asked == files
    assert method.saving == ("round" if name == "rescan" else "truncate")


def test_mlp(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.networks.mlp import MLP

    monkeypatch.setattr(loading, "load_weights", lambda *_: MLP((6, 5)).state_dict())
    method = get_method("mlp")
    for task, level, shape in (("denoise-gray", 50, (23, 31)), ("denoise-real", 0, (23, 31, 3))):
        image = np.random.default_rng(0).integers(0, 256, shape).astype(np.float64)
        assert tensor_restorer(build_method(method, task, level), "whole")(image).shape == shape
    assert method.loads("denoise-real", 0, "sidd-validation") == "mlp/sigma10.mat"
    assert method.loads("denoise-gray", 30, "set12") == ""
    with pytest.raises(NotAvailableError, match="sigma 10, 25, 35"):
        build_method(method, "denoise-gray", 30)


@pytest.mark.parametrize(
    ("name", "dataset", "told"),
    [
        ("derainnet", "", "run `harness weights fetch derainnet`"),
        ("semi", "", "run `harness weights fetch semi`"),
        ("umrl", "test100", "run `harness weights fetch umrl`"),
        ("umrl", "rain100h", "has a model for each of test100"),
        ("didmdn", "", "that of the folder pre_trained is derain.pth"),
        ("rescan", "", "or take the retrained model"),
        ("mspfn", "", "download the pretrained models that the README"),
    ],
)
def test_missing_weights_say_how_to_supply_them(name: str, dataset: str, told: str) -> None:
    with pytest.raises(NotAvailableError, match=told):
        build_method(get_method(name), "derain", 0, dataset)


@pytest.mark.parametrize("name", [*DERAIN, "mlp"])
def test_they_are_described(name: str) -> None:
    method = get_method(name)
    said = dict(describe_method(method, method.tasks[0], (64, 64), measure=False))
    assert said["range"].startswith("0..1")


@pytest.mark.parametrize("name", ["derainnet", "semi", "didmdn", "umrl", "rescan", "mspfn", "mlp"])
def test_they_can_be_trained(name: str) -> None:
    from harness.training.recipe import recipe

    method = get_method(f"{name}-trained")
    for task, of in method.recipes.items():
        assert recipe(of).task == task and method.network is not None


def test_derained_images_are_supplied(tmp_path: Path) -> None:
    from harness.assets.datasets import fetch

    folder = tmp_path / "from" / "UMRL"
    counts = {"test100": 100, "rain100h": 100, "rain100l": 100, "test1200": 1200}
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            write_png(folder / name / f"{number}.png", np.full((3, 4, 3), number % 256, np.uint8))
    method = get_method("umrl-images")
    assert method.loads("derain", 0, "test100") == "derained-umrl" and method.loads("derain", 0, "test2800") == ""
    fetch("derained-umrl", tmp_path, folder=folder)
    find = build_method(method, "derain", 0, "test1200")
    assert find("test1200", "1000").shape == (3, 4, 3) and int(find("test1200", "1000")[0, 0, 0]) == 1000 % 256
    with pytest.raises(NotAvailableError, match="none of 'test2800'"):
        find("test2800", "1")
