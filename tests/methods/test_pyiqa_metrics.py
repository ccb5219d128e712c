"""Metrics of pyiqa by one line each: those without weights run, the others say which file they need."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest

import harness
import harness.methods
from harness.errors import HarnessError, InvalidArgumentError, NotAvailableError
from harness.files import file_sha256
from harness.protocols import protocol
from harness.protocols.own import OWN_METRICS
from harness.records.cells import Group
from harness.records.rows import MeasuredRecord
from harness.registries import added, take_out
from harness.run.sources import fingerprints, note_awaited
from harness.tables.workspace import Workspace

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pyiqa") is None, reason="pyiqa (extra 'iqa') is missing")

RNG = np.random.default_rng(0)
ONE = RNG.integers(0, 246, (200, 180, 3), dtype=np.uint8)
OTHER = ONE + RNG.integers(0, 10, ONE.shape, dtype=np.uint8)


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _definitions_forgotten: None) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("metric", "better", "equal"), [("ms_ssim", "higher", 1.0), ("gmsd", "lower", 0.0)])
def test_those_without_weights_run(metric: str, better: str, equal: float) -> None:
    made = harness.pyiqa_metric(metric)
    assert OWN_METRICS.source(made.name) == Path(__file__)
    assert protocol(made.name).better == better
    assert harness.measure(ONE, ONE, made.name) == pytest.approx(equal, abs=1e-5)
    assert abs(harness.measure(ONE, OTHER, made.name) - equal) > 1e-5


@pytest.mark.parametrize("metric", ["lpips", "dists"])
def test_missing_weights_are_named_and_not_downloaded(metric: str, hub: Path) -> None:
    import torch

    load, download = torch.load, torch.hub.download_url_to_file
    harness.pyiqa_metric(metric)
    with pytest.raises(NotAvailableError, match=r"needs the file \S+\.pth.*get it from https://\S+ and put") as caught:
        harness.measure(ONE, OTHER, metric)
    assert caught.value.missing is not None and caught.value.missing.kind == "weights"
    assert str(hub) in str(caught.value)
    assert (torch.load, torch.hub.download_url_to_file) == (load, download)
    assert not list(hub.rglob("*.pth"))


def test_weights_that_are_more_than_tensors_are_not_unpickled(hub: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (hub / "gone-off",))

    folder = hub / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(pickle.dumps(Bomb()))
    harness.pyiqa_metric("lpips")
    with pytest.raises(HarnessError, match="lpips"):
        harness.measure(ONE, OTHER, "lpips")
    assert not (hub / "gone-off").exists()


def test_what_is_unknown_or_of_a_set_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="not per image"):
        harness.pyiqa_metric("fid")
    with pytest.raises(InvalidArgumentError, match="did you mean 'lpips'"):
        harness.pyiqa_metric("lpipss")


def test_the_examples_of_the_page_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the page defines is forgotten again: no other test has it in its listings.
    monkeypatch.setattr(harness.methods, "_registry", dict(harness.methods._registry))
    page = Path(harness.__file__).parents[1] / "docs" / "plugins.md"
    blocks = [text.partition("```")[0] for text in page.read_text(encoding="utf-8").split("```python\n")[1:]]
    before, known = set(OWN_METRICS), added()
    request.addfinalizer(lambda: take_out(name for name in added() if name not in known))
    for block in blocks:
        assert block.count("\n") < 20
        exec(compile(block, str(page), "exec"), {"__file__": str(page), "__name__": "page"})
    assert OWN_METRICS.keys() - before == {"worst-error", "ms-ssim", "lpips", "dists", "niqe", "musiq"}
    assert harness.measure(ONE, OTHER, "worst-error-crop2") == 9
    assert {name: OWN_METRICS[name].better for name in ("ms-ssim", "lpips", "dists", "niqe", "musiq")} == {
        "ms-ssim": "higher",
        "lpips": "lower",
        "dists": "lower",
        "niqe": "lower",
        "musiq": "higher",
    }
    assert not OWN_METRICS["niqe"].reference and OWN_METRICS["lpips"].reference


def test_weights_that_appear_are_measured_with(hub: Path, tmp_path: Path) -> None:
    """The fingerprint that stages depend on changes when the file comes, and at no other time."""
    import scipy.io

    root = tmp_path / "project"
    (root / "plugins").mkdir(parents=True)
    (root / "params.yaml").write_text("plugins: [plugins]\n")
    (root / "plugins" / "q.py").write_text("import harness\nharness.pyiqa_metric('niqe')\n")
    workspace = Workspace(root)
    before = fingerprints(workspace)["metric-niqe"]
    with pytest.raises(NotAvailableError) as caught:
        harness.measure(ONE, OTHER, "niqe")
    record = MeasuredRecord(
        *(Group("denoise-rgb", "embedded", "awgn-8bit", "noisy", "whole"), "", 1, {"niqe": "niqe.1"}, "", "", {}, 0),
        unmeasured_missing={50: {"niqe": caught.value.missing}},
    )
    note_awaited(workspace, record)
    assert fingerprints(workspace)["metric-niqe"] == before
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(36, 36))
    (hub / "hub" / "pyiqa").mkdir(parents=True)
    weights = hub / "hub" / "pyiqa" / "niqe_modelparameters.mat"
    scipy.io.savemat(weights, {"mu_prisparam": rng.normal(size=(1, 36)), "cov_prisparam": mixed @ mixed.T + np.eye(36)})
    after = fingerprints(workspace)["metric-niqe"]
    assert after == [*before, f"file {weights.name} {file_sha256(weights)}"]
    note_awaited(workspace, msgspec.structs.replace(record, unmeasured_missing={}))
    assert fingerprints(workspace)["metric-niqe"] == after
    assert np.isfinite(harness.measure(ONE, OTHER, "niqe"))
    Workspace(tmp_path / "none").define()
