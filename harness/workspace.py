"""The folder a user works in: its parameters, and where everything lies.

``data/`` holds what was fetched, ``work/`` what was computed, ``results/`` the rendered tables. Only the last is kept
in git; DVC and checksums keep track of the other two.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from harness.cells import Noise
from harness.errors import HarnessError, unknown_name
from harness.methods.plugins import IMPORT_SECONDS
from harness.records import load_yaml

if TYPE_CHECKING:
    from harness.methods import Method
    from harness.tables.published import Table
    from harness.training.runs import Run

PARAMS_FILE = "params.yaml"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a method may use; no part of a result's identity.

    Attributes
    ----------
    image_seconds : float
        Seconds for one image, after which a method is taken for hung. A whole Urban100 image through an averaged
        non-local network takes hours on a CPU.
    import_seconds : float
        Seconds for the import of a plugin, after which it is left out.
    """

    image_seconds: float = 6 * 3600.0
    import_seconds: float = IMPORT_SECONDS


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of params.yaml: plugin folders, table folders, noise draws, limits."""

    methods: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    noise: Noise = Noise()
    limits: Limits = Limits()


class Workspace:
    """A project folder: the one with params.yaml.

    Parameters
    ----------
    root : path
        The folder; params.yaml may be absent, then the defaults hold.
    """

    def __init__(self, root: str | os.PathLike[str] = ".") -> None:
        self.root = Path(root)

    @classmethod
    def find(cls, start: str | os.PathLike[str] = ".") -> Workspace:
        """Find the nearest folder upwards that holds params.yaml.

        Raises
        ------
        HarnessError
            There is none; a pipeline needs one to write to.
        """
        here = Path(start).resolve()
        for folder in (here, *here.parents):
            if (folder / PARAMS_FILE).is_file():
                return cls(os.path.relpath(folder, Path.cwd()) if start == "." else folder)
        raise HarnessError(f"{here}: no {PARAMS_FILE} here or above; run this inside a checkout of the project")

    @functools.cached_property
    def params(self) -> Params:
        """The parameters, checked."""
        path = self.root / PARAMS_FILE
        return load_yaml(path, Params) if path.is_file() else Params()

    @property
    def data(self) -> Path:
        """Folder of fetched files."""
        return self.root / "data"

    @property
    def work(self) -> Path:
        """Folder of computed files."""
        return self.root / "work"

    @property
    def results(self) -> Path:
        """Folder of rendered tables."""
        return self.root / "results"

    def _inside(self, name: str, key: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise HarnessError(f"{PARAMS_FILE}: '{name}' under '{key}' leaves the project; name a folder inside it")
        path = self.root / name
        if not path.is_dir():
            raise HarnessError(f"{PARAMS_FILE}: '{name}' under '{key}' is not a folder; make it or take the line out")
        return path

    @property
    def method_folders(self) -> list[Path]:
        """Folders with plugin methods."""
        return [self._inside(name, "methods") for name in self.params.methods]

    def methods(self) -> dict[str, Method]:
        """Every method known here, by name; those trained here know which of their runs are wished or shipped."""
        from harness.methods import methods

        found = methods(self.method_folders, self.params.limits.import_seconds)
        runs: dict[str, set[tuple[str, int]]] = {}
        for run in self.training_runs():
            runs.setdefault(run.method, set()).add((run.task, run.level))
        return {
            name: replace(method, trained=frozenset(runs[name])) if name in runs and method.recipes else method
            for name, method in found.items()
        }

    def try_plugins(self) -> None:
        """Try the import of plugins, so that what follows may rely on them (`harness.methods.plugins`)."""
        from harness.methods import try_plugins

        try_plugins(self.method_folders, self.params.limits.import_seconds)

    def training_runs(self) -> list[Run]:
        """Training runs that ``training.yaml`` wishes or whose weights come with the project, sorted."""
        from harness.training.runs import read_wishes, shipped_runs

        return sorted({*read_wishes(self.root), *shipped_runs(self.root)})

    def method(self, name: str) -> Method:
        """Look a method up; an unknown name raises HarnessError with the nearest known ones."""
        from harness.methods import get_method

        return get_method(name, self.method_folders, self.params.limits.import_seconds)

    @functools.cached_property
    def table_files(self) -> dict[str, Path]:
        """The user's own table files by table name."""
        from harness.tables.published import read_table

        files: dict[str, Path] = {}
        for name in self.params.tables:
            for file in sorted(self._inside(name, "tables").glob("*.yaml")):
                table = read_table(file)
                if table.name != file.stem:
                    raise HarnessError(f"{file}: the table is named '{table.name}'; name the file {table.name}.yaml")
                if table.name in files:
                    raise HarnessError(f"{file}: a table '{table.name}' is also in {files[table.name]}")
                files[table.name] = file
        return files

    def tables(self) -> dict[str, Table]:
        """Every table known here: the papers', the project's own, the user's.

        Below a row whose network was also trained here stands one for that, see `harness.tables.trained`.
        """
        from harness.tables.published import own_tables, published_tables, read_table
        from harness.tables.trained import with_trained_rows

        known = {**published_tables(), **own_tables()}
        for name, file in self.table_files.items():
            if name in known:
                raise HarnessError(f"{file}: '{name}' is taken by a table of the package; choose another")
            known[name] = read_table(file)
        runs = self.training_runs()
        return {name: with_trained_rows(table, runs) for name, table in known.items()}

    def table(self, name: str) -> Table:
        """Look a table up; an unknown name raises HarnessError with the nearest known ones."""
        known = self.tables()
        if name not in known:
            raise unknown_name("table", name, known)
        return known[name]
