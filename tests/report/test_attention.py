"""Attention maps as files: the arrays are the network's, and a demonstration is never taken for a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import harness.methods as registry
from harness.cli import harness
from harness.errors import HarnessError, NotAvailableError
from harness.images import pixels_sha256, read_image, write_png
from harness.methods import Method
from harness.networks.attention_maps import patch_groups, pyramid_attention_maps
from harness.networks.checkpoints import mark_ready
from harness.networks.kit import KiT
from harness.networks.knn_attention import KiTAssumptions
from harness.networks.panet import PANet
from harness.report.attention import make_attention_maps, read_attention_pages
from harness.report.site import build_site
from harness.tables.workspace import Workspace


def small_panet(task: str, level: int) -> Any:
    return PANet(n_resblocks=2, n_feats=8)


def small_kit(task: str, level: int) -> Any:
    return KiT(assumptions=KiTAssumptions(width=4))


def not_here(task: str, level: int) -> Any:
    raise NotAvailableError("the weights are not here")


@pytest.fixture
def workspace(tmp_path: Path, synthetic: Any) -> Workspace:
    (tmp_path / "params.yaml").write_text("methods: []\n")
    write_png(tmp_path / "image.png", synthetic(80, 140))
    return Workspace(tmp_path)


def method(build: Any, network: Any) -> Method:
    return Method("small", ("denoise-rgb",), build, network=network, title="Small <b>net</b>")


def test_generated_weights_must_be_asked_for_and_are_named_everywhere(workspace: Workspace) -> None:
    image = str(workspace.root / "image.png")
    chosen = method(not_here, small_panet)
    with pytest.raises(NotAvailableError, match="not here; or add --generated-weights"):
        make_attention_maps(workspace, chosen, image, [(10, 20)])
    folder = make_attention_maps(workspace, chosen, image, [(10, 20)], generated=True)
    assert folder.name.endswith("--demonstration")
    record = json.loads((folder / "attention.json").read_text())
    assert record["weights"] == "generated" and "no result" in record["weights_source"]
    with np.load(folder / "maps.npz") as arrays:
        assert str(arrays["weights"]) == "generated"
    for panel in record["panels"]:
        # A strip with words stands above every picture.
        assert read_image(folder / panel["file"]).shape == (92, 140, 3)


def test_untrained_weights_cannot_pass_for_results(workspace: Workspace) -> None:
    with pytest.raises(NotAvailableError, match="has no weights yet"):
        make_attention_maps(workspace, method(small_panet, small_panet), str(workspace.root / "image.png"), [(1, 1)])


def test_arrays_are_those_of_the_network(workspace: Workspace) -> None:
    torch.manual_seed(3)
    network = mark_ready(small_panet("", 0).eval(), "trained", "a test")
    image = str(workspace.root / "image.png")
    crop = (8, 16, 32, 40)
    folder = make_attention_maps(
        workspace, method(lambda task, level: network, small_panet), image, [(10, 20), (30, 50)], crop=crop
    )
    assert not folder.name.endswith("--demonstration")
    pixels = read_image(image)[8:40, 16:56]
    batch = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None] / 255
    expected = pyramid_attention_maps(network, batch, [(2, 4), (22, 34)])
    with np.load(folder / "maps.npz") as arrays:
        for scale, correlation, weights in zip(expected.scales, expected.correlation, expected.weights, strict=True):
            np.testing.assert_array_equal(arrays[f"correlation_{scale:.1f}"], correlation)
            np.testing.assert_array_equal(arrays[f"weights_{scale:.1f}"], weights)
    record = json.loads((folder / "attention.json").read_text())
    assert record["pixels"] == pixels_sha256(pixels.astype(np.float64))
    assert record["weights"] == "trained" and record["crop"] == list(crop)
    # One picture of the matches and one a level, for each query; the maps share one range.
    levels = [panel for panel in record["panels"] if panel["query"] == [10, 20]]
    assert len(levels) == 1 + len(expected.scales)
    shown = np.concatenate([read_image(folder / panel["file"]).sum(axis=2).ravel() for panel in levels[1:]])
    assert shown.min() == 0 and shown.max() == 765
    with np.load(folder / "maps.npz") as arrays:
        assert read_image(folder / levels[0]["file"]).shape == (32, 40, 3) and len(arrays["queries"]) == 2


def test_groups_of_kit(workspace: Workspace) -> None:
    image = str(workspace.root / "image.png")
    folder = make_attention_maps(workspace, method(not_here, small_kit), image, [(10, 70)], generated=True)
    record = json.loads((folder / "attention.json").read_text())
    # The input is cut to a multiple of what the network takes.
    assert record["kind"] == "groups" and record["crop"] == [0, 0, 64, 128] and len(record["panels"]) == 4
    torch.manual_seed(0)
    network = small_kit("", 0).eval()
    pixels = read_image(image)[:64, :128]
    expected = patch_groups(network, torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None] / 255)
    with np.load(folder / "maps.npz") as arrays:
        np.testing.assert_array_equal(arrays["partners"], expected.partners)
        assert arrays["query_patches"].tolist() == [1 * 16 + 8]
    # The query's patch of 8x8 pixels is framed white, below the strip with words.
    shown = read_image(folder / "round1.png")[12:]
    assert (shown[8, 64:72] == 255).all() and (shown[8:16, 71] == 255).all() and not (shown[9:15, 65:71] == 255).all()


def test_mistakes_are_told(workspace: Workspace) -> None:
    image = str(workspace.root / "image.png")
    chosen = method(not_here, small_panet)
    for options, message in (
        ({"queries": [(80, 0)]}, "outside the input: rows 0 to 79"),
        ({"queries": []}, "no query pixel"),
        ({"crop": (0, 0, 90, 10)}, "leaves the input of 140x80"),
        ({"index": 3}, "there is no number 3"),
        ({"task_name": "jpeg"}, "does not do 'jpeg'"),
    ):
        settings: dict[str, Any] = {"queries": [(1, 1)], "generated": True} | options
        queries = settings.pop("queries")
        with pytest.raises(HarnessError, match=message):
            make_attention_maps(workspace, chosen, image, queries, **settings)
    with pytest.raises(HarnessError, match="neither pyramid attention nor"):
        flat = method(not_here, lambda task, level: torch.nn.Conv2d(3, 3, 1))
        make_attention_maps(workspace, flat, image, [(1, 1)], generated=True)
    with pytest.raises(HarnessError, match="no image file"):
        make_attention_maps(workspace, chosen, "missing.png", [(1, 1)], generated=True)


def test_the_site_shows_maps_and_refuses_files_outside(workspace: Workspace, tmp_path: Path) -> None:
    image = str(workspace.root / "image.png")
    folder = make_attention_maps(workspace, method(not_here, small_panet), image, [(10, 20)], generated=True)
    groups = make_attention_maps(workspace, method(not_here, small_kit), image, [(10, 70)], generated=True)
    made = build_site(workspace, tmp_path / "site", names=["embedded"], budget=0)
    assert "hash round 4 of 4" in (made.folder / "attention" / f"{groups.name}.html").read_text()
    assert (made.folder / "attention" / "index.html").read_text().count("generated weights: a demonstration") == 2
    page = (made.folder / "attention" / f"{folder.name}.html").read_text()
    assert "Demonstration." in page and "Small &lt;b&gt;net" in page
    assert (made.folder / "attention" / folder.name / "maps.npz").read_bytes() == (folder / "maps.npz").read_bytes()
    record = json.loads((folder / "attention.json").read_text())
    record["panels"][0]["file"] = "../../../params.yaml"
    (folder / "attention.json").write_text(json.dumps(record))
    with pytest.raises(HarnessError, match="names the file"):
        read_attention_pages(workspace)


def test_the_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    monkeypatch.setitem(registry._registry, "small", method(not_here, small_panet))
    done = CliRunner().invoke(
        harness,
        [
            "report",
            "attention-maps",
            "small",
            "image.png",
            "--at",
            "10,20",
            "--crop",
            "0,0,32,32",
            "--generated-weights",
        ],
    )
    assert done.exit_code == 0, done.output
    assert len(list((workspace.work / "attention").glob("*/attention.json"))) == 1
    assert CliRunner().invoke(harness, ["report", "attention-maps", "small", "image.png", "--at", "ten"]).exit_code == 2
