"""Names that a shell completes: fast, and whatever is broken in a workspace is left out without a word.

A shell asks in the middle of a line. So nothing here runs a user's code or imports torch: names of tables are those of
their files, and names of a workspace's own methods are read off their text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Make a completion of names: of those that begin as what is typed, whatever their case."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        found: list[str] = []
        # An error would be printed into the line that is being typed.
        with suppress(Exception):
            found = sorted(set(names(context)))
        return [name for name in found if name.lower().startswith(incomplete.lower())]

    return complete


def _table_files() -> dict[str, Path]:
    """Find the files of all tables by name; none is read."""
    from importlib import resources

    from harness.records.workspace import Folder

    package = Path(str(resources.files("harness.tables")))
    folders = [package / "published", package / "own"]
    with suppress(Exception):
        here = Folder.find(needed=False)
        folders += [here.root / name for name in here.params.tables]
    return {file.stem: file for folder in folders for file in folder.glob("*.yaml")}


def _rows(context: click.Context) -> Iterator[str]:
    """Give the rows of the table that stands in the line, or of all tables named there."""
    from harness.tables.published import read_table

    files = _table_files()
    given = [context.params.get(key) for key in ("name", "names", "table", "tables", "target")]
    words = [name for value in given for name in ([value] if isinstance(value, str) else value or ())]
    # Where the option's value is still to come, what stands before it was not taken apart.
    for name in dict.fromkeys([*words, *context.args]):
        if name in files:
            with suppress(Exception):
                yield from (row.name for part in read_table(files[name]).parts for row in part.rows)


def _recorded(kind: Literal["datasets", "weights"]) -> Iterable[str]:
    from harness.assets.registry import asset_names

    return asset_names(kind)


def _methods(context: click.Context) -> Iterator[str]:
    from harness.methods import get_method, registered
    from harness.records.workspace import Folder

    get_method("bicubic")  # with it come all of the package, and no plugin
    yield from registered()
    here = Folder.find(needed=False)
    yield from _written_names(here, here.params.methods, "method")


def _written_names(here: Any, folders: Iterable[str], function: str) -> Iterator[str]:
    """Read the names off calls such as ``@method("my-net", ...)``; a file with an error in it has none."""
    import ast

    for file in (file for name in folders for file in (here.root / name).glob("*.py")):
        with suppress(Exception):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    if called == function and isinstance(node.args[0].value, str):
                        yield node.args[0].value


def _defined(kind: str, own: Callable[[], Iterable[str]]) -> Callable[[click.Context], Iterator[str]]:
    def names(context: click.Context) -> Iterator[str]:
        from harness.records.workspace import Folder

        yield from own()
        here = Folder.find(needed=False)
        yield from _written_names(here, here.params.plugins, kind)
        if kind == "metric":
            for name in _written_names(here, here.params.plugins, "pyiqa_metric"):
                yield name.replace("_", "-")

    return names


def _package_protocols() -> Iterable[str]:
    from harness.protocols.definitions import ALIGNED, METRICS
    from harness.records.tasks import TASKS

    # Names are made of parts; these are the beginnings of all, and those that tables use without further words.
    return [*METRICS, *ALIGNED, *(name for task in TASKS.values() for name in task.metrics)]


complete_tables = _completing(lambda context: _table_files())
complete_rows = _completing(_rows)
complete_datasets = _completing(_defined("dataset", lambda: _recorded("datasets")))
complete_weights = _completing(lambda context: _recorded("weights"))
complete_methods = _completing(_methods)
complete_checked = _completing(
    lambda context: [
        *_table_files(),
        *_methods(context),
        *(n for kind in ("task", "degradation", "metric", "dataset") for n in _defined(kind, tuple)(context)),
    ]
)
complete_trainable = _completing(lambda context: [*_table_files(), *_methods(context)])
complete_tasks = _completing(_defined("task", lambda: import_module("harness.records.tasks").TASKS))
complete_degradations = _completing(_defined("degradation", lambda: import_module("harness.degradations").DEGRADATIONS))
complete_protocols = _completing(_defined("metric", _package_protocols))
complete_metrics = _completing(_defined("metric", lambda: ("psnr", "ssim")))
