"""Fixtures: real data that may be absent (tests that need it skip and say so), and a synthetic image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# The same examples on every run, so that what fails here fails for everybody. `HYPOTHESIS_PROFILE=search` draws others.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# Modules of minutes: they are begun first, so that no core waits for one of them in the end.
LONGEST = (
    "test_audits_on_the_mirror",
    "test_end_to_end",
    "test_trained_tables",
    "test_training_processes",
    "test_execution",
    "test_paired_tables",
    "test_training_jobs",
    "test_workspace_from_wheel",
    "test_ci",
    "test_own_plugins",
    "test_wrong_rows",
    "test_hidden_protocol",
    "test_training_costs",
    "test_savings",
    "test_random_series",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first (`make test` hands whole modules to the processes, in this order)."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def _printing_kept() -> Iterator[None]:
    """A package that is first imported by one test must not change how arrays are printed in the next."""
    with np.printoptions(legacy=False):
        yield


@pytest.fixture
def _definitions_forgotten() -> Iterator[None]:
    """What a test defines (tasks, degradations, metrics) is gone after it: the pipelines depend on what is known."""
    from harness.registries import added, take_out

    before = added()
    yield
    take_out(added().keys() - before.keys())


Synthetic = Callable[..., NDArray[np.uint8]]


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


# Made of whole-number arithmetic, so that hashes of what is made from it hold on every machine.
def synthetic_image(height: int = 97, width: int = 130, channels: int = 3) -> NDArray[np.uint8]:
    """Ramps, a coarse chessboard and a fine texture: smooth parts, edges, black and white."""
    row, column, channel = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    ramp = (3 * row + 2 * column + 40 * channel) % 256
    chess = 255 * ((row // 16 + column // 16 + channel) % 2)
    texture = (row * row * 7 + column * 13 + row * column) % 61
    image = ((2 * ramp + chess) // 3 + texture - 30).clip(0, 255).astype(np.uint8)
    return image if channels > 1 else image[:, :, 0]


@pytest.fixture(scope="session")
def synthetic() -> Synthetic:
    """`synthetic_image`, for tests to call."""
    return synthetic_image


@pytest.fixture(autouse=True)
def _text_as_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no width reach the tests: pytest-xdist gives its processes one."""
    monkeypatch.delenv("COLUMNS", raising=False)
