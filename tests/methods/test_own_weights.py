"""A user's own weights: loaded without unpickling, whatever wraps them, recorded with what they restore, described."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness
import harness.methods as registry
from harness.assets.datasets import fetch
from harness.assets.inputs import record_inputs
from harness.cli.describing import describe_method
from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, method
from harness.methods.fingerprints import fingerprint, method_code
from harness.networks.checkpoints import require_ready
from harness.networks.wrappers import HOLDERS, PREFIXES
from harness.records.cells import Group, NoiseDraws
from harness.records.in_use import loading_from
from harness.records.restored import OwnFile
from harness.run.conformance import check_method
from harness.run.restore import restore

torch.manual_seed(3)


class Net(nn.Module):
    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, features, 3, padding=1)
        self.last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(image))


class Conditioned(nn.Module):
    """Takes the image and a map of the noise level."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.cat([image, sigma.expand(len(image), 1, *image.shape[2:])], 1))


class Held:
    """An object that is no network and holds one."""

    def __init__(self) -> None:
        self.net = Net()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image)


def wrapped(state: Mapping[str, torch.Tensor], holder: str, prefix: str) -> Any:
    named = {prefix + name: value for name, value in state.items()}
    named[f"{prefix}first.total_ops"] = torch.zeros(1)
    return {"epoch": 7, holder: named, "optimizer": {"state": {}}} if holder else named


@pytest.mark.parametrize("holder", ["", *HOLDERS])
@pytest.mark.parametrize("prefix", ["", *PREFIXES, "model.module."])
def test_whatever_wraps_weights_is_taken_off(holder: str, prefix: str, tmp_path: Path) -> None:
    trained = Net()
    torch.save(wrapped(trained.state_dict(), holder, prefix), tmp_path / "net.pth")
    network = harness.load_weights(Net(), tmp_path / "net.pth")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in trained.state_dict().items())
    assert require_ready(network).kind == "trained" and not network.training


@pytest.mark.parametrize("make", [lambda: nn.ModuleDict({"net": Net()}), lambda: nn.Sequential(Net())])
def test_names_that_look_like_a_wrapper_may_be_the_networks_own(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    trained = make()
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "net.pth")
    network = harness.load_weights(make(), tmp_path / "net.pth")
    assert torch.equal(next(network.parameters()), next(trained.parameters()))


def test_what_remains_wrong_is_one_sentence(tmp_path: Path) -> None:
    good = Net().state_dict()
    renamed = {name.replace("last", "final"): value for name, value in good.items()}
    faults: list[tuple[Any, str]] = [
        (renamed, r"no weights for 'last\.weight' and 1 more of Net \(near it: 'final\.weight'\), and 'final\.weight'"),
        ({**good, "loss.a": torch.zeros(1), "loss.b": torch.zeros(1)}, r"'loss\.a' and 1 more are no part of Net"),
        (Net(5).state_dict(), r"'first\.weight' is 5x3x3x3, Net needs 3x3x3x3 \(and 2 more differ\)"),
        ({"mine": {"a": torch.zeros(1)}, "epoch": 1}, r"it holds mine, epoch"),
        (Net(), "holds more than tensors"),
        ({**good, "first.bias": torch.full((3,), torch.nan)}, "save it again"),
    ]
    for number, (content, message) in enumerate(faults):
        file = tmp_path / f"{number}.pth"
        torch.save(content, file)
        with pytest.raises(HarnessError, match=message) as error:
            harness.load_weights(Net(), file)
        assert "\n" not in str(error.value) and str(file) in str(error.value)
        assert "fetch the weights" not in str(error.value)
    with pytest.raises(NotAvailableError, match="is not here"):
        harness.load_weights(Net(), tmp_path / "none.pth")


@pytest.fixture
def defined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Method]:
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))

    def define(build: Callable[..., Any], **about: Any) -> Method:
        method("own-net", tasks=["denoise-rgb"], **about)(build)
        return registry._registry["own-net"]

    return define


