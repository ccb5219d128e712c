"""Printing: whatever a command says goes through here, because names in it may come from strangers' files."""

from __future__ import annotations

import click

from harness.errors import printable


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text to standard output, or to standard error, with control characters shown as escapes."""
    click.echo(printable(str(text)), err=err, nl=nl)
