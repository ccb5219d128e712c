"""What training programs wrap around a network's weights: the one list, for released files and for a user's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Under which names weights lie beside the optimiser's state, the ones to test with first (BasicSR keeps an average of
# the weights beside the last ones).
HOLDERS = (
    "params_ema",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "generator",
    "G",
)
# What is put before every name: by DataParallel, torch.compile, Lightning and EMA classes, also one around the other.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "generator.", "ema_model.")
# Also names of plain networks, which are then a sequence: model.0.weight.
_SEQUENCES = ("model.", "net.", "network.", "generator.")
# What thop leaves in a network whose operations it has counted.
_COUNTERS = ("total_ops", "total_params")


def inside(state: Any, under: str = "") -> Iterator[tuple[str, Any]]:
    """Give a loaded file, and then what lies in it under the usual names, one in the other: each with its name."""
    yield under, state
    if isinstance(state, Mapping):
        for name in HOLDERS:
            if isinstance(state.get(name), Mapping):
                yield from inside(state[name], f"{under}.{name}" if under else name)


def unwrapped(state: Mapping[str, T]) -> dict[str, T]:
    """Take thop's counters off a network's tensors, and prefixes that all names have.

    A network that is nothing but a sequence keeps its prefix: ``model.0.weight`` (ESRGAN, DnCNN) is its own name.

    >>> unwrapped({"module.model.body.weight": 1, "module.model.total_ops": 2})
    {'body.weight': 1}
    >>> unwrapped({"model.0.weight": 1})
    {'model.0.weight': 1}
    """
    found = {name: value for name, value in state.items() if name.rpartition(".")[2] not in _COUNTERS}
    while found and (prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in found)), "")):
        bare = {name.removeprefix(prefix): value for name, value in found.items()}
        if prefix in _SEQUENCES and any(name[:1].isdigit() for name in bare):
            break
        found = bare
    return found


def fitted(state: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    """Name tensors as a network does, where nothing but a wrapper's prefix stands between.

    Parameters
    ----------
    state : mapping
        Tensors by name.
    names : collection of str
        The network's own names.

    Returns
    -------
    dict
        Under the network's names if they are all there, whatever else is; else `unwrapped`.

    Examples
    --------
    >>> fitted({"net.body.weight": 1, "loss.scale": 2}, ["body.weight"])
    {'body.weight': 1, 'loss.scale': 2}
    >>> fitted({"0.weight": 1}, ["net.0.weight"])
    {'net.0.weight': 1}
    """
    if state.keys() == set(names):
        return dict(state)
    found = unwrapped(state)
    if not names or found.keys() >= set(names):
        return found
    for prefix in PREFIXES:
        if all(prefix + name in found for name in names):
            return {name.removeprefix(prefix): value for name, value in found.items()}
        if all(name.startswith(prefix) and name.removeprefix(prefix) in found for name in names):
            return {prefix + name: value for name, value in found.items()}
    return found
