"""Options and arguments of several commands: one spelling, one meaning and one completion each.

An option that names what is looked at (``--row``, ``--dataset``, ``--method``, ``--level``, ``--protocol``,
``--table``) takes several names, with commas between them or given again. What a command needs one of, it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from harness.cli.completion import (
    Complete,
    complete_datasets,
    complete_methods,
    complete_metrics,
    complete_protocols,
    complete_rows,
    complete_tables,
    complete_tasks,
)
from harness.errors import HarnessError

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
