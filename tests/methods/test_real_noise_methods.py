"""The systems of real noise as methods: what they ask for, and images restored with weights made for the test."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_weights import supply
from scipy.io import savemat
from torch import nn

from harness.assets.weights import loading
from harness.cli.describing import describe_method
from harness.errors import NotAvailableError
from harness.methods import build_method, get_method
from harness.networks.aindnet import AINDNet
from harness.run.apply import tensor_restorer

FILES = {
    "cbdnet": "cbdnet/cbdnet.mat",
    "cbdnet-jpeg": "cbdnet/jpeg.mat",
    "cbdnet-port": "cbdnet/port.pth",
    "ridnet": "ridnet/ridnet.pt",
    "aindnet": "aindnet/sidd-transfer.index",
    "vdn": "vdn/sidd.pth",
    "sadnet": "sadnet/real.pth",
    "danet": "danet/danet.pt",
    "danet-plus": "danet/danet-plus.pt",
    "gdanet": "danet/gdanet.pt",
    "gdanet-plus": "danet/gdanet-plus.pt",
    "cycleisp": "cycleisp/sidd-rgb.pth",
    "cycleisp-dnd": "cycleisp/dnd-rgb.pth",
    "nbnet": "nbnet/sidd.pkl",
    "dagl": "dagl/real.pt",
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep files in a folder of their own."""
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_described(name: str) -> None:
    found = get_method(name)
    assert found.tasks == ("denoise-real",)
    assert found.loads("denoise-real", 0, "sidd-validation") == FILES[name]
    about = dict(describe_method(found, "denoise-real", (48, 48), measure=False))
    assert about["range"].startswith("0..255" if name == "ridnet" else "0..1")
    assert found.checked


@pytest.mark.parametrize("name", FILES)
def test_without_weights_it_says_how_to_supply_them(name: str) -> None:
    weights = FILES[name].partition("/")[0]
    how = rf"{FILES[name]} are not here; .*run `harness weights fetch {weights}( --from FOLDER)?`"
    with pytest.raises(NotAvailableError, match=how):
        build_method(get_method(name), "denoise-real", 0)


def matconvnet(path: Path, network: nn.Module) -> None:
    """Save as MatConvNet does: filters (H, W, in, out), biases (1, out), parameters under names of their own."""
    layers, params = [], []
    for name, layer in network.named_children():
        used = []
        for kind, value in layer.named_parameters():
            array = value.detach().numpy()
            used.append(f"p{len(params)}{kind[0]}")
            params.append((used[-1], array.transpose(2, 3, 1, 0) if array.ndim == 4 else array[None]))
        layers.append((name, np.array(used, dtype=object)[None]))
    layers.append(("objective1", np.empty((0, 0), dtype=object)))
    of_layers = np.array(layers, dtype=[("name", object), ("params", object)])[None]
    of_params = np.empty((1, len(params)), dtype=[("name", object), ("value", object)])
    for index, (name, array) in enumerate(params):
        of_params[0, index] = (name, array)
    savemat(path, {"net": {"layers": of_layers, "params": of_params}}, do_compression=True)


def megengine(path: Path, network: nn.Module) -> None:
    state = {
        name: value.numpy()[None, :, None, None] if name.endswith("bias") else value.numpy()
        for name, value in network.state_dict().items()
    }
    path.write_bytes(pickle.dumps({"epoch": 70, "state_dict": state}, protocol=4))


def parallel(path: Path, network: nn.Module) -> None:
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, path)


def beside_a_generator(path: Path, network: nn.Module) -> None:
    torch.save({"D": network.state_dict(), "G": {"head.weight": torch.zeros(1)}}, path)


def training(path: Path, network: nn.Module) -> None:
    torch.save({"epoch": 1, "state_dict": network.state_dict(), "optimizer": {"state": {}}}, path)


def bare(path: Path, network: nn.Module) -> None:
    torch.save(network.state_dict(), path)


SAVED: dict[str, Callable[[Path, nn.Module], None]] = {
    "cbdnet": matconvnet,
    "cbdnet-port": training,
    "ridnet": bare,
    "vdn": parallel,
    "sadnet": bare,
    "danet": beside_a_generator,
    "danet-plus": bare,
    "cycleisp": training,
    "nbnet": megengine,
    "dagl": bare,
}


def calm(last: Any) -> None:
    """Shrink a last layer, so that random weights give about an image."""
    with torch.no_grad():
        last.weight *= 0.1


@pytest.mark.parametrize("name", SAVED)
def test_images_of_odd_sizes_are_restored(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    method = get_method(name)
    assert method.network is not None
    network: Any = method.network("denoise-real", 0).eval()
    if name == "nbnet":
        calm(network.last)
    where, _, file = FILES[name].partition("/")
    (data / "saved").mkdir()
    SAVED[name](data / "saved" / file, network)
    supply(data, monkeypatch, where, {path.name: path.read_bytes() for path in (data / "saved").iterdir()})
    restore = tensor_restorer(
        build_method(method, "denoise-real", 0), method.policy, method.chop.get("denoise-real", "")
    )
    for size in ((16, 32), (19, 27)) if name != "dagl" else ((9, 13),):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.float64)
        result = restore(image)
        assert result.shape == image.shape and np.isfinite(result).all()
        if size == (16, 32):
            # The weights of the file are those in the network, and the range is the network's own.
            largest = float(network.rgb_range)
            with torch.inference_mode():
                x = torch.from_numpy(image.transpose(2, 0, 1)[None] / 255).float() * largest
                expected = network(x)[0].numpy().transpose(1, 2, 0) * (255 / largest)
            np.testing.assert_allclose(result, expected, atol=2e-2)


def test_aindnet_is_built_from_the_variables_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its reader gives, under the names of the released program; 55 MB of checksums would take seconds."""
    torch.manual_seed(1)
    network = AINDNet().eval()
    calm(network.conv6)
    given = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        scope = "" if name.startswith("fcn_avg") else "AINDNet/"
        own = f"{scope}{layer.replace('.', '/')}/{'kernel' if kind == 'weight' else 'bias'}"
        given[f"AINDNet/{layer.removesuffix('.up')}_1" if layer.endswith(".up") else own] = value
    monkeypatch.setattr(loading, "load_weights", lambda *_: given)
    restore: Any = tensor_restorer(build_method(get_method("aindnet"), "denoise-real", 0), "whole")
    image = np.random.default_rng(0).integers(0, 256, (19, 27, 3)).astype(np.float64)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image.transpose(2, 0, 1)[None] / 255).float())[0].numpy()
    np.testing.assert_allclose(restore(image), expected.transpose(1, 2, 0) * 255, atol=2e-2)
