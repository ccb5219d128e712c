"""Recording which weights files are loaded, for the provenance of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class UsedWeights:
    """A weights file that was loaded.

    `own`: Size in bytes of a file of the user's own; 0 for one of the registry or of a training run.
    """

    name: str
    file: str
    sha256: str
    own: int = 0


_recordings: ContextVar[tuple[list[UsedWeights], ...]] = ContextVar("recordings", default=())


@contextmanager
def recording() -> Iterator[list[UsedWeights]]:
    """Collect every weights file that is loaded inside the block, each once, in order.

    Blocks may be nested; each collects what is loaded inside it. Other threads are not seen.
    """
    used: list[UsedWeights] = []
    token = _recordings.set((*_recordings.get(), used))
    try:
        yield used
    finally:
        _recordings.reset(token)


def record(used: UsedWeights) -> None:
    """Note a loaded file in every open recording."""
    for collected in _recordings.get():
        if used not in collected:
            collected.append(used)
