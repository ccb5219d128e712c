"""Fetching weights: mirror, public sources, own folders; manifests that depend on the files alone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_datasets import Server

from harness.assets.manifest import WeightsManifest
from harness.assets.places import AssetPaths
from harness.assets.weights.fetching import fetch
from harness.assets.weights.registry import weight_set
from harness.errors import HarnessError

SOURCE = {"repo": "owner/repo", "commit": "a" * 40}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the public host refuse connections at once."""
    monkeypatch.setattr("harness.assets.registry.SOURCE_HOST", "http://127.0.0.1:9")


def silent(_: str) -> None:
    pass


def test_from_a_mirror_folder(tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"one", True), "b.npz": ("npz", b"two", False)})
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    data = tmp_path / "data"
    manifest = fetch("toy", data)
    assert manifest.status == "complete" and manifest.reason == ""
    assert [(file.name, file.sha256) for file in manifest.files] == [
        ("a.npz", hashlib.sha256(b"one").hexdigest()),
        ("b.npz", hashlib.sha256(b"two").hexdigest()),
    ]
    linked = AssetPaths(data, "weights", "toy").folder / "a.npz"
    assert linked.is_symlink() and linked.read_bytes() == b"one"
    assert WeightsManifest.read(AssetPaths(data, "weights", "toy").manifest) == manifest


def test_manifest_is_the_same_bytes_everywhere(
    tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"one", True), "b.npz": ("npz", b"two", True)}, (SOURCE,))
    (mirror / "weights/toy/b.npz").unlink()
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    texts = []
    for data in (tmp_path / "data", tmp_path / "elsewhere" / "data"):
        assert fetch("toy", data, say=silent).status == "partial"
        texts.append(AssetPaths(data, "weights", "toy").manifest.read_bytes())
    fetch("toy", tmp_path / "data", say=silent)
    texts.append(AssetPaths(tmp_path / "data", "weights", "toy").manifest.read_bytes())
    assert texts[0] == texts[1] == texts[2]
    assert str(tmp_path).encode() not in texts[0]
    assert json.loads(texts[0])["reason"].startswith(
        "b.npz could not be obtained (127.0.0.1 could not be reached); connect"
    )


def test_missing_says_how_to_supply(tmp_path: Path, registry: Callable[..., Path]) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"one", False)})
    manifest = fetch("toy", tmp_path / "data", say=silent)
    assert (manifest.status, manifest.files) == ("missing", ())
    assert manifest.reason == (
        "a.npz could not be obtained (HARNESS_MIRROR is not set); "
        "ask its authors, and run `harness weights fetch toy --from FOLDER`"
    )
    assert mirror.is_dir()


def test_wrong_checksum_in_the_mirror(
    tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"one", True)}, (SOURCE,))
    (mirror / "weights/toy/a.npz").write_bytes(b"other")
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    said: list[str] = []
    manifest = fetch("toy", tmp_path / "data", say=said.append)
    assert manifest.status == "missing"
    assert "a.npz in the mirror has a wrong checksum" in manifest.reason
    assert any("wrong checksum; it is not used" in text for text in said)
    assert not (AssetPaths(tmp_path / "data", "weights", "toy").folder / "a.npz").exists()


def test_from_a_mirror_address(
    tmp_path: Path,
    registry: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
) -> None:
    registry("toy", {"a.npz": ("npz", b"one", True), "b.npz": ("npz", b"two", False)})
    monkeypatch.setenv("HARNESS_MIRROR", f"{server.url}/m/")
    server.files |= {"/m/weights/toy/a.npz": b"one", "/m/weights/toy/b.npz": b"two"}
    manifest = fetch("toy", tmp_path / "data", say=silent)
    assert [file.name for file in manifest.files] == ["a.npz"]
    assert server.names() == ["a.npz"]  # what has no checksum is not downloaded


def test_a_mirrors_password_is_not_shown(
    tmp_path: Path,
    registry: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
) -> None:
    from harness.run.environment import _images
    from harness.tables.workspace import Workspace

    registry("toy", {"a.npz": ("npz", b"one", True)})
    monkeypatch.setenv("HARNESS_MIRROR", server.url.replace("//", "//me:geheim@"))
    said: list[str] = []
    manifest = fetch("toy", tmp_path / "data", say=said.append)
    assert server.requests and said
    found = [finding.detail for finding in _images(Workspace(tmp_path))]
    assert f"{server.url} (asked when something is fetched)" in found
    assert "geheim" not in " ".join([*said, manifest.text(), *found])


