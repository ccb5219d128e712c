"""Options and arguments of several commands: one spelling, one meaning and one completion each.

An option that names what is looked at (``--row``, ``--dataset``, ``--method``, ``--level``, ``--protocol``,
``--table``) takes several names, with commas between them or given again. What a command needs one of, it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError

if TYPE_CHECKING:
    from harness.tables.diff import CellResult


_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]


class Option(click.Option):
    """An option that may have an older spelling, which is understood and not shown.

    `formerly`: The older spelling; empty where there is none.
    """

    def __init__(self, declarations: Sequence[str], formerly: str = "", **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        self.shown = tuple(self.opts)
        if formerly:
            self.opts.append(formerly)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Write the line of the help, without the older spelling."""
        given, self.opts = self.opts, list(self.shown)
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = given


def listed(
    name: str,
    *,
    help: str,
    type: Any = str,
    metavar: str = "NAME,…",
    complete: Complete | None = None,
    between: str = ",",
    to: str = "",
    **attributes: Any,
) -> _Decorator:
    """Add an option that takes several values: with commas between them, or given again.

    `between`: Pattern of what stands between two values; empty where a comma may be part of one.
    `to`: The command's parameter; by default the name's plural.
    """
    one = click.types.convert_type(type)

    def parted(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> tuple[Any, ...]:
        parts = [part.strip() for text in texts for part in (re.split(between, text) if between else [text])]
        if not all(parts):
            raise click.BadParameter("a name is empty; write names with commas between them", context, parameter)
        return tuple(dict.fromkeys(one.convert(part, parameter, context) for part in parts))

    def last(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        done, comma, begun = incomplete.rpartition(",")
        found = complete(context, parameter, begun) if complete else []
        return [done + comma + name for name in found if name not in done.split(",")]

    return click.option(
        f"--{name}",
        to or f"{name}s",
        cls=Option,
        multiple=True,
        callback=parted,
        metavar=metavar,
        help=help,
        shell_complete=last,
        **attributes,
    )


def one_of(values: Sequence[Any], option: str, what: str, default: Any = "") -> Any:
    """Take the only value of an option that may have several; HarnessError where there are more."""
    if len(values) > 1:
        raise HarnessError(f"{what} takes one {option}, not {len(values)}: {', '.join(map(str, values))}")
    return values[0] if values else default


def row_option(command: _Command) -> _Command:
    """Add ``--row``; a printed name may have a comma in it, so that the table decides where one ends."""
    text = "Only rows with these printed names."
    return listed("row", help=text, complete=complete_rows, between="")(command)


def dataset_option(help: str = "Only these datasets.", **attributes: Any) -> _Decorator:
    """Add ``--dataset``."""
    return listed("dataset", help=help, complete=complete_datasets, **attributes)


def method_option(help: str = "Only these methods.", **attributes: Any) -> _Decorator:
    """Add ``--method``."""
    return listed("method", help=help, complete=complete_methods, **attributes)


def level_option(help: str = "Only these levels: sigma, quality or scale.", **attributes: Any) -> _Decorator:
    """Add ``--level``."""
    return listed("level", help=help, type=int, metavar="N,…", **attributes)


def protocol_option(help: str, **attributes: Any) -> _Decorator:
    """Add ``--protocol``."""
    return listed("protocol", help=help, complete=complete_protocols, **attributes)


def metric_option(help: str) -> _Decorator:
    """Add ``--metric``."""
    return listed("metric", help=help, complete=complete_metrics)


def table_option(help: str = "Only these tables.") -> _Decorator:
    """Add ``--table``."""
    return listed("table", help=help, complete=complete_tables)


def task_option(help: str = "Only this task.", **attributes: Any) -> _Decorator:
    """Add ``--task``, which takes one."""
    return click.option(
        "--task", metavar="TASK", help=help, shell_complete=complete_tasks, **{"default": "", **attributes}
    )


def format_option(
    *forms: str, help: str = "Form of the output.", default: str | None = "text", **attributes: Any
) -> _Decorator:
    """Add ``--format``."""
    return click.option(
        "--format",
        "form",
        cls=Option,
        type=click.Choice(forms),
        default=default,
        show_default=default is not None,
        help=help,
        **attributes,
    )


def argument(name: str, metavar: str, complete: Complete, **attributes: Any) -> _Decorator:
    """Add an argument that is completed; help shows it as `metavar`."""
    return click.argument(name, metavar=metavar, shell_complete=complete, **attributes)


def table_argument(name: str = "name", **attributes: Any) -> _Decorator:
    """Add TABLE."""
    return argument(name, "TABLE", complete_tables, **attributes)


def tables_argument(*, required: bool = False) -> _Decorator:
    """Add TABLE…, several or none."""
    metavar = "TABLE…" if required else "[TABLE…]"
    return argument("names", metavar, complete_tables, nargs=-1, required=required)


def method_argument(name: str = "name") -> _Decorator:
    """Add METHOD."""
    return argument(name, "METHOD", complete_methods)


def examples(*lines: str) -> str:
    """Write the examples that stand below a command's help."""
    return "\b\nFor example:\n" + "\n".join(f"  {line}" for line in lines)


# Completion. A shell asks in the middle of a line, so nothing here runs a user's code or imports torch: names of tables
# are those of their files, names of a workspace's own methods are read off their text, and what is broken is left out.

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


# Which verdicts make `diff` and `repro` end with exit status 1.

# What counts as failing, by the word on the command line: what is worse than it fails with it.
FAILING = {"close": ("close", "off"), "off": ("off",), "not-run": ("not run",)}
COMPARED = ("match", "match (3 digits)", "fits", "close", "off", "trained")


def failing_options(*default: str) -> Callable[[_Command], _Command]:
    """Add the options --fail-on, --strict and --junit to a command."""
    fail_on = listed(
        "fail-on",
        type=click.Choice(list(FAILING)),
        metavar="VERDICT,…",
        default=default,
        show_default=bool(default),
        help=f"Exit with status 1 if a printed number is one of {', '.join(FAILING)}; off counts as close, too.",
        complete=lambda context, parameter, begun: [name for name in FAILING if name.startswith(begun)],
        to="fail_on",
    )
    strict = click.option("--strict", is_flag=True, help="Fail if a printed number is off, or was not measured here.")
    junit = click.option(
        "--junit",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write every cell as a test case into this file, too, for a CI server.",
    )
    return lambda command: fail_on(strict(junit(command)))


def failing_verdicts(fail_on: Sequence[str], strict: bool) -> list[str]:
    """List the verdicts that fail, by the words of the command line."""
    keys = (*fail_on, *(["off", "not-run"] if strict else []))
    return list(dict.fromkeys(verdict for key in keys for verdict in FAILING[key]))


def check_results(
    tables: Mapping[str, Sequence[CellResult]], fail_on: Sequence[str], strict: bool, junit: Path | None = None
) -> None:
    """Raise `CheckFailedError` where a printed number has a verdict that fails, or nothing at all could be compared.

    `tables`: The cells of each table, by the table's name.
    `strict`: Whether numbers that are off or were not measured here fail, too; recorded ones were not.
    `junit`: A file that gets every cell as a test case, whatever fails.
    """
    if junit is not None:
        from harness.files import write_text
        from harness.report.junit import junit_text

        write_text(junit, junit_text(tables, failing_verdicts(fail_on, strict), here=strict))
        echo(f"written: {junit}", err=True)
    for name, results in tables.items():
        _check(name, results, fail_on, strict)


def _check(name: str, results: Sequence[CellResult], fail_on: Sequence[str], strict: bool) -> None:
    printed = [result for result in results if result.request.printed is not None]
    own = any(result.verdict == "measured" for result in results)
    if printed and not own and not any(result.verdict in COMPARED for result in printed):
        raise CheckFailedError(f"nothing of {name} could be compared: it prints {len(printed)} numbers")
    if results and not printed and all(result.verdict == "not run" for result in results):
        raise CheckFailedError(f"nothing of {name} was measured")
    for verdict in failing_verdicts(fail_on, strict):
        failing = sum(result.verdict == verdict for result in printed)
        if failing:
            which = "were not run" if verdict == "not run" else f"are {verdict}"
            raise CheckFailedError(f"{failing} of {len(printed)} printed numbers of {name} {which}")
    recorded = sum(bool(result.recorded) for result in printed)
    if strict and recorded:
        raise CheckFailedError(f"{recorded} of {len(printed)} printed numbers of {name} were not measured here")
