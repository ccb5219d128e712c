"""Workspaces to train in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from training_workspace import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A workspace with the tiny network."""
    return Place(tmp_path)


@pytest.fixture
def places(tmp_path: Path) -> Callable[[str], Place]:
    """Make several workspaces with the same network."""

    def make(name: str) -> Place:
        (tmp_path / name).mkdir()
        return Place(tmp_path / name)

    return make
