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


def name_in_use(path: Path) -> str:
    """Name a file for records: by its path in the project folder in use; elsewhere by its bare name."""
    root, resolved = root_in_use() or Path.cwd(), path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name


def root_in_use() -> Path | None:
    """Give the folder that was named last, absolute; None outside any `loading_from`."""
    return _roots[-1] if _roots else None
