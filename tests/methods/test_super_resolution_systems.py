"""DBPN, SAN, OISR, NLRN and SRMDNF as methods: with weights made for the test, and what is said where none are."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from harness.assets.weights import loading
from harness.assets.weights.registry import WeightSet, weight_set
from harness.cli.describing import describe_method
from harness.degradations.resize import imresize
from harness.errors import HarnessError, NotAvailableError
from harness.inference.chop import chop_rule, tile_shape
from harness.methods import build_method, get_method
from harness.networks.checkpoints import load_released
from harness.networks.dbpn import DBPN
from harness.networks.nlrn import NLRN
from harness.networks.oisr import OISR
from harness.networks.san import SAN
from harness.networks.srmd import SRMD
from harness.run.apply import tensor_restorer

# The released networks have up to 42 million parameters; these are as deep and narrower, or shallower.
SMALL: dict[str, Callable[[int], nn.Module]] = {
    "dbpn": partial(DBPN, num_stages=3, base_filter=4, feat=8),
    "san": partial(SAN, n_resgroups=2, n_resblocks=1, n_feats=16, reduction=4),
    "oisr": partial(OISR, n_resblocks=2, n_feats=8),
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    return tmp_path


@pytest.fixture
def supply(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Give the place of a set's file, which is then held to no checksum."""

    def unpinned(name: str) -> WeightSet:
        known = weight_set(name)
        files = [msgspec.structs.replace(f, git_blob="", sha256="", bytes=0, at=()) for f in known.files]
        return msgspec.structs.replace(known, files=tuple(files), obtain="make it")

    def place(name: str, file: str) -> Path:
        monkeypatch.setattr(loading, "weight_set", unpinned)
        path = data / "weights" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    return place


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 255, (height, width, 3))


@pytest.mark.parametrize(
    ("name", "file", "scale"),
    [
        *[("dbpn", "x{}.pth", scale) for scale in (2, 4)],
        *[("san", "x{}.pt", scale) for scale in (2, 3, 4)],
        *[("oisr", "rk3-x{}.pt", scale) for scale in (2, 3, 4)],
    ],
)
def test_restores(
    supply: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, name: str, file: str, scale: int
) -> None:
    small_network = SMALL[name]
    # The method's network is made by this name: OISR's by a function that is told which of three it is first.
    maker = {"oisr": "oisr"}.get(name, name.upper())
    monkeypatch.setattr(f"harness.networks.{name}.{maker}", lambda *arguments: small_network(arguments[-1]))
    torch.manual_seed(0)
    made = small_network(scale).eval()
    last = {"dbpn": "output_conv.", "san": "tail.1.", "oisr": "tail.1."}[name]
    state = {key: value * 0.05 if key.startswith(last) else value for key, value in made.state_dict().items()}
    if name == "dbpn":
        state["output_conv.conv.bias"] = state["output_conv.conv.bias"] + 0.5
    # As the authors' program saves it: DataParallel's prefix before every name.
    torch.save({f"module.{key}": value for key, value in state.items()}, supply(name, file.format(scale)))
    method = get_method(name)
    restorer = tensor_restorer(build_method(method, "sr", scale), method.policy, method.chop.get("sr", ""), scale)
    for size in ((13, 10), (3, 5), (24, 31)):
        result = restorer(image(*size))
        assert result.shape == (scale * size[0], scale * size[1], 3) and np.isfinite(result).all()


