"""Commands `harness why`, `harness doctor`."""

from __future__ import annotations

import click

from harness.cli.options import argument, complete_rows, examples, format_option, table_argument
from harness.cli.printing import echo_json, echo_text
from harness.errors import CheckFailedError
from harness.tables.workspace import Workspace


@click.command(epilog=examples("harness why panet-table3 JPEG live1/10/psnr"))
@table_argument("table")
@argument("row", "ROW", complete_rows)
@click.argument("column")
@format_option("text", "json")
def why(table: str, row: str, column: str, form: str) -> None:
    """Show where a number comes from: the chain from the printed number to the pixels, and how to make it again.

    COLUMN is dataset/level/metric, such as live1/10/psnr (`harness diff TABLE` names them).
    """
    from harness.run.chain import chain_record, chain_text, explain, find_cell

    workspace = Workspace.find()
    links = explain(workspace, find_cell(workspace, table, row, column))
    if form == "json":
        echo_json(chain_record(links))
    else:
        echo_text(chain_text(links))


@click.command(epilog=examples("harness doctor --format json"))
@format_option("text", "json")
def doctor(form: str) -> None:
    """Check the environment: packages, git, DVC, disk, memory, GPUs, mirror, plugins.

    Outside a workspace it checks what a workspace would need. Exit status 1 if a run would fail.
    """
    from harness.run.environment import examine

    found = examine(Workspace.find(needed=False))
    if form == "json":
        echo_json(found)
    else:
        signs = {"fine": "✓", "note": "·", "wrong": "✗"}
        for finding in found:
            echo_text(f"{signs[finding.state]} {finding.what}: {finding.detail}")
    wrong = sum(finding.state == "wrong" for finding in found)
    if wrong:
        raise CheckFailedError(f"{wrong} of {len(found)} checks failed; a run would not work")
