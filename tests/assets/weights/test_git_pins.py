"""Files that are held by the id which git gives their bytes, and files that lie in Git LFS."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_datasets import COMMIT, Server

from harness.assets import download
from harness.assets import registry as records
from harness.assets.manifest import WeightsManifest
from harness.assets.places import AssetPaths
from harness.assets.weights.fetching import fetch
from harness.assets.weights.registry import weight_set
from harness.errors import HarnessError
from harness.files import git_blob

CONTENT = np.random.default_rng(5).bytes(20_000)

pytestmark = pytest.mark.usefixtures("quick")


def object_id(folder: Path, content: bytes) -> str:
    """What git itself calls a file that was committed."""
    folder.mkdir()
    (folder / "net.npz").write_bytes(content)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    return subprocess.check_output([*git, "rev-parse", "HEAD:net.npz"], text=True).strip()


@pytest.fixture
def blob(tmp_path: Path) -> str:
    return object_id(tmp_path / "repository", CONTENT)


@pytest.fixture
def pinned(registry: Callable[..., Path]) -> Callable[..., None]:
    """Register the set `toy` of one file `net.npz`, with what is known of it."""
    mirror = registry("toy", {"net.npz": ("npz", b"", False)})
    path = next(mirror.parent.rglob("toy.json"))

    def register(repos: tuple[str, ...] = ("one/net",), lfs: bool = False, **known: Any) -> None:
        record = json.loads(path.read_text())
        record["sources"] = [{"repo": repo, "commit": COMMIT, **({"lfs": True} if lfs else {})} for repo in repos]
        at = [[index, "weights/net.npz"] for index in range(len(repos))]
        record["files"] = [{"name": "net.npz", "format": "npz", "makes": "a test", "at": at, **known}]
        path.write_text(json.dumps(record))

    return register


def source(repo: str = "one/net") -> str:
    return f"/sources/{repo}/{COMMIT}/weights/net.npz"


def get(data: Path, said: list[str] | None = None, **options: Any) -> WeightsManifest:
    return fetch("toy", data, say=[].append if said is None else said.append, **options)


def test_the_id_is_gits(blob: str, tmp_path: Path) -> None:
    assert git_blob(tmp_path / "repository" / "net.npz") == blob


def test_a_file_of_unknown_size_is_fetched_and_its_sha256_recorded(
    pinned: Callable[..., None], server: Server, data: Path, blob: str
) -> None:
    pinned(git_blob=blob)
    server.files[source()] = CONTENT
    manifest = get(data)
    assert manifest.status == "complete"
    assert [(f.bytes, f.sha256) for f in manifest.files] == [(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())]


def sends_another_file(server: Server, path: str) -> None:
    server.files[path] = CONTENT[:-1] + b"?"


def has_no_file(server: Server, path: str) -> None:
    server.files.pop(path, None)


def is_always_busy(server: Server, path: str) -> None:
    server.files[path] = CONTENT
    server.status[path] = [503] * 50


def breaks_off_at_once(server: Server, path: str) -> None:
    server.files[path] = CONTENT
    server.cut[path] = [0] * 50


def breaks_off_in_the_middle(server: Server, path: str) -> None:
    server.files[path] = CONTENT[::-1]
    server.cut[path] = [5_000, *[0] * 50]


def hangs_up(server: Server, path: str) -> None:
    server.raw[path] = []


def answers_nonsense(server: Server, path: str) -> None:
    server.raw[path] = [b"hello\r\n\r\n"]


def leads_elsewhere(server: Server, path: str) -> None:
    server.raw[path] = [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"]


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize(
    "fails",
    [
        sends_another_file,
        has_no_file,
        is_always_busy,
        breaks_off_at_once,
        breaks_off_in_the_middle,
        hangs_up,
        answers_nonsense,
        leads_elsewhere,
    ],
)
def test_whatever_the_first_source_does_the_next_is_asked(
    pinned: Callable[..., None], server: Server, data: Path, blob: str, fails: Callable[..., None], sized: bool
) -> None:
    """Also where both are on one host, as repositories of one service are."""
    pinned(("one/net", "two/net"), git_blob=blob, **({"bytes": len(CONTENT)} if sized else {}))
    fails(server, source("one/net"))
    server.files[source("two/net")] = CONTENT
    said: list[str] = []
    assert get(data, said).status == "complete", said
    assert server.counts[source("one/net")] and server.counts[source("two/net")]


def test_a_broken_download_goes_on(pinned: Callable[..., None], server: Server, data: Path, blob: str) -> None:
    pinned(git_blob=blob)
    server.files[source()] = CONTENT
    server.etag = lambda path: '"1"'
    server.cut[source()] = [7_000, 5_000]
    assert get(data).status == "complete"
    # Only what is on the disk is not sent again, which ends with a whole chunk.
    assert [asked for _, asked in server.requests] == ["", "bytes=7000-", "bytes=12000-"]


def test_a_part_that_is_whole_is_known_by_its_id(
    pinned: Callable[..., None], server: Server, data: Path, blob: str
) -> None:
    """The process ended between the last byte and the file's name: the server has nothing more to give."""
    pinned(git_blob=blob)
    server.files[source()] = CONTENT
    folder = AssetPaths(data, "weights", "toy").folder
    folder.mkdir(parents=True)
    (folder / f".net.npz.{blob[:12]}.part").write_bytes(CONTENT)
    assert get(data).status == "complete"
    assert [asked for _, asked in server.requests] == [f"bytes={len(CONTENT)}-"]


