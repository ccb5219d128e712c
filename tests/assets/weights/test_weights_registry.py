"""The registry of weights: every record is whole, and agrees with the mirror."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.assets.weights.registry import read_record, released_file, weight_names, weight_set
from harness.errors import HarnessError

# Changes of a released file would change published results: the checksums are held here a second time.
PINNED = {
    "dncnn/gray-sigma50.mat": "517dc0b55a8da2c129704ed7921b8557aac40cf3aae9f700dc41a9e25cad0983",
    "ffdnet/color.mat": "a4b5a9da21294ab9ba6ed5c6cc459c46dff20c025eb7d3ab82e8e0bb00541793",
    "ffdnet/gray-clip.mat": "c51ca4b7920313015caa5a773339701bc3d0c900b41a5aed7847efd1243400f3",
    "ircnn-levels/color-sigma50to52.params": "c07a5b0600cbb37ca263e085097ef8b79a9c4837a13236872000d60dbfa628b7",
    "tnrd/deblock-q20.mat": "1ad84dba0628ff74f36e2eb809647a7cea2a7cfee01c72156e16392b0da9e1e1",
    "tnrd/deblock-q30.mat": "b9e51576f57ca8d6d8374b9aa71e0742a341faaadc3c0bdb25e9e9c80c6059ca",
    "tnrd/gray-sigma50.mat": "e03263670989e29e74ad4aa2cc299ddd6eed206f921f5f93e51200759c8cef89",
    "prenet/rain100l.pth": "cb9b743bb33cf6e5c56ba45f8ade93add46266dea9fa582e1934dc5eed942333",
}


@pytest.mark.parametrize("name", weight_names())
def test_record(name: str) -> None:
    record = weight_set(name)
    assert record.name == name
    assert record.title and record.licence and record.licence_note and record.citation
    assert record.homepage.startswith(("https://", "http://"))
    for file in record.files:
        assert file.makes
        if not file.at:
            assert record.obtain
        if file.same_as:
            other = released_file(file.same_as)
            assert other is not None and other.at and other.makes == file.makes
    # A release may use one name twice, in two folders: then only checksums tell the files apart.
    released = [file.released_as for file in record.files if file.released_as and not file.sha256]
    assert len(set(released)) == len(released)


def test_every_method_of_the_papers_that_has_weights_is_there() -> None:
    wanted = {
        "dncnn",
        "ffdnet",
        "ircnn",
        "arcnn",
        "tnrd",
        "lapsrn",
        "srmdnf",
        "prenet",
        "rnan",
        "panet",
        "pa-edsr",
        "csnln",
    }
    assert wanted <= set(weight_names())


@pytest.mark.parametrize("name", PINNED)
def test_checksums_do_not_move(name: str) -> None:
    weights, _, file = name.partition("/")
    assert weight_set(weights).file(file).sha256 == PINNED[name]


def test_every_file_of_the_mirror_is_registered(mirror: Path) -> None:
    listing = mirror / "weights.json"
    if not listing.is_file():
        pytest.skip(f"{listing} is not there")
    for name, about in json.loads(listing.read_text()).items():
        record = weight_set(name)
        for file in about["files"]:
            found = record.file(file["name"])
            assert (found.bytes, found.sha256) == (file["bytes"], file["sha256"])
            places = [(record.sources[index], path) for index, path in found.at]
            assert [(source.repo, source.commit, path) for source, path in places] == [
                (github["repo"], github["commit"], github["path"]) for github in file["github"]
            ]


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(HarnessError, match="unknown weights 'dncn'; did you mean 'dncnn'"):
        weight_set("dncn")
    with pytest.raises(HarnessError, match=r"did you mean 'gray-sigma50\.mat'"):
        weight_set("dncnn").file("gray-sigma5.mat")


BASE: dict[str, Any] = {
    "name": "a",
    "title": "A",
    "licence": "x",
    "licence_note": "x",
    "homepage": "https://example.org",
    "citation": "x",
    "obtain": "ask",
    "sources": [{"repo": "a/b", "commit": "0" * 40}],
    "files": [{"name": "f.mat", "format": "matconvnet", "makes": "x"}],
}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "b"}, "the weights are named 'b'"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"obtain": ""}, "say in 'obtain'"),
        ({"files": [{"name": "../f", "format": "npz", "makes": "x"}]}, "leaves the set's folder"),
        ({"files": [{"name": "f", "format": "matconvnet2", "makes": "x"}]}, "did you mean 'matconvnet'"),
        ({"files": [{"name": "f", "format": "npz", "makes": "x", "bytes": 3}]}, "needs both its size and"),
        (
            {"files": [{"name": "f", "format": "npz", "makes": "x", "bytes": 3, "sha256": "1"}]},
            "needs both its size and",
        ),
        ({"files": [{"name": "f", "format": "npz", "makes": "x", "at": [[0, "f"]]}]}, "no checksum to hold it to"),
        (
            {"files": [{"name": "f", "format": "npz", "makes": "x", "bytes": 3, "sha256": "1" * 64, "at": [[1, "f"]]}]},
            "an unknown source",
        ),
        ({"files": [BASE["files"][0]] * 2}, "is there twice"),
    ],
)
def test_wrong_records(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**BASE, **change}))
    with pytest.raises(HarnessError, match=match):
        read_record(path)
