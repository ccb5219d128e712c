"""Loading weights: hashed before they are parsed, cached, recorded, refused with one sentence."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.assets.places import data_folder
from harness.assets.weights import importers
from harness.assets.weights.fetching import fetch
from harness.assets.weights.loading import load_weights, numbered, ready, released_network, rename
from harness.assets.weights.recording import UsedWeights, recording
from harness.errors import HarnessError, Missing, NotAvailableError
from harness.records.in_use import loading_from


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


WEIGHT = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)


@pytest.fixture
def toy(tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered, mirrored weight set; gives the folder of fetched files."""
    content = npz(c_weight=WEIGHT, c_bias=np.ones(1, np.float32))
    mirror = registry("toy", {"a.npz": ("npz", content, True), "b.npz": ("npz", content, False)})
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    return tmp_path / "data"


def test_loaded_from_fetched_files_and_from_a_mirror(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        found = load_weights("toy", "a.npz", toy)
        assert list(found) == ["convs.0.bias", "convs.0.weight"]
        np.testing.assert_array_equal(found["convs.0.weight"].numpy(), WEIGHT)
        fetch("toy", toy)
    monkeypatch.delenv("HARNESS_MIRROR")
    monkeypatch.setenv("HARNESS_DATA", str(toy))
    assert load_weights("toy", "b.npz")["convs.0.bias"].item() == 1


def test_the_project_in_use_comes_before_the_environment(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every thread, as long as the block lasts; nothing is written into the environment."""
    monkeypatch.setenv("HARNESS_DATA", "elsewhere")
    before = dict(os.environ)
    with loading_from(tmp_path), ThreadPoolExecutor(1) as pool:
        assert pool.submit(data_folder, None).result() == tmp_path / "data"
        assert data_folder(toy) == toy
        assert dict(os.environ) == before
    assert data_folder(None) == Path("elsewhere")


def test_missing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_MIRROR")
    with pytest.raises(NotAvailableError) as error:
        load_weights("toy", "b.npz", toy)
    assert str(error.value) == (
        "the TOY weights toy/b.npz are not here; ask its authors, put the file into a folder as b.npz, "
        "and run `harness weights fetch toy --from FOLDER`"
    )
    assert error.value.missing == Missing("weights", "toy", "b.npz")


def test_missing_with_a_public_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    with pytest.raises(NotAvailableError, match=r"are not here; run `harness weights fetch dncnn`$"):
        load_weights("dncnn", "dncnn3.mat", tmp_path)


def test_wrong_hash_is_refused_before_parsing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch("toy", toy)
    path = toy / "weights/toy/a.npz"
    path.unlink()
    path.write_bytes(npz(c_weight=WEIGHT))
    monkeypatch.setattr(
        "harness.assets.weights.loading.import_weights", lambda *_: pytest.fail("parsed an unchecked file")
    )
    with pytest.raises(HarnessError, match=r"has the SHA-256 \w{12}… instead of \w{12}….*`harness weights fetch toy`"):
        load_weights("toy", "a.npz", toy)


def test_cached_import(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_weights("toy", "a.npz", toy)
    (cache,) = (toy / "weights-cache").iterdir()
    assert cache.suffix == ".safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("harness.assets.weights.loading.import_weights", lambda *_: pytest.fail("imported again"))
        again = load_weights("toy", "a.npz", toy)
    assert list(again) == list(first) and all(torch.equal(again[name], first[name]) for name in first)
    # A damaged cache costs time and nothing else.
    cache.write_bytes(cache.read_bytes()[:50])
    assert torch.equal(load_weights("toy", "a.npz", toy)["convs.0.weight"], first["convs.0.weight"])
    # Another version of the importer does not use it.
    monkeypatch.setattr("harness.assets.weights.loading.VERSION", importers.VERSION + 1)
    load_weights("toy", "a.npz", toy)
    assert len(list((toy / "weights-cache").iterdir())) == 2


def test_unwritable_cache(toy: Path) -> None:
    toy.mkdir()
    (toy / "weights-cache").write_text("a file where a folder should be")
    assert load_weights("toy", "a.npz", toy)


def test_recording(toy: Path) -> None:
    load_weights("toy", "a.npz", toy)
    with recording() as outer:
        load_weights("toy", "a.npz", toy)
        with recording() as inner:
            load_weights("toy", "b.npz", toy)
            load_weights("toy", "b.npz", toy)  # from the cache: recorded all the same, once
    load_weights("toy", "a.npz", toy)
    assert [used.file for used in outer] == ["a.npz", "b.npz"]
    assert [used.file for used in inner] == ["b.npz"]
    assert isinstance(outer[0], UsedWeights) and len(outer[0].sha256) == 64 and outer[0].name == "toy"


def test_a_failed_load_is_not_recorded(toy: Path) -> None:
    with recording() as used, pytest.raises(HarnessError, match=r"unknown file of the weights 'toy' 'c\.npz'"):
        load_weights("toy", "c.npz", toy)
    assert used == []


def test_rename() -> None:
    tensors = {"conv1.weight": torch.ones(1), "conv1.bias": torch.zeros(1)}
    assert list(rename(tensors, {"conv1": "head"}, "x")) == ["head.weight", "head.bias"]
    with pytest.raises(HarnessError, match=r"^x: 'conv1\.weight' is left over"):
        rename(tensors, {"conv2": "head"}, "x")


def test_layers_are_numbered_by_the_numbers_in_their_names() -> None:
    tensors = {f"convolution{number}.{kind}": torch.tensor(number) for number in (100, 99, 101) for kind in "wb"}
    assert numbered(tensors) == {f"convs.{i}.{kind}": torch.tensor(99 + i) for i in range(3) for kind in "wb"}


def test_ready_is_frozen() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.9))
    apply = ready(network)
    batch = torch.ones(1, 2)
    assert torch.equal(apply(batch), apply(batch))
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_released_network_is_strict(toy: Path) -> None:
    class Right(torch.nn.Module):
        def __init__(self, outputs: int = 1, bias: bool = True) -> None:
            super().__init__()
            self.convs = torch.nn.ModuleList([torch.nn.Conv2d(1, outputs, 3, bias=bias)])

    network = released_network("toy", "a.npz", Right, toy)
    np.testing.assert_array_equal(network.state_dict()["convs.0.weight"].numpy(), WEIGHT)
    with pytest.raises(HarnessError, match=r"^weights toy/a\.npz: 'convs\.0\.weight' is 1x1x3x3, Right needs 2x1x3x3"):
        released_network("toy", "a.npz", lambda: Right(outputs=2), toy)
    with pytest.raises(HarnessError, match=r"^weights toy/a\.npz: 'convs\.0\.bias' is no part of Right"):
        released_network("toy", "a.npz", lambda: Right(bias=False), toy)
    with pytest.raises(HarnessError, match=r"^weights toy/a\.npz: no weights for 'more\.weight'"):
        made = Right()
        made.more = torch.nn.Linear(1, 1)
        released_network("toy", "a.npz", lambda: made, toy)
