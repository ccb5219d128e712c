"""Datasets: the registry of image sets, how to get them, and reading them with their checksums held.

The names below are loaded when they are first used: the check that a dataset is still in place runs before every table
and must not wait for numpy or an HTTP library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.assets.datasets.fetching import fetch
    from harness.assets.datasets.reading import FetchedDataset, open_dataset
    from harness.assets.datasets.registry import Dataset, dataset, dataset_names

__all__ = ["Dataset", "FetchedDataset", "dataset", "dataset_names", "fetch", "open_dataset"]

_MODULES = {
    "Dataset": "registry",
    "dataset": "registry",
    "dataset_names": "registry",
    "fetch": "fetching",
    "FetchedDataset": "reading",
    "open_dataset": "reading",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
