"""Released weights: the registry of files, how to get them, and importing them without running anything in them.

The names below are loaded when they are first used: the check that weights are still in place runs before every table.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.assets.weights.fetching import fetch
    from harness.assets.weights.importers import import_weights
    from harness.assets.weights.loading import load_weights
    from harness.assets.weights.recording import UsedWeights
    from harness.assets.weights.registry import WeightFile, WeightSet, weight_names, weight_set

__all__ = [
    "UsedWeights",
    "WeightFile",
    "WeightSet",
    "fetch",
    "import_weights",
    "load_weights",
    "weight_names",
    "weight_set",
]

_MODULES = {
    "UsedWeights": "recording",
    "WeightFile": "registry",
    "WeightSet": "registry",
    "fetch": "fetching",
    "import_weights": "importers",
    "load_weights": "loading",
    "weight_names": "registry",
    "weight_set": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
