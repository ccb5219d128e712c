"""A small registry of synthetic sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_datasets import Registry, encode, picture


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> Registry:
    """A registry with the set `tiny`: 3 images."""
    monkeypatch.setenv("HARNESS_DATASETS", str(tmp_path / "records"))
    made = Registry(tmp_path / "records")
    made.add("tiny", {f"{number}.png": encode(picture(number)) for number in (1, 2, 10)})
    return made