def test_an_endless_answer_has_an_end(
    pinned: Callable[..., None], server: Server, data: Path, blob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 10_000)
    pinned(git_blob=blob)
    server.files[source()] = CONTENT
    manifest = get(data)
    assert manifest.status == "missing" and "wrong size" in manifest.reason
    assert not any(".part" in path.name for path in AssetPaths(data, "weights", "toy").folder.glob(".*"))


def test_the_sha256_of_the_first_file_is_held(
    pinned: Callable[..., None], server: Server, data: Path, blob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files may be made that share git's id; the second of them is refused."""
    pinned(git_blob=blob)
    server.files[source()] = CONTENT
    assert get(data).status == "complete"
    path = AssetPaths(data, "weights", "toy").folder / "net.npz"
    path.unlink()
    path.write_bytes(b"the other one")
    server.files[source()] = b"the other one"
    monkeypatch.setattr("harness.assets.verified.git_blob", lambda path: blob)
    manifest = get(data)
    assert manifest.status == "missing" and "wrong checksum" in manifest.reason


def test_an_own_copy_is_held_to_the_id(pinned: Callable[..., None], data: Path, blob: str, tmp_path: Path) -> None:
    pinned(git_blob=blob)
    assert get(data, folder=tmp_path / "repository").status == "complete"
    (tmp_path / "repository" / "net.npz").write_bytes(CONTENT[1:])
    with pytest.raises(HarnessError, match="wrong checksum"):
        get(data.with_name("other"), folder=tmp_path / "repository")


def test_git_lfs(
    pinned: Callable[..., None], server: Server, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LFS_HOST", f"{server.url}/media")
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(CONTENT)}\n".encode()
    pinned(lfs=True, bytes=len(CONTENT), sha256=sha256)
    server.files[source()] = pointer
    server.files[source().replace("/sources/", "/media/")] = CONTENT
    assert get(data).status == "complete"
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "net.npz").write_bytes(pointer)
    with pytest.raises(HarnessError, match=r"net\.npz in the folder is a pointer of Git LFS"):
        get(data.with_name("other"), folder=clone)


@pytest.mark.parametrize(
    ("known", "match"),
    [
        ({"git_blob": "A" * 40}, "40 lower-case hex digits"),
        ({"git_blob": "a" * 39}, "40 lower-case hex digits"),
        ({"bytes": 5}, "its size and a checksum"),
        ({}, "no checksum to hold it to"),
    ],
)
def test_invalid_pins_are_refused(pinned: Callable[..., None], known: dict[str, Any], match: str) -> None:
    pinned(**known)
    with pytest.raises(HarnessError, match=match):
        weight_set("toy")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><title>Quota exceeded</title>", "is a web page"),
        (b"", "is empty"),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_told_without_a_checksum(
    pinned: Callable[..., None], data: Path, tmp_path: Path, content: bytes, match: str
) -> None:
    """Most files that users supply have no registered checksum: whatever lay there was taken."""
    pinned(())
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "net.npz").write_bytes(content)
    with pytest.raises(HarnessError, match=match):
        get(data, folder=folder)