def test_own_folder_under_the_released_name(tmp_path: Path, registry: Callable[..., Path]) -> None:
    registry("toy", {"a.npz": ("npz", b"one", False)}, **{"a.npz": {"released_as": "Model A.mat"}})
    own = tmp_path / "downloads" / "deep"
    own.mkdir(parents=True)
    (own / "Model A.mat").write_bytes(b"mine")
    data = tmp_path / "data"
    assert fetch("toy", data, folder=tmp_path / "downloads", say=silent).complete
    assert (AssetPaths(data, "weights", "toy").folder / "a.npz").read_bytes() == b"mine"
    # The folder is remembered: a later change of the file is noticed.
    (own / "Model A.mat").write_bytes(b"newer")
    later = fetch("toy", data, say=silent)
    assert later.files[0].sha256 == hashlib.sha256(b"newer").hexdigest()
    # The default folder is found without being named.
    other = tmp_path / "data2"
    (other / "own/weights/toy").mkdir(parents=True)
    (other / "own/weights/toy/a.npz").write_bytes(b"default")
    assert fetch("toy", other, say=silent).files[0].sha256 == hashlib.sha256(b"default").hexdigest()


def test_own_folder_of_unpinned_files_goes_before_a_mirror(
    tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"mirrored", False)})
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.npz").write_bytes(b"mine")
    data = tmp_path / "data"
    for folder in (own, None):
        assert fetch("toy", data, folder=folder, say=silent).files[0].sha256 == hashlib.sha256(b"mine").hexdigest()


def test_one_released_name_for_two_files(tmp_path: Path, registry: Callable[..., Path]) -> None:
    registry(
        "toy",
        {"a.npz": ("npz", b"one", True), "b.npz": ("npz", b"two", True)},
        **{"a.npz": {"released_as": "latest.pth"}, "b.npz": {"released_as": "latest.pth"}},
    )
    own = tmp_path / "own"
    for folder, content in (("x", b"two"), ("y", b"one")):
        (own / folder).mkdir(parents=True)
        (own / folder / "latest.pth").write_bytes(content)
    said: list[str] = []
    assert fetch("toy", tmp_path / "data", folder=own, say=said.append).complete
    assert said == []


def test_wrong_own_folders(tmp_path: Path, registry: Callable[..., Path]) -> None:
    registry("toy", {"a.npz": ("npz", b"one", True)})
    with pytest.raises(HarnessError, match="no such folder"):
        fetch("toy", tmp_path / "data", folder=tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(HarnessError, match=r"holds no weights of 'toy'; it should hold a\.npz"):
        fetch("toy", tmp_path / "data", folder=empty, say=silent)
    (empty / "a.npz").write_bytes(b"other")
    with pytest.raises(HarnessError, match=r"a\.npz in the folder has a wrong checksum"):
        fetch("toy", tmp_path / "data", folder=empty, say=silent)


def test_second_call_loads_little_and_puts_the_manifest_back(tmp_path: Path, mirror: Path) -> None:
    environment = {**os.environ, "HARNESS_MIRROR": str(mirror)}
    command = [sys.executable, "-m", "harness", "weights", "fetch", "dncnn", "ircnn", "--data", str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    manifest = AssetPaths(tmp_path, "weights", "dncnn").manifest
    before = manifest.read_bytes()
    manifest.unlink()  # as DVC does before a stage runs
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "dncnn: complete, 9 files\nircnn: complete, 6 files\n"
    assert manifest.read_bytes() == before
    code = "import sys, harness.cli.assets; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["msgspec", "numpy", "requests", "torch", "h5py"]
    found = subprocess.run([sys.executable, "-c", code, *heavy], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_every_mirrored_file_is_found(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    for name in ("arcnn", "dncnn", "ffdnet", "ircnn", "lapsrn", "tnrd"):
        assert fetch(name, tmp_path, say=silent).complete, name
    for name in ("ircnn-levels", "prenet"):  # of these the mirror lacks some
        known = weight_set(name)
        mirrored = {
            file.name for file in known.files if any((mirror / path).is_file() for path in known.in_mirror(file))
        }
        assert mirrored and {file.name for file in fetch(name, tmp_path, say=silent).files} == mirrored
