"""Weights that a test generates, in the place of released ones, under a copy of their record that pins nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.assets.places import REGISTRIES


def supply(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: Mapping[str, bytes]) -> Path:
    """Put files of a weight set where fetched ones lie; gives that folder.

    `folder` is the test's own: it gets ``records`` and ``data``, and both are used until the test ends. The files may
    have any of the names of the record.
    """
    record = json.loads((REGISTRIES["weights"] / f"{name}.json").read_text())
    for file in record["files"]:
        for pin in ("git_blob", "sha256", "bytes", "at"):
            file.pop(pin, None)
    assert files.keys() <= {file["name"] for file in record["files"]}
    record |= {"obtain": record.get("obtain") or "generate them", "sources": []}
    records = folder / "records"
    records.mkdir(parents=True)
    (records / f"{name}.json").write_text(json.dumps(record))
    place = folder / "data" / "weights" / name
    place.mkdir(parents=True)
    for file_name, content in files.items():
        (place / file_name).write_bytes(content)
    monkeypatch.setitem(REGISTRIES, "weights", records)
    monkeypatch.setenv("HARNESS_DATA", str(folder / "data"))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    return place
