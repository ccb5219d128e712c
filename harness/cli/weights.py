"""The command `harness weights`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.assets import add_commands, data_option, verify_fetched
from harness.cli.completion import complete_weights
from harness.cli.options import argument, examples, format_option


@click.group(epilog=examples("harness weights fetch dncnn", "harness weights ls"))
def weights() -> None:
    """List, fetch and verify released weights."""


add_commands(
    weights,
    "weights",
    ls="List every weight set: files, licence, where it comes from, and what of it is here.",
    show="Describe a weight set: licence, home page, files, checksums.",
    fetch="""Get weights: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    Weights that cannot be obtained are no error: the manifest says why, and tables say `not run`.
    """,
)


@weights.command(epilog=examples("harness weights verify dncnn"))
@argument("names", "[NAME…]", complete_weights, nargs=-1)
@data_option
@format_option("text", "json")
def verify(names: tuple[str, ...], data: Path, form: str) -> None:
    """Hash every file of the named (or of all fetched) weight sets again; exit 1 where one is damaged."""
    verify_fetched("weights", names, data, form)
