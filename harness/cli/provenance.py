"""Commands `harness why`, `harness doctor`, `harness export crate`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.completion import complete_rows
from harness.cli.options import Option, argument, examples, format_option, table_argument
from harness.cli.printing import echo, echo_json, echo_text
from harness.errors import CheckFailedError, plural
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


@click.command(epilog=examples("harness export crate panet-table3 panet-table3.zip"))
@table_argument("table")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with-images",
    "images",
    cls=Option,
    formerly="--images",
    is_flag=True,
    help="With the restored images; mind whose images they are made from.",
)
def crate(table: str, target: Path, images: bool) -> None:
    """Write the run of TABLE to TARGET, a new folder or a .zip.

    With --with-images also the weights of networks that were trained here, not those of others.
    """
    from harness.extras.crate import export_crate

    count = export_crate(Workspace.find(), table, target, images=images)
    echo(f"{target}: {plural(count, 'file')}; check it anywhere with harness export check-crate {target}")


@click.command("check-crate", epilog=examples("harness export check-crate panet-table3.zip"))
@click.argument("source", type=click.Path(path_type=Path))
def check_crate(source: Path) -> None:
    """Check the crate SOURCE: its files, and its results against its rows. Exit status 1 if anything is wrong."""
    from harness.extras.crate import check_crate as check

    checked = check(source, Workspace.find())
    for problem in checked.problems:
        echo(problem, err=True)
    images = f", {checked.measured} restored images have the recorded pixels" if checked.measured else ""
    remade = ", the results follow from the rows" if checked.remade else ""
    made = f" (made by revision {checked.revision[:12]})" if checked.revision else ""
    echo(f"{checked.table}{made}: {checked.files} files are as they were{remade}{images}")
    if checked.problems:
        raise CheckFailedError(f"{source}: {plural(len(checked.problems), 'problem')}; it is not what was exported")
