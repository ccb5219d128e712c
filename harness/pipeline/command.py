"""Commands `harness repro` and `harness pipeline`."""

from __future__ import annotations

import sys

import click

from harness.errors import CheckFailedError, HarnessError
from harness.workspace import Workspace


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if a file is out of date.")
def pipeline(check: bool) -> None:
    """Write the dvc.yaml files of every table (after a table, method or import has changed)."""
    from harness.pipeline.stages import write_stage_files

    changed = write_stage_files(Workspace.find(), check=check)
    for path in changed:
        click.echo(f"{'out of date' if check else 'written'}: {path}")
    if not changed:
        click.echo("every dvc.yaml is up to date")
    elif check:
        raise CheckFailedError("run harness pipeline")


@click.command()
@click.argument("name")
@click.option("--row", default="", help="Only the row with this printed name; nothing is written to results/.")
@click.option("--dataset", default="", help="Only the cells on this dataset; nothing is written to results/.")
@click.option("--force", is_flag=True, help="Run every stage again, also those that did not change.")
@click.option("--verbose", "-v", is_flag=True, help="Show what DVC says.")
def repro(name: str, row: str, dataset: str, force: bool, verbose: bool) -> None:
    """Make table NAME: everything it needs that is not there yet, then print it.

    The same as `dvc repro pipelines/tables/dvc.yaml:NAME`. Interrupt it at any time; the next run goes on.
    """
    from harness.pipeline.run import run_dvc
    from harness.pipeline.stages import measure_target, table_target, write_stage_files
    from harness.report.terminal import print_table
    from harness.stages.render import results_of

    workspace = Workspace.find()
    table = workspace.table(name)
    for path in write_stage_files(workspace):
        click.echo(f"written: {path}", err=True)
    targets = [table_target(name)]
    if row or dataset:
        results = results_of(workspace, table, row=row, dataset=dataset)
        groups = {result.request.group for result in results}
        targets = sorted(measure_target(group) for group in groups if group is not None)
    code = 0
    if targets:
        code = run_dvc(workspace, ["repro", *(["--force"] if force else []), *targets], verbose=verbose)
    print_table(table, results_of(workspace, table, row=row, dataset=dataset))
    if code:
        sys.stdout.flush()
        raise HarnessError(
            f"a stage failed (see above), so {name} is not complete; what was finished is kept, "
            "run the same command again to go on"
        )
