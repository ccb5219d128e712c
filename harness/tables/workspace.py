"""A workspace: a project folder with the methods and tables that are known in it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError, unknown_name
from harness.methods import Method
from harness.records.loading import yaml_place
from harness.records.training_runs import TrainingRun, parse_seeded, read_training_plans, shipped_runs
from harness.records.workspace import Folder
from harness.tables.published import Table, own_tables, published_tables, read_table
from harness.tables.trained import with_trained_rows

# Table files that could not be read, with what is wrong; the command line tells of them after what it did.
LEFT_OUT: dict[str, str] = {}


class Workspace(Folder):
    """A project folder: its paths and parameters, and every method and table that is known in it."""

    @property
    def method_folders(self) -> list[Path]:
        """Folders with plugin methods."""
        return [self._inside(name, "methods") for name in self.params.methods]

    def define(self) -> None:
        """Make known what the project's plugins define besides methods (`harness.methods.definitions`)."""
        from harness.methods.definitions import load_definitions

        load_definitions(
            [self._inside(name, "plugins") for name in self.params.plugins], self.params.limits.import_seconds
        )

    def methods(self) -> dict[str, Method]:
        """Every method known here, by name; those trained here know which of their runs are planned or shipped."""
        from harness.methods import methods

        self.define()
        known = methods(self.method_folders, self.params.limits.import_seconds)
        found = {name: self._placed(method) for name, method in known.items()}
        runs: dict[str, set[tuple[str, int]]] = {}
        for run in self.training_runs():
            runs.setdefault(run.method, set()).add((run.task, run.level))
            if run.method not in found and (further := self._of_seed(run.method, found)) is not None:
                found[run.method] = further
        return {
            name: replace(method, trained=frozenset(runs[name])) if name in runs and method.recipes else method
            for name, method in sorted(found.items())
        }

    @staticmethod
    def _of_seed(name: str, known: Mapping[str, Method]) -> Method | None:
        """Make the method of a further seed (`harness.records.training_runs.seeded_name`) of one that is known."""
        from harness.methods.trained import of_seed

        base, seed = parse_seeded(name) or ("", 0)
        return of_seed(known[base], seed) if base in known and known[base].origin == "trained" else None

    def try_plugins(self) -> None:
        """Try the import of plugins, so that what follows may rely on them (`harness.methods.plugins`)."""
        from harness.methods import try_plugins

        self.define()
        try_plugins(self.method_folders, self.params.limits.import_seconds)

    def training_runs(self) -> list[TrainingRun]:
        """Training runs that ``training.yaml`` plans or whose weights come with the project, sorted."""
        return sorted({*read_training_plans(self.root), *shipped_runs(self.root)})

    def method(self, name: str) -> Method:
        """Look a method up; an unknown name raises HarnessError with the nearest known ones."""
        from harness.methods import get_method

        self.define()
        if (further := parse_seeded(name)) is not None:
            with suppress(HarnessError):
                base = self.method(further[0])
                if (made := self._of_seed(name, {base.name: base})) is not None:
                    return made
        return self._placed(get_method(name, self.method_folders, self.params.limits.import_seconds))

    def _placed(self, method: Method) -> Method:
        """Take the files that a method depends on from the project's folder, wherever the command is run."""
        if all(path.is_absolute() for path in method.depends):
            return method
        return replace(method, depends=tuple(self.root.resolve() / path for path in method.depends))

    @property
    def table_files(self) -> dict[str, Path]:
        """The user's own table files by table name."""
        return {name: file for name, (file, _) in self._own_tables[0].items()}

    @property
    def broken_tables(self) -> dict[str, str]:
        """What is wrong with the user's table files that cannot be read, by the files' stems.

        They stop only commands that ask for them.
        """
        return self._own_tables[1]

    @functools.cached_property
    def _own_tables(self) -> tuple[dict[str, tuple[Path, Table]], dict[str, str]]:
        self.define()
        LEFT_OUT.clear()
        found: dict[str, tuple[Path, Table]] = {}
        broken: dict[str, str] = {}
        for name in self.params.tables:
            for file in sorted(self._inside(name, "tables").glob("*.yaml")):
                try:
                    table = read_table(file)
                    if table.name != file.stem:
                        place = f"{yaml_place(str(file), 'name')}: the table is named '{table.name}'"
                        raise HarnessError(f"{place}; name the file {table.name}.yaml")
                    if table.name in published_tables() | own_tables():
                        raise HarnessError(f"{file}: '{table.name}' is taken by a table of the package; choose another")
                    if table.name in found:
                        raise HarnessError(f"{file}: a table '{table.name}' is also in {found[table.name][0]}")
                except HarnessError as error:
                    broken.setdefault(file.stem, str(error))
                    LEFT_OUT[str(file)] = str(error)
                else:
                    found[table.name] = (file, table)
        return found, broken

    def tables(self) -> dict[str, Table]:
        """Every table known here: the papers', the project's own, the user's.

        Below a row whose network was also trained here stands one for that, see `harness.tables.trained`.
        """
        known = {**published_tables(), **own_tables()}
        known |= {name: table for name, (_, table) in self._own_tables[0].items()}
        runs = self.training_runs()
        return {name: with_trained_rows(table, runs) for name, table in known.items()}

    def table(self, name: str) -> Table:
        """Look a table up; an unknown name raises HarnessError with the nearest known ones."""
        known = self.tables()
        if name not in known and name in self.broken_tables:
            raise HarnessError(self.broken_tables[name])
        if name not in known:
            raise unknown_name("table", name, known)
        return known[name]
