"""Importing plugins and their helpers from their source as it is now.

Python takes a compiled file for that of any source of the same size that was last written in the same second: after an
edit within that second, or where an archive or ``rsync`` gave files their dates, the old code would run, and rows of it
stand as those of the new code. What is installed is known by its version, and is loaded as ever.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib import machinery
from pathlib import Path
from typing import Any

import harness
from harness.errors import HarnessError
from harness.files import file_sha256

# SHA-256 of files that a stage has looked at, by their path without links.
_looked_at: dict[str, str] = {}


class _SourceLoader(machinery.SourceFileLoader):
    def path_stats(self, path: Any) -> Any:
        # What cannot be compared with its source is neither read nor written.
        raise OSError("compiled files are not used")

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]
        digest = hashlib.sha256(data).hexdigest()
        if _looked_at.get(os.path.realpath(path), digest) != digest:
            raise HarnessError(
                f"{path}: was edited after this run had looked at it and before it was imported; its results would be "
                "recorded as those of the code before: run it again"
            )
        return super().source_to_code(data, path, _optimize=_optimize)


_find = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (_SourceLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


def _hook(path: str) -> Any:
    folder = Path(path).resolve()
    kept = (Path(harness.__file__).parent, *map(Path, map(sysconfig.get_path, ("stdlib", "platstdlib"))))
    if any(folder.is_relative_to(place.resolve()) for place in kept) or any(map(installed, (folder, *folder.parents))):
        raise ImportError("loaded as ever")
    return _find(path)


def load_from_source() -> None:
    """Import in this process, from now on, what is not installed from its source alone."""
    if _hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _hook)
        sys.path_importer_cache.clear()


def source_loader(name: str, file: Path) -> machinery.SourceFileLoader:
    """Make the loader of a plugin's file."""
    return _SourceLoader(name, str(file))


def expect(files: Iterable[Path]) -> None:
    """Refuse the import, later in this process, of a file that is not what it is now."""
    for file in files:
        _looked_at[os.path.realpath(file)] = file_sha256(file)


@functools.cache
def installed(folder: Path) -> bool:
    """Whether packages are installed in a folder: what their files hold is then known by their versions."""
    return folder.name in ("site-packages", "dist-packages") or any(folder.glob("*.dist-info"))
