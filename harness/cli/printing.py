"""Printing: whatever a command says goes through here, because names in it may come from strangers' files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from harness.errors import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text to standard output, or to standard error, with control characters shown as escapes."""
    click.echo(printable(str(text)), err=err, nl=nl)


def echo_json(plain: Any) -> None:
    """Print plain values, or records, as JSON; infinity and NaN are words in it."""
    import json

    import msgspec

    from harness.files import json_numbers

    echo(json.dumps(json_numbers(msgspec.to_builtins(plain)), indent=1, ensure_ascii=False))


def echo_text(text: str) -> None:
    """Print sentences, broken between words where there is a terminal."""
    from harness.report.columns import wrapped_lines

    echo(wrapped_lines(text.rstrip("\n")))


def echo_table(lines: Iterable[Sequence[object]], heads: Sequence[str], form: str = "text") -> None:
    """Print a table, as text for the terminal or (`form` is ``md``) as Markdown."""
    if form != "md":
        from harness.report.columns import text_table

        echo(text_table(lines, heads))
        return
    from tabulate import tabulate

    echo(tabulate([list(line) for line in lines], heads, tablefmt="github"))
