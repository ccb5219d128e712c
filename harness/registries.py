"""What is known by name and may be added to from outside the package: tasks, degradations, metrics, datasets.

Nothing here imports more than the standard library's small modules: it runs before every table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.errors import HarnessError
from harness.names import check_name


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


T = TypeVar("T", bound=Named)


class Registry(dict[str, T]):
    """Definitions of one kind by name: the package's own, and those that plugins add.

    `kind`: What one of them is, such as ``"metric"``.
    `items`: The package's own.
    `files`: Of those that were added: the file that defines them, by name; empty for what was typed in.
    `known_by`: Of those that make files: a hash of what they are made with, by name.
    """

    def __init__(self, kind: str, items: Iterable[T]) -> None:
        super().__init__({item.name: item for item in items})
        self.kind = kind
        self.built_in = frozenset(self)
        self.files: dict[str, str] = {}
        self.known_by: dict[str, str] = {}
        REGISTRIES[kind] = self

    def define(self, item: T, depth: int = 2) -> T:
        """Add a definition; the same file may replace its own, as a notebook's cell does that is run again.

        `item`: What is defined.
        `depth`: How many calls lie between the file that defines it and here.
        Raises HarnessError: The name is no plain one, or taken by the package or by another file.
        """
        name = check_name(item.name, self.kind)
        file = str(sys._getframe(depth).f_globals.get("__file__") or "")
        if name in self.built_in:
            raise HarnessError(f"{self.kind} '{name}' is one of the package; choose another name")
        if self.files.get(name, file) != file:
            raise HarnessError(f"{self.kind} '{name}' is defined in {self.files[name]} too; rename one of them")
        self[name] = item
        self.files[name] = file
        return item

    def source(self, name: str) -> Path | None:
        """File that defines one; None for the package's own and for what was typed in."""
        return Path(self.files[name]) if self.files.get(name) else None


# Every registry of this process, by kind.
REGISTRIES: dict[str, Registry[Any]] = {}


def added() -> dict[tuple[str, str], tuple[object, str]]:
    """List what plugins added: the definition and its file, by kind and name."""
    return {
        (kind, name): (registry[name], file)
        for kind, registry in REGISTRIES.items()
        for name, file in registry.files.items()
    }


def take_out(names: Iterable[tuple[str, str]]) -> None:
    """Forget definitions of another project of this process."""
    for kind, name in names:
        REGISTRIES[kind].pop(name, None)
        REGISTRIES[kind].files.pop(name, None)


def put_in(definitions: dict[tuple[str, str], tuple[object, str]]) -> None:
    """Bring definitions back that were taken out."""
    for (kind, name), (item, file) in definitions.items():
        REGISTRIES[kind][name] = item
        REGISTRIES[kind].files[name] = file
