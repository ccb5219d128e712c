"""EDSR, RCAN, RDN and SRFBN: their weights, their released images, and that nobody takes one for the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_formats import torch7_rdn

from harness.assets.datasets.fetching import fetch
from harness.assets.places import REGISTRIES
from harness.assets.weights.registry import weight_set
from harness.cli.describing import describe_method
from harness.errors import NotAvailableError
from harness.methods import build_method, get_method, methods
from harness.networks.edsr import EDSR
from harness.networks.rcan import RCAN
from harness.networks.rdn import RDN
from harness.networks.srfbn import SRFBN
from harness.run.apply import tensor_restorer
from harness.tables.published import published_tables
from harness.tables.reach import reaches
from harness.tables.requests import requests

SYSTEMS = ("edsr", "rcan", "rdn", "srfbn")
IMAGES = ("rcan-images", "rdn-images", "srfbn-images")
# The networks of the methods, small.
SMALL: dict[str, Callable[[int], torch.nn.Module]] = {
    "edsr": lambda scale: EDSR(scale, n_resblocks=2, n_feats=8, rgb_range=255),
    "rcan": lambda scale: RCAN(scale, n_resgroups=1, n_resblocks=1, n_feats=16),
    "rdn": lambda scale: RDN(scale),
    "srfbn": lambda scale: SRFBN(scale, n_groups=2, n_feats=8),
}


def test_weights_and_images_are_methods_of_their_own() -> None:
    known = methods()
    for name in (*SYSTEMS, *IMAGES, *(f"{system}-trained" for system in SYSTEMS)):
        assert known[name].tasks == ("sr",)
    assert {known[name].origin for name in (*SYSTEMS, *IMAGES)} == {"released"}
    assert all(known[name].on == "images" and not known[name].weights for name in IMAGES)
    assert all(known[name].on == "tensor" and not known[name].released for name in SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_describe_says_what_is_loaded(name: str) -> None:
    said = dict(describe_method(get_method(name), "sr", (48, 48), measure=False))
    assert said["range"].startswith("0..255, converted")


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_missing_weights_say_how_to_supply_them(
    name: str, scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    with pytest.raises(
        NotAvailableError, match=rf"weights {name}/x{scale}\.\w+ are not here; .*`harness weights fetch"
    ):
        build_method(get_method(name), "sr", scale)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("scale", [2, 3])
def test_it_restores_odd_sizes(name: str, scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights that were drawn, under a record that holds them to no checksum."""
    torch.manual_seed(3)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(RDN.__init__, "__defaults__", (2, 2, 8, True))
    small_network = SMALL[name]
    if name == "rdn":
        monkeypatch.setattr("harness.methods.rdn._network", lambda _, s: small_network(s))
    else:
        monkeypatch.setattr(f"harness.networks.{name}.{name.upper()}", lambda scale, **_: small_network(scale))
    record = json.loads(Path(REGISTRIES["weights"], f"{name}.json").read_text())
    record |= {"obtain": "draw them", "sources": []}
    record["files"] = [{key: f[key] for key in ("name", "format", "makes")} for f in record["files"]]
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / f"{name}.json").write_text(json.dumps(record))
    monkeypatch.setitem(REGISTRIES, "weights", tmp_path / "registry")
    (file,) = (f for f in weight_set(name).files if f.name.startswith(f"x{scale}."))
    path = tmp_path / "data" / "weights" / name / file.name
    path.parent.mkdir(parents=True)
    state = SMALL[name](scale).state_dict()
    if name == "rdn":
        path.write_bytes(torch7_rdn({key: value.numpy() for key, value in state.items()}, 2, 2))
    else:
        torch.save({"state_dict": state} if name == "srfbn" else state, path)
    method = get_method(name)
    small = np.random.default_rng(1).uniform(0, 255, (29, 37, 3))
    restored = tensor_restorer(build_method(method, "sr", scale), method.policy, method.chop.get("sr", ""))(small)
    assert restored.shape == (29 * scale, 37 * scale, 3) and np.isfinite(restored).all()


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_released_images_are_found(
    name: str, scale: int, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    find = build_method(get_method(name), "sr", scale)
    with pytest.raises(NotAvailableError, match=r"was not fetched"):
        find("set5", "bird_GT")
    assert fetch(f"{name.removesuffix('-images')}-set5-x{scale}", tmp_path).complete
    assert find("set5", "bird_GT").shape == (288, 288, 3)
    with pytest.raises(NotAvailableError, match="released images of 'set14' have no checked public source"):
        find("set14", "baboon")
    with pytest.raises(NotAvailableError, match="at the scales"):
        build_method(get_method(name), "sr", 8)


@pytest.mark.parametrize(("table", "system"), [(t, s) for t in ("csnln-table1", "panet-table5") for s in SYSTEMS])
def test_a_cell_says_which_of_the_two_makes_it(table: str, system: str) -> None:
    """Set5 is measured on the released images where there are some; every other set by the weights."""
    known = methods()
    asked = requests(published_tables()[table], known)
    cells = [(r, reach) for r, reach in zip(asked, reaches(asked, known), strict=True) if r.row == system.upper()]
    assert len(cells) == 30 and all(request.group is not None for request, _ in cells)
    for request, reach in cells:
        images = request.dataset == "set5" and system != "edsr"
        assert request.method == (f"{system}-images" if images else system)
        if images:
            assert reach == "public"
        elif system == "rdn":
            assert reach == "supplied"