def test_the_file_is_recorded_with_what_it_restored(
    defined: Callable[..., Method], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded, or only depended on and read by code of the user's own; by its path in the workspace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "methods").mkdir()
    average = Net().state_dict()
    torch.save({"params": Net().state_dict(), "params_ema": average}, "methods/net.pth")
    Path("methods/table.bin").write_bytes(b"12345")

    def build(task: str, level: int) -> nn.Module:
        return harness.load_weights(Net(), "methods/net.pth")

    found = defined(build, depends=[tmp_path / "methods/net.pth", tmp_path / "methods/table.bin"])
    assert fetch("embedded", "data").complete
    noise = NoiseDraws(0, 0)
    inputs = record_inputs(Path("data"), "embedded", "awgn-8bit", (30,), noise)
    with loading_from(tmp_path):
        record, _ = restore(
            Group("denoise-rgb", "embedded", "awgn-8bit", "own-net", "whole"), found, (30,), inputs, data=Path("data"),
            partial=Path("partial"), target=Path("restored"), noise=noise, code=fingerprint(method_code(found)),
        )  # fmt: skip
        told = list(describe_method(found, "denoise-rgb", (8, 8), False))
        checked = [check.found for check in check_method(found) if check.what.endswith(": weights")]
        with pytest.raises(
            HarnessError, match=r"loads methods/net\.pth, which it does not name: .* depends=\['methods"
        ):
            restore(
                Group("denoise-rgb", "embedded", "awgn-8bit", "own-net", "whole"), defined(build), (30,), inputs,
                data=Path("data"), partial=Path("partial"), target=Path("other"), noise=noise, code="c0",
            )  # fmt: skip
    data = Path("methods/net.pth").read_bytes()
    digest, table = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"12345").hexdigest()
    about = record.levels[30]
    assert about.weights == {"methods/net.pth": digest}
    # Which of the weights in it were taken is told wherever the file is.
    part = "params_ema, not params"
    own = OwnFile(digest, len(data), part)
    assert about.own_files == {"methods/net.pth": own, "methods/table.bin": OwnFile(table, 5)}
    assert str(own).endswith(f" bytes, weights under {part}")
    said = [text for name, text in told if name == "own file"]
    assert said[0] == f"methods/net.pth, SHA-256 {digest}, {len(data):,} bytes"
    assert ("weights of", f"methods/net.pth: those under {part}") in told
    assert set(checked) == {f"methods/net.pth: those under {part}"}
    assert torch.equal(build("", 0).state_dict()["first.weight"], average["first.weight"])


def partial_of(task: str, level: int) -> Any:
    return functools.partial(lambda net, image: net(image, image.new_full((1, 1, 1, 1), level / 255)), Conditioned())


def closure(task: str, level: int) -> Any:
    network = Net()
    # Far outside the range, as a network without its weights may be.
    return lambda image: network(image) * 1e6


@pytest.mark.parametrize(
    ("build", "network"),
    [
        (lambda task, level: Net(), Net()),
        (closure, Net()),
        (lambda task, level: Held(), Net()),
        (lambda task, level: Held().__call__, Net()),
        (partial_of, Conditioned()),
        (lambda task, level: Conditioned(), Conditioned()),
    ],
)
def test_whatever_build_returns_is_described(
    build: Callable[..., Any], network: nn.Module, defined: Callable[..., Method]
) -> None:
    said = dict(describe_method(defined(build), "denoise-rgb", (20, 30), True))
    assert said["parameters"] == str(sum(p.numel() for p in network.parameters()))
    macs = sum(p.numel() for p in network.parameters() if p.ndim == 4) * 20 * 30
    assert said["multiply-adds"] == f"{macs / 1e6:.1f} M for 30x20, as it runs"
    assert " s for 30x20 under 'whole'" in said["time"] and not {"not counted", "not measured"} & said.keys()


def test_a_function_without_a_network_and_one_that_fails(defined: Callable[..., Method]) -> None:
    said = dict(describe_method(defined(lambda t, level: np.sqrt, on="array"), "denoise-rgb", (8, 8), True))
    assert said["parameters"].startswith("none") and "time" in said and "multiply-adds" not in said

    def failing(image: Any) -> Any:
        raise ZeroDivisionError("no\nluck")

    said = dict(describe_method(defined(lambda task, level: failing), "denoise-rgb", (8, 8), True))
    assert said["not counted"] == "ZeroDivisionError: no luck"

    def without(task: str, level: int) -> Any:
        raise NotAvailableError("the file is not here")

    assert dict(describe_method(defined(without), "denoise-rgb", None, True))["not counted"] == "the file is not here"


def test_a_network_that_is_too_slow_is_counted_and_not_run() -> None:
    said = dict(describe_method(registry.get_method("nlrn"), "sr", None, True))
    assert {"parameters", "multiply-adds", "not measured"} <= said.keys()
