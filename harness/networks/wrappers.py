"""What training programs wrap around a network's weights: the one list, for released files and for a user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Under which names weights lie beside the optimiser's state, the ones to test with first (BasicSR keeps an average of
# the weights beside the last ones).
_HOLDERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "G")
# What is put before every name: by DataParallel, torch.compile and Lightning, also one around the other.
_PREFIXES = ("module.", "_orig_mod.", "model.")
# What thop leaves in a network whose operations it has counted.
_COUNTERS = ("total_ops", "total_params")


def inside(state: Any) -> Iterator[Any]:
    """Give a loaded file, and then what lies in it under the usual names."""
    yield state
    if isinstance(state, Mapping):
        yield from (state[name] for name in _HOLDERS if name in state)


def unwrapped(state: Mapping[str, T]) -> dict[str, T]:
    """Take thop's counters off a network's tensors, and prefixes that all names have.

    A network that is nothing but a sequence keeps its prefix: ``model.0.weight`` (ESRGAN, DnCNN) is its own name.
    """
    found = {name: value for name, value in state.items() if name.rpartition(".")[2] not in _COUNTERS}
    while found and (prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in found)), "")):
        bare = {name.removeprefix(prefix): value for name, value in found.items()}
        if prefix == "model." and any(name[:1].isdigit() for name in bare):
            break
        found = bare
    return found
