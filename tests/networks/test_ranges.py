"""Every network is fed the range of its released program, and the page that says which is true."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.assets.weights.loading import ready
from harness.cli.describing import describe_method
from harness.inference import restore
from harness.methods import Method, methods
from harness.networks.arcnn import ARCNN
from harness.networks.checkpoints import mark_ready
from harness.networks.ffdnet import FFDNet
from harness.networks.lapsrn import LapSRN
from harness.networks.nlrn import NLRN
from harness.networks.prenet import PReNet
from harness.networks.ranges import rgb_range
from harness.networks.rnan import RNAN
from harness.networks.tnrd import TNRDDeblocker, TNRDDenoiser
from harness.records.tasks import task as task_of

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
# Networks of the methods that name none to count: they apply them through `ready`.
NETWORKS: dict[str, tuple[type[nn.Module], ...]] = {
    "arcnn": (ARCNN,),
    "ffdnet": (FFDNet,),
    "ffdnet-clip": (FFDNet,),
    "lapsrn": (LapSRN,),
    "nlrn": (NLRN,),
    "prenet": (PReNet,),
    "prenet-heavy": (PReNet,),
    "tnrd": (TNRDDenoiser, TNRDDeblocker),
}
THROUGH_SPANDREL = {"nafnet", "restormer", "swinir", "uformer"}


def table() -> list[tuple[str, list[str], float, str]]:
    """Read system, methods, range and where it is stated from the page."""
    part = PAGE.read_text(encoding="utf-8").split("\n## Ranges\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| ([^|]+) \| (`[^|]+`) \| (\d+) \| ([^|]+) \|$", part, re.MULTILINE)
    return [(system, re.findall("`([^`]+)`", names), float(largest), where) for system, names, largest, where in lines]


TABLE = table()


def networks_fed() -> list[Method]:
    built_in = (m for m in methods().values() if m.module.startswith("harness.methods."))
    return [m for m in built_in if m.on == "tensor"]


def stated(name: str) -> float:
    """Range of a method by the page: under its name, or else under a pattern."""
    found = [largest for _, names, largest, _ in TABLE if name in names]
    found = found or [largest for _, names, largest, _ in TABLE if any(fnmatch(name, n) for n in names)]
    assert len(found) == 1, f"docs/networks.md states {len(found)} ranges of {name}"
    return found[0]


def test_the_page_says_where_each_range_is_stated() -> None:
    assert len(TABLE) > 15 and all(len(where) > 10 for _, _, _, where in TABLE)
    known = {m.name for m in networks_fed()}
    assert not [n for _, names, _, _ in TABLE for n in names if not any(fnmatch(k, n) for k in known)]
    # What the authors' option files and commands say, read once more.
    said = {system: largest for system, _, largest, _ in TABLE}
    assert {name: said[name] for name in ("RNAN", "PANet", "PA-EDSR", "EDSR", "CSNLN")} == {
        "RNAN": 255,
        "PANet": 1,
        "PA-EDSR": 1,
        "EDSR": 255,
        "CSNLN": 1,
    }


@pytest.mark.parametrize("method", networks_fed(), ids=lambda m: m.name)
def test_every_network_works_in_the_stated_range(method: Method) -> None:
    if method.network is None:
        # Exactly one of the two says it: nothing can contradict itself.
        assert method.rgb_range == stated(method.name)
        assert method.name in THROUGH_SPANDREL or all(
            rgb_range(n) == method.rgb_range and "rgb_range" in vars(n) for n in NETWORKS[method.name]
        )
        return
    assert method.rgb_range is None
    for task in method.tasks:
        with torch.device("meta"):
            network = method.network(task, task_of(task).levels[0])
        assert network.rgb_range == stated(method.name), task


@pytest.mark.parametrize(
    ("name", "said"), [("rnan", "0..255, converted"), ("tnrd", "0..255, converted"), ("ffdnet", "0..1")]
)
def test_describe_shows_the_range(name: str, said: str) -> None:
    method = methods()[name]
    assert dict(describe_method(method, method.tasks[0], (48, 48), measure=False))["range"].startswith(said)


def test_inference_converts_around_the_network() -> None:
    torch.manual_seed(0)
    network = mark_ready(RNAN(n_resgroups=2, n_feats=8), "trained", "drawn for a test")
    x = torch.rand(1, 3, 12, 16)
    with torch.inference_mode():
        fed_255, fed_1 = network(x * 255) / 255, network(x)
    assert (fed_255 - fed_1).abs().max() > 1e-3, "the biases do not tell the ranges apart"
    torch.testing.assert_close(restore(network, x), fed_255, rtol=0, atol=0)
    torch.testing.assert_close(ready(network)(x), fed_255, rtol=0, atol=1e-5)
