"""Options that `harness datasets` and `harness weights` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Command = Callable[..., Any]


def data_option(command: _Command) -> _Command:
    """Add ``--data``."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("data"),
        envvar="HARNESS_DATA",
        show_default=True,
        help="Folder of fetched files.",
    )(command)


def format_option(command: _Command) -> _Command:
    """Add ``--format``, passed on as ``form``."""
    choice = click.Choice(["text", "json", "md"])
    return click.option("--format", "form", type=choice, default="text", show_default=True)(command)


def fetch_options(what: str) -> Callable[[_Command], _Command]:
    """Add what fetching takes: names, ``--all``, ``--from``, ``--data``, ``--strict``, ``--retry``, ``--jobs``."""
    folder = click.Path(path_type=Path)
    options = (
        click.argument("names", nargs=-1),
        click.option("--all", "everything", is_flag=True, help=f"Fetch every {what} that can be had."),
        click.option("--from", "folder", type=folder, help="Folder with your own copy; remembered for later runs."),
        data_option,
        click.option("--strict", is_flag=True, help=f"Fail (exit 2) where a {what} cannot be had."),
        click.option("--retry", is_flag=True, help="Ask hosts again that could not be reached a short while ago."),
        click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time."),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
