"""Fixtures for real data that may be absent: tests that need it skip and say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _folder(variable: str, holds: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; it names a folder with {holds}")
    path = Path(value)
    if not path.is_dir():
        pytest.skip(f"{variable}={value} is not a folder; it should hold {holds}")
    return path


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with datasets/, weights/ and released-images/."""
    return _folder("HARNESS_MIRROR", "datasets/, weights/ and released-images/")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with matlab/ and activations/: outputs of the authors' own programs."""
    return _folder("HARNESS_GOLDEN", "matlab/ and activations/")