@pytest.mark.parametrize(("name", "policy"), [("san", "san"), ("oisr", "oisr")])
def test_tiles_of_the_authors_commands(name: str, policy: str) -> None:
    assert get_method(name).chop == {"sr": policy} and get_method(name).policy == "chop"
    # `forward_chop` cuts every image once at least, and again from 160,000 pixels on.
    assert tile_shape(chop_rule(policy), 256, 256, 2) == (4, 138, 138)
    assert tile_shape(chop_rule(policy), 760, 800, 2)[0] == 4
    assert tile_shape(chop_rule(policy), 800, 800, 2)[0] == 16


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srmdnf_restores(data: Path, monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    """With the arrays of a MatConvNet file: the last layer's outputs in MATLAB's order, and a basis of kernels."""
    torch.manual_seed(0)
    arrays = {key: value for key, value in SRMD(scale).state_dict().items() if key != "kernel_code"}
    arrays["convs.11.bias"] = arrays["convs.11.bias"] + 0.5
    arrays["meta.P"] = torch.eye(225)[105:120]
    monkeypatch.setattr(loading, "load_weights", lambda name, file: dict(arrays))
    method = get_method("srmdnf")
    restorer = tensor_restorer(build_method(method, "sr", scale), method.policy)
    for size in ((13, 10), (1, 5)):
        assert restorer(image(*size)).shape == (scale * size[0], scale * size[1], 3)


@pytest.fixture
def nlrn(supply: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> NLRN:
    """A small NLRN with its checkpoint in place."""
    from foreign_formats import tf1_checkpoint

    module = importlib.import_module("harness.methods.nlrn")
    sizes: Any = {"states": 12, "features": 4, "embedded": 2, "window": 16}
    monkeypatch.setattr(module, "_network", lambda task, level: NLRN(**sizes))
    torch.manual_seed(1)
    network = NLRN(**sizes)
    layers = {"conv1": "conv1", "conv_a": "rnn/RB1_a", "conv_b": "rnn/RB1_b", "conv_end": "conv_end"}
    layers |= {part: f"rnn/non_local_{part}" for part in ("theta", "phi", "g")}
    layers |= {"norm_in": "batch_normalization", "norm_out": "batch_normalization_1"}
    layers |= {f"norms.{i}": "rnn/batch_normalization" + (f"_{i}" if i else "") for i in range(36)}
    kinds = {"running_mean": "moving_mean", "running_var": "moving_variance"}
    variables = {"Variable": np.array(400_000)}
    for key, value in network.state_dict().items():
        layer, _, kind = key.rpartition(".")
        norm = {"weight": "gamma", "bias": "beta"} if "norm" in layer else {"weight": "kernel", "bias": "bias"}
        if named := (norm | kinds).get(kind):
            array = value.numpy()
            array = np.ascontiguousarray(array.transpose(2, 3, 1, 0)) if array.ndim == 4 else array
            variables[f"model/{layers[layer]}/{named}"] = array
            variables[f"solver/model/{layers[layer]}/{named}/Adam"] = np.zeros_like(array)
    index, numbers = tf1_checkpoint(variables)
    supply("nlrn", "sr.index").write_bytes(index)
    supply("nlrn", "sr.data-00000-of-00001").write_bytes(numbers)
    return load_released(network, network.state_dict(), "a test")


@pytest.mark.parametrize("scale", [2, 3])
def test_nlrn_restores_luma_in_windows(nlrn: NLRN, scale: int) -> None:
    restorer = tensor_restorer(build_method(get_method("nlrn"), "sr", scale), "whole")
    small = image(9, 13)
    result = restorer(small)
    assert result.shape == (scale * 9, scale * 13, 3)
    # Luma by the network, chroma by bicubic: MATLAB's rgb2ycbcr.
    weights = np.array([65.481, 128.553, 24.966]) / 255
    luma = imresize(np.ascontiguousarray(small @ weights + 16), float(scale), border="symmetric")
    with torch.no_grad():
        wanted = nlrn(torch.from_numpy(luma)[None, None].float())[0, 0].numpy()
    np.testing.assert_allclose(result @ weights + 16, wanted, atol=2e-2)
    chroma = np.array([-37.797, -74.203, 112.0]) / 255
    np.testing.assert_allclose(
        result @ chroma, imresize(np.ascontiguousarray(small @ chroma), float(scale), border="symmetric"), atol=2e-2
    )


def test_nlrn_needs_both_files_of_its_checkpoint(nlrn: NLRN, data: Path) -> None:
    (data / "weights/nlrn/sr.data-00000-of-00001").unlink()
    with pytest.raises(NotAvailableError, match=r"sr.data-00000-of-00001 are not here"):
        build_method(get_method("nlrn"), "sr", 2)


@pytest.mark.parametrize(
    ("name", "level", "match"),
    [
        ("dbpn", 2, r"dbpn/x2.pth are not here; run `harness weights fetch dbpn`"),
        ("dbpn", 3, "released for x2, x4 and x8, not for x3"),
        ("san", 2, r"SAN_BIX2.pt, and run `harness weights fetch san --from FOLDER`"),
        ("san", 4, r"san/x4.pt are not here; run `harness weights fetch san`"),
        ("oisr", 4, r"rk3-x4.pt or x4.pt, and run `harness weights fetch oisr --from FOLDER`"),
        ("nlrn", 2, r"NLRN_v0 .*nlrn-data_sr-400000.index, and run `harness weights fetch nlrn --from FOLDER`"),
        ("srmdnf", 2, r"srmdnf/x2.mat are not here; run `harness weights fetch srmdnf`"),
        ("csnln", 4, r"csnln/sr-x4.pt are not here; run `harness weights fetch csnln`"),
        ("csnln", 2, r"run `harness weights fetch csnln --from FOLDER`"),
        ("rnan", 4, r"rnan/sr-x4.pt are not here; run `harness weights fetch rnan`"),
    ],
)
def test_missing_weights_say_how_to_supply_them(data: Path, name: str, level: int, match: str) -> None:
    with pytest.raises(NotAvailableError, match=match):
        build_method(get_method(name), "sr", level)


def test_a_file_that_is_not_the_released_one_is_refused(data: Path) -> None:
    path = data / "weights/dbpn/x2.pth"
    path.parent.mkdir(parents=True)
    torch.save(SMALL["dbpn"](2).state_dict(), path)
    with pytest.raises(HarnessError, match="is not the released file, whose git blob is 65b7af4431d3"):
        build_method(get_method("dbpn"), "sr", 2)


@pytest.mark.parametrize(
    ("name", "parameters", "largest"),
    [
        ("dbpn", "5,953,526", "0..1"),
        ("san", "15,712,800", "0..255, converted"),
        ("oisr", "41,926,793", "0..255, converted"),
        ("srmdnf", "1,510,540", "0..1"),
    ],
)
def test_describe(name: str, parameters: str, largest: str) -> None:
    facts = dict(describe_method(get_method(name), "sr", (24, 24), measure=False))
    assert facts["parameters"] == parameters and facts["range"].startswith(largest)
