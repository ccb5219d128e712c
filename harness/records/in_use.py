"""The project folder that methods load from: named by the command that runs them, asked for where weights are loaded.

A method's ``build(task, level)`` knows neither, and may load at any time and in any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_roots: list[Path] = []


@contextmanager
def loading_from(root: Path) -> Iterator[None]:
    """Let methods load weights and released images from a project folder as long as the block lasts."""
    _roots.append(root.resolve())
    try:
        yield
    finally:
        _roots.pop()


def root_in_use() -> Path | None:
    """Give the folder that was named last, absolute; None outside any `loading_from`."""
    return _roots[-1] if _roots else None
